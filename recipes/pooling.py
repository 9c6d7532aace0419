"""One figure from paired differences on several collections, with intervals that say what they are about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from pyterrier_xetrieval.evaluation.bootstrap import CONFIDENCE

RESAMPLES = 2000


def random_effects(means: ArrayLike, variances: ArrayLike) -> dict[str, float]:
    """The mean effect over a population of collections by DerSimonian and Laird (1986), with two intervals.

    Each collection's mean difference has a variance of its own (over queries), and the true differences vary between
    collections by ``tau2``, estimated by moments. ``low`` and ``high`` are the usual normal interval, which is too narrow with few
    collections; ``hk_low`` and ``hk_high`` that of Hartung and Knapp (2001), with the t distribution of ``k − 1``, and at
    least as wide as the first.

    Args:
        means, variances: float ``[k]``, k ≥ 2: mean difference of each collection, and the variance of that mean. A variance
            of 0 (no query differs) counts as the smallest of the others.

    Returns:
        ``value``, ``low``, ``high``, ``hk_low``, ``hk_high``, ``tau2``, ``q`` (Cochran's), ``k``, and ``p`` of the normal test.

    Raises:
        ValueError: fewer than two collections, or none whose queries differ.

    Example::

        >>> found = random_effects([0.1, 0.3], [0.01, 0.01])
        >>> round(found["value"], 3), round(float(found["tau2"]), 3)
        (0.2, 0.01)
    """
    y, v = np.asarray(means, np.float64), np.asarray(variances, np.float64)
    if len(y) < 2 or not (v > 0).any():
        raise ValueError(f"random_effects expects two collections and more, some with queries that differ, found {len(y)}")
    v = np.where(v > 0, v, v[v > 0].min())
    fixed = 1 / v
    q = float((fixed * (y - np.average(y, weights=fixed)) ** 2).sum())
    tau2 = max(0.0, (q - (len(y) - 1)) / (fixed.sum() - (fixed**2).sum() / fixed.sum()))
    w = 1 / (v + tau2)
    value, error = float(np.average(y, weights=w)), float(np.sqrt(1 / w.sum()))
    half = stats.norm.ppf(0.5 + CONFIDENCE / 2) * error
    spread = np.sqrt((w * (y - value) ** 2).sum() / ((len(y) - 1) * w.sum()))
    wide = max(half, float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(y) - 1) * spread))
    return {
        "value": value, "low": value - half, "high": value + half, "hk_low": value - wide, "hk_high": value + wide,
        "tau2": tau2, "q": q, "k": len(y), "p": float(2 * stats.norm.sf(abs(value / error))),
    }  # fmt: skip


def plain_mean(differences: Sequence[np.ndarray], *, seed: int = 0) -> dict[str, float]:
    """The mean of the collections' means; its 95 % percentile bootstrap draws collections, then queries of each.

    Args:
        differences: for each collection float ``[q]``, one number a query.
        seed: of the 2,000 resamples.

    Returns:
        ``value``, ``low``, ``high``, ``k``.
    """
    rng, k = np.random.default_rng(seed), len(differences)
    drawn = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        some = [differences[j] for j in rng.integers(k, size=k)]
        drawn[i] = np.mean([own[rng.integers(len(own), size=len(own))].mean() for own in some])
    low, high = np.quantile(drawn, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    return {"value": float(np.mean([own.mean() for own in differences])), "low": float(low), "high": float(high), "k": k}


def paired(difference: np.ndarray) -> dict[str, float]:
    """Mean of float ``[q]`` differences, its 95 % t interval, ``se``, ``t`` and ``p``; p is 1 where nothing differs.

    >>> paired(np.zeros(3))["p"]
    1.0
    """
    n, mean = len(difference), float(difference.mean())
    error = float(difference.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, max(1, n - 1))) * error
    t = mean / error if error else 0.0
    p = float(2 * stats.t.sf(abs(t), n - 1)) if error else 1.0
    return {"value": mean, "low": mean - half, "high": mean + half, "se": error, "t": t, "p": p, "n": n}
