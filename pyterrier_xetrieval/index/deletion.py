"""Deleting documents: their rows are appended to a list, and the facts of the index say how much of the list counts."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..documents import as_texts
from ..store.checksums import check_sha256, sha256
from ..store.files import write_json
from ..store.locks import locked
from .storage import DELETED, FOLDED, META, SHARDS, VECTORS, VERSION_WITH_DELETIONS

if TYPE_CHECKING:
    from .artifact import XetrievalIndex

_BYTES = 8  # of a row


def delete(index: XetrievalIndex, docnos: Iterable[str]) -> XetrievalIndex:
    """See :meth:`XetrievalIndex.delete`."""
    if isinstance(docnos, str):
        raise ValueError(f"XetrievalIndex.delete expects a list of docnos, found one string; give [{docnos!r}]")
    names = list(dict.fromkeys(as_texts(list(docnos), stage="XetrievalIndex.delete")))
    try:
        with locked(index.path / SHARDS):
            now = index.reopened()  # others may have changed it since
            rows = now.layout.deleted.rows_of(now.docids(names)) if names else np.empty(0, np.int64)
            if len(rows) == len(now):
                raise ValueError(f"XetrievalIndex.delete expects documents to be left, found all {len(now)} to be deleted; "
                                 f"remove the folder {index.path} instead")  # fmt: skip
            if len(rows):
                changed = record_deleted(now.path, now.meta, rows)
                sums = {**now.meta["sha256"], **changed.pop("sha256")}
                facts = {**now.meta, **changed, "documents": len(now) - len(rows), "sha256": sums}
                write_json(now.path / META, facts)  # this makes them count
    except RuntimeError as error:
        raise FileExistsError(f"XetrievalIndex.delete waits for nobody: {error}") from None
    return index.reopened()


def read_deleted(path: Path, facts: dict[str, Any]) -> np.ndarray:
    """The rows that the facts of an index call deleted, int64 ``[k]``; ValueError if their file is damaged."""
    count = facts.get("deleted", 0)
    if not count:
        return np.empty(0, np.int64)
    check_sha256(path / DELETED, facts["sha256"].get(DELETED), count * _BYTES)
    return np.fromfile(path / DELETED, "<i8", count)


def record_deleted(path: Path, facts: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """Appends rows behind those that the facts know, and returns what the facts have to say for them to count.

    The folders of vectors stop being FlexIndexes of pyterrier_dr's own, which would go on to return these documents.

    Args:
        path: of the index, whose lock the caller holds; facts: as they are on the disk; rows: int64 ``[k]``, not empty.
    """
    before = facts.get("deleted", 0)
    for folder in (VECTORS, FOLDED):
        (path / folder / META).unlink(missing_ok=True)
    with open(path / DELETED, "ab") as file:
        file.truncate(before * _BYTES)  # what a deletion that was cut off left
        file.write(rows.astype("<i8").tobytes())
        file.flush()
        os.fsync(file.fileno())
    sums = {DELETED: sha256(path / DELETED)}
    return {"version": VERSION_WITH_DELETIONS, "deleted": before + len(rows), "sha256": sums}
