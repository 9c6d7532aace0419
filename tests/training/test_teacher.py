"""The teacher's file and options: what is written when, what is not mixed, and what is refused."""

import pickle
import threading
from pathlib import Path

import pandas as pd
import pytest

from pyterrier_xetrieval.llm.endpoints import Answer, EndpointLLM, FunctionLLM
from pyterrier_xetrieval.training.teacher import Teacher
from tests.helpers.documents import DOCS, SHORT, upper
from tests.helpers.llm_server import lines


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "reasoning.jsonl"


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
        "of model 'upper'.*this call's is 'other'": (Teacher(FunctionLLM(upper, name="other"), prompts=SHORT), DOCS),
        "topic' of prompt": (Teacher(upper, prompts={**SHORT, "topic": "Other: {text}"}), DOCS),
        "'d1'.* was asked about before, .*reasoning.jsonl or in this call, with other text, title or max_chars": (
            teacher,
            [{"docno": "d1", "text": "Changed."}],
        ),
        "'d9'.* was asked about before": (teacher, [{"docno": "d9", "text": "a"}, {"docno": "d9", "text": "b"}]),
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


def test_bad_options_are_named(out):
    for options in ({"attempts": 0}, {"give_up": 0}, {"max_chars": 0}, {"price": (1, -1)}, {"price": (1,)}, {"price": ("1", 2)}):
        with pytest.raises(ValueError, match="Teacher expects"):
            Teacher(upper, **options)
    for aspects in ("qa", ["qa", "qa"], ["nothing"]):
        with pytest.raises(ValueError, match="expects aspects among"):
            Teacher(upper).check_aspects(aspects)
    for document in ({"text": "x"}, {"docno": "1"}, {"docno": "1", "text": None}):
        with pytest.raises(ValueError, match="Teacher (expects documents with docno|found no text in document '1')"):
            Teacher(upper).write([document], out)
    with pytest.raises(ValueError, match="FunctionLLM expects"):
        Teacher(3)


def test_identity_of_teachers():
    make = lambda **options: Teacher(EndpointLLM("m", base_url="http://x/v1", extra={"a": 1}), **options)  # noqa: E731
    assert make() == make() and hash(make()) == hash(make()) and pickle.loads(pickle.dumps(make())) == make()
    different = [make(), make(prompts=SHORT), make(attempts=1), make(price=(1, 2)), make(max_chars=5), Teacher(upper)]
    assert all(a != b for i, a in enumerate(different) for b in different[:i])
    assert repr(make()) == "Teacher(EndpointLLM('m', base_url='http://x/v1', extra={'a': 1}))"
    assert repr(Teacher(upper, prompts=SHORT)) == "Teacher(FunctionLLM(<upper>), prompts=<summary, topic>)"
