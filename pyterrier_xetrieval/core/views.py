"""The views of documents: their weights, the folded vector and the multi-view score (Cai et al. 2026, Eq. 11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np

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
            joint = np.unique(joint * (own.max() + 1) + own, return_inverse=True)[1]
    _, first, rows = np.unique(joint, return_index=True, return_inverse=True)
    return rows, first


def row_dots(left: np.ndarray, left_rows: np.ndarray, right: np.ndarray, right_rows: np.ndarray) -> np.ndarray:
    """``⟨left[left_rows[i]], right[right_rows[i]]⟩`` for every ``i``, float32 ``[n]``, in blocks."""
    out = np.empty(len(left_rows), np.float32)
    for start in range(0, len(out), _PAIRS):
        block = slice(start, start + _PAIRS)
        np.einsum("nm,nm->n", left.take(left_rows[block], axis=0), right.take(right_rows[block], axis=0), out=out[block])
    return out
