"""How the sparse codes of all views of a document are packed: about five bytes for each active feature of each view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.codes import DocumentCodes

_LARGEST = np.float32(np.finfo(np.float16).max)
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little").view(bool)  # bits of each byte
_RANGE = np.float32(1000)  # activations below a thousandth of the document's largest are rounded up to it


class DamagedCodes(ValueError):
    """Packed codes that do not fit together: their file was changed after it was written."""


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


def pack(codes: DocumentCodes) -> PackedCodes:
    """Packs codes: activations are rounded to 256 levels for each document, and coefficients to float16."""
    n, active = len(codes), codes.activations > 0
    counts = np.diff(codes.offsets)
    each = active.sum(axis=1)
    pairs_counts = np.diff(np.concatenate([[0], np.cumsum(each)])[codes.offsets])
    document = np.repeat(np.arange(n), pairs_counts)
    activation, coefficient = codes.activations[active], codes.coefficients[active]

    low, high = np.full(n, np.inf, np.float32), np.zeros(n, np.float32)
    np.minimum.at(low, document, activation)
    np.maximum.at(high, document, activation)
    low[high == 0] = high[high == 0] = 1
    low = np.maximum(low, high / _RANGE)
    first = np.zeros(len(codes.features), bool)
    first[codes.offsets[:-1][counts > 0]] = True
    ids, at = encode_gaps(codes.features, first)
    masks = np.zeros(len(ids), np.uint8)
    masks[at] = np.packbits(active, axis=1, bitorder="little")[:, 0]
    ends = np.concatenate([[0], at + 1])[codes.offsets]
    return PackedCodes(
        ids, masks, np.diff(ends),
        np.clip(coefficient / high[document], -_LARGEST, _LARGEST).astype(np.float16), encode_levels(activation, low[document], high[document]),
        pairs_counts, low, high,
    )  # fmt: skip


def unpack(codes: PackedCodes, views: int, dict_size: int) -> DocumentCodes:
    """The opposite of :func:`pack`, but for its rounding.

    Args:
        views: how many there are, the original one included; dict_size: of the dictionary.

    Raises:
        DamagedCodes: codes that do not fit together.
    """
    features, document, at = decode_gaps(codes.ids, codes.ids_counts)
    there = np.flatnonzero(_BITS[:, :views].take(codes.views.take(at), axis=0))
    owner = np.repeat(np.arange(len(codes.low)), codes.pairs_counts)
    if len(there) != len(codes.activations) or len(there) != len(owner) or (len(features) and features.max() >= dict_size):
        raise DamagedCodes("the codes of a document do not fit together")
    activations, coefficients = np.zeros((2, len(features) * views), np.float32)
    levels = decode_levels(np.arange(256), codes.low[:, None], codes.high[:, None])  # of each document
    activations[there] = levels.take(256 * owner + codes.activations)
    coefficients[there] = codes.coefficients.astype(np.float32) * codes.high.take(owner)
    offsets = np.searchsorted(document, np.arange(len(codes.low) + 1))
    return DocumentCodes(offsets, features, activations.reshape(-1, views), coefficients.reshape(-1, views))


def gather(data: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The pieces ``data[begin:end]``, one after the other."""
    if len(begins) and np.array_equal(begins[1:], ends[:-1]):  # consecutive documents: no copy
        return data[begins[0] : ends[-1]]
    pieces = [data[a:b] for a, b in zip(begins.tolist(), ends.tolist())]
    return np.concatenate(pieces) if pieces else data[:0]


def encode_gaps(values: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ascending numbers as bytes: the distance from the number before, where a byte 255 means 255 more and goes on.

    Args:
        values: ints ``[n]``, ascending within each run; first: bool ``[n]``, true where a run starts (from 0).

    Returns:
        uint8 ``[b]``, ``b >= n``, and int64 ``[n]``: where in it each value's own byte is.

    Example::

        >>> encode_gaps(np.array([3, 300]), np.array([True, False]))
        (array([  3, 255,  42], dtype=uint8), array([0, 2]))
    """
    gaps = np.diff(values.astype(np.int64), prepend=0)
    gaps[first] = values[first]
    at = np.cumsum(gaps // 255 + 1) - 1
    out = np.full(int(at[-1]) + 1 if len(at) else 0, 255, np.uint8)
    out[at] = np.mod(gaps, 255)
    return out, at


def decode_gaps(gaps: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The opposite of :func:`encode_gaps`.

    Args:
        gaps: uint8 ``[b]``, runs one after the other; lengths: int64 ``[r]``, bytes of each run.

    Returns:
        int64 ``[n]`` each: the values, the run of each, and where its own byte is.
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
    """The opposite of :func:`encode_levels`, float32.

    Off by half a level at most: by 0.7 % where high / low is 30, and by 1.4 % where it is 1,000. It is never more than
    1,000, because an activation below a thousandth of ``high`` was stored as that thousandth.
    """
    values = low * np.exp(np.log(high / low) * (levels.astype(np.float32) / np.float32(255)))
    return np.where(levels == 255, high, np.where(levels == 0, low, values))
