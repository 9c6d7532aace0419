"""The documentation: it builds without a warning, names everything public, and its code prints what stands below it."""

import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.cli import VERBS
from tests.helpers.pages import assert_same_text, rst_blocks, run_blocks

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "pyterrier_xetrieval" / "pt_docs"
SUBPACKAGES = "checkpoints datasets distributed evaluation index labelling llm milvus training viz".split()
CONSTANTS = {"BRIGHT_DOMAINS", "PROMPTS", "QUESTIONS"}

# the blocks that no test runs, by page: how each begins, and why
NOT_RUN = {
    "how-to": [
        ("bm25 = pt.terrier", "needs-network"),
        ("model.labels.find(", "takes-a-minute"),
        ("tuner = model.tuner(", "needs-judgements"),
        ("from pyterrier_xetrieval.distributed", "needs-servers"),
        ("from pyterrier_xetrieval.llm", "needs-servers"),
    ],
    "evidence": [("from pyterrier_xetrieval import Xetrieval, pydocs", "takes-minutes")],
}
BLOCKS = {path.stem: rst_blocks(path.read_text(encoding="utf-8")) for path in sorted(PAGES.glob("*.rst"))}
WITH_CODE = [page for page, blocks in BLOCKS.items() if any(block.language == "python" for block in blocks)]
of_python_311 = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the printed documents are those of Python 3.11")


@of_python_311
@pytest.mark.parametrize("page", WITH_CODE)
def test_code_prints_what_stands_below_it(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    marked = [block for block in BLOCKS[page] if block.mark]
    assert [block.mark for block in marked] == [reason for _, reason in NOT_RUN.get(page, [])]
    assert all(block.code.startswith(begin) for block, (begin, _) in zip(marked, NOT_RUN.get(page, [])))
    run_blocks(BLOCKS[page], capsys)


def test_recipes_are_short_and_every_directive_of_code_is_read():
    recipes = [block for block in BLOCKS["how-to"] if block.language == "python"][1:]
    assert max(len(block.code.splitlines()) for block in recipes) <= 6
    for page, blocks in BLOCKS.items():
        assert len(blocks) == (PAGES / f"{page}.rst").read_text(encoding="utf-8").count("code-block::"), page


def test_the_extras_are_those_that_there_are():
    page = (PAGES / "index.rst").read_text(encoding="utf-8")
    listed = re.findall(r"``([a-z]+)``", page.partition("list-table:: Extras")[2].partition("What needs an extra")[0])
    with open(ROOT / "pyproject.toml", "rb") as file:
        assert sorted(listed) == sorted(tomllib.load(file)["project"]["optional-dependencies"])


def test_the_printed_form_of_the_reading_page_is_the_one_that_is_printed():
    (printed,) = [block.code for block in BLOCKS["reading"] if block.language == "none"]
    e = Xetrieval.default().explain(
        "sort a list of words by their length", "Return a new sorted list; a key function may be given."
    )
    assert_same_text(e.to_text() if hasattr(e, "to_text") else str(e), printed)


def test_the_reference_names_everything_public():
    reference = (PAGES / "api.rst").read_text(encoding="utf-8")
    listed = set(re.findall(r"auto(?:class|function):: pyterrier_xetrieval\.(\w+)$", reference, re.M))
    for package in re.findall(r"automodule:: pyterrier_xetrieval\.(\w+)\n   :members:", reference):
        listed |= set(import_module(f"pyterrier_xetrieval.{package}").__all__)
    missing = set(import_module("pyterrier_xetrieval").__all__) - listed
    assert not missing, f"pt_docs/api.rst expects an autoclass or autofunction for each public name, found none for {missing}"
    assert sorted(re.findall(r"automodule:: pyterrier_xetrieval\.(\w+)", reference)) == SUBPACKAGES


def test_the_summaries_of_the_reference_name_everything_public():
    reference = (PAGES / "api.rst").read_text(encoding="utf-8")
    listed = set(re.findall(r"^   \* - (?::\w+:)?`+(?:~pyterrier_xetrieval\.)?([\w.]+)`+$", reference, re.M))
    for package in SUBPACKAGES:
        for name in import_module(f"pyterrier_xetrieval.{package}").__all__:
            assert name in listed or f"{package}.{name}" in listed, f"{package}.{name}"
    assert set(import_module("pyterrier_xetrieval").__all__) <= {name.rpartition(".")[2] for name in listed}
    assert set(VERBS) <= listed


def test_the_pages_build_without_a_warning(tmp_path):
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "docs", str(PAGES), str(tmp_path / "html")]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0 and not done.stderr.strip(), done.stderr
    reference = (tmp_path / "html" / "api.html").read_text(encoding="utf-8")
    assert not re.findall(r'<td><p><code class="xref[^>]*>', reference), "a summary names what the reference does not describe"
    for package in ["", *(f".{name}" for name in SUBPACKAGES)]:
        module = f"pyterrier_xetrieval{package}"
        for name in set(import_module(module).__all__) - CONSTANTS:
            assert re.search(rf'id="pyterrier_xetrieval[\w.]*\.{name}"', reference), f"{module}.{name} is not in the reference"
