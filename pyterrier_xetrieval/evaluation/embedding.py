"""Collections as vectors: encoded once and kept in a cache, or read from a folder of vectors."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyterrier as pt

from ..datasets import beir_folder
from ..datasets.base import excluded_of, name_of
from ..datasets.corpus_file import Documents
from ..datasets.encoded_corpus import encode_corpus, finite_vectors
from ..encoders import check_same_encoder, encoder_identity
from ..store.files import replacing
from ..store.texts import StoredTexts, TextWriter
from ..store.vectors import read_unit_vectors
from .collection import EmbeddedCollection
from .judgements import answerable, unique_names

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder


def embed(
    dataset: pt.datasets.Dataset,
    encoder: BiEncoder,
    *,
    cache: str | os.PathLike[str],
    name: str | None = None,
    verbose: bool = False,
) -> EmbeddedCollection:
    """Encodes a collection, or finds it encoded, and opens its vectors memory-mapped.

    ``cache/NAME-DIGEST`` holds the documents, a FlexIndex of them, and a file of vectors for each set of queries. The digest
    is over the encoder (class, model name, text field, length) and all docnos and texts, so that another encoder or a
    changed corpus is never taken for this one. The same call goes on with what a killed run has encoded. The corpus is read
    once to compare and once more to encode; neither texts nor document vectors are held in memory.

    Args:
        dataset: any PyTerrier dataset with corpus, topics and qrels; ``get_excluded()`` is honoured where there is one.
        encoder: a pyterrier_dr bi-encoder, e.g. ``model.encoder()``; its ``text_field`` of the documents is encoded.
        cache: folder, made where there is none.
        name: of the collection, in tables and in the cache; the dataset's unless said otherwise.
        verbose: show progress.

    Returns:
        vectors as the encoder gives them; queries without a relevant document (label above 0) in the corpus are left
        out.

    Raises:
        ValueError: an encoder of another kind; documents without a text in the text field or with a docno twice; fewer
            than two documents; vectors that are not finite; an encoder that now gives other vectors than those in the
            cache; no query with a relevant document.
        RuntimeError: another run is encoding the same collection into the cache.

    Example::

        collection = embed(pydocs(), Xetrieval.default().encoder(), cache="vectors")
        rows, scores = rank(collection.queries, collection.docs, 10, excluded=collection.excluded)
    """
    name, identity = name or name_of(dataset), _identity(encoder)
    docnos, digest = _read_names(dataset, encoder.text_field, name)
    asked = answerable(name, docnos, dataset.get_topics(), dataset.get_qrels(), excluded_of(dataset))
    key = hashlib.sha256(json.dumps([identity, digest]).encode()).hexdigest()[:16]
    folder = Path(cache).expanduser().absolute() / f"{_as_file_name(name)}-{key}"
    vectors, known = folder / "corpus.flex" / "vecs.f4", (folder / "corpus.flex").is_dir()
    if not known:
        encode_corpus(_documents(dataset, encoder.text_field, digest), encoder, folder, stage="embed", verbose=verbose)
    texts = Documents(folder / "documents").texts
    # copy on write: torch wants writable memory, and the file stays as it is
    docs = np.memmap(vectors, np.float32, mode="c").reshape(len(docnos), -1)
    if known:
        check_same_encoder(docs[0], finite_vectors(encoder.encode_docs, texts([0]), stage="embed")[0], folder, stage="embed")
    queries = _encoded_queries(folder, encoder, asked.texts.tolist())
    return EmbeddedCollection(name, docnos, docs, asked.qids, queries, asked.judged, asked.excluded, texts, asked.texts)


def read_embedded(
    folder: str | os.PathLike[str], name: str, *, vectors: str | os.PathLike[str], exclude_own_id: bool = False
) -> EmbeddedCollection:
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
    dataset = beir_folder(Path(folder) / name, exclude_own_id=exclude_own_id)
    names: list[str] = []
    with tempfile.TemporaryFile() as file:  # gone from the disk when the collection is
        writer = TextWriter(file)
        for document in dataset.get_corpus_iter():
            names.append(document["docno"])
            writer.add(document["text"])
        texts = StoredTexts(file, writer.offsets)
    topics = dataset.get_topics()
    docs = read_unit_vectors(Path(vectors) / f"{name}.f16.npy", len(names), "documents", stage="read_embedded")
    queries = read_unit_vectors(Path(vectors) / f"{name}.q.f16.npy", len(topics), "queries", stage="read_embedded")
    docnos = unique_names(names, name)
    asked = answerable(name, docnos, topics, dataset.get_qrels(), dataset.get_excluded())
    queries = queries[asked.rows]
    return EmbeddedCollection(name, docnos, docs, asked.qids, queries, asked.judged, asked.excluded, texts, asked.texts)


def _read_names(dataset: pt.datasets.Dataset, field: str, name: str) -> tuple[np.ndarray, str]:
    """The docnos in order, and a digest of docnos and texts."""
    docnos, digest = [], hashlib.sha256()
    for document in dataset.get_corpus_iter(verbose=False):
        if field not in document:
            raise ValueError(f"embed expects the field {field!r} in the documents of {name}, found {sorted(document)}")
        docnos.append(str(document["docno"]))
        digest.update(_bytes(document, field))
    if len(docnos) < 2:
        raise ValueError(f"embed expects at least two documents, found {len(docnos)} in {name}")
    return unique_names(docnos, name), digest.hexdigest()


def _bytes(document: dict[str, Any], field: str) -> bytes:
    """What a digest of the corpus is made of."""
    return json.dumps([document["docno"], document[field]]).encode()


def _documents(dataset: pt.datasets.Dataset, field: str, digest: str) -> Iterator[dict[str, Any]]:
    """The documents once more, ValueError at the end if they are others now."""
    seen = hashlib.sha256()
    for document in dataset.get_corpus_iter(verbose=False):
        seen.update(_bytes(document, field))
        yield {"docno": document["docno"], "text": document[field]}
    if seen.hexdigest() != digest:
        raise ValueError("embed expects a dataset that gives the same documents each time, found others when it read again")


def _encoded_queries(folder: Path, encoder: BiEncoder, texts: list[str]) -> np.ndarray:
    """Vectors of queries from the folder, where they are there, float32 ``[q, m]``."""
    digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]
    path = folder / f"queries-{digest}.npy"
    if path.is_file():
        queries = np.load(path)
        check_same_encoder(queries[0], finite_vectors(encoder.encode_queries, texts[:1], stage="embed")[0], folder, stage="embed")
        return queries
    queries = finite_vectors(encoder.encode_queries, texts, stage="embed")
    with replacing(path, "wb") as file:
        np.save(file, queries)
    return queries


def _identity(encoder: BiEncoder) -> list[str]:
    known = encoder_identity(encoder, ["encode_docs", "encode_queries", "text_field"], stage="embed")
    return [known["class"], known["name"], encoder.text_field, str(known["max_length"])]


def _as_file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:80]
