"""A corpus as consecutive parts that any worker can read: rows of Parquet files in a folder that all machines share."""

from __future__ import annotations

import hashlib
import json
import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..datasets.corpus_file import CorpusFile
from ..documents import docno_of
from ..store.files import replacing

if TYPE_CHECKING:
    import pyarrow

ROWS = 4096  # documents read or written at once
_DIGEST = b"sha256"  # in the metadata of a copy: of the documents that were copied
Corpus = Any  # whatever documents come as: see cut
Document = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """Consecutive documents of a corpus.

    Attributes:
        number: of the part; start, stop: its documents are ``start … stop-1`` of the corpus.
        pieces: (Parquet file, first row, row behind the last) that hold them, in order.

    Example::

        >>> part = Part(1, 100, 150, (("a.parquet", 100, 120), ("b.parquet", 0, 30)))
        >>> len(part), part.name
        (50, '000001')
    """

    number: int
    start: int
    stop: int
    pieces: tuple[tuple[str, int, int], ...] = ()

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def name(self) -> str:
        """What its file or folder is called."""
        return f"{self.number:06d}"

    def documents(self) -> Iterator[Document]:
        """The documents as dicts; lists of numbers as arrays."""
        for file, start, stop in self.pieces:
            yield from parquet_rows(file, start, stop)

    def docnos(self) -> Iterator[str]:
        """The docnos alone; ValueError for a document without one."""
        for file, start, stop in self.pieces:
            for row in parquet_rows(file, start, stop, columns=["docno"]):
                if row["docno"] is None:
                    raise ValueError(f"index_corpus expects a docno for each document, found none in {file}")
                yield row["docno"]


def parquet_files(path: str | os.PathLike[str]) -> list[Path]:
    """The Parquet file at ``path``, or those of the folder there and its subfolders, by name; none elsewhere."""
    path = Path(path).expanduser().absolute()
    if path.is_dir():
        return sorted(path.rglob("*.parquet"))
    return [path] if path.suffix == ".parquet" else []


def parquet_rows(file: str | os.PathLike[str], start: int, stop: int, *, columns: list[str] | None = None) -> Iterator[Document]:
    """Rows ``start … stop-1`` of a Parquet file as dicts; only the row groups that hold them are read."""
    from pyarrow import parquet

    with parquet.ParquetFile(file) as data:
        ends = np.cumsum([0] + [data.metadata.row_group(i).num_rows for i in range(data.num_row_groups)])
        groups = [i for i in range(data.num_row_groups) if ends[i] < stop and ends[i + 1] > start]
        at = int(ends[groups[0]]) if groups else stop
        for batch in data.iter_batches(ROWS, row_groups=groups, columns=columns):
            own = batch.slice(max(0, start - at), max(0, stop - max(at, start)))
            for row in zip(*map(_cells, own.columns)):
                yield dict(zip(own.schema.names, row))
            at += len(batch)


def _cells(column: pyarrow.Array) -> list[Any]:
    from pyarrow import types

    item = getattr(column.type, "value_type", None)  # of lists
    if item is not None and (types.is_floating(item) or types.is_integer(item)):
        return list(column.to_numpy(zero_copy_only=False))
    return column.to_pylist()


def documents_of(corpus: Corpus, *, stage: str) -> Iterator[Document]:
    """Documents of whatever a corpus is given as, Parquet apart: see :func:`cut`."""
    if isinstance(corpus, (str, Path)):
        found = iter(CorpusFile(corpus))
    elif isinstance(corpus, pd.DataFrame):
        found = iter(corpus.to_dict(orient="records"))
    elif hasattr(corpus, "get_corpus_iter"):
        found = iter(corpus.get_corpus_iter(verbose=False))
    elif hasattr(corpus, "docs_iter"):
        found = corpus.docs_iter()
    else:
        found = iter(corpus() if callable(corpus) else corpus)
    for document in found:
        if isinstance(document, tuple) and hasattr(document, "default_text"):  # as ir_datasets has them
            document = {"docno": document.doc_id, "text": document.default_text()}
        numbered = isinstance(document, dict) and not isinstance(document.get("docno", ""), str)
        yield {**document, "docno": docno_of(document, where=stage)} if numbered else document


def cut(corpus: Corpus, size: int, folder: Path, *, stage: str, renew: Callable[[Part], bool] = lambda part: False) -> list[Part]:
    """Cuts a corpus into parts of ``size`` documents.

    Parquet files stay where they are, which must be the same path on all machines; anything else is copied to Parquet
    files in ``folder``, a part each. A copy that was cut off goes on there.

    Args:
        corpus: a Parquet file or a folder of them; what :class:`~pyterrier_xetrieval.training.CorpusFile` reads; a
            dataset of PyTerrier or ir_datasets; a frame; an iterable of dicts, or a function that returns one.
        renew: asked about a part of the copy whose documents have changed since; whether it may be copied again.

    Raises:
        FileNotFoundError: nothing at the path.
        ValueError: no documents, one without docno, fields that differ; another corpus than that of the copy.
    """
    files = parquet_files(corpus) if isinstance(corpus, (str, Path)) else []
    parts = _ranges(files, size, stage) if files else _copied(corpus, size, folder, stage, renew)
    if not parts:
        raise ValueError(f"{stage} expects documents, found none" + (f" in {len(files)} Parquet files" if files else ""))
    return parts


def digest_of(parts: Sequence[Part]) -> dict[str, Any]:
    """What tells these parts of these files from others; a file written anew nearly always has another size."""
    sizes = {file: Path(file).stat().st_size for part in parts for file, _, _ in part.pieces}
    pieces = [[*piece, sizes[piece[0]]] for part in parts for piece in part.pieces]
    return {"documents": parts[-1].stop, "files": hashlib.sha256(json.dumps(pieces).encode()).hexdigest()}


def _ranges(files: list[Path], size: int, stage: str) -> list[Part]:
    """Parts of Parquet files that stay where they are."""
    from pyarrow import parquet, types

    starts = [0]  # of each file that has rows, and the end of the last
    filled = []
    for file in files:
        with parquet.ParquetFile(file) as data:
            rows, schema = data.metadata.num_rows, data.schema_arrow
        kind = schema.field("docno").type if "docno" in schema.names else None
        if kind is None or not (types.is_string(kind) or types.is_large_string(kind)):
            found = f"columns {schema.names}" if kind is None else kind
            raise ValueError(f"{stage} expects a column docno of strings in {file}, found {found}")
        if rows:
            filled.append(str(file))
            starts.append(starts[-1] + rows)
    parts: list[Part] = []
    for start in range(0, starts[-1], size):
        stop = min(start + size, starts[-1])
        own = range(bisect_right(starts, start) - 1, bisect_left(starts, stop))
        pieces = ((filled[i], max(start, starts[i]) - starts[i], min(stop, starts[i + 1]) - starts[i]) for i in own)
        parts.append(Part(len(parts), start, stop, tuple(pieces)))
    return parts


def _copied(corpus: Corpus, size: int, folder: Path, stage: str, renew: Callable[[Part], bool]) -> list[Part]:
    """Parts of a copy in ``folder``: a Parquet file for each, which holds the digest of its documents as metadata."""
    from pyarrow import parquet

    folder.mkdir(parents=True, exist_ok=True)
    parts: list[Part] = []
    documents = documents_of(corpus, stage=stage)
    while batch := list(islice(documents, size)):
        number, start = len(parts), len(parts) * size
        file = folder / f"{number:06d}.parquet"
        part = Part(number, start, start + len(batch), ((str(file), 0, len(batch)),))
        digest = _digest(batch, start, stage)
        known = parquet.read_schema(file).metadata[_DIGEST] if file.exists() else None
        if known != digest:
            if known is not None and not renew(part):
                raise ValueError(
                    f"{stage} expects the corpus that {folder} was begun with, found other documents among {start} … "
                    f"{part.stop - 1}; give the same corpus, or remove that folder"
                )
            _write(batch, digest, file, start, stage)
        parts.append(part)
    if len(parts) < len(list(folder.glob("*.parquet"))):
        found = parts[-1].stop if parts else 0
        raise ValueError(f"{stage} expects the corpus that {folder} was begun with, found only {found} documents")
    return parts


def _digest(batch: list[Document], start: int, stage: str) -> bytes:
    digest = hashlib.sha256()
    for at, document in enumerate(batch, start):
        docno = document.get("docno") if isinstance(document, dict) else None
        if not isinstance(docno, str) or not docno:
            raise ValueError(f"{stage} expects documents with a string as docno, found {str(document)[:80]} (document {at})")
        for name, value in sorted(document.items()):
            digest.update(f"{name}\0".encode() + (value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()))
    return digest.hexdigest().encode()


def _write(batch: list[Document], digest: bytes, file: Path, start: int, stage: str) -> None:
    import pyarrow
    from pyarrow import parquet

    fields = list(batch[0])
    for at, document in enumerate(batch, start):
        if set(document) != set(fields):
            raise ValueError(f"{stage} expects documents with the fields {fields}, found {list(document)} in document {at}")
    try:
        table = pyarrow.table({name: [document[name] for document in batch] for name in fields}, metadata={_DIGEST: digest})
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
        raise ValueError(f"{stage} cannot keep documents {start} … {start + len(batch) - 1} as a table: {error}") from None
    with replacing(file, "wb") as out:
        parquet.write_table(table, out, row_group_size=ROWS, compression="zstd")
