"""The rows of every evaluation's table: conditions, a measure, its value with an interval, and n."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from .bootstrap import estimate

NUMBERS = ("measure", "value", "low", "high", "n")


class TidyRows:
    """Collects the rows of one table.

    Args:
        seed: of the bootstrap; common: columns that have one value in all rows.

    Example::

        >>> rows = TidyRows(0, collection="toy")
        >>> rows.mean("nDCG@10", [0.5, 0.5], system="dense")
        >>> rows.number("p", 0.25, 2, system="dense")
        >>> rows.frame("system")
          collection system  measure  value  low  high  n
        0        toy  dense  nDCG@10   0.50  0.5   0.5  2
        1        toy  dense        p   0.25  NaN   NaN  2
    """

    def __init__(self, seed: int, **common: Any):
        self.seed, self._common = seed, common
        self._rows: list[dict[str, Any]] = []

    def mean(self, measure: str, values: ArrayLike, *, clusters: ArrayLike | None = None, **conditions: Any) -> None:
        """Adds a row with the mean of ``values`` and its interval, as :func:`.bootstrap.estimate` gives them."""
        self._rows.append(self._common | conditions | {"measure": measure} | estimate(values, clusters=clusters, seed=self.seed))

    def number(
        self, measure: str, value: float, n: float, low: float = np.nan, high: float = np.nan, **conditions: object
    ) -> None:
        """Adds a row with a number as it is."""
        numbers = {"measure": measure, "value": value, "low": low, "high": high, "n": n}
        self._rows.append({**self._common, **conditions, **numbers})

    def quantiles(self, prefix: str, values: np.ndarray, levels: Sequence[float], **conditions: Any) -> None:
        """Adds a row ``<prefix>05`` for the level 0.05, and so on, without intervals; no row without values."""
        for level in levels if len(values) else ():
            self.number(f"{prefix}{100 * level:02.0f}", float(np.quantile(values, level)), len(values), **conditions)

    def frame(self, *conditions: str) -> pd.DataFrame:
        """The table: the common columns, then these conditions, then :data:`NUMBERS`."""
        return pd.DataFrame(self._rows, columns=[*self._common, *conditions, *NUMBERS])
