"""The teacher and a real language model on a real OpenAI-compatible server, with a faulty proxy between them."""

import json
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pyterrier_xetrieval.llm.endpoints import EndpointLLM, TeacherError
from pyterrier_xetrieval.training.teacher import Teacher
from tests.helpers.documents import DOCS, SHORT, upper
from tests.helpers.llm_server import Proxy, completion, lines, real_server


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "reasoning.jsonl"


def test_the_papers_prompts_on_a_real_server(out):
    llm = EndpointLLM("smollm2", base_url=f"{real_server().listening_address}/v1", max_tokens=16, temperature=0, workers=2)
    teacher = Teacher(llm, price=(1.0, 10.0), check=lambda aspect, text: None if text else "empty")
    report = teacher.write(DOCS[:1], out)
    rows = lines(out)
    assert {row["aspect"] for row in rows} == {"summary", "purpose", "qa"} and all(len(row["text"]) > 5 for row in rows)
    assert list(rows[0])[:4] == ["_id", "aspect", "text", "model"] and rows[0]["model"] == "smollm2"
    assert report.written == 3 and report.failed == 0 and not out.with_suffix(".failures.jsonl").exists()
    assert report.input_tokens == sum(row["input_tokens"] for row in rows) > 100
    assert report.output_tokens == sum(row["output_tokens"] for row in rows) > 3
    assert report.cost == pytest.approx((report.input_tokens + 10 * report.output_tokens) / 1e6)
    assert teacher.write(DOCS[:1], out).kept == 3 and lines(out) == rows


def test_every_fault_is_survived(out, monkeypatch):
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.05)
    faults = [(429, ("Retry-After", "0.7")), (500,), "drop", "half", "slow", b"<html>busy</html>", "", "<think>hm", b"{}"]
    with Proxy(faults) as proxy:
        teacher = Teacher(proxy.llm(timeout=2.0, workers=1), prompts={"topic": SHORT["topic"]}, attempts=5)
        report = teacher.write(DOCS[:2], out)
    assert report.written == 2 and report.failed == 0
    times = [seen[0] for seen in proxy.seen]
    assert len(times) >= len(faults) + 2
    assert times[1] - times[0] >= 0.7  # Retry-After
    reasons = [row["reason"] for row in lines(out.with_suffix(".failures.jsonl"))]
    assert len(reasons) == 4 and reasons[1] == "empty answer" and "reasoning" in reasons[2]
    assert "not a chat completion" in reasons[0] and "not a chat completion" in reasons[3]


def test_requests_that_stay_unanswered_are_asked_again_next_time(out):
    with Proxy([(500,), (503,), ""]) as proxy:
        teacher = Teacher(proxy.llm(max_retries=0, workers=1), prompts=SHORT, attempts=1)
        with pytest.warns(UserWarning, match="3 text.* missing"):
            report = teacher.write(DOCS[:2], out)
        assert (report.written, report.failed) == (1, 3)
        assert [row["reason"][:8] for row in lines(out.with_suffix(".failures.jsonl"))] == ["HTTP 500", "HTTP 503", "empty an"]
        again = teacher.write(DOCS[:2], out)
    assert (again.written, again.kept, again.failed) == (3, 1, 0)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_ends_the_run_at_once_without_the_key(out, monkeypatch, status):
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    with Proxy([(status,)] * 9) as proxy:
        llm = proxy.llm(api_key_env="MY_KEY")
        with pytest.raises(TeacherError, match=f"HTTP {status}") as caught:
            Teacher(llm, prompts=SHORT).write(DOCS, out)
        assert len(proxy.seen) <= 2 and proxy.seen[0][1]["Authorization"] == "Bearer sk-very-secret"
    message = str(caught.value)
    assert "\n" not in message and "very-secret" not in message
    assert "very-secret" not in repr(llm) and b"very-secret" not in pickle.dumps(llm)
    assert all(b"very-secret" not in path.read_bytes() for path in out.parent.iterdir())


def test_a_server_that_is_gone_ends_the_run(out):
    with Proxy() as proxy:
        llm = proxy.llm(max_retries=0)
    with pytest.raises(TeacherError, match="no usable text 4 times in a row.*[Cc]onnect"):
        Teacher(llm, prompts=SHORT, give_up=4).write([{"docno": str(i), "text": "x"} for i in range(50)], out)
    assert 4 <= len(lines(out.with_suffix(".failures.jsonl"))) <= 5 and not lines(out)


def test_the_progress_bar_counts_texts(out, capsys):
    Teacher(upper, prompts=SHORT).write(DOCS, out)
    Teacher(upper, prompts=SHORT).write([*DOCS, DOCS[0]], out, verbose=True)
    assert "8/8" in capsys.readouterr().err


CHILD = """
import json, sys
from pyterrier_xetrieval.llm.endpoints import EndpointLLM
from pyterrier_xetrieval.training.teacher import Teacher
url, out, prompts, documents = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
llm = EndpointLLM("smollm2", base_url=url, max_tokens=5, temperature=0, workers=2)
Teacher(llm, prompts=prompts).write(documents, out)
"""


def test_answers_of_other_shapes_end_no_run(out):
    """As servers send them that take the protocol lightly; the client hands on whatever it is."""
    bodies = [completion("unused") for _ in range(7)]
    odd = [[{"type": "text", "text": "Rab"}, {"type": "image_url"}, {"text": "bits"}, 7], {"text": "x"}, 7, [], None]
    for body, content in zip(bodies, odd):
        body["choices"][0]["message"]["content"] = content
    bodies[5]["usage"], bodies[5]["choices"][0]["finish_reason"] = {"prompt_tokens": "10", "completion_tokens": None}, {"a": 1}
    bodies[6] |= {"choices": {"0": "x"}, "usage": "free"}
    with Proxy([json.dumps(body).encode() for body in bodies]) as proxy:
        answers = proxy.llm().generate(["?"] * 7)
    assert [answer.text for answer in answers] == ["Rabbits", "", "", "", "", "unused", ""]
    problems = [answer.problem for answer in answers]
    assert problems[1:3] == ["the answer is dict, not a text: {'text': 'x'}", "the answer is int, not a text: 7"]
    assert "not a chat completion" in problems[6] and [p is None for p in problems] == [1, 0, 0, 1, 1, 1, 0]
    assert answers[0][1:4] == (10, 20, "stop") and answers[5][1:4] == (None, None, None)
    with Proxy([json.dumps(body).encode() for body in [*bodies[1:3], bodies[6], bodies[5]]]) as proxy:
        teacher = Teacher(proxy.llm(workers=1), prompts={"topic": SHORT["topic"]}, attempts=4, price=(1, 1))
        assert teacher.write(DOCS[:1], out).written == 1  # after three that are in the file of failures
    assert len(lines(out.with_suffix(".failures.jsonl"))) == 3 and lines(out)[0]["text"] == "unused"


def test_killed_in_the_middle_and_started_again(out):
    documents = [{"docno": f"d{i}", "text": f"Number {i}."} for i in range(5)]
    with Proxy(delay=0.2) as proxy:
        child = subprocess.Popen([sys.executable, "-c", CHILD, proxy.url, out, json.dumps(SHORT), json.dumps(documents)])
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and child.poll() is None and not (out.exists() and len(lines(out)) >= 3):
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        before = lines(out)
        assert 3 <= len(before) < 10
        with open(out, "ab") as file:
            file.write(b'{"_id": "d4", "aspect": "topi')  # what a crash of the machine may leave
        report = Teacher(proxy.llm(), prompts=SHORT).write(documents, out)
    rows = lines(out)
    assert rows[: len(before)] == before and report.kept == len(before)
    keys = [(row["_id"], row["aspect"]) for row in rows]
    assert len(keys) == 10 and set(keys) == {(d["docno"], aspect) for d in documents for aspect in SHORT}
    assert len(proxy.seen) <= 10 + 4  # at most those in flight were asked twice
