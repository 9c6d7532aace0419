"""One figure of several collections, against hand calculation and literal resampling."""

import numpy as np
import pytest
from scipy import stats

from recipes.pooling import paired, plain_mean, random_effects


class TestRandomEffects:
    def test_by_hand(self):
        """Q = 2, its degrees of freedom 1, C = 200 − 20,000 / 200: τ² = (2 − 1) / 100; both weigh 1 / .02."""
        found = random_effects([0.1, 0.3], [0.01, 0.01])
        assert found["value"] == pytest.approx(0.2) and found["tau2"] == pytest.approx(0.01) and found["q"] == pytest.approx(2)
        assert (found["low"], found["high"]) == pytest.approx((0.2 - 0.196, 0.2 + 0.196), abs=1e-4)  # error √(1 / 100)
        assert found["hk_high"] - 0.2 == pytest.approx(12.706 * 0.1, rel=1e-4)
        assert found["p"] == pytest.approx(2 * (1 - stats.norm.cdf(2)))

    def test_alike_collections_count_by_their_precision_and_no_interval_is_narrower_than_the_normal_one(self):
        found = random_effects([0.2, 0.2, 0.2], [0.01, 0.04, 0.01])
        assert found["tau2"] == 0 and found["value"] == pytest.approx(0.2)
        assert found["high"] - 0.2 == pytest.approx(1.95996 / np.sqrt(100 + 25 + 100), rel=1e-4)
        assert found["hk_low"] == found["low"]

    def test_a_collection_where_nothing_differs_does_not_decide_alone(self):
        found = random_effects([0.0, 0.3], [0.0, 0.01])
        assert found["value"] == pytest.approx(0.15)

    def test_what_cannot_be_pooled(self):
        for means, variances in (([0.1], [0.1]), ([0.0, 0.0], [0.0, 0.0])):
            with pytest.raises(ValueError, match="two collections and more"):
                random_effects(means, variances)


class TestPlainMean:
    def test_collections_count_the_same_whatever_their_size(self):
        found = plain_mean([np.zeros(100), np.ones(10)])
        assert found["value"] == 0.5 and found["k"] == 2
        assert (found["low"], found["high"]) == (0, 1)  # one of four draws has the same collection twice

    def test_the_interval_is_that_of_the_variance_over_collections_and_queries(self):
        rng = np.random.default_rng(0)
        differences = [m + rng.normal(size=50) for m in rng.normal(size=12)]
        found, means = plain_mean(differences), np.array([own.mean() for own in differences])
        within = np.mean([own.var() / 50 for own in differences])
        half = 1.96 * np.sqrt((means.var() + within) / 12)
        assert (found["high"] - found["low"]) / 2 == pytest.approx(half, rel=0.1)


def test_a_paired_test_is_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 30))
    found, known = paired(a - b), stats.ttest_rel(a, b)
    assert (found["t"], found["p"]) == pytest.approx((known.statistic, known.pvalue))
    assert (found["low"], found["high"]) == pytest.approx(tuple(known.confidence_interval()))
    assert paired(np.zeros(4)) == {"value": 0, "low": 0, "high": 0, "se": 0, "t": 0, "p": 1, "n": 4}
