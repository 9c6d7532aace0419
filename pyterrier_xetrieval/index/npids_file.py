"""The lookup of docnos that pyterrier_dr reads: written in the file format of npids, which has no documentation.

npids' own builder is not used: it holds the inverse lookup in memory, fails on a block of one docno, and makes lookups of
zero-padded docnos that lose the last ones. What is written is read back by the npids that is installed.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import IO

import numpy as np

from ..store.files import replacing

_HEADER = struct.Struct("<IqqI")  # kind of section, where the next one starts (-1: none), documents, bytes of its facts
_FILE, _FORWARD, _INVERSE = int.from_bytes(b"NPID", "little"), 0, 1  # kinds of sections
_AT_ONCE = 1 << 22  # entries of the inverse lookup sorted in one pass: about 100 MB

Blocks = Callable[[], Iterator[tuple[int, np.ndarray]]]


def write_lookup(path: Path, n: int, blocks: Blocks, deleted: np.ndarray | None = None) -> None:
    """Writes the lookup of ``n`` rows, all or nothing: blocks of docnos of equal width, and one hash table.

    The table is built in passes over the docnos, so that memory does not grow with their number.

    Args:
        blocks: reads all rows, in order: the first row of each block and its docnos, bytes ``[b]``.
        deleted: rows that are found last, int64 ``[k]``: the docno of a document that was replaced has another row.

    Raises:
        RuntimeError: the installed npids does not read the file.
    """
    from npids.codecs.inv_hash import fnv1_32  # the hash that readers use

    bits = (n - 1).bit_length()
    deleted = np.empty(0, np.int64) if deleted is None else deleted
    with replacing(path, "wb") as file:
        _section(file, _FILE, 0, {"version": 1}, 0)
        for _, docnos in blocks():
            facts = {"format": "fixedbytes", "length": docnos.dtype.itemsize, "prefix": ""}
            _section(file, _FORWARD, len(docnos), facts, docnos.nbytes)
            file.write(docnos.tobytes())
        _section(file, _INVERSE, n, {"format": "hash", "hash_bits": bits, "hash_fn": "fnv1_32"}, None)
        offsets_at, buckets = file.tell(), 1 << bits
        file.write(bytes(4))
        entries_at, written = offsets_at + 4 * (buckets + 1), 0
        step = max(1, (buckets * _AT_ONCE) // n)  # buckets of one pass: about _AT_ONCE documents
        for low in range(0, buckets, step):
            high = min(low + step, buckets)
            parts = []
            for start, docnos in blocks():
                bucket = fnv1_32(docnos) & np.uint32(buckets - 1)
                inside = np.flatnonzero((bucket >= low) & (bucket < high))
                parts.append((bucket[inside], (inside + start).astype(np.uint32)))
            own, ids = map(np.concatenate, zip(*parts))
            counts = np.bincount(own - np.uint32(low), minlength=high - low)
            file.seek(offsets_at + 4 * (low + 1))
            file.write((written + np.cumsum(counts)).astype(np.uint32).tobytes())
            file.seek(entries_at + 4 * written)
            file.write(ids[np.lexsort((np.isin(ids, deleted), own))].tobytes())
            written += len(ids)
        file.flush()
        _check(file.name, n, str(docnos[-1], "utf-8"))


def _section(file: IO[bytes], kind: int, documents: int, facts: dict, size: int | None) -> None:
    """The header of a section of so many bytes; None for the last one."""
    written = json.dumps(facts).encode()
    end = -1 if size is None else file.tell() + _HEADER.size + len(written) + size
    file.write(_HEADER.pack(kind, end, documents, len(written)) + written)


def _check(path: str, n: int, last: str) -> None:
    from npids import Lookup

    try:
        lookup = Lookup(path)
        found: object = (len(lookup), lookup.fwd[n - 1], lookup.inv[last])
    except Exception as error:  # whatever another format makes of it
        found = error
    if found != (n, last, n - 1):
        raise RuntimeError(
            f"the installed npids {version('npids')} does not read the lookup of docnos that was written for npids 0.1.3 "
            f"(found {found!r}); install npids 0.1.3"
        )
