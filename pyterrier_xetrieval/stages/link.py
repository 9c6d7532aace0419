"""The stage that follows links from the features that a query shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..core.codes import encode_view
from ..query_tuning import QueryTuning
from .base import Stage
from .columns import VectorColumns, added_cell

if TYPE_CHECKING:
    from ..model import Xetrieval


class FeatureLinks(Stage):
    """For queries that show one feature, adds another, or takes it away: ``q' = q + Σ_ij M_ij a_i(q) w_j``.

    ``a_i(q)`` is the activation of feature i in the query, ``w_j`` the direction of feature j, and ``M_ij`` the weight of
    the link from i to j. Needs ``qid`` and ``query_vec``, float32 ``[m]``; changes ``query_vec``. Which features a query
    shows is read off the vector that the encoder gave (``query_vec_0``, where a stage before has changed it). What is added
    goes to the column ``query_added``, so that explanations list these features too. The index stays as it is.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        tuning: the links; its calibration is not applied here (``model.tuned(tuning)`` applies both).
        batch_size: vectors encoded at once.

    Raises:
        ValueError: links between features of another dictionary.

    Example::

        model.encoder() >> FeatureLinks(model, QueryTuning("beer.tuning")) >> index.retriever()
    """

    def __init__(self, model: Xetrieval, tuning: QueryTuning, *, batch_size: int = 512):
        if not isinstance(tuning, QueryTuning):
            raise ValueError(f"FeatureLinks expects a QueryTuning, found {type(tuning).__name__}")
        if tuning.dictionary != model.labels.dictionary:
            raise ValueError("FeatureLinks expects links of its model's dictionary, found those of another one")
        self.model, self.tuning, self.batch_size = model, tuning, batch_size

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        self.check(inp, ["qid", "query_vec"])
        if not len(self.tuning):
            return inp
        columns = VectorColumns(inp, stage=self, model=self.model)
        queries, rows, change = columns.changed_queries()
        encoded = queries if change is None else change.encoded
        columns.check_space("query_vec", encoded)
        links, sae = self.tuning.as_links(), self.model.sae
        codes = encode_view(sae, encoded, refit=False, batch_size=self.batch_size)
        amounts = links.amounts(codes, sae.dict_size)
        moved = links.applied(queries, amounts, sae.directions())
        before = [{}] * len(queries) if change is None else change.added
        cells = np.empty(len(queries), object)
        cells[:] = [added_cell(own, earlier) for own, earlier in zip(links.added(amounts), before)]
        return columns.with_changed_queries(moved, rows, cells[rows])
