"""The words that an index keeps of each document: the strongest ones of each of its features."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from ..core.codes import DocumentCodes
from ..core.evidence import WordTable, WordVectors, document_evidence
from ..core.packed_evidence import PackedEvidence, pack_evidence, unpack_evidence
from ..model import Xetrieval
from ..words import phrases_of_features

_MOST_FEATURES = 1900  # of more, not even the numbers of their words fit the bytes of a document


def pack_words(
    model: Xetrieval, text: str, words: WordVectors, views: Sequence[np.ndarray], codes: DocumentCodes, row: int, refit: bool
) -> bytes:
    """The words of a document that carry its features most, over all views, at most 1,000 bytes.

    Kept are those that :func:`~pyterrier_xetrieval.words.phrases` would show. Of a document with more than 1,900 features,
    nothing is.

    Args:
        text: of the document; words: its vector's parts, exact.
        views: float32 ``[m]`` each, the original one first; codes: of documents with these views; row: which one this is.
        refit: how the coefficients in ``codes`` were made.
    """
    if codes.offsets[row + 1] - codes.offsets[row] > _MOST_FEATURES:
        return b""
    weights = (1.0, *model.weights.values())
    table = document_evidence(
        model.sae, list(model.internalizers.values()), words, views, codes, row, weights=weights, refit=refit
    )
    return pack_evidence(table, _in_phrases(text, table))


def _in_phrases(text: str, table: WordTable) -> np.ndarray:
    """Which words are in the phrases to show of each feature, bool ``[p, w]``."""
    shown, starts = np.zeros(table.words.shape, bool), table.spans[:, 0].tolist()
    place = {start: i for i, start in enumerate(starts)}
    signed = table.words * np.sign(table.sums)[:, None]
    for own, phrases in zip(shown, phrases_of_features(text, table.spans, signed)):
        for start, stop in (span for phrase in phrases for span in phrase.spans):
            own[place[start] : bisect_left(starts, stop)] = True
    return shown


def unpack_words(packed: bytes, features: int) -> PackedEvidence:
    """What :func:`pack_words` kept of a document with so many features; ValueError for other bytes."""
    if not packed:
        return PackedEvidence(np.zeros(features + 1, np.int64), np.empty((0, 2), np.int32), np.empty(0, np.float32), None)
    kept = unpack_evidence(packed)
    if len(kept.offsets) != features + 1:
        raise ValueError(f"expected words of {features} features, found those of {len(kept.offsets) - 1}")
    return kept


def document_table(text: str, kept: PackedEvidence, places: np.ndarray, contributions: np.ndarray) -> WordTable:
    """The kept words as a table of a pair's document side (:class:`~pyterrier_xetrieval.core.evidence.Evidence`).

    Args:
        text: of the document.
        kept: its strongest words.
        places: int ``[s]``, which of the document's features are listed; contributions: float ``[s]``, theirs to the score.

    Returns:
        A table of ``s + 3`` rows that is not exact: 0 for words that are not among a feature's strongest, NaN for the rest of
        the score and for what no word carries, which are not kept. Its words are all kept ones and those that join two.
    """
    counts = np.diff(kept.offsets)[places]
    rows = np.repeat(np.arange(len(places)), counts)
    entries = np.repeat(kept.offsets[places] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    own, first = np.unique(kept.spans[entries, 0], return_index=True)
    spans = _with_joints(text, kept.spans[entries][first])
    values = np.full((len(places) + 3, len(spans) + 4), np.nan)
    values[: len(places), : len(spans)] = 0.0
    values[rows, np.searchsorted(spans[:, 0], kept.spans[entries, 0])] = kept.fractions[entries] * contributions[rows]
    return WordTable(spans, values, exact=False, stopped_at=kept.stopped_at)


def _with_joints(text: str, spans: np.ndarray) -> np.ndarray:
    """The words, int32 ``[w, 2]`` in the text's order, and between two of them the one word or mark that may join them."""
    out: list[list[int]] = []
    for start, stop in spans.tolist():
        if out:
            between = text[out[-1][1] : start]
            joint = between.strip()
            if joint and len(joint.split()) == 1:
                begin = out[-1][1] + between.index(joint)
                out.append([begin, begin + len(joint)])
        out.append([start, stop])
    return np.array(out, np.int32).reshape(-1, 2)
