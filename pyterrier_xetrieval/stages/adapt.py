"""The stage of a linear adapter that somebody has trained elsewhere, and what it does to each feature."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ..core.calibration import feature_gains
from .base import Stage
from .columns import VectorColumns

if TYPE_CHECKING:
    from ..model import Xetrieval


class QueryAdapter(Stage):
    """Applies a linear adapter of queries, ``q' = q A + b``, so that explanations say what it does to each score, exactly.

    Needs ``qid`` and ``query_vec``, float32 ``[m]``; changes ``query_vec``. The vector before the change goes to ``query_vec_0``:
    :attr:`Explanation.changes` is then what the adapter did to each contribution, and the parts add up to the adapted score.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        matrix: ``A``, float ``[m, m]``, for queries that are rows: a ``torch.nn.Linear`` has its transpose, ``linear.weight.T``.
        shift: ``b``, float ``[m]``; None for none.

    Raises:
        ValueError: other shapes, or numbers that are not finite.

    Example::

        adapter = model.adapted(linear.weight.T.detach().numpy(), linear.bias.detach().numpy())
        print(adapter.features().head(10))                       # what it turns up or down, and what it adds to every query
        model.encoder() >> adapter >> index.retriever() >> index.explainer()
    """

    def __init__(self, model: Xetrieval, matrix: ArrayLike, shift: ArrayLike | None = None):
        self.model = model
        self.matrix = _checked(matrix, "matrix", (model.dim, model.dim))
        self.shift = None if shift is None else _checked(shift, "shift", (model.dim,))

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        self.check(inp, ["qid", "query_vec"])
        columns = VectorColumns(inp, stage=self, model=self.model)
        queries, rows = columns.queries()
        moved = queries @ self.matrix
        return columns.with_changed_queries(moved if self.shift is None else moved + self.shift, rows)

    def features(self) -> pd.DataFrame:
        """What the adapter does to each feature: ``feature``, ``label``, ``gain``, ``added``; the largest change first.

        ``gain`` is ``⟨w_j A, w_j⟩ / ⟨w_j, w_j⟩``: the contribution of a feature that both texts have becomes so many times as large.
        ``added`` is ``⟨b, w_j⟩``: what every query gets of the feature, in the unit of its activation. Rows are ordered by ``|gain − 1| + |added|``.
        """
        directions = self.model.sae.directions()
        gains = feature_gains(directions, self.matrix.T)
        added = np.zeros(len(gains)) if self.shift is None else directions.astype(np.float64) @ self.shift
        order = np.argsort(-(np.abs(gains - 1) + np.abs(added)), kind="stable")
        names = self.model.labels
        table = {"feature": order, "label": [names[j] for j in order.tolist()], "gain": gains[order], "added": added[order]}
        return pd.DataFrame(table)

    def _identity(self) -> tuple:  # arrays are compared by their content
        content = self.matrix.tobytes() + (b"" if self.shift is None else self.shift.tobytes())
        return self.model, hashlib.sha256(content).hexdigest(), self.shift is None

    def __repr__(self) -> str:
        return f"QueryAdapter({self.model!r}, <{self._identity()[1][:12]}>)"


def _checked(values: ArrayLike, name: str, shape: tuple[int, ...]) -> np.ndarray:
    try:
        found = np.asarray(values, np.float32).copy()
    except (TypeError, ValueError):
        raise ValueError(f"QueryAdapter expects {name} to be an array of numbers, found {type(values).__name__}") from None
    if found.shape != shape:
        raise ValueError(f"QueryAdapter expects {name} of shape {shape}, found {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"QueryAdapter expects finite numbers in {name}, found NaN or infinity")
    return found
