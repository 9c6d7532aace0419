"""Docnos: which ones an index takes, the check for duplicates, and reading them in bounded memory."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..stages.load import distinct_docnos, rows_of
from .storage import DOCUMENT, Layout

if TYPE_CHECKING:
    from npids import Lookup

    from .artifact import XetrievalIndex

MAX_BYTES = 4096  # of a docno: numpy keeps lists of them as wide as the longest
_BLOCK = 1 << 16  # docnos in one block of equal width, at most
_WIDTHS = 1 << 23  # bytes of a block, which is as wide as its longest docno


def check_docno(docno: object, *, stage: str) -> str:
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

    Args:
        stage: who asks; named in errors.

    Example::

        >>> seen = SeenDocnos(stage="indexer")
        >>> seen.add(["d1", "d2"])
        >>> seen.add(["d1"])
        Traceback (most recent call last):
        ValueError: indexer expects each docno once, found 'd1' again
    """

    def __init__(self, *, stage: str):
        self.stage = stage
        self._database = sqlite3.connect("", isolation_level=None)  # "": on disk, removed with the connection
        self._database.execute("CREATE TABLE seen (docno TEXT PRIMARY KEY) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def add(self, docnos: Sequence[str]) -> None:
        """ValueError for a docno that is there already, or twice in the list."""
        for docno in docnos:
            try:
                self._database.execute("INSERT INTO seen VALUES (?)", (docno,))
            except sqlite3.IntegrityError:
                raise ValueError(f"{self.stage} expects each docno once, found {docno!r} again") from None

    def holds(self, docnos: Sequence[str]) -> np.ndarray:
        """Which of these docnos came by, bool ``[n]``."""
        find = "SELECT 1 FROM seen WHERE docno = ?"
        return np.array([self._database.execute(find, (docno,)).fetchone() is not None for docno in docnos], bool)

    def close(self) -> None:
        """Removes the database."""
        self._database.close()


def read_docnos(layout: Layout, step: int) -> Iterator[tuple[int, list[str]]]:
    """The docnos of ``step`` rows after the other, and the first row of each batch; deleted ones too.

    They are read from the files and not from the layout's memory maps, which would stay in memory.
    """
    begin = 0
    with open(layout.path / "documents.bin", "rb") as records, open(layout.path / "docnos.u1", "rb") as names:
        for start in range(0, layout.deleted.total, step):
            ends = np.fromfile(records, DOCUMENT, min(step, layout.deleted.total - start))["docno_end"].tolist()
            data = names.read(ends[-1] - begin)
            yield start, [data[a - begin : b - begin].decode() for a, b in zip([begin, *ends], ends)]
            begin = ends[-1]


def docno_blocks(layout: Layout) -> Iterator[tuple[int, np.ndarray]]:
    """The docnos of consecutive rows as bytes of one width, ``[b]``, and the first row of each block."""
    for start, docnos in read_docnos(layout, _BLOCK):
        names = [d.encode() for d in docnos]
        begin = longest = 0
        for i, length in enumerate(map(len, names)):
            longest = max(longest, length)
            if (i - begin + 1) * longest > _WIDTHS and i > begin:
                yield start + begin, np.array(names[begin:i], dtype=np.bytes_)
                begin, longest = i, length
        yield start + begin, np.array(names[begin:], dtype=np.bytes_)


def open_lookup(path: Path, layout: Layout) -> Lookup | LiveLookup:
    """The lookup of an index's docnos, for :func:`~pyterrier_xetrieval.stages.load.rows_of` and pyterrier_dr.

    The file has all rows: deleted ones, and those of an addition that was finished after the index was opened.
    """
    from npids import Lookup

    try:
        lookup = Lookup(path)
    except (struct.error, ValueError, KeyError, EOFError) as error:
        raise ValueError(f"{path} is damaged: {error}; index.verify() looks at the other files") from None
    return lookup if len(lookup) == len(layout) else LiveLookup(lookup, layout)


class LiveLookup:
    """As much of an npids.Lookup as its readers use, over the documents of an index alone.

    Args:
        lookup: of at least all rows of the index; of a docno that several rows have it finds one.
        layout: of the index.
    """

    def __init__(self, lookup: Lookup, layout: Layout):
        self.layout = layout
        self.fwd = _Reads(lambda docids: lookup.fwd[layout.deleted.rows_of(np.asarray(docids, np.int64))])
        # -1 for a docno that is not there, and for one of which another row was found
        self.inv = _Reads(lambda docnos: layout.deleted.docids_of(np.asarray(lookup.inv[docnos], np.int64)))

    def __len__(self) -> int:
        return len(self.layout)

    def __getitem__(self, docids: np.ndarray) -> np.ndarray:
        return self.fwd[docids]

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _BLOCK):
            yield from self.layout.docnos(np.arange(start, min(start + _BLOCK, len(self))))


class _Reads:
    """A function that is called in square brackets."""

    def __init__(self, function: Callable[[np.ndarray], np.ndarray]):
        self.function = function

    def __getitem__(self, asked: np.ndarray) -> np.ndarray:
        return self.function(asked)


def located(layout: Layout, lookup: Lookup | LiveLookup, docnos: Sequence[str], guess: np.ndarray | None) -> np.ndarray:
    """The document of each docno, int64 ``[n]``; -1 for one that the index does not hold.

    Args:
        guess: ``[n]``, what a retriever gave; taken if the index has these docnos there, which is quicker than to look up.
    """
    if guess is not None and guess.dtype.kind in "iu" and len(guess) and guess.min() >= 0 and guess.max() < len(layout):
        if layout.docnos(guess.astype(np.int64)) == list(docnos):
            return guess.astype(np.int64)
    return rows_of(docnos, lookup)


def docids_of(index: XetrievalIndex, inp: pd.DataFrame, *, stage: object) -> tuple[np.ndarray, np.ndarray]:
    """The docids of the ``u`` documents of a frame, each once, int64 ``[u]``; and which of them each row has, int64 ``[n]``.

    The frame may bring its docids itself, in the column ``docid``.

    Raises:
        ValueError: a missing docno, naming ``stage``; a docno that the index does not hold.
    """
    docnos, rows = distinct_docnos(inp, stage=stage)
    guess = inp["docid"].to_numpy()[np.unique(rows, return_index=True)[1]] if "docid" in inp else None
    return index.docids(docnos, guess=guess), rows
