"""The strongest words of each feature of a document in at most 1000 bytes, for an index to keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .evidence import WordTable

MAX_BYTES = 1000
_MOST, _LEAST = 15, 0.01  # words of one feature, which four bits count; the part of it that is worth two bytes
_CEILING = 2.0  # of a word's part of a feature: more than all of it where other words count against it


@dataclass(frozen=True)
class PackedEvidence:
    """The strongest words of ``n`` features, strongest first; feature ``i`` owns the words ``offsets[i]:offsets[i+1]``.

    Attributes:
        offsets: int64 ``[n + 1]``; spans: int32 ``[t, 2]``, where the words are in the text.
        fractions: float32 ``[t]``, each word's part of the feature's coefficient, 0 to 2, within 0.008, and within 0.002
            where it is below a tenth.
        stopped_at: the first character that the encoder no longer read; None if it read the whole text.
    """

    offsets: np.ndarray
    spans: np.ndarray
    fractions: np.ndarray
    stopped_at: int | None


def pack_evidence(table: WordTable, shown: np.ndarray | None = None, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The strongest words of every row of a table, as many as ``max_bytes`` hold.

    Each feature's strongest word comes first, then those that carry most. A feature has 15 words at most, none that
    carries less than a quarter of what its strongest one does, and none at all if no place is left or every word carries
    under 1%. Which features the rows are is not kept: the document's code says it.

    Args:
        table: of a document's features, as :func:`~.evidence.document_evidence` makes it.
        shown: bool ``[w]``, or ``[p, w]`` for each feature, which words are worth keeping; all if None.

    Returns:
        Bytes: how many features, where the encoder stopped, 4 bits a feature for its number of words, the words' gaps and
        lengths, then for every feature's words two bytes each, which one, and the square root of its part.

    Raises:
        ValueError: not even the features' numbers of words fit.

    Example::

        unpack_evidence(pack_evidence(document_evidence(…))).spans
    """
    carried = table.words if shown is None else np.where(shown, table.words, 0.0)
    sums = table.sums if table.exact else table.words.sum(axis=1)
    fractions = np.divide(carried, sums[:, None], out=np.zeros_like(carried), where=sums[:, None] != 0)
    order = np.argsort(-fractions, axis=1, kind="stable")[:, :_MOST]
    strongest = np.take_along_axis(fractions, order, axis=1)
    feature, rank = np.nonzero(strongest >= np.maximum(_LEAST, strongest[:, :1] / 4))
    word, fraction = order[feature, rank], strongest[feature, rank]
    first = np.lexsort((-fraction * np.abs(sums[feature]), rank > 0))
    feature, word, fraction = feature[first], word[first], fraction[first]

    spans, stopped_at = table.spans.astype(np.int64), table.stopped_at

    def written(n: int) -> bytes:
        return _written(len(sums), stopped_at, spans, feature[:n], word[:n], fraction[:n])

    if len(written(0)) > max_bytes:
        raise ValueError(f"pack_evidence expects {len(written(0))} bytes or more for {len(sums)} features, found {max_bytes}")
    least, over = 0, 1 + int(np.count_nonzero(_distinct(word) <= 256))  # `least` words fit, `over` do not
    while over - least > 1:
        middle = (least + over) // 2
        least, over = (middle, over) if len(written(middle)) <= max_bytes else (least, middle)
    return written(least)


def unpack_evidence(packed: bytes) -> PackedEvidence:
    """What :func:`pack_evidence` kept.

    Raises:
        ValueError: the bytes end too early or too late.
    """
    data = np.frombuffer(packed, np.uint8)
    try:
        (n, stopped), at = _numbers(data, 0, 2)
        nibbles = data[at : at + (n + 1) // 2]
        counts = np.stack([nibbles & 15, nibbles >> 4], axis=1).ravel()[:n].astype(np.int64)
        (distinct,), at = _numbers(data, at + len(nibbles), 1)
        steps, at = _numbers(data, at, 2 * distinct)
        entries = data[at:].reshape(-1, 2)
        ends = np.cumsum(steps)[1::2]
        words = np.stack([ends - np.asarray(steps[1::2], np.int64), ends], axis=1).astype(np.int32).reshape(-1, 2)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        if offsets[-1] != len(entries):
            raise ValueError(f"{offsets[-1]} words announced, {len(entries)} found")
        spans = words[entries[:, 0]]
    except (ValueError, IndexError) as error:
        raise ValueError(f"unpack_evidence expects what pack_evidence made, found {len(packed)} other bytes: {error}") from None
    fractions = (_CEILING * (entries[:, 1] / 255.0) ** 2).astype(np.float32)
    return PackedEvidence(offsets, spans, fractions, stopped - 1 if stopped else None)


def _written(
    n: int, stopped_at: int | None, spans: np.ndarray, feature: np.ndarray, word: np.ndarray, fraction: np.ndarray
) -> bytes:
    """The bytes of these entries, which are of 256 words at most."""
    used, which = np.unique(word, return_inverse=True)
    counts = np.zeros(n + n % 2, np.uint8)
    np.add.at(counts, feature, 1)
    steps = np.diff(spans[used].ravel(), prepend=0)  # the words are in the order of the text and do not overlap
    order = np.lexsort((-fraction, feature))
    level = np.rint(255 * np.sqrt(np.minimum(fraction, _CEILING) / _CEILING))
    entries = np.stack([which, level], axis=1)[order].astype(np.uint8)
    head = _varints([n, 0 if stopped_at is None else stopped_at + 1])
    return head + (counts[::2] | counts[1::2] << 4).tobytes() + _varints([len(used), *steps.tolist()]) + entries.tobytes()


def _distinct(word: np.ndarray) -> np.ndarray:
    """How many words there are among the first 1, 2, … entries: a byte tells 256 apart."""
    new = np.zeros(len(word), np.int64)
    new[np.unique(word, return_index=True)[1]] = 1
    return np.cumsum(new)


def _varints(numbers: list[int]) -> bytes:
    """Numbers from 0 up, seven bits a byte, lowest first; the highest bit says that more follow."""
    out = bytearray()
    for number in numbers:
        while number > 127:
            out.append(number & 127 | 128)
            number >>= 7
        out.append(number)
    return bytes(out)


def _numbers(data: np.ndarray, at: int, n: int) -> tuple[list[int], int]:
    """The next ``n`` numbers, and where they end; IndexError if the bytes end before."""
    out = []
    for _ in range(n):
        number = shift = 0
        while True:
            byte = int(data[at])
            at += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        out.append(number)
    return out, at
