"""Document numbers: the lookup file that pyterrier_dr reads, written in bounded memory, and the check for duplicates."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import numpy as np
from npids.codecs.inv_hash import fnv1_32
from npids.utils import FileManager

from .storage import DOCUMENT, Layout

MAX_BYTES = 4096  # of a docno: numpy keeps lists of them as wide as the longest
_BLOCK = 1 << 16  # docnos in one block of equal width, at most
_WIDTHS = 1 << 23  # bytes of a block, which is as wide as its longest docno
_AT_ONCE = 1 << 22  # entries of the inverse lookup sorted in one pass: about 100 MB


def check_docno(docno, *, stage: str) -> str:
    """The docno; ValueError for one that cannot be stored, or would make the lookup of the whole index as wide as itself."""
    if not isinstance(docno, str) or not docno or "\0" in docno:
        raise ValueError(f"{stage} expects docno to be a string that is not empty and has no NUL, found {str(docno)[:80]!r}")
    try:
        size = len(docno.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"{stage} expects docno to be text that UTF-8 can write, found {docno[:80]!r}: {error.reason}") from None
    if size > MAX_BYTES:
        raise ValueError(f"{stage} expects docno to have at most {MAX_BYTES:,} bytes, found {size:,} in {docno[:80]!r}…")
    return docno


class SeenDocnos:
    """Which docnos came by already; kept in a temporary database, so that memory does not grow with the corpus.

    ``stage``: who asks; named in errors.
    """

    def __init__(self, *, stage: str):
        self.stage = stage
        self._database = sqlite3.connect("", isolation_level=None)  # "": on disk, removed with the connection
        self._database.execute("CREATE TABLE seen (docno TEXT PRIMARY KEY) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def add(self, docnos: list[str]) -> None:
        """ValueError for a docno that is there already, or twice in the list."""
        for docno in docnos:
            try:
                self._database.execute("INSERT INTO seen VALUES (?)", (docno,))
            except sqlite3.IntegrityError:
                raise ValueError(f"{self.stage} expects each docno once, found {docno!r} again") from None

    def close(self) -> None:
        self._database.close()


def read_docnos(layout: Layout, step: int):
    """(first row, docnos) of ``step`` documents after the other, read from the files: a map of them would stay in memory."""
    begin = 0
    with open(layout.path / "documents.bin", "rb") as records, open(layout.path / "docnos.u1", "rb") as names:
        for start in range(0, len(layout), step):
            ends = np.fromfile(records, DOCUMENT, min(step, len(layout) - start))["docno_end"].tolist()
            data = names.read(ends[-1] - begin)
            yield start, [data[a - begin : b - begin].decode() for a, b in zip([begin, *ends], ends)]
            begin = ends[-1]


def write_lookup(layout: Layout, path: Path) -> None:
    """``docnos.npids`` of all documents of the layout, all or nothing.

    Blocks of fixed-width docnos and one hash table. ``npids``' own builder guesses a common prefix, and fails on a
    block of one docno, which is then all prefix; its table is built here in passes, so that memory stays the same.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    n = len(layout)
    bits = (n - 1).bit_length()
    writer = FileManager(temporary, "a")
    try:
        for _, docnos in _blocks(layout):
            writer.write_header(0, len(docnos), {"format": "fixedbytes", "length": docnos.dtype.itemsize, "prefix": ""})
            writer.write(docnos.tobytes())
        writer.write_header(1, n, {"format": "hash", "hash_bits": bits, "hash_fn": "fnv1_32"})
        offsets_at, buckets = writer.tell(), 1 << bits
        writer.write(bytes(4))
        entries_at, written = offsets_at + 4 * (buckets + 1), 0
        step = max(1, (buckets * _AT_ONCE) // n)  # buckets of one pass: about _AT_ONCE documents
        for low in range(0, buckets, step):
            high = min(low + step, buckets)
            own, ids = [], []
            for start, docnos in _blocks(layout):
                bucket = fnv1_32(docnos) & np.uint32(buckets - 1)
                inside = np.flatnonzero((bucket >= low) & (bucket < high))
                own.append(bucket[inside])
                ids.append((inside + start).astype(np.uint32))
            own, ids = np.concatenate(own), np.concatenate(ids)
            counts = np.bincount(own - np.uint32(low), minlength=high - low)
            writer.seek(offsets_at + 4 * (low + 1))
            writer.write((written + np.cumsum(counts)).astype(np.uint32).tobytes())
            writer.seek(entries_at + 4 * written)
            writer.write(ids[np.argsort(own, kind="stable")].tobytes())
            written += len(ids)
        writer.flush()
        os.fsync(writer.fileno())
    finally:
        writer.close()
    os.replace(temporary, path)


def _blocks(layout: Layout):
    """(first row, docnos as fixed-width bytes) of consecutive blocks."""
    for start, docnos in read_docnos(layout, _BLOCK):
        names = [d.encode() for d in docnos]
        begin = longest = 0
        for i, length in enumerate(map(len, names)):
            longest = max(longest, length)
            if (i - begin + 1) * longest > _WIDTHS and i > begin:
                yield start + begin, np.array(names[begin:i], dtype=np.bytes_)
                begin, longest = i, length
        yield start + begin, np.array(names[begin:], dtype=np.bytes_)
