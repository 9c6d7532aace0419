"""Multi-view scoring and folding: ``s = ⟨q,z⟩ + Σ_t w_t ⟨q,R_t(z)⟩`` (Cai et al. 2026, Eq. 11)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyterrier as pt

from ..core.checks import distinct_aspects, positive_int
from ..core.views import ASPECTS, fold_distinct, row_dots, view_weights
from .base import RowWiseStage, Stage
from .columns import stack_queries, stack_unique, unstack, view_column


def _fold_rows(inp: pd.DataFrame, aspects, weights, stage) -> tuple[np.ndarray, np.ndarray]:
    """Folded vectors of the distinct documents of a frame, and which of them each row holds."""
    z, rows = stack_unique(inp, "doc_vec", dim=None, stage=stage)
    views, view_rows = [z], [rows]
    for aspect in aspects:
        view, which = stack_unique(inp, view_column(aspect), dim=z.shape[1] or None, stage=stage)
        views.append(view)
        view_rows.append(which)
    return fold_distinct(views, view_rows, weights)


def ranks(qids: pd.Series, scores: np.ndarray, *, stage) -> np.ndarray:
    """Each row's place among its query's rows, int64 from 0, highest score first; equal scores in the order of the rows.

    What ``pt.model.add_ranks`` computes, in a quarter of its time on a page of ten results. ValueError for a missing qid,
    naming ``stage``.
    """
    queries, _ = pd.factorize(qids)
    if len(queries) and queries.min() < 0:
        raise ValueError(f"{stage!r} found a missing qid in row {int(queries.argmin())}")
    order = np.lexsort((-scores, queries))
    counts = np.bincount(queries)
    out = np.empty(len(scores), np.int64)
    out[order] = np.arange(len(scores)) - np.repeat(np.cumsum(counts) - counts, counts)
    return out


class MultiViewScorer(Stage):
    """Re-scores results by all views of each document: ``⟨q,z⟩ + Σ_t w_t ⟨q,R_t(z)⟩`` (Eq. 11).

    Needs ``qid``, ``docno``, ``query_vec``, ``doc_vec`` and ``doc_vec_<aspect>`` for each aspect; replaces ``score``
    and ``rank`` and keeps all else, rows in their order.

    Args:
        aspects: the views to add to the original one; ``()`` is the plain dot product.
        weights: ``w_t``, one number for all, one per aspect, or a mapping from aspect to number; None for 1, as in the paper.

    Raises:
        ValueError: weights that do not fit the aspects; vectors of different dimensions, NaN or infinite.

    Example::

        dense >> VectorLoader(index) >> model.internalizer() >> MultiViewScorer(aspects=["qa"], weights=[0.5])
    """

    def __init__(self, *, aspects: Sequence[str] = ASPECTS, weights=None):
        self.aspects = distinct_aspects(aspects, stage="MultiViewScorer")
        self.weights = view_weights(self.aspects, weights, stage="MultiViewScorer")

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        columns = ["query_vec", "doc_vec", *map(view_column, self.aspects)]
        pt.validate.result_frame(inp, extra_columns=columns, context=self)
        folded, rows = _fold_rows(inp, self.aspects, self.weights, self)
        inp, queries, query_rows = stack_queries(inp, dim=folded.shape[1] or None, stage=self)
        scores = row_dots(queries, query_rows, folded, rows).astype(np.float64)
        return inp.assign(score=scores, rank=ranks(inp["qid"], scores, stage=self))


class FoldViews(RowWiseStage):
    """Folds all views into ``doc_vec``: ``z + Σ_t w_t R_t(z)``, so that plain dot-product retrieval is multi-view.

    ``encoder >> internalizer >> fold >> FlexIndex(path)`` makes an index through which every pyterrier_dr retriever
    gives the scores of :class:`MultiViewScorer` at first stage. The view columns are used up and leave the frame.
    Folded vectors are not unit-norm: use the dot product, never cosine.

    Args:
        aspects, weights: as in :class:`MultiViewScorer`.
        batch_size: documents per chunk when indexing.

    Raises:
        ValueError: weights that do not fit; vectors of different dimensions, NaN or infinite.

    Example::

        (model.encoder() >> model.internalizer() >> model.fold() >> FlexIndex("folded.flex")).index(corpus)
    """

    def __init__(self, *, aspects: Sequence[str] = ASPECTS, weights=None, batch_size: int = 4096):
        self.aspects = distinct_aspects(aspects, stage="FoldViews")
        self.weights = view_weights(self.aspects, weights, stage="FoldViews")
        self.batch_size = positive_int(batch_size, "batch_size", stage="FoldViews")

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        columns = [view_column(a) for a in self.aspects]
        pt.validate.columns(inp, includes=["doc_vec", *columns], context=self)
        folded, rows = _fold_rows(inp, self.aspects, self.weights, self)
        return inp.drop(columns=columns).assign(doc_vec=unstack(folded, rows, index=inp.index))
