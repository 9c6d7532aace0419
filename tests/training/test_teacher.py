"""The teacher against a real language model on a real OpenAI-compatible server, with a faulty proxy between them."""

import json
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from pyterrier_xetrieval.llm.endpoints import Answer, EndpointLLM, FunctionLLM, TeacherError
from pyterrier_xetrieval.llm.prompts import PROMPTS, check_answer, check_prompts, fill
from pyterrier_xetrieval.training.teacher import Teacher
from tests.helpers.llm_server import Proxy, completion, lines, real_server

SHORT = {"summary": "Shorten: {text}", "topic": "Topic of: {text}"}
DOCS = [
    {"docno": "d1", "text": "Rabbits eat grass."},
    {"docno": "d2", "title": "Tea", "text": "Hot water on leaves."},
    {"docno": "d3", "text": "A {brace} and a \u2028 separator."},
]


def upper(prompt: str) -> str:
    return prompt.upper() + "?"


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "reasoning.jsonl"


# --- the real model -------------------------------------------------------------------------------------------------


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
    with pytest.raises(TeacherError, match="4 texts in a row failed.*[Cc]onnect"):
        Teacher(llm, prompts=SHORT, give_up=4).write([{"docno": str(i), "text": "x"} for i in range(50)], out)
    assert 4 <= len(lines(out.with_suffix(".failures.jsonl"))) <= 5 and not lines(out)


def test_no_key_goes_to_a_foreign_server_unless_named(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    with Proxy(["hello"]) as proxy:
        assert proxy.llm(extra={"top_k": 3}).generate(["hi"])[0] == Answer("hello", 10, 20, "stop")
    _, headers, body = proxy.seen[0]
    assert headers["Authorization"] == "Bearer none"
    assert body["top_k"] == 3 and body["max_tokens"] == 5 and body["messages"] == [{"role": "user", "content": "hi"}]
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ValueError, match="environment variable OPENAI_API_KEY"):
        EndpointLLM("gpt").generate(["hi"])


def test_the_progress_bar_counts_texts(out, capsys):
    Teacher(upper, prompts=SHORT).write(DOCS, out)
    Teacher(upper, prompts=SHORT).write([*DOCS, DOCS[0]], out, verbose=True)
    assert "8/8" in capsys.readouterr().err


def test_a_filtered_answer_is_no_text():
    filtered = completion("half a")
    filtered["choices"][0]["finish_reason"] = "content_filter"
    with Proxy([json.dumps(filtered).encode(), (400,)]) as proxy:
        assert proxy.llm().generate(["hi"])[0].problem == "stopped by the content filter"
        refused = proxy.llm().generate(["hi"])[0]
    assert refused.final and refused.problem.startswith("HTTP 400") and len(proxy.seen) == 2


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


# --- the file ---------------------------------------------------------------------------------------------------------


def test_documents_as_frame_iterator_and_rows_of_a_ranking_give_one_file(tmp_path):
    frame = pd.DataFrame(DOCS).merge(pd.DataFrame({"qid": ["1", "2"]}), how="cross")
    texts = []
    for name, documents in {"list": DOCS, "iterator": iter(DOCS), "frame": frame}.items():
        report = Teacher(upper, prompts=SHORT).write(documents, tmp_path / "new" / f"{name}.jsonl")
        assert (report.written, report.kept) == (6, 0)
        texts.append([(row["_id"], row["aspect"], row["text"]) for row in lines(tmp_path / "new" / f"{name}.jsonl")])
    assert texts[0] == texts[1] == texts[2]
    assert texts[0][2] == ("d2", "summary", "SHORTEN: TEA HOT WATER ON LEAVES.?")
    assert "{BRACE} AND A \u2028" in texts[0][4][2]


@pytest.mark.parametrize("cut", [1, 2, 40, 120, 0])
def test_a_torn_last_line_is_dropped_wherever_it_tears(out, cut):
    teacher = Teacher(upper, prompts=SHORT)
    teacher.write(DOCS, out)
    whole = out.read_bytes()
    torn = whole[:-cut] if cut else whole + b"\0" * 70_000
    out.write_bytes(torn)
    assert len(teacher.read(out)) == (6 if cut in (0, 1) else 5)
    assert teacher.write(DOCS, out).written == (0 if cut in (0, 1) else 1)
    assert out.read_bytes() == whole


def test_a_broken_line_in_the_middle_is_named(out):
    teacher = Teacher(upper, prompts=SHORT)
    teacher.write(DOCS, out)
    rows = out.read_bytes().splitlines(keepends=True)
    out.write_bytes(b"".join([rows[0], b"{broken\n", *rows[1:]]))
    with pytest.raises(ValueError, match="line 2 of .*reasoning.jsonl is no JSON object"):
        teacher.write(DOCS, out)


def test_other_models_prompts_and_documents_are_not_mixed(out):
    teacher = Teacher(upper, prompts=SHORT)
    teacher.write(DOCS, out)
    before = out.read_bytes()
    others = {
        "of model 'upper'.*this teacher's is 'other'": (Teacher(FunctionLLM(upper, name="other"), prompts=SHORT), DOCS),
        "'topic' texts of prompt": (Teacher(upper, prompts={**SHORT, "topic": "Other: {text}"}), DOCS),
        "'d1' is not the one": (teacher, [{"docno": "d1", "text": "Changed."}]),
        "'d9' is not the one": (teacher, [{"docno": "d9", "text": "a"}, {"docno": "d9", "text": "b"}]),
    }
    for message, (other, documents) in others.items():
        with pytest.raises(ValueError, match=message):
            other.write(documents, out.with_name("b.jsonl") if "d9" in message else out)
    out.with_name("foreign.jsonl").write_text('{"_id": "d1", "aspect": "qa", "text": "x", "model": "upper"}\n')
    with pytest.raises(ValueError, match="not written by a Teacher"):
        teacher.write(DOCS, out.with_name("foreign.jsonl"))
    assert out.read_bytes() == before


def test_an_aspect_may_be_added_and_one_may_be_left_for_later(out):
    assert Teacher(upper, prompts=SHORT).write(DOCS, out, aspects=["topic"]).written == 3
    more = Teacher(upper, prompts={**SHORT, "audience": "Who reads this? {text}"})
    report = more.write(DOCS, out)
    assert (report.written, report.kept) == (6, 3)
    assert len(Teacher(upper, prompts=SHORT).read(out)) == 6  # aspects of others do not disturb


def test_two_runs_do_not_write_to_one_file(out):
    inner = Teacher(upper, prompts=SHORT)

    def documents():
        yield DOCS[0]
        with pytest.raises(RuntimeError, match="being written by another run"):
            inner.write(DOCS, out)
        yield DOCS[1]

    assert inner.write(documents(), out).written == 4


def test_what_is_written_survives_an_error_in_the_function(out):
    def fails_late(prompt):
        if "leaves" in prompt:
            raise KeyError("mine")
        return "fine"

    with pytest.raises(KeyError, match="mine"):
        Teacher(fails_late, prompts=SHORT).write(DOCS, out)
    assert {row["_id"] for row in lines(out)} >= {"d1"}


def test_empty_documents_and_answers_that_are_no_text_are_recorded(out):
    answers = iter([None, "<think>let me\nsee</think>\n fine \ud800"])
    with pytest.warns(UserWarning, match="1 text"):
        report = Teacher(lambda prompt: next(answers), prompts={"a": "{text}"}).write(
            [{"_id": 1, "text": "x"}, {"_id": 2, "text": " "}], out
        )
    assert (report.written, report.failed) == (1, 1)
    assert lines(out)[0]["text"] == "fine ?"
    rows = {row["reason"]: row for row in lines(out.with_suffix(".failures.jsonl"))}
    assert rows["empty document"]["_id"] == "2" and any("returned NoneType" in reason for reason in rows)


def test_long_documents_are_cut(out):
    Teacher(lambda prompt: prompt, prompts={"a": "{text}"}, max_chars=7).write(
        [{"docno": 1, "title": "ab", "text": "cdefghi"}], out
    )
    assert lines(out)[0]["text"] == "ab cdef"


def test_workers_ask_at_the_same_time_and_batches_arrive_whole(out):
    class Model:
        name, batch_size, workers = "m", 3, 2
        sizes, meet = [], threading.Barrier(2, timeout=10)

        def generate(self, prompts):
            self.sizes.append(len(prompts))
            if len(self.sizes) <= 2:
                self.meet.wait()
            return [Answer(prompt) for prompt in prompts]

    documents = [{"docno": i, "text": str(i)} for i in range(7)]
    report = Teacher(Model(), prompts={"a": "{text}"}).write(documents, out)
    assert report.written == 7 and sorted(Model.sizes) == [1, 3, 3]


def test_an_iterator_is_read_as_needed(out):
    taken = []

    def documents():
        for i in range(100):
            taken.append(i)
            yield {"docno": i, "text": "stop" if i == 10 else "x"}

    def stops(prompt):
        if prompt == "stop":
            raise KeyboardInterrupt
        return prompt

    with pytest.raises(KeyboardInterrupt):
        Teacher(stops, prompts={"a": "{text}"}).write(documents(), out)
    assert 10 <= len(lines(out)) <= len(taken) < 20


# --- options ----------------------------------------------------------------------------------------------------------


def test_bad_options_are_named(out):
    for prompts in (
        {},
        {"a b": "{text}"},
        {"original": "{text}"},
        {"a": "no placeholder"},
        {"a": "{text} {text}"},
        "x",
        {"a": 1},
    ):
        with pytest.raises(ValueError, match="Teacher expects"):
            check_prompts(prompts)
    for options in ({"attempts": 0}, {"give_up": 0}, {"max_chars": 0}, {"price": (1, -1)}, {"price": (1,)}):
        with pytest.raises(ValueError, match="Teacher expects"):
            Teacher(upper, **options)
    for aspects in ("qa", ["qa", "qa"], ["nothing"]):
        with pytest.raises(ValueError, match="expects aspects among"):
            Teacher(upper).check_aspects(aspects)
    for document in ({"text": "x"}, {"docno": "1"}, {"docno": "1", "text": None}):
        with pytest.raises(ValueError, match="Teacher expects documents"):
            Teacher(upper).write([document], out)
    with pytest.raises(ValueError, match="FunctionLLM expects"):
        Teacher(3)


def test_prompts_keep_braces_and_ask_in_laymans_terms():
    assert tuple(PROMPTS) == ("summary", "purpose", "qa") and check_prompts(PROMPTS) == PROMPTS
    assert all("layman's terms" in prompt for prompt in PROMPTS.values()) and "at most 20" in PROMPTS["qa"]
    assert fill("{text} {x}", text="{y} {text}") == "{y} {text} {x}"
    assert check_answer("qa", "no pairs") and not check_answer("qa", "Q: Why? A: So.") and not check_answer("summary", "no pairs")


def test_identity_of_teachers():
    make = lambda **options: Teacher(EndpointLLM("m", base_url="http://x/v1", extra={"a": 1}), **options)  # noqa: E731
    assert make() == make() and hash(make()) == hash(make()) and pickle.loads(pickle.dumps(make())) == make()
    different = [make(), make(prompts=SHORT), make(attempts=1), make(price=(1, 2)), make(max_chars=5), Teacher(upper)]
    assert all(a != b for i, a in enumerate(different) for b in different[:i])
    assert repr(make()) == "Teacher(EndpointLLM('m', base_url='http://x/v1', extra={'a': 1}))"
    assert repr(Teacher(upper, prompts=SHORT)) == "Teacher(FunctionLLM(<upper>), prompts=<summary, topic>)"
