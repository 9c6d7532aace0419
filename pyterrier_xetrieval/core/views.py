"""The views of documents: their weights, the folded vector and the multi-view score (Cai et al. 2026, Eq. 11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np

_PAIRS = 128  # whose vectors are laid side by side at once: they stay in the processor's cache


def view_weights(
    aspects: Sequence[str], weights: float | Sequence[float] | Mapping[str, float] | None, *, stage: str
) -> tuple[float, ...]:
    """The weight ``w_t`` of each aspect in the order of ``aspects``.

    Args:
        aspects: the views' names.
        weights: None for 1 each (Eq. 11 as printed), one number for all, one per aspect, or a mapping with exactly the
            aspects as keys.
        stage: named in errors.

    Raises:
        ValueError: other aspects than expected, another count, or a weight that is no finite number.
    """
    given: object = 1.0 if weights is None else weights
    if isinstance(given, (str, bytes)):  # whose parts are numbers to Python
        raise ValueError(f"{stage} expects numbers as weights, found {weights!r}")
    if isinstance(given, Real):
        given = [given] * len(aspects)
    if isinstance(given, Mapping):
        if set(given) != set(aspects):
            raise ValueError(f"{stage} expects weights for {list(aspects)}, found {list(given)}")
        given = [given[aspect] for aspect in aspects]
    try:
        numbers = tuple(map(float, given))  # type: ignore[call-overload]  # what is not a list raises
    except (TypeError, ValueError):
        raise ValueError(f"{stage} expects numbers as weights, found {weights!r}") from None
    if len(numbers) != len(aspects):
        raise ValueError(f"{stage} expects {len(aspects)} weights, one for each of {list(aspects)}, found {len(numbers)}")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{stage} expects finite weights, found {list(numbers)}")
    return numbers


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


def row_dots(left: np.ndarray, left_rows: np.ndarray, right: np.ndarray, right_rows: np.ndarray) -> np.ndarray:
    """``⟨left[left_rows[i]], right[right_rows[i]]⟩`` for every ``i``, float32 ``[n]``, in blocks."""
    out = np.empty(len(left_rows), np.float32)
    for start in range(0, len(out), _PAIRS):
        block = slice(start, start + _PAIRS)
        np.einsum("nm,nm->n", left.take(left_rows[block], axis=0), right.take(right_rows[block], axis=0), out=out[block])
    return out


def row_lengths(vectors: np.ndarray) -> np.ndarray:
    """The length of each row, float64 ``[n]``: squares of very long and very short float32 vectors are not of that type.

    >>> row_lengths(np.array([[3e-30, 4e-30]], np.float32)).round(32)
    array([5.e-30])
    """
    return np.linalg.norm(vectors.astype(np.float64), axis=1)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """The vectors at length 1, float32 ``[n, m]``; those that have it already, and zeros, stay as they are bit by bit.

    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    out = np.array(vectors, np.float32)
    lengths = row_lengths(out)
    other = (np.abs(lengths - 1) > 1e-6) & (lengths > 0)
    out[other] /= lengths[other, None]
    return out
