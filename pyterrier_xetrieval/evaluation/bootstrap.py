"""Means and their bootstrap intervals over queries (percentile: Efron 1979; clustered: Davison and Hinkley 1997)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

CONFIDENCE = 0.95
_RESAMPLES, _NUMBERS = 2000, 4_000_000  # resamples drawn; numbers laid out in memory at once


def estimate(values: ArrayLike, *, clusters: ArrayLike | None = None, seed: int = 0) -> dict[str, float]:
    """The mean of some values with its 95% percentile bootstrap interval.

    The interval of few clusters is too narrow: of normal values it holds the mean in 84% of all cases with 5 clusters, in 91% with
    10 and in 93% with 20 (2,000 simulations each).

    Args:
        values: float ``[n]``; NaN means not measured and is left out.
        clusters: ``[n]`` labels of any sortable kind; values of one cluster are drawn together (pairs of one query are
            not independent). None: every value by itself.
        seed: of the 2,000 resamples.

    Returns:
        ``value``, ``low``, ``high`` and ``n``, the number of values. ``low`` and ``high`` are NaN for fewer than two
        clusters, ``value`` too where there is no value.

    Raises:
        ValueError: values and clusters of different lengths.

    Example::

        >>> estimate([1.0, 2.0, 3.0], clusters=["q1", "q1", "q1"])
        {'value': 2.0, 'low': nan, 'high': nan, 'n': 3}
    """
    values = np.asarray(values, np.float64)
    labels = np.arange(len(values)) if clusters is None else np.asarray(clusters)
    if values.shape != labels.shape or values.ndim != 1:
        raise ValueError(f"estimate expects one cluster for each value, found {values.shape} values, {labels.shape} clusters")
    measured = ~np.isnan(values)
    if not measured.any():
        return {"value": np.nan, "low": np.nan, "high": np.nan, "n": 0}
    names, cluster = np.unique(labels[measured], return_inverse=True)
    sums, counts = np.bincount(cluster, weights=values[measured]), np.bincount(cluster).astype(np.float64)
    low = high = np.nan
    if len(names) > 1:
        from scipy.stats import bootstrap  # takes a second to import

        drawn = bootstrap(
            (sums, counts),
            lambda s, c, axis: s.sum(axis) / c.sum(axis),
            paired=True,
            vectorized=True,
            method="percentile",
            confidence_level=CONFIDENCE,
            n_resamples=_RESAMPLES,
            batch=max(1, _NUMBERS // len(names)),
            rng=np.random.default_rng(seed),
        )
        low, high = drawn.confidence_interval
    return {"value": float(sums.sum() / counts.sum()), "low": float(low), "high": float(high), "n": int(measured.sum())}
