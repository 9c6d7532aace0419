"""From a finished index into Milvus, all or nothing."""

from __future__ import annotations

import re

import numpy as np
import pyterrier as pt

from ..index.storage import SHARDS, Block
from .collection import (
    BATCH,
    CODES,
    DOCNO,
    FOLDED,
    MAX_BYTES,
    UNFINISHED,
    VECTOR,
    VERSION,
    connect,
    count,
    create,
    facts_of,
    to_text,
)
from .index import MilvusIndex

_OF_THE_INDEX = ("dim", "dict_size", "aspects", "weights", "dtype", "model_sha256")


def upload(index, uri, collection: str, *, verbose: bool = False) -> MilvusIndex:
    """Copies a finished index into a new Milvus collection: docnos, folded and original vectors, codes.

    The collection has its name once all documents are there; until then it is called ``<collection>_unfinished``, and
    the same call goes on where it was cut off. A complete collection of the same index is returned as it is.

    Args:
        index: a :class:`~pyterrier_xetrieval.XetrievalIndex`.
        uri: a server (``"http://localhost:19530"``), a local file of Milvus Lite (``"corpus.db"``), or a
            ``pymilvus.MilvusClient``, e.g. one with a token.
        collection: its name; letters, digits and underscores.
        verbose: show a progress bar.

    Raises:
        ImportError: no pymilvus.
        FileExistsError: the collection, or an unfinished one, belongs to something else.
        ValueError: a name that Milvus does not take; a docno or codes of more than 65,535 bytes.
        RuntimeError: the collection does not hold as many documents as the index in the end.

    Example::

        served = upload(XetrievalIndex("corpus.xetrieval"), "http://localhost:19530", "corpus")
        explain = model.encoder() >> served.retriever(num_results=10) >> served.explainer()
    """
    unfinished = f"{collection}{UNFINISHED}"
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]{0,254}", unfinished):
        raise ValueError(f"upload expects a collection name of at most 244 letters, digits and underscores, found {collection!r}")
    client = connect(uri, "upload")
    facts = {
        "version": VERSION, "documents": len(index), "index_sha256": index.meta["sha256"][SHARDS],
        **{name: index.settings[name] for name in _OF_THE_INDEX},
    }  # fmt: skip
    state = [name for name in (collection, unfinished) if _is_there(client, name, facts)]
    if collection not in state:
        if unfinished not in state:
            create(client, unfinished, facts)
        _fill(client, unfinished, index, verbose)
        client.rename_collection(unfinished, collection)
    return MilvusIndex(index.model, uri, collection)


def _is_there(client, collection: str, facts: dict) -> bool:
    if not client.has_collection(collection):
        return False
    found = facts_of(client, collection) or {}
    differs = [name for name in facts if found.get(name) != facts[name]]
    if differs:
        expected, found = ({name: of.get(name) for name in differs} for of in (facts, found))
        raise FileExistsError(
            f"collection {collection!r} is there already and holds something else: expected {expected}, found {found}; "
            "drop it or choose another name"
        )
    return True


def _fill(client, collection: str, index, verbose: bool) -> None:
    client.load_collection(collection)  # only a loaded one is counted
    total = len(index)
    start = max(0, count(client, collection) - BATCH)  # the last request before a cut-off may be there in part
    with pt.tqdm(total=total, initial=start, desc="upload", unit="doc", disable=not verbose) as bar:
        for begin in range(start, total, BATCH):
            entities = _entities(index.layout.block(begin, min(begin + BATCH, total)))
            client.upsert(collection, entities)  # not insert: a request that is sent again adds nothing
            bar.update(len(entities))
    client.flush(collection)
    found = count(client, collection)
    if found != total:
        raise RuntimeError(
            f"upload expects {total} documents in collection {collection!r}, found {found}; drop it and start again"
        )


def _entities(block: Block) -> list[dict]:
    codes = to_text(block.codes)
    for docno, text in zip(block.docnos, codes):
        for name, length in ("docno", len(docno.encode())), ("codes", len(text)):
            if length > MAX_BYTES:
                raise ValueError(f"upload expects {name} of at most {MAX_BYTES} bytes, found {length} in document {docno[:80]!r}")
    folded, vectors = block.folded.astype(np.float32), block.vectors.astype(np.float32)
    return [{DOCNO: d, FOLDED: f, VECTOR: v, CODES: c} for d, f, v, c in zip(block.docnos, folded, vectors, codes)]
