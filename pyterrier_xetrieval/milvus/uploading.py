"""From a finished index into Milvus, all or nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyterrier as pt

from ..index import XetrievalIndex
from ..index.storage import DELETED, SHARDS
from . import collection as stored
from .collection import BATCH, MAX_BYTES, UNFINISHED
from .index import MilvusIndex

if TYPE_CHECKING:
    from pymilvus import MilvusClient

_OF_THE_INDEX = ("dim", "dict_size", "aspects", "weights", "dtype", "model_sha256")


def upload(
    index: XetrievalIndex, uri: str | os.PathLike[str] | MilvusClient, collection: str, *, verbose: bool = False
) -> MilvusIndex:
    """Copies a finished index into a new Milvus collection: docnos, folded and original vectors, codes; no deleted documents.

    The collection has its name once all documents are there; until then it is called ``<collection>_unfinished``, and
    the same call goes on where it was cut off. A complete collection of the same index is returned as it is.

    Args:
        index: a :class:`~pyterrier_xetrieval.XetrievalIndex`.
        uri: a server (``"http://localhost:19530"``), a local file of Milvus Lite (``"corpus.db"``), or a
            ``pymilvus.MilvusClient``, e.g. one with a token.
        collection: its name; letters, digits and underscores.
        verbose: show a progress bar.

    Raises:
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
    client = stored.connect(uri, create=True)
    facts = {name: index.settings[name] for name in _OF_THE_INDEX}
    facts |= {"version": stored.VERSION, "documents": len(index), "index_sha256": index.meta["sha256"][SHARDS]}
    if len(index.layout.deleted):
        facts["deleted_sha256"] = index.meta["sha256"][DELETED]
    there = [name for name in (collection, unfinished) if _is_there(client, name, facts)]
    if collection not in there:
        if unfinished not in there:
            stored.create(client, unfinished, facts)
        _fill(client, unfinished, index, verbose)
        client.rename_collection(unfinished, collection)
    return MilvusIndex(index.with_views().model, uri, collection).with_views(index.aspects)


def _is_there(client: MilvusClient, collection: str, facts: Mapping[str, Any]) -> bool:
    """Whether the collection is there; FileExistsError for one of another index."""
    if not client.has_collection(collection):
        return False
    found = stored.facts_of(client, collection) or {}
    if differs := [name for name in {**facts, "deleted_sha256": None} if found.get(name) != facts.get(name)]:
        expected, found = ({name: of[name] for name in differs if name in of} for of in (facts, found))
        raise FileExistsError(
            f"collection {collection!r} is there already and holds something else: expected {expected}, found {found or 'none of it'}; "
            "drop it or choose another name"
        )
    return True


def _fill(client: MilvusClient, collection: str, index: XetrievalIndex, verbose: bool) -> None:
    client.load_collection(collection)  # only a loaded one is counted
    total = len(index)
    start = max(0, stored.count(client, collection) - BATCH)  # the last request before a cut-off may be there in part
    with pt.tqdm(total=total, initial=start, desc="upload", unit="doc", disable=not verbose) as bar:
        for begin in range(start, total, BATCH):
            entities = _entities(index, begin, min(begin + BATCH, total))
            client.upsert(collection, entities)  # not insert: a request that is sent again adds nothing
            bar.update(len(entities))
    client.flush(collection)
    found = stored.count(client, collection)
    if found != total:
        raise RuntimeError(
            f"upload expects {total} documents in collection {collection!r}, found {found}; drop it and start again"
        )


def _entities(index: XetrievalIndex, start: int, stop: int) -> list[dict[str, Any]]:
    """Documents ``start … stop-1`` as Milvus takes them; ValueError for a text that is too long for a field."""
    block = index.layout.block(start, stop)
    columns = {
        stored.DOCNO: block.docnos,
        stored.CODES: stored.to_text(block.codes),
        stored.FOLDED: block.folded.astype(np.float32),
        stored.VECTOR: block.vectors.astype(np.float32),
    }
    entities = [dict(zip(columns, row)) for row in zip(*columns.values())]
    for entity in entities:
        for name in (stored.DOCNO, stored.CODES):
            if (size := len(entity[name].encode())) > MAX_BYTES:
                docno = entity[stored.DOCNO][:80]
                raise ValueError(f"upload expects {name} of at most {MAX_BYTES} bytes, found {size} in document {docno!r}")
    return entities
