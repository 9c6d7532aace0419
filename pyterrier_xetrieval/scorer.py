"""Multi-view scoring and folding: ``s = ⟨q,z⟩ + Σ_t w_t ⟨q,R_t(z)⟩`` (Cai et al. 2026, Eq. 11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
import pandas as pd
import pyterrier as pt

from .stage import RowWiseStage, Stage, distinct_aspects, positive_int
from .vectors import stack_queries, stack_unique, unstack, view_column

ASPECTS = ("summary", "purpose", "qa")  # the paper's three
_PAIRS = 128  # whose vectors are laid side by side at once: they stay in the processor's cache


def view_weights(aspects: Sequence[str], weights, *, stage: str) -> tuple[float, ...]:
    """The weight ``w_t`` of each aspect in the order of ``aspects``.

    Args:
        aspects: the views' names.
        weights: None for 1 each (Eq. 11 as printed), one number for all, one per aspect, or a mapping with exactly the aspects as keys.
        stage: named in errors.

    Raises:
        ValueError: other aspects than expected, another count, or a weight that is no finite number.
    """
    if weights is None:
        weights = 1
    if isinstance(weights, Real):
        weights = [weights] * len(aspects)
    if isinstance(weights, Mapping):
        if set(weights) != set(aspects):
            raise ValueError(f"{stage} expects weights for {list(aspects)}, found {list(weights)}")
        weights = [weights[a] for a in aspects]
    try:
        weights = tuple(map(float, () if isinstance(weights, str) else weights))
    except TypeError:
        raise ValueError(f"{stage} expects numbers as weights, found {weights!r}") from None
    if len(weights) != len(aspects):
        raise ValueError(f"{stage} expects {len(aspects)} weights, one for each of {list(aspects)}, found {len(weights)}")
    if not np.isfinite(weights).all():
        raise ValueError(f"{stage} expects finite weights, found {list(weights)}")
    return weights


def fold_views(views: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """``z + Σ_t w_t R_t(z)``: the one vector whose dot product with a query is the multi-view score.

    Args:
        views: float32 ``[n, m]`` each, the original view first.
        weights: one number for each view but the first.

    Returns:
        float32 ``[n, m]``; not unit-norm, and not to be normalised: that would change the ranking.
    """
    folded = np.array(views[0], np.float32)
    for i, view in enumerate(views[1:]):
        folded += np.float32(weights[i]) * view
    return folded


def _fold_rows(inp: pd.DataFrame, aspects, weights, stage) -> tuple[np.ndarray, np.ndarray]:
    """Folded vectors of the distinct documents of a frame, and which of them each row holds."""
    z, rows = stack_unique(inp, "doc_vec", dim=None, stage=stage)
    views, view_rows = [z], [rows]
    for aspect in aspects:
        view, which = stack_unique(inp, view_column(aspect), dim=z.shape[1] or None, stage=stage)
        views.append(view)
        view_rows.append(which)
    return fold_distinct(views, view_rows, weights)


def fold_distinct(views: list, view_rows: list, weights: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """:func:`fold_views` where each view has distinct vectors of its own: the folded ones, and each row's.

    Args:
        views: float32 ``[u_v, m]`` each; view_rows: int64 ``[n]`` each, which of its vectors a row has.
        weights: as in :func:`fold_views`.
    """
    rows, first = distinct_documents(view_rows)
    return fold_views([view[own[first]] for view, own in zip(views, view_rows)], weights), rows


def distinct_documents(view_rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Rows with the same vectors in all views have the same document.

    A document whose views were edited differently in different rows is as many documents.

    Args:
        view_rows: int64 ``[n]`` for each view, which of its distinct vectors a row has.

    Returns:
        int64 ``[n]``, which document each row has, and int64 ``[u]``, a row of each document.
    """
    joint = view_rows[0]
    for own in view_rows[1:]:
        if not np.array_equal(own, view_rows[0]):  # as a rule they are: one row of a document, one vector in each view
            joint, _ = pd.factorize(joint * (own.max() + 1) + own)
    _, first, rows = np.unique(joint, return_index=True, return_inverse=True)
    return rows, first


def row_dots(left: np.ndarray, left_rows: np.ndarray, right: np.ndarray, right_rows: np.ndarray) -> np.ndarray:
    """``⟨left[left_rows[i]], right[right_rows[i]]⟩`` for every ``i``, float32 ``[n]``, in blocks."""
    out = np.empty(len(left_rows), np.float32)
    for start in range(0, len(out), _PAIRS):
        block = slice(start, start + _PAIRS)
        np.einsum("nm,nm->n", left.take(left_rows[block], axis=0), right.take(right_rows[block], axis=0), out=out[block])
    return out


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
