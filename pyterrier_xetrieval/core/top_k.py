"""The k largest of each row, on the CPU several times as fast as ``torch.topk``."""

from __future__ import annotations

import numpy as np
import torch

from .threads import in_threads

_ROWS = 256  # of pre-activations looked at at once: they stay in the processor's cache


def top_k(x: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The ``k`` largest values of each row and where they are, in any order: ``x.topk(k)``, faster on the CPU."""
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or not 0 < k < x.shape[1] or not len(x):
        return x.topk(k, dim=1, sorted=False)
    rows = x.detach().numpy()
    blocks = [rows[i : i + _ROWS] for i in range(0, len(rows), _ROWS)]
    found = in_threads(lambda block: _largest(block, k), blocks)
    values, ids = (torch.from_numpy(np.concatenate(parts)) for parts in zip(*found))
    return x.gather(1, ids) if x.requires_grad else values, ids


def _largest(rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` largest values of each row, and where they are, int64, both ``[n, k]`` by ascending place.

    The maxima of 2k groups of columns come first: at least k values are as large as the k-th largest of these, and
    seldom many more, so that the selection proper looks at a small part of the row.
    """
    n, width = rows.shape
    groups = 2 * k
    if 2 * groups > width:
        return _partitioned(rows, k)
    whole = width // groups * groups
    maxima = rows[:, :whole].reshape(n, -1, groups).max(1)
    if np.isnan(maxima).any() or np.isnan(rows[:, whole:]).any():  # NaN is larger than all, and larger than nothing
        return _partitioned(rows, k)
    flat = _places(rows >= np.partition(maxima, groups - k, axis=1)[:, groups - k, None])
    starts = np.searchsorted(flat, width * np.arange(n + 1))
    counts = np.diff(starts)
    values = rows.reshape(-1).take(flat)
    most = int(counts.max())
    padded = np.full(n * most, -np.inf, rows.dtype)
    padded[np.repeat(most * np.arange(n) - starts[:-1], counts) + np.arange(len(flat))] = values
    least = np.partition(padded.reshape(n, most), most - k, axis=1)[:, most - k]
    kept = np.flatnonzero(values >= np.repeat(least, counts))
    if len(kept) != n * k:  # equal values
        return _partitioned(rows, k)
    return values.take(kept).reshape(n, k), flat.take(kept).reshape(n, k) - width * np.arange(n)[:, None]


def _partitioned(rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    ids = np.sort(np.argpartition(rows, rows.shape[1] - k, axis=1)[:, rows.shape[1] - k :], axis=1)
    return np.take_along_axis(rows, ids, axis=1), ids


def _places(mask: np.ndarray) -> np.ndarray:
    """``np.flatnonzero(mask)``, twice as fast where few are set: eight at once first."""
    flat = mask.reshape(-1)
    whole = len(flat) // 8 * 8
    words = flat[:whole].view(np.uint64)
    some = np.flatnonzero(words != 0)
    at = np.flatnonzero(words.take(some).view(bool))
    found = (some.take(at >> 3) << 3) + (at & 7)
    return found if whole == len(flat) else np.concatenate([found, whole + np.flatnonzero(flat[whole:])])
