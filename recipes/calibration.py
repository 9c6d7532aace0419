"""How well probabilities agree with what was observed: reliability, calibration error, what a least probability keeps."""

from __future__ import annotations

from collections.abc import Mapping

import click
import numpy as np
import pandas as pd

BINS = 10
LEVELS = tuple(level / 10 for level in range(1, 10))


def reliability(p: np.ndarray, fits: np.ndarray) -> pd.DataFrame:
    """What was predicted and what was observed in :data:`BINS` bins of equal width, by the lower end of the bin."""
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    frame = pd.DataFrame({"from": bins / BINS, "predicted": p, "observed": fits, "cases": 1})
    return frame.groupby("from").agg({"cases": "sum", "predicted": "mean", "observed": "mean"})


def calibration_error(p: np.ndarray, fits: np.ndarray) -> float:
    """Expected calibration error: the mean over cases of their bin's ``|predicted − observed|`` (Naeini et al. 2015)."""
    table = reliability(p, fits)
    return float(np.average((table["predicted"] - table["observed"]).abs(), weights=table["cases"]))


def log_loss(p: np.ndarray, fits: np.ndarray) -> float:
    """Mean of ``−ln`` of the probability given to what was observed; probabilities are kept 1e-9 from 0 and 1."""
    p = np.clip(p, 1e-9, 1 - 1e-9)
    return float(-np.mean(fits * np.log(p) + (1 - fits) * np.log1p(-p)))


def kept(p: np.ndarray, fits: np.ndarray, others: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """What each least probability keeps, and what ``others`` keep (bool ``[n]`` by name): cases, share, precision, recall."""
    rules = {f"confidence >= {level}": p >= level for level in LEVELS} | dict(others)
    rows = {
        name: [chosen.sum(), chosen.mean(), fits[chosen].mean() if chosen.any() else np.nan, fits[chosen].sum() / fits.sum()]
        for name, chosen in rules.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["cases", "share", "precision", "recall"])


def isotonic(p: np.ndarray, fits: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """What isotonic regression makes of ``p``, each part by the others: the best that any increasing function could do."""
    from sklearn.isotonic import IsotonicRegression

    out = np.zeros(len(p))
    for part in np.unique(fold):
        own = fold == part
        out[own] = IsotonicRegression(out_of_bounds="clip").fit(p[~own], fits[~own]).predict(p[own])
    return out


def show_errors(title: str, cases: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Prints a line for each of ``cases``: by name, probabilities and what was observed."""
    for name, (p, fits) in cases.items():
        click.echo(
            f"{title}; {name}: {len(p)}, predicted {p.mean():.3f}, observed {fits.mean():.3f}, "
            f"calibration error {calibration_error(p, fits):.3f}, log loss {log_loss(p, fits):.4f}"
        )
