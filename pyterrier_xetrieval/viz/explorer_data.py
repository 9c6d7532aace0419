"""What the explorer page knows: queries, documents, features and codes, as plain values and packed arrays."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyterrier as pt

from ..core.codes import DocumentCodes, encode_view
from ..core.mean_document import MeanDocument
from ..core.packed_evidence import PackedEvidence
from ..index.strongest_words import document_table, unpack_words
from ..words import FUNCTION_WORDS, Phrase, phrases_of_features

if TYPE_CHECKING:
    from ..labels import FeatureLabels
    from ..model import Xetrieval

FORMAT = 1  # of the page's data; the program in the page reads no other
TEXT = 4_000  # characters of a document that are always kept; more only as far as its words carry something
BINS = 12  # of a histogram of activations, from 0 to the feature's largest known one
_TYPES = {"float16": "f2", "float32": "f4", "uint8": "u1", "uint16": "u2", "uint32": "u4"}
_SPANS = 8  # places of one phrase that are marked


@dataclass(frozen=True)
class Queries:
    """``q`` queries: their names and texts; vectors: float32 ``[q, m]``."""

    qids: Sequence[str]
    texts: Sequence[str]
    vectors: np.ndarray


@dataclass(frozen=True)
class Documents:
    """``n`` documents.

    Attributes:
        docnos, texts: their names and texts.
        folded: float32 ``[n, m]``, all views of each joined, so that a dot product is the score.
        codes: their sparse codes.
        words: the strongest words of each document's features, as an index keeps them
            (:func:`~pyterrier_xetrieval.index.strongest_words.pack_words`).
    """

    docnos: Sequence[str]
    texts: Sequence[str]
    folded: np.ndarray
    codes: DocumentCodes
    words: Sequence[bytes]


@dataclass(frozen=True)
class Collection:
    """What is known of the features in the collection that the documents are from.

    Attributes:
        size: how many documents it has.
        counts: int64 ``[D]``, how many of them have each feature.
        histograms: int64 ``[D, 12]``, of their activations over the feature's largest known one.
    """

    size: int
    counts: np.ndarray
    histograms: np.ndarray


def collection_of(codes: DocumentCodes, model: Xetrieval) -> Collection:
    """A collection of nothing but these documents."""
    dict_size = model.sae.dict_size
    strongest = codes.activations.max(axis=1, initial=0.0)
    counts, histograms = np.bincount(codes.features, minlength=dict_size), np.zeros((dict_size, BINS), np.int64)
    np.add.at(histograms, (codes.features, bins(strongest, maxima(model)[codes.features])), 1)
    return Collection(len(codes), counts, histograms)


def bins(activations: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Which bar of its feature's histogram each activation is in; float ``[n]`` twice, NaN where no largest one is known."""
    return np.clip((BINS * _relative(activations, largest)).astype(np.int64), 0, BINS - 1)


def _relative(activations: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Activations over the feature's largest known one; 0 where none is known."""
    return np.nan_to_num(activations / np.where(largest > 0, largest, np.nan), nan=0.0)


def maxima(model: Xetrieval) -> np.ndarray:
    """The largest known activation of each feature, float64 ``[D]``; NaN where it is not known."""
    return np.array([model.labels.facts(j).max_activation for j in range(model.sae.dict_size)], np.float64)


def page_data(
    model: Xetrieval, queries: Queries, documents: Documents, rankings: Sequence[Sequence[int]], *, min_confidence: float,
    collection: Collection | None = None, all_features: bool = False, about: Mapping[str, Any] | None = None,
    mean: MeanDocument | None = None, verbose: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """The data of a page, ready for JSON.

    Args:
        model: with the views that the documents' codes have.
        rankings: for each query, the documents that were retrieved, best first, by number.
        min_confidence: from which on a feature is shown.
        collection: where the documents are from; None if they are all there is.
        all_features: keep every feature of the dictionary, and not only those that a query or a document has.
        about: what else the page says of itself: ``title``, ``notes`` (name to text), ``tables``.
        mean: the mean document that explanations measure scores against, if they do.
        verbose: show progress over the documents.
    """
    sae, codes = model.sae, documents.codes
    asked = encode_view(sae, queries.vectors, refit=False, batch_size=512)
    ids, activations = asked.ids, asked.activations
    features = np.arange(sae.dict_size) if all_features else np.union1d(codes.features, ids[activations > 0])
    folded = codes.coefficients.astype(np.float64) @ np.array([1.0, *model.weights.values()])
    own, strongest = codes.activations[:, 0], codes.activations.max(axis=1, initial=0.0)
    texts, phrases, stops = _document_words(documents, verbose)
    bias = float(1 + sum(model.weights.values())) * sae.bias
    confidence = model.labels.confidence
    return {
        "format": FORMAT,
        "about": dict(about or {}),
        "confidence": None if confidence is None else confidence.to_dict(),
        "min_confidence": min_confidence,
        "function_words": sorted(FUNCTION_WORDS),
        "dim": sae.dim,
        "views": ["original", *model.aspects],
        "bias": packed(bias, "float32"),
        "mean": None
        if mean is None
        else {
            "documents": mean.documents,
            "vector": packed(mean.vector, "float32"),
            "coefficients": packed(mean.coefficients[features], "float32"),
        },
        "features": _features(model, features, collection or collection_of(codes, model), set(ids[activations > 0].tolist())),
        "queries": {
            "qids": list(queries.qids),
            "texts": list(queries.texts),
            "vectors": packed(queries.vectors, "float32"),
            **_query_codes(model, queries, ids, activations, features),
        },
        "documents": {
            "docnos": list(documents.docnos),
            "texts": texts,
            "characters": [len(text) for text in documents.texts],
            "stops": stops,
            "vectors": packed(documents.folded, "float16"),
            "offsets": packed(codes.offsets, "uint32"),
            "features": packed(np.searchsorted(features, codes.features), "uint16" if len(features) < 2**16 else "uint32"),
            "coefficients": packed(folded, "float32"),
            "activations": packed(own, "float16"),
            "strongest": packed(_levels(strongest, maxima(model)[codes.features]), "uint8"),
            **_packed_phrases(phrases, np.repeat(np.array(texts, dtype=object), np.diff(codes.offsets)).tolist()),
        },
        "rankings": [list(map(int, ranking)) for ranking in rankings],
    }


def packed(values: np.ndarray, dtype: str) -> dict[str, str]:
    """An array as text: its type and its bytes, least significant first, in base64."""
    array = np.ascontiguousarray(values).astype(np.dtype(dtype).newbyteorder("<"))
    return {"type": _TYPES[dtype], "data": base64.b64encode(array.tobytes()).decode("ascii")}


def _features(model: Xetrieval, ids: np.ndarray, collection: Collection, asked: set[int]) -> dict[str, Any]:
    """What is known of features; asked: those that a query has."""
    facts = np.array([model.labels.facts(j) for j in ids.tolist()], np.float64).reshape(-1, 3)
    labels = [model.labels.name(j) for j in ids.tolist()]
    return {
        "ids": packed(ids, "uint32"),
        "labels": labels,
        "readings": _readings(model.labels, ids, asked),
        **{name: packed(facts[:, i], "float32") for i, name in enumerate(("maxima", "clarity", "detection"))},
        "vectors": packed(model.sae.directions(ids), "float16"),
        "counts": packed(collection.counts[ids], "uint32"),
        "histograms": packed(collection.histograms[ids], "uint32"),
        "size": collection.size,
    }


def _readings(labels: FeatureLabels, ids: np.ndarray, asked: set[int]) -> dict[str, Any] | None:
    """Feature by feature, each reading's row among the vectors (one too many for none) and its detection score.

    Vectors are those of features that a query has: only these can be shared, and have a reading to choose.
    """
    if (vectors := labels.vectors) is None:
        return None
    own = [(j in asked and text in vectors, text, score) for j in ids.tolist() for text, score in labels.readings(j)]
    rows = {text: i for i, text in enumerate(dict.fromkeys(text for known, text, _ in own if known))}
    return {
        "rows": packed(np.array([rows[text] if known else len(rows) for known, text, _ in own]), "uint32"),
        "detections": packed(np.array([score for _, _, score in own]), "float32"),
        "vectors": packed(np.array([vectors[text] for text in rows], np.float32), "float16"),
    }


def _query_codes(
    model: Xetrieval, queries: Queries, ids: np.ndarray, activations: np.ndarray, features: np.ndarray
) -> dict[str, Any]:
    """The features of each query, strongest first, and the phrases that carry them."""
    reader, counts, found, values, phrases = model.shared_readers["query"], [], [], [], []
    words = reader.words_by_text(queries.texts)
    for text, own, values_of in zip(queries.texts, ids, activations):
        order = [i for i in np.argsort(-values_of, kind="stable").tolist() if values_of[i] > 0]
        shares = model.sae.directions(own[order]) @ words[text].rows[: len(words[text].spans)].T
        counts.append(len(order))
        found.extend(own[order].tolist())
        values.extend(values_of[order].tolist())
        phrases.extend(phrases_of_features(text, words[text].spans, shares))
    owners = np.repeat(np.array(queries.texts, dtype=object), counts).tolist()
    return {
        "offsets": packed(np.concatenate([[0], np.cumsum(counts)]), "uint32"),
        "features": packed(np.searchsorted(features, np.array(found, np.int64)), "uint32"),
        "activations": packed(np.array(values), "float32"),
        **_packed_phrases(phrases, owners),
    }


def _document_words(documents: Documents, verbose: bool) -> tuple[list[str], list[list[Phrase]], list[int | None]]:
    """The texts as far as they are kept; the phrases of every feature of every document; where the encoder stopped."""
    texts: list[str] = []
    phrases: list[list[Phrase]] = []
    stops: list[int | None] = []
    rows = pt.tqdm(
        zip(documents.texts, documents.words), total=len(documents.texts), desc="words", unit="doc", disable=not verbose
    )
    for row, (text, words) in enumerate(rows):
        features = int(documents.codes.offsets[row + 1] - documents.codes.offsets[row])
        kept: PackedEvidence = unpack_words(words, features)
        table = document_table(text, kept, np.arange(features), np.ones(features))
        phrases.extend(phrases_of_features(text, table.spans, table.words[:features]))
        texts.append(text[: max(TEXT, int(kept.spans[:, 1].max(initial=0)))])
        stops.append(kept.stopped_at)
    return texts, phrases, stops


def _packed_phrases(phrases: Sequence[Sequence[Phrase]], texts: Sequence[str]) -> dict[str, Any]:
    """For each feature how many places its phrases have, and each place: start (times 4, plus which phrase it is of), length.

    Args:
        texts: for each feature, the text whose phrases these are.
    """
    counts, starts, lengths = [], [], []
    for own, text in zip(phrases, texts):
        places = _in_utf16(text)
        spans = [(places(start), places(stop), i) for i, phrase in enumerate(own) for start, stop in phrase.spans[:_SPANS]]
        counts.append(len(spans))
        for start, stop, i in spans:
            starts.append(start * 4 + i)
            lengths.append(min(stop - start, 255))
    return {
        "spans": packed(np.array(counts), "uint8"),
        "starts": packed(np.array(starts), "uint16" if max(starts, default=0) < 2**16 else "uint32"),
        "lengths": packed(np.array(lengths), "uint8"),
    }


def _levels(activations: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Activations in hundredths of the feature's largest known one, at most 255; 0 where none is known."""
    return np.clip(np.round(100 * _relative(activations, largest)), 0, 255).astype(np.int64)


def _in_utf16(text: str) -> Callable[[int], int]:
    """Where a browser, which counts an emoji as two, has a place of the text."""
    if text.isascii() or max(text) <= "\uffff":
        return lambda place: place
    return lambda place: place + sum(character > "\uffff" for character in text[:place])
