"""How far labels can be trusted, learned from what a judge said of texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from ..core.confidence import Confidence, predictors
from ..labels import FeatureLabels

WEIGHTS = ("activation", "clarity", "detection")
PASSES = 6  # of filling in the verdicts left out; what is still wrong becomes about a quarter with each
START = Confidence(intercept=0.0, activation=1.0, clarity=1.0, detection=1.0)
LEAST_FEATURES, LEAST_DETECTION = 20, 0.6  # of a judge that is believed


def judged_excerpts(verdicts: pd.DataFrame, labels: FeatureLabels) -> pd.DataFrame:
    """The texts that switch their feature on, with the judge's verdict, as :func:`fit` reads them.

    Args:
        verdicts: what :func:`~pyterrier_xetrieval.labelling.quality.detection_scores` leaves in its file: ``feature``,
            ``active``, ``activation``, ``verdict`` (None for an answer that was none, which counts as wrong).
        labels: of these features, with ``max_activation``.

    Returns:
        columns feature, activation (over the maximum), clarity (NaN where unknown), fits (0 or 1), and of the feature's
        texts hits, active (how many fit, of how many) and false (share of the other texts that the label was found to fit).
    """
    table = labels.table.set_index("feature")
    own = verdicts[verdicts["feature"].isin(table.index)]
    active = own["active"].astype(bool)
    yes = own["verdict"].where(own["verdict"].notna(), ~active).astype(float)
    of_feature = pd.DataFrame({
        "hits": yes[active].groupby(own["feature"]).sum(), "active": active.groupby(own["feature"]).sum(),
        "false": yes[~active].groupby(own["feature"]).mean(),
    }).fillna({"false": 0.0})  # fmt: skip
    facts = table.reindex(own["feature"][active])
    clarity = facts["clarity"].to_numpy(np.float64) if "clarity" in facts else np.nan
    relative = own["activation"][active].to_numpy(np.float64) / facts["max_activation"].to_numpy(np.float64)
    told = {"feature": own["feature"][active], "activation": relative, "clarity": clarity, "fits": yes[active]}
    return pd.DataFrame(told).join(of_feature, on="feature").reset_index(drop=True)


def believed(excerpts: pd.DataFrame) -> bool:
    """Whether the judge tells texts of a feature from others, over enough features: one that says yes to all knows nothing."""
    own = excerpts.drop_duplicates("feature")
    detection = (own["hits"] / own["active"] + 1 - own["false"]) / 2
    return len(own) >= LEAST_FEATURES and bool(detection.mean() >= LEAST_DETECTION)


def fit(excerpts: pd.DataFrame, use: Sequence[str] = WEIGHTS) -> Confidence:
    """The likeliest parameters of :meth:`Confidence.of_text`; weights not in ``use`` are 0.

    A verdict is left out of its feature's detection and stands there with its expected value instead. Without it the
    score would know the answer; and with one verdict fewer it would be another score, lower beside strong excerpts
    than beside weak ones, and less certain than the one that the parameters are for.
    """
    found, expected = START, np.full(len(excerpts), excerpts["fits"].mean())
    for _ in range(PASSES):
        detection = detection_without(excerpts, np.arange(len(excerpts))[:, None], expected[:, None])
        side = predictors(excerpts["activation"], excerpts["clarity"], detection, None)
        found = likeliest([side], excerpts["fits"].to_numpy(), use, found)
        expected = found.of_text(excerpts["activation"], excerpts["clarity"], detection)
    return found


def likeliest(sides: Sequence[Sequence[np.ndarray]], fits: np.ndarray, use: Sequence[str], start: Confidence) -> Confidence:
    """Maximises the likelihood of ``Π_side sigmoid(w · predictors)``, weights from 0 up."""
    ones = np.ones(len(fits))
    x = np.stack([np.column_stack([ones, *(ones * p for p in side)]) for side in sides])
    names = list(start.to_dict())

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = x @ weights
        log_p = np.minimum(-np.logaddexp(0, -logits).sum(axis=0), -1e-12)
        value = fits * log_p + (1 - fits) * np.log(-np.expm1(log_p))
        slope = (fits - (1 - fits) / np.expm1(-log_p)) * np.exp(-np.logaddexp(0, logits))
        return -value.mean(), -np.einsum("sn,snp->p", slope, x) / len(fits)

    bounds = [(None, None)] + [(0, None if name in use else 0) for name in names[1:]]
    first = [value if name in (names[0], *use) else 0.0 for name, value in start.to_dict().items()]
    found = minimize(loss, first, jac=True, method="L-BFGS-B", bounds=bounds)
    return Confidence(**{name: round(float(value), 3) for name, value in zip(names, found.x)})


def detection_without(excerpts: pd.DataFrame, rows: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Detection of the feature of each line of ``rows``, whose verdicts are replaced by the ``expected``; ``[n]``."""
    of_feature = excerpts[["hits", "active", "false"]].to_numpy(np.float64)[rows[:, 0]]
    hits, active, false = of_feature.T
    left_out = (excerpts["fits"].to_numpy()[rows] - expected).sum(axis=1)
    return ((hits - left_out) / active + 1 - false) / 2
