"""The main job as a user runs it: the installed command, twice, in a home folder of its own."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from pyterrier_xetrieval.cli import demo_job, main
from tests.helpers.browser import opened

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
    path = home / "xetrieval-report.html"
    assert path.stat().st_size < 18e6  # 15 MB for 2,000 documents; these are some 2,400
    data = re.compile(r'<script type="application/json".*?</script>', re.S)  # texts may be about anything
    assert not re.findall(r"<(?:script|img|link)[^>]*(?:src|href)=|@import|url\(", data.sub("", path.read_text()))


def test_report_shows_the_results_that_were_printed(first, home, browser):
    printed = re.findall(r"^(\d)\. (\S+): (Retrieved .*)$", first.stdout, re.M)
    with opened(browser, home / "xetrieval-report.html") as tab:
        assert tab.locator(".result .docno").all_inner_texts()[:3] == [docno for _, docno, _ in printed]
        for i, (_, docno, sentence) in enumerate(printed):
            tab.locator("button.result").nth(i).click()
            assert tab.locator(".explanation h2").inner_text() == f"{i + 1} {docno}"
            told = " ".join(tab.locator(".sentence").inner_text().split())  # the page does not break a line before %
            assert told == sentence.replace("*", "")
        assert tab.locator("mark").count() > 5
        tab.get_by_role("button", name="About").click()
        assert "multi-view folded" in tab.locator(".about table").inner_text()


def test_second_run_reuses_the_vectors_and_asks_something_else(first, home):
    vectors = {path: path.stat().st_mtime_ns for path in home.rglob("vecs.f4")}
    assert len(vectors) == 3  # original, folded, from features alone
    done, seconds = run(home, "demo", "--query", "wait for a <thread> to finish", "--top", "1", "--report", "other.html")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^1\. \S+: Retrieved mainly for \*", done.stdout, re.M) and "\n2. " not in done.stdout
    assert {path: path.stat().st_mtime_ns for path in home.rglob("vecs.f4")} == vectors
    assert "<title>wait for a &lt;thread&gt; to finish</title>" in (home / "other.html").read_text()
    assert seconds < 60  # about ten on an idle machine


@pytest.mark.parametrize("arguments", [["--query", " "], ["--top", "0"], ["--report", "no/such/folder/x.html"]])
def test_bad_options_exit_with_2_and_one_clear_line(arguments):
    done = CliRunner().invoke(main, ["demo", *arguments])
    assert done.exit_code == 2 and done.output.count("Error") == 1 and isinstance(done.exception, SystemExit)


def test_a_slower_demo_takes_the_vectors_of_a_faster_one(tmp_path):
    path = tmp_path / "v.flex"

    def faster():
        path.mkdir()
        (path / "pt_meta.json").touch()
        raise FileExistsError

    demo_job._unless_there(path, faster)
    demo_job._unless_there(path, lambda: pytest.fail("it is there"))
    with pytest.raises(FileExistsError):  # of something else that is there
        demo_job._unless_there(tmp_path, lambda: (tmp_path / "v.flex").mkdir())
