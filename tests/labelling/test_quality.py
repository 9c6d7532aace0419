"""The judges' tests of features and labels: chance for a judge that guesses, and what cannot be read."""

import random

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import FeatureLabels
from pyterrier_xetrieval.labelling.quality import detection_scores, intruder_detection, read_number, read_yes_no, with_detection
from pyterrier_xetrieval.labelling.samples import feature_samples
from pyterrier_xetrieval.llm.endpoints import FunctionLLM
from tests.helpers.builders import make_model, unit
from tests.helpers.llm_server import lines
from tests.helpers.planted import WORDS, planted_samples


@pytest.fixture(scope="module")
def planted():
    return planted_samples()


def test_a_judge_that_guesses_is_right_by_chance(tmp_path):
    model = make_model()
    vectors = unit(np.random.default_rng(1), 1500, 16)
    samples, texts = feature_samples(model, vectors), [f"text {i}" for i in range(1500)]
    rng = random.Random(0)
    guess = FunctionLLM(lambda prompt: rng.choice(["YES", "NO"]) if "YES" in prompt else str(rng.randint(1, 10)), name="guess")
    table = detection_scores(samples, texts, model.labels, guess, tmp_path / "d.jsonl", n_texts=40)
    assert len(table) >= 30 and table.accuracy.mean() == pytest.approx(0.5, abs=0.04)
    chance = [
        intruder_detection(samples, texts, guess, tmp_path / f"{s}.jsonl", seed=s, min_docs=20).correct.mean() for s in range(20)
    ]
    assert np.mean(chance) == pytest.approx(0.1, abs=0.03)
    drawn = [intruder_detection(samples, texts, guess, tmp_path / f"n{n}.jsonl", n_features=n).feature for n in (5, 9)]
    assert drawn[0].tolist() == drawn[1].tolist()[:5] and len(drawn[1]) == 9


def test_a_verdict_that_cannot_be_read_is_wrong_and_recorded(planted, tmp_path):
    samples, texts = planted
    labels = FeatureLabels(pd.DataFrame({"feature": range(6), "label": WORDS, "method": "m"}), 6)
    mumble = FunctionLLM(lambda prompt: "It depends, yes or no.", name="mumble")
    table = detection_scores(samples, texts, labels, mumble, tmp_path / "d.jsonl", n_texts=4, min_docs=1)
    assert (table.accuracy == 0).all() and (table.unparsable == 4).all()
    rows = lines(tmp_path / "d.jsonl")
    assert len(rows) == 24 and all(row["verdict"] is None and row["answer"] == "It depends, yes or no." for row in rows)
    table = intruder_detection(samples, texts, mumble, tmp_path / "i.jsonl", min_docs=1)
    assert not table.correct.any() and table.verdict.isna().all()
    assert [read_yes_no(t) for t in ("**Yes**, it does", "Answer: no", "<think>yes</think>NO", "<think>yes", "", "Nothing")] == [
        True, False, False, None, None, None,
    ]  # fmt: skip
    answers = ("7", "Text 7.", "**The answer is: 10**", "7, as 3 is fine", "11", "0", "3 of 10 or 4", "between 3 and 4", "none")
    assert [read_number(t, 10) for t in answers] == [7, 7, 10, 7, None, None, 3, None, None]


def test_scores_of_new_labels_leave_those_of_others():
    table = pd.DataFrame({"feature": [1, 2, 3], "label": ["new", "new", "old"], "method": "m", "detection": [0.9, 0.8, 0.7]})
    scores = pd.DataFrame({"feature": [1], "accuracy": [0.6]})
    own = pd.Series([True, True, False])
    found = with_detection(FeatureLabels(table, 5), own, scores).table["detection"]
    assert found[[0, 2]].tolist() == [0.6, 0.7] and np.isnan(found[1])  # of 2 an older label's score was known, and no more
    without = with_detection(FeatureLabels(table.drop(columns="detection"), 5), own, scores).table["detection"]
    assert without[0] == 0.6 and without[1:].isna().all()
