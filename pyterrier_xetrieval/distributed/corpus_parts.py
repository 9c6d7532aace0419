"""A corpus as consecutive parts that any worker can read: rows of Parquet files on a folder that all machines share."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from ..datasets.corpus_file import CorpusFile
from ..store.files import replacing
from ..store.jsonl import appending, json_lines, write_line

ROWS = 4096  # documents read or written at once


@dataclass(frozen=True)
class Part:
    """Consecutive documents of a corpus.

    Attributes:
        number: of the part; start, stop: its documents are ``start … stop-1`` of the corpus.
        pieces: (Parquet file, first row, row behind the last) that hold them, in order.
    """

    number: int
    start: int
    stop: int
    pieces: tuple[tuple[str, int, int], ...]

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def name(self) -> str:
        """What its file or folder is called."""
        return f"{self.number:06d}"

    def documents(self) -> Iterator[dict]:
        """The documents as dicts; lists of numbers as arrays."""
        for file, start, stop in self.pieces:
            yield from parquet_rows(file, start, stop)

    def docnos(self) -> Iterator[str]:
        for file, start, stop in self.pieces:
            for row in parquet_rows(file, start, stop, columns=["docno"]):
                if row["docno"] is None:
                    raise ValueError(f"index_corpus expects a docno for each document, found none in {file}")
                yield row["docno"]


def parquet_files(path) -> list[Path]:
    """The Parquet file at ``path``, or those of the folder there and its subfolders in the order of their names, if any."""
    path = Path(path).expanduser()
    if path.is_dir():
        return sorted(path.rglob("*.parquet"))
    return [path] if path.suffix == ".parquet" else []


def parquet_rows(file, start: int = 0, stop: int | None = None, *, columns=None) -> Iterator[dict]:
    """Rows ``start … stop-1`` of a Parquet file as dicts; only the row groups that hold them are read."""
    from pyarrow import parquet

    with parquet.ParquetFile(file) as data:
        rows = np.cumsum([0] + [data.metadata.row_group(i).num_rows for i in range(data.num_row_groups)])
        stop = int(rows[-1]) if stop is None else stop
        groups = [i for i in range(data.num_row_groups) if rows[i] < stop and rows[i + 1] > start]
        at = int(rows[groups[0]]) if groups else stop
        for batch in data.iter_batches(ROWS, row_groups=groups, columns=columns):
            batch = batch.slice(max(0, start - at), max(0, stop - max(at, start)))
            values = [_values(column) for column in batch.columns]
            for row in zip(*values):
                yield dict(zip(batch.schema.names, row))
            at = max(at, start) + len(batch)


def _values(column) -> list:
    from pyarrow import types

    kind = column.type
    if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)) or column.null_count:
        return column.to_pylist()
    if not (types.is_floating(kind.value_type) or types.is_integer(kind.value_type)):
        return column.to_pylist()
    ends = np.cumsum(column.value_lengths().to_numpy(zero_copy_only=False))
    return np.split(column.flatten().to_numpy(zero_copy_only=False), ends[:-1])


def documents_of(corpus) -> Iterator[dict]:
    """Documents of whatever a corpus is given as: see :func:`cut`."""
    if isinstance(corpus, (str, Path)):
        files = parquet_files(corpus)
        found = (row for file in files for row in parquet_rows(file)) if files else iter(CorpusFile(corpus))
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
        yield document


def cut(corpus, size: int, folder: Path, *, stage: str, renew: Callable[[Part], bool] = lambda part: False) -> list[Part]:
    """Cuts a corpus into parts of ``size`` documents.

    Parquet files stay where they are, which must be the same path on all machines; anything else is copied to Parquet
    files in ``folder``, a part each. A copy that was cut off goes on behind its last whole part.

    Args:
        renew: told of a part of the copy whose documents are others now; whether it may be copied again.
        corpus: a Parquet file or a folder of them; a path as :class:`~pyterrier_xetrieval.training.CorpusFile` reads it;
            a dataset of PyTerrier or ir_datasets; a frame; an iterable of dicts, or a function that returns one.

    Raises:
        FileNotFoundError: nothing at the path.
        ValueError: no documents, one without docno, fields that differ; another corpus than that of the copy.
    """
    files = parquet_files(corpus) if isinstance(corpus, (str, Path)) else []
    if files:
        return _ranges([file.expanduser().absolute() for file in files], size, stage)
    return _copied(corpus, size, folder, stage, renew)


def digest_of(parts: list[Part]) -> dict:
    """What tells these parts of these files from others; a file that was written anew has another size, nearly always."""
    sizes = {file: Path(file).stat().st_size for part in parts for file, _, _ in part.pieces}
    pieces = [[*piece, sizes[piece[0]]] for part in parts for piece in part.pieces]
    return {"documents": parts[-1].stop, "files": hashlib.sha256(json.dumps(pieces).encode()).hexdigest()}


def _ranges(files: list[Path], size: int, stage: str) -> list[Part]:
    from pyarrow import parquet, types

    parts, pieces, start, at = [], [], 0, 0
    for file in files:
        with parquet.ParquetFile(file) as data:
            rows, schema = data.metadata.num_rows, data.schema_arrow
        kind = schema.field("docno").type if "docno" in schema.names else None
        if kind is None or not (types.is_string(kind) or types.is_large_string(kind)):
            found = f"columns {schema.names}" if kind is None else kind
            raise ValueError(f"{stage} expects a column docno of strings in {file}, found {found}")
        first = 0
        while first < rows:
            last = min(rows, first + size - (at - start))
            pieces.append((str(file), first, last))
            at, first = at + last - first, last
            if at - start == size:
                parts.append(Part(len(parts), start, at, tuple(pieces)))
                pieces, start = [], at
    if pieces:
        parts.append(Part(len(parts), start, at, tuple(pieces)))
    if not parts:
        raise ValueError(f"{stage} expects documents, found none in {len(files)} Parquet files")
    return parts


def _copied(corpus, size: int, folder: Path, stage: str, renew) -> list[Part]:
    parts, documents, known = [], documents_of(corpus), {}
    with appending(folder / "corpus.jsonl") as log:
        for _, row in json_lines(folder / "corpus.jsonl"):
            known[row["part"]] = row  # the last one counts

        def note(row: dict) -> None:
            write_line(log, row)
            os.fsync(log.fileno())

        while batch := list(islice(documents, size)):
            part = Part(len(parts), len(parts) * size, len(parts) * size + len(batch), ())
            file = folder / f"{part.name}.parquet"
            entry = {"part": part.number, "documents": len(batch), "sha256": _digest(batch, part.start, stage)}
            if known.get(part.number) != entry:
                if part.number in known:
                    if not renew(part):
                        raise ValueError(
                            f"{stage} expects the corpus that {folder} was begun with, found other documents among {part.start} … "
                            f"{part.stop - 1}; give the same corpus, or remove that folder"
                        )
                    note({"part": part.number})  # of no corpus, until its file is whole again
                _write(batch, file, part.start, stage)
                note(entry)
            parts.append(Part(part.number, part.start, part.stop, ((str(file), 0, len(batch)),)))
    if len(parts) < len(known):
        raise ValueError(
            f"{stage} expects the corpus that {folder} was begun with, found only {parts[-1].stop if parts else 0} documents"
        )
    if not parts:
        raise ValueError(f"{stage} expects documents, found none")
    return parts


def _digest(batch: list[dict], start: int, stage: str) -> str:
    digest = hashlib.sha256()
    for at, document in enumerate(batch, start):
        docno = document.get("docno") if isinstance(document, dict) else None
        if not isinstance(docno, str) or not docno:
            raise ValueError(f"{stage} expects documents with a string as docno, found {str(document)[:80]} (document {at})")
        for name, value in sorted(document.items()):
            digest.update(f"{name}\0".encode() + (value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()))
    return digest.hexdigest()


def _write(batch: list[dict], file: Path, start: int, stage: str) -> None:
    import pyarrow
    from pyarrow import parquet

    fields = list(batch[0])
    for at, document in enumerate(batch, start):
        if set(document) != set(fields):
            raise ValueError(f"{stage} expects documents with the fields {fields}, found {list(document)} in document {at}")
    try:
        table = pyarrow.table({name: _column(document[name] for document in batch) for name in fields})
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
        raise ValueError(f"{stage} cannot keep documents {start} … {start + len(batch) - 1} as a table: {error}") from None
    with replacing(file, "wb") as out:
        parquet.write_table(table, out, row_group_size=ROWS, compression="zstd")


def _column(values: Iterable):
    import pyarrow

    return pyarrow.array(list(values))
