"""The command as a user types it: help, teaching by a real language model, errors in one line, interruptions."""

import gzip
import json
import re
import signal
import socket
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager
from threading import Timer

import pytest

from pyterrier_xetrieval.cli import VERBS
from pyterrier_xetrieval.cli.evaluate import QUESTIONS as ASKED
from pyterrier_xetrieval.cli.params import Features
from pyterrier_xetrieval.datasets.corpus_file import CorpusFile
from pyterrier_xetrieval.evaluation import QUESTIONS
from pyterrier_xetrieval.training.teacher import Teacher
from tests.helpers.commands import lines, one_line, run, write
from tests.helpers.llm_server import Proxy, real_server, smollm_path

DOCS = [
    {"docno": "d1", "text": "Rabbits eat grass."},
    {"_id": 2, "title": "Tea", "text": "Hot water on leaves."},
    {"docno": "d3", "title": "", "text": "A\u2028separator."},
]


@pytest.fixture
def corpus(tmp_path):
    return write(tmp_path / "corpus.jsonl", *DOCS)


@pytest.fixture
def server():
    return ["--model", "smollm2", "--base-url", f"{real_server().listening_address}/v1", "--max-tokens", 8, "--workers", 2]


# --- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", VERBS)
def test_help_reads_like_a_page(command):
    done = run(command, "--help")
    assert done.exit_code == 0 and f"pyterrier-xetrieval {command} " in done.output
    assert max(map(len, done.output.splitlines())) <= 82
    if command != "demo":
        assert "interruption" in done.output and "JSON" in done.output


def test_the_commands_are_listed_in_the_order_of_the_work():
    listed = run("--help").output.partition("Commands:")[2].splitlines()
    assert [line.split()[0] for line in listed if line.strip()] == [*VERBS]
    assert "No such command 'expalin'" in run("expalin").stderr


def test_the_help_of_evaluate_names_every_question():
    told = run("evaluate", "--help").output.partition("QUESTION  of --what")[2].partition("Example:")[0]
    assert re.findall(r"^    (\w+)  ", told, re.M) == [*ASKED] == [*QUESTIONS]


def test_the_module_is_the_command_too():
    command = [sys.executable, "-m", "pyterrier_xetrieval.cli", "teach", "no/such/file", "out"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    assert "no/such/file" in done.stderr and "(see pyterrier-xetrieval teach --help)" in done.stderr


# --- teach ------------------------------------------------------------------------------------------------------------


def test_teach_by_a_real_model_and_again(tmp_path, corpus, server):
    prompts = write(tmp_path / "p.json", {"topic": "Name the topic: {text}", "tone": "Name the tone: {text}"})
    out = tmp_path / "reasoning.jsonl"
    options = ["--prompts", prompts, "--aspect", "topic", "--price-in", 1, "--price-out", 10]
    first = run("teach", corpus, out, *server, *options, "--limit", 2)
    assert first.exit_code == 0, first.output
    assert "2 texts written, 0 there before, 0 missing" in first.stdout and "cost 0.0" in first.stdout
    second = run("teach", corpus, out, *server, *options)
    assert "1 texts written, 2 there before" in second.stdout and "3/3" in second.stderr
    rows = lines(out)
    assert {row["_id"] for row in rows} == {"d1", "2", "d3"} and {row["aspect"] for row in rows} == {"topic"}
    sent = {"docno": "2", "title": "Tea", "text": "Hot water on leaves."}
    assert Teacher(str).key(sent) in {row["doc"] for row in rows}  # title and text, as the teacher itself puts them
    refused = run("teach", corpus, out, *server[2:], "--model", "another", *options)
    assert "of model 'smollm2'" in one_line(refused)


def test_prompts_as_toml_and_texts_that_stay_missing(tmp_path, corpus, server):
    prompts = write(tmp_path / "p.toml", 'qa = """Say no word more than: hello {text}"""\n')
    done = run("teach", corpus, tmp_path / "out.jsonl", *server, "--prompts", prompts, "--limit", 1)
    told = f"{len(lines(tmp_path / 'out.jsonl'))} texts written"
    assert told in done.stdout and done.exit_code == ("0 texts" in told)
    if done.exit_code:  # no question mark in three answers
        assert "Warning: 1 text(s) are missing" in done.stderr and ".py" not in done.stderr


def test_a_local_gguf_file_is_found_by_its_path(tmp_path, corpus):
    done = run("teach", corpus, tmp_path / "out.jsonl", "--local", smollm_path(), "--limit", 1, "--model", "x")
    assert "--local goes without" in one_line(done)
    assert "config.json" in one_line(run("teach", corpus, tmp_path / "out.jsonl", "--local", tmp_path))


# --- what can go wrong ------------------------------------------------------------------------------------------------


def test_bad_lines_are_named_before_anybody_is_asked(tmp_path, server):
    for name, broken, message in (
        ("a.jsonl", "{oops\n", "line 2 of .*a.jsonl is no JSON"),
        ("b.jsonl.gz", {"docno": "x"}, "no text in document 'x', line 2 of .*b.jsonl.gz"),
        ("c.jsonl", {"text": "x"}, "line 2 of .*c.jsonl expects docno"),
        ("d.jsonl", "[1]\n", "line 2"),
    ):
        told = one_line(run("teach", write(tmp_path / name, DOCS[0], broken), tmp_path / "out", *server))
        assert re.search(message, told)
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"docno": "1", "text": "x"}\n' * 99)[:-9])
    assert "cut.jsonl.gz is damaged" in one_line(run("teach", tmp_path / "cut.jsonl.gz", tmp_path / "out", *server))
    (tmp_path / "plain.jsonl.gz").write_text("{}")
    assert "plain.jsonl.gz is damaged" in one_line(run("teach", tmp_path / "plain.jsonl.gz", tmp_path / "out", *server))
    assert "holds no documents" in one_line(run("teach", write(tmp_path / "e.jsonl", "\n"), tmp_path / "out", *server))
    (tmp_path / "folder").mkdir()
    assert "has no corpus.jsonl" in one_line(run("teach", tmp_path / "folder", tmp_path / "out", *server))
    assert not (tmp_path / "out").exists()


def test_half_characters_are_replaced_where_a_file_is_read(tmp_path):
    """They are valid JSON, and neither tokenizers nor pyarrow take them."""
    path = tmp_path / "c.jsonl"
    path.write_bytes(rb'{"docno": "a\uDC00", "title": "\ud83d", "text": "\ud83d\ude00 \\ud800 x\ud800"}' + b"\n")
    assert list(CorpusFile(path)) == [{"docno": "a\ufffd", "text": "\ufffd \U0001f600 \\ud800 x\ufffd"}]


def test_bad_options_of_the_language_model(tmp_path, corpus, server, monkeypatch):
    out = tmp_path / "out.jsonl"
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("EMPTY_KEY", "")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        assert f"no language model answers at {url}: " in one_line(run("teach", corpus, out, "--model", "m", "--base-url", url))
    for arguments, message in (
        ([], "name the language model"),
        (["--model", "m"], "environment variable OPENAI_API_KEY .* is not set"),
        ([*server, "--api-key-env", "EMPTY_KEY"], "environment variable EMPTY_KEY"),
        (["--model", "m", "--base-url", "localhost"], "no language model answers at localhost"),
        ([*server, "--workers", "0"], "'--workers': 0 is not in the range x>=1. .see pyterrier-xetrieval teach --help"),
        ([*server, "--device", "gpu"], "'--device': 'gpu' cannot be used here"),
        ([*server, "--device", "cuda:99"], "'--device': 'cuda:99' cannot be used here"),
        ([*server, "--apsect", "x"], "No such option '?--apsect"),
        ([*server, "--aspect", "mood"], "aspects among .*'summary'.*found .*mood"),
        ([*server, "--price-in", "1"], "go together"),
        ([*server, "--prompts", write(tmp_path / "p.json", "{")], "p.json is no JSON"),
        ([*server, "--prompts", write(tmp_path / "q.json", {"qa": "no place"})], "placeholder"),
    ):
        assert re.search(message, one_line(run("teach", corpus, out, *arguments, prog_name="pyterrier-xetrieval")))
    assert "folder no does not exist" in one_line(run("teach", corpus, "no/out.jsonl", *server))


def test_bad_models_datasets_and_tables(tmp_path, corpus, server):
    (tmp_path / "empty").mkdir()
    assert "'nowhere' does not exist" in one_line(run("describe", "nowhere", corpus, tmp_path / "out", *server))
    assert "no Xetrieval artifact" in one_line(run("describe", tmp_path / "empty", corpus, tmp_path / "out", *server))
    assert "ids and ranges" in one_line(run("describe", "default", corpus, tmp_path / "out", *server, "--features", "1-"))
    assert "no folder, not pydocs" in one_line(run("evaluate", "default", "nowhere"))
    assert "no Xetrieval artifact" in one_line(run("evaluate", tmp_path / "empty", "pydocs"))
    assert ".csv or .json" in one_line(run("evaluate", "default", "pydocs", "--out", tmp_path / "table.txt"))
    assert "is not one of" in one_line(run("evaluate", "default", "pydocs", "--what", "everything"))
    for arguments in (["evaluate", "default", "pydocs"], ["explain", corpus, tmp_path / "out"]):
        assert "'gpu' cannot be used here" in one_line(run(*arguments, "--device", "gpu"))


def test_ranges_of_features():
    assert Features().convert("17,20-22,21", None, None) == [17, 20, 21, 22]


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path, corpus, server):
    out = tmp_path / ("x" * 250)  # itself a name that would do, but not that of the file beside it
    for command in (["explain", corpus, out], ["teach", corpus, out, *server], ["describe", tmp_path, corpus, out, *server]):
        assert f"cannot write to {tmp_path}: File name too long" in one_line(run(*command))
    (tmp_path / "link").symlink_to(tmp_path / "gone" / "out")
    assert f"cannot write to {tmp_path}: No such file" in one_line(run("explain", corpus, tmp_path / "link"))
    assert {path.name for path in tmp_path.iterdir()} == {"corpus.jsonl", "link"}


@contextmanager
def started(*arguments):
    """The command as a process that signals reach, also where the tests themselves ignore them; killed after two minutes."""
    child = subprocess.Popen(
        [sys.executable, "-m", "pyterrier_xetrieval.cli", *arguments], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: [signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)],
    )  # fmt: skip
    limit = Timer(120, child.kill)
    limit.start()
    try:
        yield child
    finally:
        limit.cancel()
        child.kill()
        child.stderr.close()


@pytest.mark.parametrize("signals", [[signal.SIGINT, signal.SIGINT], [signal.SIGTERM]])
def test_a_server_that_hangs_holds_nobody_up(tmp_path, corpus, signals):
    with Proxy(delay=300) as proxy:
        options = ["--model", "m", "--base-url", proxy.url, "--workers", "2"]
        with started("teach", corpus, tmp_path / "out.jsonl", *options) as child:
            while len(proxy.seen) < 2 and child.poll() is None:
                time.sleep(0.02)
            child.send_signal(signals[0])
            if len(signals) == 2:
                assert any(line.startswith("waiting for 2 requests; Ctrl-C again stops now") for line in child.stderr)
                child.send_signal(signals[1])
            assert child.wait(timeout=20) == -signals[-1]


def test_what_is_ended_by_sigterm_leaves_no_unfinished_file(tmp_path):
    pairs = write(tmp_path / "pairs.jsonl", *({"query": "x", "doc": f"Number {i}."} for i in range(20_000)))
    with started("explain", pairs, tmp_path / "out.jsonl") as child:
        assert any("explain: " in line for line in child.stderr)  # the bar, when it is redrawn
        assert len(list(tmp_path.iterdir())) == 2
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=60) == -signal.SIGTERM and list(tmp_path.iterdir()) == [pairs]


def test_an_interruption_says_how_to_go_on(tmp_path, corpus, server, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Teacher, "write", interrupted)
    done = run("teach", corpus, tmp_path / "out.jsonl", *server)
    assert done.exit_code == 130 and done.stderr.strip().endswith("the same command goes on with the rest.")


def test_a_bug_keeps_its_traceback_and_a_warning_is_one_line(tmp_path, corpus, server, monkeypatch):
    def broken(*_, **__):
        warnings.warn("look\nhere", stacklevel=1)
        return json.loads("{")  # a ValueError of another library

    monkeypatch.setattr(Teacher, "write", broken)
    done = run("teach", corpus, tmp_path / "out.jsonl", *server)
    assert isinstance(done.exception, json.JSONDecodeError) and done.stderr.splitlines()[-1] == "Warning: look here"
