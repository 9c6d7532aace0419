"""The stages that score by all views and that fold all views into one vector (Cai et al. 2026, Eq. 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..core.checks import check_model, positive_int
from ..core.views import fold_views, row_dots
from ..documents import check_ids
from ..vector_cells import unstack
from .base import RowWiseStage, Stage
from .columns import VectorColumns, aspects_of, view_column

if TYPE_CHECKING:
    from ..model import Xetrieval


def views_of(frame: pd.DataFrame, model: Xetrieval | None) -> dict[str, float]:
    """The weight of each view that a frame has beside the original one.

    The frame says which views there are, and the model says their weights. Views that the model does not know are not
    its own and are left alone. Without a model every view column counts, with weight 1, as in Eq. 11.
    """
    there = aspects_of(frame.columns)
    if model is None:
        return dict.fromkeys(there, 1.0)
    return {aspect: weight for aspect, weight in model.weights.items() if aspect in there}


def ranks(qids: pd.Series, scores: np.ndarray, *, stage: object) -> np.ndarray:
    """Each row's place among its query's rows, int64 from 0, highest score first; equal scores in the order of the rows.

    What ``pt.model.add_ranks`` computes, in a quarter of its time on a page of ten results. ValueError for a qid that is
    missing or no id, naming ``stage``.
    """
    try:
        queries, _ = pd.factorize(qids)
    except TypeError:
        check_ids(qids.tolist(), "qid", stage=stage)
        raise
    if len(queries) and queries.min() < 0:
        raise ValueError(f"{stage!r} found a missing qid in row {int(queries.argmin())}")
    order = np.lexsort((-scores, queries))
    counts = np.bincount(queries)
    out = np.empty(len(scores), np.int64)
    out[order] = np.arange(len(scores)) - np.repeat(np.cumsum(counts) - counts, counts)
    return out


class MultiViewScorer(Stage):
    """Re-scores results by all views of each document: ``⟨q,z⟩ + Σ_t w_t ⟨q,R_t(z)⟩`` (Eq. 11).

    Needs ``qid``, ``docno``, ``query_vec`` and ``doc_vec``; uses the views ``doc_vec_<aspect>`` that the frame has, and
    without any it scores by the plain dot product. Replaces ``score`` and ``rank`` and keeps all else, rows in their order.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`, which says the weights ``w_t`` of its views
            (:meth:`~pyterrier_xetrieval.Xetrieval.with_views` changes them). None, as in the paper: every view column of
            the frame with weight 1.

    Raises:
        ValueError: vectors of different dimensions, NaN or infinite.

    Example::

        dense >> model.internalizer() >> MultiViewScorer()              # the paper's
        dense >> model.internalizer() >> MultiViewScorer(model)         # the same as model.scorer()
    """

    def __init__(self, model: Xetrieval | None = None):
        if model is not None:
            check_model(model, stage="MultiViewScorer")
        self.model = model

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        self.check(inp, ["qid", "docno", "query_vec", "doc_vec"])
        weights = views_of(inp, self.model)
        columns = VectorColumns(inp, stage=self, model=self.model)
        views, rows = columns.documents(list(weights))
        queries, query_rows = columns.queries()
        columns.check_space("doc_vec", views[0])
        columns.check_space("query_vec", queries)
        scores = row_dots(queries, query_rows, fold_views(views, list(weights.values())), rows).astype(np.float64)
        return columns.assign(score=scores, rank=ranks(inp["qid"], scores, stage=self))


class FoldViews(RowWiseStage):
    """Folds all views into ``doc_vec``: ``z + Σ_t w_t R_t(z)``, so that plain dot-product retrieval is multi-view.

    ``encoder >> internalizer >> fold >> FlexIndex(path)`` makes an index through which every pyterrier_dr retriever
    gives the scores of :class:`MultiViewScorer` at first stage. The view columns are used up and leave the frame.
    Folded vectors are not of unit length: use the dot product, never cosine.

    Args:
        model: as in :class:`MultiViewScorer`.
        batch_size: documents that an index hands to this stage at once.

    Raises:
        ValueError: vectors of different dimensions, NaN or infinite.

    Example::

        (model.encoder() >> model.internalizer() >> model.fold() >> FlexIndex("folded.flex")).index(corpus)
    """

    def __init__(self, model: Xetrieval | None = None, *, batch_size: int = 4096):
        if model is not None:
            check_model(model, stage="FoldViews")
        self.model = model
        self.batch_size = positive_int(batch_size, "batch_size", stage="FoldViews")

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        self.check(inp, ["doc_vec"])
        weights = views_of(inp, self.model)
        columns = VectorColumns(inp, stage=self, model=self.model)
        views, rows = columns.documents(list(weights))
        columns.check_space("doc_vec", views[0])
        facts = None if self.model is None else self.model.vector_facts
        folded = unstack(fold_views(views, list(weights.values())), rows, fits=facts)
        return inp.drop(columns=[view_column(aspect) for aspect in weights]).assign(doc_vec=folded)
