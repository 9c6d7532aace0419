"""Whether a difference is more than chance: the paired t-test, and Holm's correction for the number of tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

SIGNIFICANT = 0.05  # of corrected p values


def paired_t(system: np.ndarray, baseline: np.ndarray) -> float:
    """p of the paired t-test; 1, not undefined, where no query differs (which Holm could not order)."""
    from scipy import stats  # takes a second to import

    return 1.0 if np.array_equal(system, baseline) else float(stats.ttest_rel(system, baseline).pvalue)


def holm(p: ArrayLike) -> np.ndarray:
    """P values ``[f]`` corrected for the number of tests (Holm 1979, step-down), float64 ``[f]`` in the same order.

    Example::

        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, np.float64)
    order, corrected = np.argsort(values, kind="stable"), np.empty(len(values))
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1)
    return corrected
