"""The mean and its bootstrap interval, against textbook values."""

import numpy as np
import pytest

from pyterrier_xetrieval.evaluation.bootstrap import estimate


def test_the_mean_and_how_many():
    found = estimate([1.0, np.nan, 3.0, 8.0])
    assert (found["value"], found["n"]) == (4.0, 3)
    assert found["low"] < 4 < found["high"]


def test_the_interval_of_a_normal_sample_is_the_textbook_one():
    x = np.random.default_rng(0).normal(5, 2, 1000)
    found, half = estimate(x), 1.96 * x.std() / np.sqrt(1000)
    assert found["low"] == pytest.approx(x.mean() - half, abs=0.1 * half)
    assert found["high"] == pytest.approx(x.mean() + half, abs=0.1 * half)


def test_copies_within_a_cluster_add_no_certainty():
    x = np.random.default_rng(0).normal(size=50)
    once, copied = estimate(x), estimate(np.repeat(x, 7), clusters=np.repeat(np.arange(50), 7))
    assert copied["n"] == 350
    for bound in ("value", "low", "high"):
        assert copied[bound] == pytest.approx(once[bound], abs=1e-12)
    assert estimate(np.repeat(x, 7))["high"] < once["high"] - 0.1


def test_clusters_count_by_their_size():
    found = estimate([1, 1, 1, 5], clusters=["a", "a", "a", "b"])
    assert (found["value"], found["low"], found["high"]) == (2, 1, 5)


def test_without_anything_to_resample():
    assert np.isnan([estimate([2.0])[b] for b in ("low", "high")]).all()
    nothing = estimate([np.nan])
    assert np.isnan(nothing["value"]) and nothing["n"] == 0


def test_lengths_that_differ():
    with pytest.raises(ValueError, match="one cluster for each value"):
        estimate([1, 2], clusters=["a"])


def test_intervals_of_few_values_are_too_narrow_by_what_is_said():
    rng = np.random.default_rng(0)
    found = {n: [estimate(rng.normal(size=n), seed=i) for i in range(400)] for n in (5, 20)}
    holds = {n: np.mean([e["low"] <= 0 <= e["high"] for e in own]) for n, own in found.items()}
    assert 0.78 < holds[5] < 0.89 and 0.89 < holds[20] < 0.96  # .84 and .93 of 2,000
