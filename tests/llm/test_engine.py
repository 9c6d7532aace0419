"""The engine: the order of rows, what an end of the run leaves in the file, and what is asked again."""

import threading

import pytest

from pyterrier_xetrieval.llm.answer_file import AnswerFile, Question
from pyterrier_xetrieval.llm.endpoints import Answer, TeacherError
from pyterrier_xetrieval.llm.engine import Run
from tests.helpers.llm_server import lines


class Model:
    """Answers a prompt with itself, when ``answer(prompt)`` lets it."""

    name, batch_size = "model", 1

    def __init__(self, answer=lambda prompt: Answer(prompt), workers=2):
        self.answer, self.workers, self.asked = answer, workers, []

    def generate(self, prompts):
        self.asked.extend(prompts)
        return [self.answer(prompt) for prompt in prompts]


def run(path, llm, *, in_order=False, attempts=2, give_up=3) -> Run:
    def read(question, answer):
        return {**question.key, "text": answer.text, **question.facts}, None if answer.text else "empty"

    file = AnswerFile(path, ("n",), lambda row: {"model": llm.name}, "source", "texts")
    return Run(file, llm, read, attempts=attempts, give_up=give_up, in_order=in_order)


def questions(n, model="model"):
    return [Question({"n": i}, f"p{i}", {"model": model, "source": f"s{i}"}) for i in range(n)]


@pytest.mark.parametrize("in_order", [True, False])
def test_a_slow_answer_holds_up_the_rows_only_where_their_order_counts(tmp_path, in_order):
    later, path = threading.Event(), tmp_path / "a.jsonl"

    def first_is_slow(prompt):
        if prompt == "p0":
            assert later.wait(10)
        elif prompt == "p9":
            later.set()
        return Answer(prompt)

    job = run(path, Model(first_is_slow), in_order=in_order)
    report = job.ask(questions(12))
    written = [row["n"] for row in lines(path)]
    assert (report.written, report.failed) == (12, 0) and sorted(written) == list(range(12))
    assert (written == sorted(written)) == in_order and [row["n"] for row in job.rows] == (written if in_order else [])


@pytest.mark.parametrize("in_order", [True, False])
def test_what_is_in_flight_at_the_end_comes_home(tmp_path, in_order):
    broken, path = threading.Event(), tmp_path / "a.jsonl"

    def breaks(prompt):
        if prompt == "p1":
            broken.set()
            raise KeyError("mine")
        assert broken.wait(10)
        return Answer(prompt)

    llm = Model(breaks)
    with pytest.raises(KeyError, match="mine"):
        run(path, llm, in_order=in_order).ask(questions(9))
    assert [row["n"] for row in lines(path)][:1] == [0] and "p8" not in llm.asked
    again = Model()
    report = run(path, again, in_order=in_order).ask(questions(9))
    assert report.kept + report.written == 9 and report.kept >= 1 and len(again.asked) == report.written


def test_after_systemexit_nothing_is_waited_for(tmp_path):
    forever, path = threading.Event(), tmp_path / "a.jsonl"

    def ends(prompt):
        if prompt == "p0":
            raise SystemExit(3)
        forever.wait(20)
        return Answer(prompt)

    with pytest.raises(SystemExit):
        run(path, Model(ends)).ask(questions(4))
    assert not forever.is_set() and not lines(path)
    forever.set()


def test_unusable_answers_are_asked_for_first_and_final_ones_not_again(tmp_path):
    answers = {"p0": iter([Answer("", 7, 1), Answer("ok", 7, 2)]), "p1": iter([Answer("", problem="gone", final=True)])}
    llm = Model(lambda prompt: next(answers.get(prompt, iter([Answer("x")]))), workers=1)
    job = run(tmp_path / "a.jsonl", llm)
    with pytest.warns(UserWarning, match="1 answer.s. are missing, see .*a.failures.jsonl"):
        report = job.ask(questions(3))
    assert llm.asked == ["p0", "p0", "p1", "p2"]
    assert (report.written, report.failed, report.input_tokens, report.output_tokens) == (2, 1, 14, 3)
    failures = lines(tmp_path / "a.failures.jsonl")
    assert [(row["n"], row["reason"], row["attempt"]) for row in failures] == [(0, "empty", 1), (1, "gone", 1)]


def test_the_run_gives_up_only_after_failures_in_a_row(tmp_path):
    some = Model(lambda prompt: Answer("ok" if prompt in ("p2", "p5") else ""), workers=1)
    with pytest.warns(UserWarning, match="6 answer"):
        assert run(tmp_path / "a.jsonl", some, attempts=1).ask(questions(8)).failed == 6
    with pytest.raises(TeacherError, match="no usable answer 3 times in a row, the last because of: empty"):
        run(tmp_path / "b.jsonl", Model(lambda prompt: Answer(""), workers=1), attempts=1).ask(questions(8))


def test_a_question_that_cannot_be_asked_and_one_asked_before(tmp_path):
    path, llm = tmp_path / "a.jsonl", Model()
    empty = Question({"n": 3}, "", {"model": "model", "source": "s3"}, problem="nothing to ask")
    with pytest.warns(UserWarning):
        report = run(path, llm).ask([*questions(2), questions(1)[0], empty])
    assert (report.written, report.kept, report.failed) == (2, 0, 1) and sorted(llm.asked) == ["p0", "p1"]
    assert lines(tmp_path / "a.failures.jsonl")[0] == {
        "n": 3,
        "reason": "nothing to ask",
        "attempt": 0,
        "answer": "",
        "model": "model",
    }
    other = questions(1)[0]._replace(facts={"model": "model", "source": "changed"})
    with pytest.raises(ValueError, match="'n': 0.* was asked about before, in .*a.jsonl or in this call, with other texts"):
        run(path, llm).ask([other])
    llm.name = "another"
    with pytest.raises(ValueError, match="the answer about '.' of model 'model' .line 1., this call's is 'another'"):
        run(path, llm).ask(questions(2, "another"))
