"""How the sparse codes of all views of a document are packed: about five bytes for each active feature of each view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..explainer import ViewCodes

_RANGE = np.float32(1000)  # activations below a thousandth of the document's largest are rounded up to it


@dataclass(frozen=True)
class PackedCodes:
    """What is active in all views of ``n`` documents, one document after the other.

    Attributes:
        ids: uint8 ``[b]``, each document's features, ascending, as gaps (:func:`encode_gaps`); views: uint8 ``[b]``,
            beside each gap: bit v is set where the feature is active in view v; ids_counts: int64 ``[n]``, bytes of each.
        coefficients: float16 ``[p]``, one for each set bit, relative to the document's largest activation;
            activations: uint8 ``[p]``, levels (:func:`encode_levels`); pairs_counts: int64 ``[n]``, how many of each.
        low, high: float32 ``[n]``, the smallest and the largest activation; 1 where a document has no feature.
    """

    ids: np.ndarray
    views: np.ndarray
    ids_counts: np.ndarray
    coefficients: np.ndarray
    activations: np.ndarray
    pairs_counts: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def strongest(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each feature of each document once: document (row), feature, and its largest level over the views."""
        features, document, at = decode_gaps(self.ids, self.ids_counts)
        counts = np.bitwise_count(self.views[at]).astype(np.int64)
        levels = np.maximum.reduceat(self.activations, np.cumsum(counts) - counts) if len(counts) else self.activations[:0]
        return document, features, levels


def pack(codes: Sequence[ViewCodes]) -> PackedCodes:
    """The codes of ``V`` views of the same ``n`` documents: the union of each one's features, values where active."""
    n = len(codes[0].ids)
    found = [np.nonzero(c.activations > 0) for c in codes]
    document = np.concatenate([row for row, _ in found])
    feature, activation, coefficient = (
        np.concatenate([getattr(c, name)[at] for c, at in zip(codes, found)]) for name in ("ids", "activations", "coefficients")
    )
    view = np.repeat(np.arange(len(codes)), [len(row) for row, _ in found])
    order = np.lexsort((view, feature, document))
    document, feature, view = document[order], feature[order], view[order]
    activation, coefficient = activation[order], coefficient[order]

    low, high = np.full(n, np.inf, np.float32), np.zeros(n, np.float32)
    np.minimum.at(low, document, activation)
    np.maximum.at(high, document, activation)
    low[high == 0] = high[high == 0] = 1
    low = np.maximum(low, high / _RANGE)
    # one entry for each (document, feature), with a bit for each view that has it
    new = np.flatnonzero(np.diff(document, prepend=-1) | np.diff(feature, prepend=-1))
    bits = np.bitwise_or.reduceat(np.uint8(1) << view.astype(np.uint8), new) if len(new) else np.empty(0, np.uint8)
    owner = document[new]
    ids, at = encode_gaps(feature[new], np.diff(owner, prepend=-1) > 0)
    masks = np.zeros(len(ids), np.uint8)
    masks[at] = bits
    bytes_each = np.diff(at, prepend=-1)
    return PackedCodes(
        ids, masks, np.bincount(owner, bytes_each, minlength=n).astype(np.int64),
        (coefficient / high[document]).astype(np.float16), encode_levels(activation, low[document], high[document]),
        np.bincount(document, minlength=n).astype(np.int64), low, high,
    )  # fmt: skip


def unpack(codes: PackedCodes, views: int, dict_size: int) -> tuple[np.ndarray, ...]:
    """Everything active in these documents, one item for each document, feature and view, in this order.

    Args:
        views: how many there are, the original one included; dict_size: of the dictionary.

    Returns:
        int64 row, int64 feature, int64 view (0 the original), float32 activation, float32 coefficient.

    Raises:
        ValueError: codes that do not fit together.
    """
    feature, row, at = decode_gaps(codes.ids, codes.ids_counts)
    entry, view = np.nonzero((codes.views[at][:, None] >> np.arange(views)) & 1)
    if len(entry) != len(codes.activations) or (len(feature) and feature.max() >= dict_size):
        raise ValueError("the codes of a document do not fit together")
    row, feature = row[entry], feature[entry]
    activation = decode_levels(codes.activations, codes.low[row], codes.high[row])
    return row, feature, view, activation, codes.coefficients.astype(np.float32) * codes.high[row]


def view_codes(codes: PackedCodes, views: int, dict_size: int) -> list[ViewCodes]:
    """The codes of each view as the attribution reads them; arguments as for :func:`unpack`."""
    row, feature, view, activation, coefficient = unpack(codes, views, dict_size)
    out = []
    for v in range(views):
        own = np.flatnonzero(view == v)
        counts = np.bincount(row[own], minlength=len(codes.low))
        slot = np.arange(len(own)) - np.repeat(np.cumsum(counts) - counts, counts)
        shape = (len(codes.low), max(1, int(counts.max(initial=0))))
        arrays = np.zeros(shape, np.int64), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        for array, values in zip(arrays, (feature, activation, coefficient)):
            array[row[own], slot] = values[own]
        out.append(ViewCodes(*arrays))
    return out


def gather(data: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The pieces ``data[begin:end]``, one after the other."""
    if len(begins) and np.array_equal(begins[1:], ends[:-1]):  # consecutive documents: no copy
        return data[begins[0] : ends[-1]]
    pieces = [data[a:b] for a, b in zip(begins.tolist(), ends.tolist())]
    return np.concatenate(pieces) if pieces else data[:0]


def encode_gaps(values: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ascending numbers as one byte each: the distance from the one before, 255 standing for "255 more, and go on".

    Args:
        values: ints ``[n]``, ascending within each run; first: bool ``[n]``, where a run starts (from 0).

    Returns:
        uint8 ``[b]``, ``b >= n``, and int64 ``[n]``: where in it each value's own byte is.
    """
    gaps = np.diff(values.astype(np.int64), prepend=0)
    gaps[first] = values[first]
    at = np.cumsum(gaps // 255 + 1) - 1
    out = np.full(int(at[-1]) + 1 if len(at) else 0, 255, np.uint8)
    out[at] = gaps % 255
    return out, at


def decode_gaps(gaps: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What :func:`encode_gaps` wrote: values int64 ``[n]``, the run of each, int64, and where its own byte is.

    Args:
        gaps: uint8 ``[b]``, runs one after the other; lengths: int64 ``[r]``, bytes of each run.
    """
    total = np.cumsum(gaps, dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    base = np.where(starts > 0, total[np.maximum(starts, 1) - 1], 0) if len(total) else np.zeros(len(starts), np.int64)
    at = np.flatnonzero(gaps != 255)
    run = np.repeat(np.arange(len(lengths)), lengths)[at]
    return total[at] - base[run], run, at


def encode_levels(activations: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Positive activations as uint8: 256 levels of one ratio from ``low`` to ``high``; those below become ``low``."""
    span = np.log(high.astype(np.float64) / low)
    position = np.log(activations.astype(np.float64) / low) / np.where(span > 0, span, 1.0)
    return np.rint(255 * np.maximum(position, 0)).astype(np.uint8)


def decode_levels(levels: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """What :func:`encode_levels` wrote, float32.

    Off by half a level at most: 0.7 % where high / low is 30, 1.4 % where it is 1,000.
    """
    span = np.log(high.astype(np.float64) / low)
    values = low * np.exp(span * (levels / 255.0))
    return np.where(levels == 255, high, np.where(levels == 0, low, values)).astype(np.float32)
