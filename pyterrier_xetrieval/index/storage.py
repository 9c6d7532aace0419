"""The layout of an index on disk: which files there are, and how they are read and checked.

Every data file only ever grows. A *shard* is a run of consecutive documents; it exists once its line is in
``shards.jsonl``, which says where each file ended by then and what the new piece hashes to. What lies behind the last
line's ends belongs to a run that was cut off. ``pt_meta.json`` says how many shards the finished index has.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .float16 import HalfVectors
from .packing import PackedCodes, gather

META, SHARDS, MODEL, VECTORS, FOLDED = "pt_meta.json", "shards.jsonl", "model", "vectors", "folded"
MERGING = "merging"  # an empty file: what is there is an unfinished merge, which is started over
VERSION = 2
MAX_VIEWS = 8  # one bit each of a byte

# one record per document: where its pieces end, and the smallest and the largest level of its activations
DOCUMENT = np.dtype([("docno_end", "<i8"), ("ids_end", "<i8"), ("pairs_end", "<i8"), ("low", "<f4"), ("high", "<f4")])
# one record per feature in each shard: ends within the shard's postings, and statistics of its activations
FEATURE = np.dtype([("gaps_end", "<u4"), ("entries_end", "<u4"), ("sum", "<f8"), ("max", "<f4")])

MATRIX = {"float32": "vecs.f4", "float16": "vecs.f2"}  # file of each folder's vectors, by the index's dtype
# the other files, name to type
FILES = {
    "docnos.u1": "u1",  # UTF-8, one after the other
    "documents.bin": DOCUMENT,
    "ids.u1": "u1",  # each document's features, ascending, as gaps (see codes.py)
    "views.u1": "u1",  # beside each gap: bit v is set where the feature is active in view v
    "coefficients.f2": "<f2",  # one for each set bit, relative to the document's largest activation
    "activations.u1": "u1",  # one for each set bit, 256 levels from the document's smallest to its largest
    "postings_gaps.u1": "u1",  # each feature's documents in the shard, ascending, as gaps
    "postings_activations.u1": "u1",  # one for each of them: the largest over the views, same levels
    "features.bin": FEATURE,
}


def data_files(dtype: str) -> dict:
    """All data files of an index of this dtype, name to type; rows of the two matrices are vectors."""
    name = MATRIX[dtype]
    return {f"{VECTORS}/{name}": f"<{name[-2:]}", f"{FOLDED}/{name}": f"<{name[-2:]}", **FILES}


@dataclass(frozen=True)
class Block:
    """Documents as they are stored: what the encoding makes, the writer appends and the merge copies.

    Attributes:
        docnos: ``n`` strings; vectors, folded: ``[n, m]`` of the index's dtype; codes: of the same documents.
    """

    docnos: list[str]
    vectors: np.ndarray
    folded: np.ndarray
    codes: PackedCodes


class Layout:
    """The folder as its first ``shards`` shards, or all finished ones: data files as read-only memory maps.

    Raises:
        ValueError: ``shards.jsonl`` is damaged, or a file is shorter than it says.
    """

    def __init__(self, path: Path, shards: int | None = None):
        self.path = path
        self.settings, self.shards = read_shards(path, shards)
        self.dtype = self.settings["dtype"] if self.settings else "float32"
        self.files = data_files(self.dtype)
        self.ends = self.shards[-1]["ends"] if self.shards else dict.fromkeys(self.files, 0)
        self.starts = np.cumsum([0] + [s["documents"] for s in self.shards])
        self._maps: dict[str, np.ndarray] = {}
        for name, end in self.ends.items():
            found = (path / name).stat().st_size if (path / name).exists() else 0
            if found < end:
                raise ValueError(f"{path / name} is damaged: expected {end} bytes, found {found}")

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, name: str) -> np.ndarray:
        """The file as an array; ``vectors/vecs.f4`` and ``folded/vecs.f4`` as float32 ``[n, m]``, however they are stored."""
        if name not in self._maps:
            if name not in self.files and name.endswith(MATRIX["float32"]):
                return HalfVectors(self[name.replace(MATRIX["float32"], MATRIX[self.dtype])])
            dtype = np.dtype(self.files[name])
            shape = (-1, self.settings["dim"]) if name.endswith(MATRIX[self.dtype]) else (-1,)
            count = self.ends[name] // dtype.itemsize
            mode = "c" if name.endswith(MATRIX["float16"]) else "r"  # torch widens what it could write; nothing ever is
            data = np.memmap(self.path / name, dtype, mode, shape=(count,)) if count else np.empty(0, dtype)
            self._maps[name] = data.view(np.ndarray).reshape(shape)  # plain arrays index faster, and keep the map alive
        return self._maps[name]

    def bounds(self, field: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the pieces of these documents start and end, int64 ``[n]`` each."""
        ends = self["documents.bin"][field]
        return np.where(rows > 0, ends[np.maximum(rows, 1) - 1], 0), ends[rows]

    def docnos(self, rows: np.ndarray) -> list[str]:
        """The docnos of these documents, int64 ``[n]``, in this order."""
        begins, ends = self.bounds("docno_end", rows)
        data, stops = gather(self["docnos.u1"], begins, ends).tobytes(), np.cumsum(ends - begins).tolist()
        return [data[a:b].decode() for a, b in zip([0, *stops], stops)]

    def block(self, start: int, stop: int) -> Block:
        """Documents ``start … stop-1`` as they are stored."""
        vectors, folded = (self[f"{folder}/{MATRIX[self.dtype]}"][start:stop] for folder in (VECTORS, FOLDED))
        rows = np.arange(start, stop)
        return Block(self.docnos(rows), vectors, folded, self.codes(rows))

    def codes(self, rows: np.ndarray) -> PackedCodes:
        """The codes of these documents, int64 ``[n]``, in this order."""
        ids, pairs = self.bounds("ids_end", rows), self.bounds("pairs_end", rows)
        records = self["documents.bin"][rows]
        return PackedCodes(
            gather(self["ids.u1"], *ids), gather(self["views.u1"], *ids), ids[1] - ids[0],
            gather(self["coefficients.f2"], *pairs), gather(self["activations.u1"], *pairs), pairs[1] - pairs[0],
            records["low"], records["high"],
        )  # fmt: skip

    def verify(self) -> None:
        """Reads everything and compares it with its checksums; ValueError names the first piece that differs."""
        begins = dict.fromkeys(self.files, 0)
        for number, shard in enumerate(self.shards):
            for name, end in shard["ends"].items():
                found = sha256(self.path / name, begins[name], end)
                if found != shard["sha256"][name]:
                    raise ValueError(
                        f"{self.path / name} is damaged in shard {number} (bytes {begins[name]} … {end}): "
                        f"expected sha256 {shard['sha256'][name]}, found {found}"
                    )
            begins = shard["ends"]


def read_shards(path: Path, shards: int | None = None) -> tuple[dict, list[dict]]:
    """The settings and the first ``shards`` (or all) finished shards; a last line that was cut off does not count."""
    lines = (path / SHARDS).read_bytes().split(b"\n")[:-1]
    if shards is not None and len(lines) < shards + 1:
        raise ValueError(f"{path / SHARDS} is damaged: expected {shards} shards, found {max(0, len(lines) - 1)}")
    try:
        found = [json.loads(line) for line in (lines if shards is None else lines[: shards + 1])]
    except ValueError as error:
        raise ValueError(f"{path / SHARDS} is damaged: {error}") from None
    return (found[0] if found else {}), found[1:]


def sha256(path: Path, start: int = 0, stop: int | None = None) -> str:
    """Of a file, or of its bytes ``start … stop-1``."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        file.seek(start)
        left = float("inf") if stop is None else stop - start
        while left > 0 and (data := file.read(int(min(left, 1 << 20)))):
            digest.update(data)
            left -= len(data)
    return digest.hexdigest()


def write_json(path: Path, content: dict) -> None:
    """All or nothing: written beside its place, flushed to the disk, and renamed."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
