"""Several indexes into one, without encoding anything again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pyterrier as pt

from .artifact import XetrievalIndex
from .docnos import SeenDocnos
from .storage import MERGING, META, SHARDS
from .writing import ShardWriter

_AT_ONCE = 1024  # documents copied at once
_OF_RUN = ("documents", "shards", "shards_bytes", "sha256", "deleted")  # facts that the merged index has of its own


def merge(indexes: Sequence[XetrievalIndex], path: str | os.PathLike[str], *, verbose: bool = False) -> XetrievalIndex:
    """The documents of all indexes, in this order, as one new index with full shards.

    Indexes of consecutive parts of a corpus, made side by side, become byte for byte the index that one run over the
    whole corpus makes (with a TopK dictionary; codes of other rules are as wide as their batch needs, and a few refitted
    coefficients differ in the last bit). Deleted documents are left out. One index alone is copied, with the small shards that
    additions left joined to full ones (``index.compact(path)``).

    Args:
        indexes: made with the same model, aspects, weights, coefficients, dtype and shard size; all with texts (or
            evidence), or none.
        path: a folder that does not exist yet; one that a merge was cut off in is started over.
        verbose: show a progress bar.

    Raises:
        FileExistsError: a finished index or something else at ``path``.
        ValueError: no indexes, different settings, or a docno in more than one.

    Example::

        merge([XetrievalIndex("part1"), XetrievalIndex("part2")], "whole")
    """
    if not indexes:
        raise ValueError("merge expects at least one index, found none")
    path, first = Path(path).expanduser().absolute(), indexes[0]
    for index in indexes:
        if not isinstance(index, XetrievalIndex):
            raise ValueError(f"merge expects XetrievalIndex objects, found {index!r}")
        if index.settings != first.settings:
            keys = {**first.settings, **index.settings}
            differs = sorted(key for key in keys if first.settings.get(key) != index.settings.get(key))
            raise ValueError(f"merge expects indexes with the same settings; {index} and {first} differ in {differs}")
    if (path / META).exists():
        raise FileExistsError(f"a new index expects nothing at {path}, found a finished artifact")
    if (path / SHARDS).exists() and not (path / MERGING).exists():
        raise FileExistsError(f"a new index expects nothing at {path}, found an unfinished index; start its indexing again")
    path.mkdir(parents=True, exist_ok=True)
    if not any(path.iterdir()):
        (path / MERGING).touch()
    with ShardWriter(path, first.settings, first.with_views().model, finished=0) as writer:
        bar = pt.tqdm(total=sum(map(len, indexes)), desc="merge", unit="d", disable=not verbose)
        with bar, closing(SeenDocnos(stage="merge")) as seen:
            for index in indexes:
                start = 0
                while start < len(index):
                    stop = min(len(index), start + min(_AT_ONCE, writer.room))
                    block = index.layout.block(start, stop)
                    seen.add(block.docnos)
                    writer.append(block)
                    bar.update(stop - start)
                    start = stop
        writer.finish({key: value for key, value in first.meta.items() if key not in _OF_RUN})
        (path / MERGING).unlink(missing_ok=True)
    return XetrievalIndex(path, device=first.device)
