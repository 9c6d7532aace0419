"""Collections as vectors: encoded once and kept in a cache, or read from a folder of vectors."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyterrier as pt
from pyterrier_dr import FlexIndex

from ..datasets import beir_folder
from ..datasets.base import excluded_of, name_of
from ..encoders import check_same_encoder, encoder_identity
from ..store.files import new_folder, replacing
from ..store.texts import StoredTexts, TextWriter
from ..store.vectors import read_unit_vectors
from .collection import EmbeddedCollection
from .judgements import answerable, unique_names

INDEX, TEXTS, OFFSETS, FACTS = "docs.flex", "texts.jsonl", "offsets.npy", "facts.json"
ENCODED_AT_ONCE = 1024


def embed(dataset: pt.datasets.Dataset, encoder, *, cache, name: str | None = None, verbose: bool = False) -> EmbeddedCollection:
    """Encodes a collection, or finds it encoded, and opens its vectors memory-mapped.

    ``cache/NAME-DIGEST`` holds a FlexIndex of the documents, their texts, and a file of vectors for each set of
    queries. The digest is over the encoder (class, model name, text field, length) and all docnos and texts, so that
    another encoder or a changed corpus is never taken for this one. A folder appears only when it is finished; what a
    killed run leaves ends in ``.unfinished`` and can be deleted. The corpus is read once to compare and once more to
    encode; neither texts nor document vectors are held in memory.

    Args:
        dataset: any PyTerrier dataset with corpus, topics and qrels; ``get_excluded()`` is honoured where there is one.
        encoder: a pyterrier_dr bi-encoder, e.g. ``model.encoder()``; its ``text_field`` of the documents is encoded.
        cache: folder, made where there is none.
        name: of the collection, in tables and in the cache; the dataset's unless said otherwise.
        verbose: show progress.

    Returns:
        vectors as the encoder gives them; queries without a relevant document (label above 0) in the corpus are left out.

    Raises:
        ValueError: an encoder of another kind; documents without the text field or with a docno twice; fewer than two
            documents; vectors that are not finite; an encoder that now gives other vectors than those in the cache;
            no query with a relevant document.

    Example::

        collection = embed(pydocs(), Xetrieval.default().encoder(), cache="vectors")
        rows, scores = rank(collection.queries, collection.docs, 10, excluded=collection.excluded)
    """
    name, identity = name or name_of(dataset), _identity(encoder)
    docnos, digest = _read_names(dataset, encoder.text_field, name)
    topics, judged, excluded = answerable(name, docnos, dataset.get_topics(), dataset.get_qrels(), excluded_of(dataset))
    key = hashlib.sha256(json.dumps([identity, digest]).encode()).hexdigest()[:16]
    folder = Path(cache).expanduser().absolute() / f"{_as_file_name(name)}-{key}"
    known = (folder / FACTS).is_file()
    if not known:
        _write(folder, lambda new: _encode_documents(dataset, encoder, new, digest, verbose))
    docs = _open_vectors(folder / INDEX)
    with open(folder / TEXTS, "rb") as file:
        texts = StoredTexts(file, np.load(folder / OFFSETS))
    if known:
        check_same_encoder(docs[0], _encode(encoder, texts([0]))[0], folder, stage="embed")
    return EmbeddedCollection(
        name=name, docnos=docnos, docs=docs, qids=topics["qid"].to_numpy(np.str_), texts=texts,
        queries=_encoded_queries(folder, encoder, topics), judged=judged, excluded=excluded,
        query_texts=topics["query"].to_numpy(np.str_),
    )  # fmt: skip


def read_embedded(folder, name: str, *, vectors, exclude_own_id: bool = False) -> EmbeddedCollection:
    """A BEIR-style collection whose vectors are there already.

    Args:
        folder: holds the collection as ``NAME/``, see :func:`~pyterrier_xetrieval.datasets.beir_folder`.
        name: of the collection.
        vectors: folder of ``NAME.f16.npy`` and ``NAME.q.f16.npy``, one row per document and query in file order; they
            become float32 of length 1.
        exclude_own_id: ArguAna's rule: a query's own id must not be retrieved for it.

    Raises:
        FileNotFoundError: a file of the collection or its vectors that is missing.
        ValueError: another number of vectors than documents or queries; vectors that are not finite or all zero; no
            query with a relevant document.

    Example::

        collection = read_embedded("data", "arguana", vectors="data/embeddings/minilm", exclude_own_id=True)
    """
    dataset, docnos = beir_folder(Path(folder) / name, exclude_own_id=exclude_own_id), []
    with tempfile.TemporaryFile() as file:  # gone from the disk when the collection is
        writer = TextWriter(file)
        for document in dataset.get_corpus_iter():
            docnos.append(document["docno"])
            writer.add(document["text"])
        texts = StoredTexts(file, writer.offsets)
    all_topics = dataset.get_topics()
    docs = read_unit_vectors(Path(vectors) / f"{name}.f16.npy", len(docnos), "documents", stage="read_embedded")
    queries = read_unit_vectors(Path(vectors) / f"{name}.q.f16.npy", len(all_topics), "queries", stage="read_embedded")
    docnos = unique_names(docnos, name)
    topics, judged, excluded = answerable(name, docnos, all_topics, dataset.get_qrels(), dataset.get_excluded())
    return EmbeddedCollection(
        name=name, docnos=docnos, docs=docs, qids=topics["qid"].to_numpy(np.str_), queries=queries[topics.index],
        judged=judged, excluded=excluded, texts=texts, query_texts=topics["query"].to_numpy(np.str_),
    )  # fmt: skip


def _read_names(dataset, field: str, name: str) -> tuple[np.ndarray, str]:
    """The docnos in order, and a digest of docnos and texts."""
    docnos, digest = [], hashlib.sha256()
    for document in dataset.get_corpus_iter(verbose=False):
        if field not in document:
            raise ValueError(f"embed expects the field {field!r} in the documents of {name}, found {sorted(document)}")
        docnos.append(str(document["docno"]))
        _add(digest, document, field)
    if len(docnos) < 2:
        raise ValueError(f"embed expects at least two documents, found {len(docnos)} in {name}")
    return unique_names(docnos, name), digest.hexdigest()


def _add(digest, document: dict, field: str) -> None:
    digest.update(json.dumps([document["docno"], document[field]]).encode())


def _encode_documents(dataset, encoder, folder: Path, digest: str, verbose: bool) -> None:
    encode, field, seen = encoder.doc_encoder(), encoder.text_field, hashlib.sha256()
    with open(folder / TEXTS, "wb") as file:
        writer = TextWriter(file)

        def encoded() -> Iterator[dict]:
            corpus = iter(dataset.get_corpus_iter(verbose=verbose))
            while documents := list(islice(corpus, ENCODED_AT_ONCE)):
                for document in documents:
                    _add(seen, document, field)
                    writer.add(document[field])
                frame = encode(
                    pd.DataFrame({"docno": [str(d["docno"]) for d in documents], field: [d[field] for d in documents]})
                )
                _finite(np.stack(frame["doc_vec"]), frame["docno"].tolist())
                yield from frame[["docno", "doc_vec"]].to_dict("records")

        FlexIndex(str(folder / INDEX), verbose=False).index(encoded())
        np.save(folder / OFFSETS, writer.offsets)
    if seen.hexdigest() != digest:
        raise ValueError("embed expects a dataset that gives the same documents each time, found others when it encoded them")
    (folder / FACTS).write_text(json.dumps({"encoder": _identity(encoder), "documents": digest}, indent=1), encoding="utf-8")


def _encoded_queries(folder: Path, encoder, topics: pd.DataFrame) -> np.ndarray:
    digest = hashlib.sha256(json.dumps(topics["query"].tolist()).encode()).hexdigest()[:16]
    path = folder / f"queries-{digest}.npy"
    if path.is_file():
        queries = np.load(path)
        check_same_encoder(queries[0], _encode(encoder, topics["query"][:1], query=True)[0], folder, stage="embed")
        return queries
    queries = _encode(encoder, topics["query"], query=True)
    _finite(queries, topics["qid"].tolist())
    with replacing(path, "wb") as file:
        np.save(file, queries)
    return queries


def _encode(encoder, texts, *, query: bool = False) -> np.ndarray:
    """float32 ``[n, m]``; with no documents or queries around them."""
    ids = [str(i) for i in range(len(texts))]
    if query:
        column = encoder.query_encoder()(pd.DataFrame({"qid": ids, "query": list(texts)}))["query_vec"]
    else:
        column = encoder.doc_encoder()(pd.DataFrame({"docno": ids, encoder.text_field: list(texts)}))["doc_vec"]
    return np.stack(column).astype(np.float32)


def _identity(encoder) -> list[str]:
    known = encoder_identity(encoder, ["doc_encoder", "query_encoder", "text_field"], stage="embed")
    return [known["class"], known["name"], encoder.text_field, str(known["max_length"])]


def _write(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fills a new folder and gives it its name when it is finished."""
    try:
        with new_folder(folder) as new:
            fill(new)
    except FileExistsError:
        if not (folder / FACTS).is_file():  # otherwise another run was faster
            raise FileExistsError(f"embed found {folder}, which it did not write; move it away") from None


def _open_vectors(index: Path) -> np.ndarray:
    (meta,) = FlexIndex(str(index), verbose=False).payload(return_dvecs=False, return_docnos=False)
    # copy on write: torch wants writable memory, and the file stays as it is
    return np.memmap(index / "vecs.f4", np.float32, mode="c", shape=(meta["doc_count"], meta["vec_size"]))


def _finite(vectors: np.ndarray, names: list[str]) -> None:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise ValueError(f"embed found NaN or infinity in the vector of {names[bad[0]]!r}; check the encoder")


def _as_file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:80]
