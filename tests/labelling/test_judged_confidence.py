"""Confidence from a judge's verdicts: planted parameters are found again, and a judge that knows nothing is not believed."""

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import FeatureLabels
from pyterrier_xetrieval.labelling.judged_confidence import believed, fit, judged_excerpts


def judged(yes, features=60, texts=10, seed=0):
    """Verdicts by a judge who says yes with probability ``yes(activation over the maximum)``, as a detection test keeps them."""
    rng = np.random.default_rng(seed)
    relative = np.concatenate([rng.uniform(0.05, 1, (features, texts // 2)), np.zeros((features, texts // 2))], axis=1)
    said = rng.random((features, texts)) < yes(relative)
    verdicts = pd.DataFrame({
        "feature": np.repeat(np.arange(features), texts), "active": (relative > 0).ravel(),
        "activation": 2 * relative.ravel(), "verdict": said.ravel().astype(object),
    })  # fmt: skip
    table = pd.DataFrame({"feature": np.arange(features), "label": "tea", "method": "m", "max_activation": 2.0, "clarity": 1.0})
    return verdicts, FeatureLabels(table, features)


def test_what_is_fitted_follows_the_judge():
    verdicts, labels = judged(lambda a: np.where(a > 0, a, 0.05), features=400)
    excerpts = judged_excerpts(verdicts, labels)
    assert believed(excerpts) and len(excerpts) == 2000 and excerpts["activation"].max() <= 1
    found, levels = fit(excerpts), np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    detection = ((excerpts["hits"] / excerpts["active"] + 1 - excerpts["false"]) / 2).mean()
    np.testing.assert_allclose(found.of_text(levels, 1.0, detection), levels, atol=0.1)


def test_excerpts_count_what_the_judge_said_of_the_feature():
    table = pd.DataFrame({"feature": [3], "label": "tea", "method": "m", "max_activation": 4.0})
    said = [(True, 1.0, True), (True, 4.0, None), (False, 0.0, None), (False, 0.0, False)]
    verdicts = pd.DataFrame([(3, *row) for row in said], columns=["feature", "active", "activation", "verdict"])
    found = judged_excerpts(verdicts, FeatureLabels(table, 8))
    assert found["activation"].tolist() == [0.25, 1.0] and found["fits"].tolist() == [1.0, 0.0]  # no answer is a wrong one
    assert found[["hits", "active", "false"]].to_numpy().tolist() == [[1, 2, 0.5]] * 2 and found["clarity"].isna().all()


@pytest.mark.parametrize("yes", [lambda a: np.ones_like(a), lambda a: np.full_like(a, 0.5), np.zeros_like])
def test_a_judge_that_tells_nothing_is_not_believed(yes):
    assert not believed(judged_excerpts(*judged(yes)))


def test_a_few_features_are_not_enough():
    assert not believed(judged_excerpts(*judged(lambda a: (a > 0).astype(float), features=19)))
