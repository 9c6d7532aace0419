"""Where the explorer page has its documents from: a page of results, or an index."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt

from ..core.codes import DocumentCodes, encode_views, join_views
from ..core.views import fold_views
from ..documents import no_text, query_texts
from ..index.features import postings
from ..index.storage import EVIDENCE, TEXTS, VECTORS
from ..index.strongest_words import pack_words
from ..index.texts import stored_texts
from ..stages.columns import VectorColumns, aspects_of
from ..stages.internalize import ReasoningInternalizer
from ..stages.load import distinct_docnos
from .explorer_data import BINS, Collection, Documents, Queries, bins, maxima

if TYPE_CHECKING:
    from ..index import XetrievalIndex
    from ..model import Xetrieval

_COUNTED = 100_000  # documents of an index whose activations a histogram is made from
STRONG, WEAK = 5, 3  # examples of a feature
_WEAK = 0.3  # of the feature's largest activation: below, a label often does not fit


def queries_of(results: pd.DataFrame, model: Xetrieval, *, stage: str) -> tuple[Queries, np.ndarray]:
    """The distinct queries of a frame, and which of them each row has, int64 ``[n]``."""
    rows, qids = pd.factorize(results["qid"])
    first = np.unique(rows, return_index=True)[1]
    vectors, own = VectorColumns(results, dim=model.dim, stage=stage).queries()
    if len(np.unique(np.stack([rows, own]), axis=1).T) > len(qids):
        raise ValueError(f"{stage} expects one query_vec for each query, found several; write a page for each")
    asked = query_texts(results, stage=stage)
    texts = [asked[i] for i in first]
    return Queries([str(qid) for qid in qids], texts, vectors[own[first]]), rows.astype(np.int64)


def documents_of_frame(
    results: pd.DataFrame, model: Xetrieval, *, stage: str, verbose: bool = False
) -> tuple[Documents, np.ndarray]:
    """The distinct documents of a frame with ``docno``, ``text`` and ``doc_vec``, and which of them each row has.

    Views that the model has and the frame lacks are computed; every text is read by the model's encoder.

    Raises:
        ValueError: several vectors, or several texts, of one document.
    """
    docnos, rows = distinct_docnos(results, stage=stage)
    if not set(model.aspects) <= set(aspects_of(results.columns)):
        results = ReasoningInternalizer(model).transform(results)
    views, own = VectorColumns(results, dim=model.dim, stage=stage).documents(model.aspects)
    first = np.unique(rows, return_index=True)[1]
    texts = results["text"].tolist()
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise no_text(stage, f"document {docnos[rows[row]]!r}", text, cure="load texts before (>> dataset.text_loader())")
        if own[row] != own[first[rows[row]]] or text != texts[first[rows[row]]]:
            raise ValueError(f"{stage} expects one text and one vector of each document, found two of {docnos[rows[row]]!r}")
    views, texts = [view[own[first]] for view in views], [texts[i] for i in first]
    codes = join_views(encode_views(model.sae, views, refit=True, batch_size=512), model.sae.dict_size)
    folded = fold_views(views, list(model.weights.values()))
    return Documents(docnos, texts, folded, codes, _read(model, texts, views, codes, verbose)), rows


def _read(
    model: Xetrieval, texts: Sequence[str], views: Sequence[np.ndarray], codes: DocumentCodes, verbose: bool
) -> list[bytes]:
    """The strongest words of each document, from one pass of the encoder over the texts."""
    found = [b""] * len(texts)
    with pt.tqdm(total=len(texts), desc="read", unit="doc", disable=not verbose) as bar:
        for rows, words in model.shared_readers["document"].batches(texts, window=len(texts)):
            for row, own in zip(rows, words):
                found[row] = pack_words(model, texts[row], own, [view[row] for view in views], codes, row, True)
            bar.update(len(rows))
    return found


def documents_of_index(
    index: XetrievalIndex, docids: np.ndarray, *, texts: Mapping[str, str] | None = None, stage: str, verbose: bool = False
) -> Documents:
    """These documents of an index, int64 ``[n]``.

    Words are those that the index keeps; without any, every text is read by the model's encoder.

    Args:
        texts: docno to text, for an index that does not keep them.

    Raises:
        ValueError: no texts.
    """
    model, layout, docnos = index.model, index.layout, index.layout.docnos(docids)
    if texts is None and not index.settings.get(TEXTS):
        raise ValueError(
            f"{stage} expects an index that keeps its texts, found {index!r} without; index the corpus with "
            "model.indexer(path, encoder=encoder, evidence=True), or give the texts"
        )
    own = stored_texts(index, docids) if texts is None else [_text_of(texts, docno, stage) for docno in docnos]
    codes, folded = index.codes(docids), layout.vectors(index.searched)[docids].astype(np.float32)
    if index.settings.get(EVIDENCE) and len(index.aspects) == len(index.settings["aspects"]):
        return Documents(docnos, own, folded, codes, layout.records(EVIDENCE, docids))
    frame = ReasoningInternalizer(model).transform(pd.DataFrame({"doc_vec": list(layout.vectors(VECTORS)[docids])}))
    views = [np.stack(frame[column].tolist()) for column in ("doc_vec", *(f"doc_vec_{aspect}" for aspect in model.aspects))]
    return Documents(docnos, own, folded, codes, _read(model, own, views, codes, verbose))


def _text_of(texts: Mapping[str, str], docno: str, stage: str) -> str:
    if docno not in texts:
        raise ValueError(f"{stage} expects a text for every document of the index, found none for {docno!r}")
    return texts[docno]


def collection_of_index(index: XetrievalIndex) -> Collection:
    """How often the features are active in an index, and how strongly in its first 100,000 documents."""
    dict_size = index.settings["dict_size"]
    largest, histograms = maxima(index.model), np.zeros((dict_size, BINS), np.int64)
    for first, matrix in postings(index.layout, np.arange(dict_size)):
        features = np.repeat(np.arange(dict_size), np.diff(matrix.indptr))
        np.add.at(histograms, (features, bins(matrix.data, largest[features])), 1)
        if first + matrix.shape[0] >= _COUNTED:
            break
    return Collection(len(index), index.feature_statistics()["documents"].to_numpy(), histograms)


def chosen_documents(index: XetrievalIndex, retrieved: np.ndarray, features: np.ndarray, most: int) -> np.ndarray:
    """The documents of an index that go into a page: those retrieved, examples of features, then some at equal distances.

    Args:
        retrieved: int64, in any order.
        features: int64, those whose examples come first.
        most: how many documents there may be; all that were retrieved are in.

    Returns:
        int64, ascending.
    """
    if len(index) <= most:
        return np.arange(len(index))
    found = dict.fromkeys(retrieved.tolist())
    for docid in _examples(index, features):
        if len(found) < most:
            found.setdefault(docid)
    for docid in np.linspace(0, len(index) - 1, most).astype(np.int64).tolist():
        if len(found) < most:
            found.setdefault(docid)
    return np.array(sorted(found), np.int64)


def _examples(index: XetrievalIndex, features: np.ndarray) -> list[int]:
    """Documents that have these features most, and some that have them weakly; one of every feature first, then the next."""
    largest = maxima(index.model)[features]
    strong: list[list[tuple[float, int]]] = [[] for _ in features]
    weak: list[list[tuple[float, int]]] = [[] for _ in features]
    for first, matrix in postings(index.layout, features):
        for column in range(len(features)):
            own = slice(matrix.indptr[column], matrix.indptr[column + 1])
            values, docids = matrix.data[own], first + matrix.indices[own]
            strong[column] = heapq.nlargest(STRONG, [*strong[column], *_largest(values, docids, STRONG)])
            faint = values < _WEAK * largest[column]
            weak[column] = heapq.nlargest(WEAK, [*weak[column], *_largest(values[faint], docids[faint], WEAK)])
    ordered = [[docid for _, docid in [*s, *w]] for s, w in zip(strong, weak)]
    return [own[i] for i in range(STRONG + WEAK) for own in ordered if i < len(own)]


def _largest(values: np.ndarray, docids: np.ndarray, n: int) -> list[tuple[float, int]]:
    best = np.argsort(-values, kind="stable")[:n]
    return list(zip(values[best].tolist(), docids[best].tolist()))
