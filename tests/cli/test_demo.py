"""The main job as a user runs it: the installed command, twice, in a home folder of its own."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyterrier as pt
import pytest
from click.testing import CliRunner

from pyterrier_xetrieval.cli import main
from pyterrier_xetrieval.cli.demo_job import Demo

COMMAND = [str(Path(sys.executable).with_name("pyterrier-xetrieval"))]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


def run(home, *arguments):
    environment = {**os.environ, "PYTERRIER_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    started = time.perf_counter()
    done = subprocess.run([*COMMAND, *arguments], cwd=home, env=environment, capture_output=True, text=True, timeout=900)
    return done, time.perf_counter() - started


@pytest.fixture(scope="module")
def first(home):
    return run(home, "demo")[0]


def test_demo_explains_and_evaluates(first, home):
    assert first.returncode == 0, first.stderr
    assert "not explained by the dictionary" in first.stdout and "without these" in first.stdout
    assert re.search(r"dense +0\.[3-9]", first.stdout) and "multi-view folded" in first.stdout
    assert "encode: 100%" in first.stderr and "Loading weights" not in first.stderr


def test_printed_parts_add_up(first):
    blocks = re.split(r"\n   score ", first.stdout)[1:]
    assert len(blocks) == 3
    for block in blocks:
        score = float(block.split()[0])
        parts = [float(value) for value in re.findall(r"^  ([+-]\d\.\d+)  ", block, re.M)]
        assert len(parts) > 4 and sum(parts) == pytest.approx(score, abs=1e-3)


def test_report_is_self_contained(first, home):
    html = (home / "xetrieval-report.html").read_text()
    assert "Over all queries" in html and "not explained by the dictionary" in html
    assert html.count("<mark title=") > 10 and "Retrieved mainly for" in html and "weakly shared" in html
    assert not re.findall(r"(?:src|href)=|@import|url\(", html)


def test_second_run_reuses_the_vectors_and_asks_something_else(first, home):
    vectors = {path: path.stat().st_mtime_ns for path in home.rglob("vecs.f4")}
    assert len(vectors) == 3
    done, seconds = run(home, "demo", "--query", "wait for a <thread> to finish", "--top", "1", "--report", "other.html")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^1\. \S+: Retrieved mainly for \*", done.stdout, re.M) and "\n2. " not in done.stdout
    assert {path: path.stat().st_mtime_ns for path in home.rglob("vecs.f4")} == vectors
    assert "wait for a &lt;thread&gt; to finish" in (home / "other.html").read_text()
    assert seconds < 60  # about ten on an idle machine


@pytest.mark.parametrize("arguments", [["--query", " "], ["--top", "0"], ["--report", "no/such/folder/x.html"]])
def test_bad_options_exit_with_2_and_one_clear_line(arguments):
    done = CliRunner().invoke(main, ["demo", *arguments])
    assert done.exit_code == 2 and done.output.count("Error") == 1 and isinstance(done.exception, SystemExit)


def test_a_slower_demo_takes_the_vectors_of_a_faster_one(tmp_path):
    job, documents = Demo(None, None, tmp_path), [{"docno": d, "doc_vec": np.ones(2, np.float32)} for d in "abc"]
    job.folder = tmp_path / "pydocs"

    def meanwhile():
        Demo._index(job, "v.flex", pt.Transformer.identity(), lambda: documents)
        return documents

    assert len(job._index("v.flex", pt.Transformer.identity(), meanwhile)) == 3
    assert os.listdir(tmp_path / "pydocs") == ["v.flex"]
