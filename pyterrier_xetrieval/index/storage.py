"""The layout of an index on disk: which files there are, and how they are read and checked.

Every data file only ever grows. A *shard* is a run of consecutive documents; it exists once its line is in
``shards.jsonl``, which says where each file ended by then and what the new piece hashes to. What lies behind the last
line's ends belongs to a run that was cut off. ``pt_meta.json`` says how many shards the finished index has.

A *row* is a document's place in these files, for good. Rows that are deleted are listed in ``deleted.i8``, which only grows
as well; ``pt_meta.json`` says how many of its entries count. To everyone above the layout an index has the documents that are
left, numbered one after the other: these numbers are *docids*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyterrier as pt
import torch

from ..store.checksums import sha256
from ..store.facts import parsed
from .deleted_rows import DeletedRows, LiveVectors
from .packing import PackedCodes, gather
from .settings import check_settings, check_shards

META, SHARDS, MODEL, VECTORS, FOLDED = "pt_meta.json", "shards.jsonl", "model", "vectors", "folded"
LOOKUP = "docnos.npids"  # in the folder of each matrix, for pyterrier_dr
MERGING = "merging"  # an empty file: what is there is an unfinished merge, which is started over
VERSION = 2  # of the format of the files
VERSION_WITH_DELETIONS = 3  # versions of this package that know no deletions refuse it
DELETED = "deleted.i8"  # rows of deleted documents, int64, in the order of deletion; not there before the first one
MAX_VIEWS = 8  # one bit each of a byte

# one record per document: where its pieces end, and its smallest and its largest activation
DOCUMENT = np.dtype([("docno_end", "<i8"), ("ids_end", "<i8"), ("pairs_end", "<i8"), ("low", "<f4"), ("high", "<f4")])
# one record per feature in each shard: ends within the shard's postings, and statistics of its activations
FEATURE = np.dtype([("gaps_end", "<u4"), ("entries_end", "<u4"), ("sum", "<f8"), ("max", "<f4")])

MATRIX = {"float32": "vecs.f4", "float16": "vecs.f2"}  # file of each folder's vectors, by the index's dtype
# the other files, name to type
FILES = {
    "docnos.u1": "u1",  # UTF-8, one after the other
    "documents.bin": DOCUMENT,
    "ids.u1": "u1",  # each document's features, ascending, as gaps (see packing.py)
    "views.u1": "u1",  # beside each gap: bit v is set where the feature is active in view v
    "coefficients.f2": "<f2",  # one for each set bit, relative to the document's largest activation
    "activations.u1": "u1",  # one for each set bit, 256 levels from the document's smallest to its largest
    "postings_gaps.u1": "u1",  # each feature's documents in the shard, ascending, as gaps
    "postings_activations.u1": "u1",  # one for each of them: the largest over the views, same levels
    "features.bin": FEATURE,
}
# what an index keeps if it was asked to: one record of bytes for each document, one after the other in NAME.u1, and where
# each ends in NAME_end.i8
TEXTS, EVIDENCE = "texts", "evidence"
KEPT = (TEXTS, EVIDENCE)


def matrix_file(folder: str, dtype: str) -> str:
    """The name of the file of the vectors in ``VECTORS`` or ``FOLDED``."""
    return f"{folder}/{MATRIX[dtype]}"


def kept(settings: Mapping[str, Any]) -> list[str]:
    """Which of ``KEPT`` an index of these settings has; those that it has not are not in its settings either."""
    return [name for name in KEPT if settings.get(name)]


def data_files(settings: Mapping[str, Any]) -> dict[str, Any]:
    """All data files of an index of these settings, name to NumPy type; rows of the two matrices are vectors."""
    dtype = settings.get("dtype", "float32")
    matrices = {matrix_file(folder, dtype): f"<{MATRIX[dtype][-2:]}" for folder in (VECTORS, FOLDED)}
    records = {name: kind for own in kept(settings) for name, kind in ((f"{own}.u1", "u1"), (f"{own}_end.i8", "<i8"))}
    return {**matrices, **FILES, **records}


def _sizes(settings: Mapping[str, Any]) -> dict[str, tuple[int, str] | None]:
    """How many bytes each data file has for each document, or shard, where that is one number."""
    row = np.dtype(settings["dtype"]).itemsize * settings["dim"]
    sizes: dict[str, tuple[int, str] | None] = dict.fromkeys(data_files(settings))
    sizes |= {matrix_file(folder, settings["dtype"]): (row, "document") for folder in (VECTORS, FOLDED)}
    sizes |= {f"{name}_end.i8": (8, "document") for name in kept(settings)}
    sizes["documents.bin"] = (DOCUMENT.itemsize, "document")
    sizes["features.bin"] = (FEATURE.itemsize * settings["dict_size"], "shard")
    return sizes


class HalfVectors:
    """A float16 matrix that is float32 to its readers: what is indexed, and nothing else, is widened.

    Slices and selections of rows are new float32 arrays; ``np.asarray`` widens everything. Nothing is lost: every
    float16 number is a float32 number. torch widens 20 times as fast as numpy's ``astype``, which would cost a retriever
    more than its dot products.

    Args:
        stored: float16 ``[n, m]``, writable as far as torch can see (a memory map in mode ``"c"``).

    Example::

        >>> HalfVectors(np.eye(2, dtype=np.float16))[:1].dtype
        dtype('float32')
    """

    dtype, ndim = np.dtype(np.float32), 2

    def __init__(self, stored: np.ndarray | LiveVectors):
        self.stored = stored

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored.shape

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, rows: Any) -> np.ndarray:
        stored = self.stored[rows]
        if min(stored.strides, default=0) < 0:  # torch has no negative strides
            stored = stored.copy()
        return torch.from_numpy(np.asarray(stored, order="C")).float().numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("HalfVectors are float16 on disk: an array of them is always a copy")
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)


@dataclass(frozen=True)
class Block:
    """Documents as they are stored: what the encoding makes, the writer appends and the merge copies.

    Attributes:
        docnos: ``n`` strings; vectors, folded: ``[n, m]`` of the index's dtype; codes: of the same documents.
        records: what else the index keeps, by its name in ``KEPT``: ``n`` byte strings each.
    """

    docnos: list[str]
    vectors: np.ndarray
    folded: np.ndarray
    codes: PackedCodes
    records: Mapping[str, Sequence[bytes]] = field(default_factory=dict)


class Layout:
    """An index's folder, read: its data files as memory maps that nothing writes to.

    Args:
        path: the folder.
        shards: only so many of the finished shards; None for all.
        deleted: rows to leave out, int64; None for none.

    Attributes:
        deleted: between docids and rows.

    Raises:
        ValueError: ``shards.jsonl`` is damaged, a file is shorter than it says, or a row to leave out is not there.
    """

    def __init__(self, path: Path, shards: int | None = None, deleted: np.ndarray | None = None):
        self.path = path
        lines = (path / SHARDS).read_bytes().split(b"\n")[:-1]  # a last line that was cut off does not count
        if shards is not None and len(lines) < shards + 1:
            raise ValueError(f"{path / SHARDS} is damaged: expected {shards} shards, found {max(0, len(lines) - 1)}")
        found = [parsed(line, path / SHARDS) for line in (lines if shards is None else lines[: shards + 1])]
        if found:
            check_settings(found[0], path / SHARDS)
            check_shards(found[1:], _sizes(found[0]), path / SHARDS)
        self.settings: dict[str, Any] = found[0] if found else {}
        self.shards: list[dict[str, Any]] = found[1:]
        self.dtype: str = self.settings["dtype"] if self.settings else "float32"
        self.files = data_files(self.settings)
        self.ends: dict[str, int] = self.shards[-1]["ends"] if self.shards else dict.fromkeys(self.files, 0)
        self.starts = np.cumsum([0] + [s["documents"] for s in self.shards])
        self.deleted = DeletedRows(int(self.starts[-1]), np.empty(0, np.int64) if deleted is None else deleted)
        self._maps: dict[str, np.ndarray] = {}
        for name, end in self.ends.items():
            size = (path / name).stat().st_size if (path / name).is_file() else 0
            if size < end:
                raise ValueError(f"{path / name} is damaged: expected {end} bytes, found {size}")

    def __len__(self) -> int:
        return self.deleted.left

    def __getitem__(self, name: str) -> np.ndarray:
        """A data file as an array ``[…]`` of its type, or ``[rows, m]`` for the two matrices."""
        if name not in self._maps:
            dtype = np.dtype(self.files[name])
            shape = (-1, self.settings["dim"]) if name.endswith(MATRIX[self.dtype]) else (-1,)
            count = self.ends[name] // dtype.itemsize
            mode: Any = "c" if name.endswith(MATRIX["float16"]) else "r"  # torch widens what it could write; nothing ever is
            data = np.memmap(self.path / name, dtype, mode, shape=(count,)) if count else np.empty(0, dtype)
            self._maps[name] = data.view(np.ndarray).reshape(shape)  # plain arrays index faster, and keep the map alive
        return self._maps[name]

    def vectors(self, folder: str) -> np.ndarray | HalfVectors | LiveVectors:
        """The original (``VECTORS``) or the folded vectors (``FOLDED``): float32 ``[n, m]``, however they are stored."""
        matrix = self[matrix_file(folder, self.dtype)]
        stored = LiveVectors(matrix, self.deleted) if len(self.deleted) else matrix
        return HalfVectors(stored) if self.dtype == "float16" else stored

    def _bounds(self, field: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the pieces of these rows start and end, int64 ``[n]`` each."""
        ends = self["documents.bin"][field]
        return np.where(rows > 0, ends[np.maximum(rows, 1) - 1], 0), ends[rows]

    def docnos(self, docids: np.ndarray) -> list[str]:
        """The docnos of these documents, int64 ``[n]``, in this order."""
        begins, ends = self._bounds("docno_end", self.deleted.rows_of(docids))
        data, stops = gather(self["docnos.u1"], begins, ends).tobytes(), np.cumsum(ends - begins).tolist()
        return [data[a:b].decode() for a, b in zip([0, *stops], stops)]

    def block(self, start: int, stop: int) -> Block:
        """Documents ``start … stop-1`` as they are stored."""
        docids = np.arange(start, stop)
        rows = self.deleted.rows_of(docids)
        vectors, folded = (self[matrix_file(folder, self.dtype)][rows] for folder in (VECTORS, FOLDED))
        records = {name: self.records(name, docids) for name in kept(self.settings)}
        return Block(self.docnos(docids), vectors, folded, self.codes(docids), records)

    def records(self, name: str, docids: np.ndarray) -> list[bytes]:
        """What the index keeps of these documents, int64 ``[n]``, under this name of ``KEPT``."""
        ends, data = self[f"{name}_end.i8"], self[f"{name}.u1"]
        return [
            data[int(ends[row - 1]) if row else 0 : int(ends[row])].tobytes() for row in self.deleted.rows_of(docids).tolist()
        ]

    def codes(self, docids: np.ndarray) -> PackedCodes:
        """The codes of these documents, int64 ``[n]``, in this order."""
        rows = self.deleted.rows_of(docids)
        ids, pairs = self._bounds("ids_end", rows), self._bounds("pairs_end", rows)
        records = self["documents.bin"][rows]
        return PackedCodes(
            gather(self["ids.u1"], *ids), gather(self["views.u1"], *ids), ids[1] - ids[0],
            gather(self["coefficients.f2"], *pairs), gather(self["activations.u1"], *pairs), pairs[1] - pairs[0],
            records["low"], records["high"],
        )  # fmt: skip

    def verify(self, *, verbose: bool = False) -> None:
        """Reads everything and compares it with its checksums; ValueError names the first piece that differs."""
        begins = dict.fromkeys(self.files, 0)
        for number, shard in enumerate(pt.tqdm(self.shards, desc="verify", unit="shard", disable=not verbose)):
            for name, end in shard["ends"].items():
                found = sha256(self.path / name, begins[name], end)
                if found != shard["sha256"][name]:
                    raise ValueError(
                        f"{self.path / name} is damaged in shard {number} (bytes {begins[name]} … {end}): "
                        f"expected sha256 {shard['sha256'][name]}, found {found}"
                    )
            begins = shard["ends"]
