"""Writing an index shard by shard: one writer at a time, each shard all or nothing, and the step that finishes it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np

from .docnos import write_lookup
from .packing import decode_levels, encode_gaps
from .storage import (  # fmt: skip
    DOCUMENT,
    FEATURE,
    FOLDED,
    MATRIX,
    MERGING,
    META,
    MODEL,
    SHARDS,
    VECTORS,
    Block,
    Layout,
    data_files,
    read_shards,
    sha256,
    write_json,
)


class ShardWriter:
    """Appends documents to the files of an index, from behind the last finished shard on.

    A context manager: holds a lock on ``shards.jsonl`` (which ends with the process, however that ends), and drops
    what a run that was cut off left behind the last finished shard.

    Args:
        path: the index's folder; made if it is not there.
        settings: what all shards have in common; kept in the first line of ``shards.jsonl``.
        model: saved into the folder with the first shard.
        finished: shards not to be touched; None keeps all that there are.

    Raises:
        FileExistsError: something else is at ``path``, or another writer is at work there.
        ValueError: the shards at ``path`` were made with other settings.
    """

    def __init__(self, path: Path, settings: dict, model, *, finished: int | None = None):
        if path.exists() and not path.is_dir():
            raise FileExistsError(f"XetrievalIndexer expects a folder or nothing at {path}, found a file")
        if path.is_dir() and not (path / SHARDS).exists() and any(found.name != MERGING for found in path.iterdir()):
            raise FileExistsError(f"XetrievalIndexer expects an index or an empty folder at {path}, found other files")
        import fcntl  # not on Windows, where an index can be read all the same

        path.mkdir(parents=True, exist_ok=True)
        self.path, self.settings = path, settings
        self._types, self._matrix = data_files(settings["dtype"]), MATRIX[settings["dtype"]]
        self._log = open(path / SHARDS, "ab")
        try:
            fcntl.flock(self._log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._log.close()
            raise FileExistsError(f"another XetrievalIndexer is writing to {path}") from None
        except OSError:  # a file system without locks
            pass
        self._files = {}
        try:
            self._resume(model, finished)
        except BaseException:
            self.__exit__()
            raise

    def _resume(self, model, finished):
        written = (self.path / SHARDS).read_bytes()
        known, shards = ({}, []) if finished == 0 or b"\n" not in written else read_shards(self.path, finished)
        if known != self.settings and not shards:  # a run that finished nothing binds nobody
            known = {}
        if known and known != self.settings:
            differs = {k: (known.get(k), v) for k, v in self.settings.items() if known.get(k) != v}
            raise ValueError(
                f"XetrievalIndexer expects the settings of the index at {self.path}; (there, asked for) differ: {differs}; "
                "resume=False starts over"
            )
        keep = written.split(b"\n")[: len(shards) + 1] if known else []
        self._log.truncate(sum(len(line) + 1 for line in keep))
        # a copy of the model that was cut off, or that of a run that is dropped
        for folder in [*self.path.glob(f".{MODEL}.*"), *(self.path.glob(MODEL) if not known else ())]:
            shutil.rmtree(folder)
        if not known:
            self._record(self.settings)
        if not (self.path / MODEL).exists():
            model.save(self.path / MODEL, dtype=model.stored_dtype)
        for folder in (VECTORS, FOLDED):
            (self.path / folder).mkdir(exist_ok=True)
        self.shards = len(shards)
        self.documents = sum(s["documents"] for s in shards)
        self.ends = dict(shards[-1]["ends"]) if shards else dict.fromkeys(self._types, 0)
        for name, end in self.ends.items():
            file = self._files[name] = open(self.path / name, "ab")
            if file.tell() < end:
                raise ValueError(f"{self.path / name} is damaged: expected {end} bytes, found {file.tell()}")
            file.truncate(end)
        self._begin()

    def _begin(self):
        self._hashes = {name: hashlib.sha256() for name in self._types}
        self._entries, self.pending = [], 0

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_) -> None:
        for file in self._files.values():
            with suppress(OSError):  # what could not be written is behind the last finished shard
                file.close()
        self._log.close()

    @property
    def room(self) -> int:
        """Documents that the shard at hand still takes."""
        return self.settings["shard_size"] - self.pending

    def append(self, block: Block) -> None:
        """Adds at most ``room`` documents; a full shard is finished."""
        n, codes = len(block.docnos), block.codes
        names = [d.encode() for d in block.docnos]
        records = np.empty(n, DOCUMENT)
        for field, name, counts in (
            ("docno_end", "docnos.u1", list(map(len, names))),
            ("ids_end", "ids.u1", codes.ids_counts),
            ("pairs_end", "activations.u1", codes.pairs_counts),
        ):
            records[field] = self.ends[name] + np.cumsum(counts)
        records["low"], records["high"] = codes.low, codes.high
        document, feature, levels = codes.strongest()
        activations = decode_levels(levels, codes.low[document], codes.high[document])
        self._entries.append((feature.astype(np.int32), (document + self.pending).astype(np.int32), levels, activations))
        for folder, matrix in ((VECTORS, block.vectors), (FOLDED, block.folded)):
            name = f"{folder}/{self._matrix}"
            self._write(name, matrix.astype(self._types[name], copy=False))
        self._write("docnos.u1", np.frombuffer(b"".join(names), np.uint8))
        self._write("documents.bin", records)
        self._write("ids.u1", codes.ids)
        self._write("views.u1", codes.views)
        self._write("coefficients.f2", codes.coefficients.astype("<f2", copy=False))
        self._write("activations.u1", codes.activations)
        self.pending += n
        if not self.room:
            self.commit()

    def commit(self) -> None:
        """Finishes the shard at hand, if it has documents: its postings, all of it on the disk, then its line."""
        if not self.pending:
            return
        feature, document, levels, activations = map(np.concatenate, zip(*self._entries))
        dict_size = self.settings["dict_size"]
        order = np.argsort(feature, kind="stable")  # documents came in order
        feature, document, levels = feature[order], document[order], levels[order]
        gaps, at = encode_gaps(document, np.diff(feature, prepend=-1) > 0)
        records = np.zeros(dict_size, FEATURE)
        records["entries_end"] = np.cumsum(np.bincount(feature, minlength=dict_size))
        bytes_each = np.bincount(feature, np.diff(at, prepend=-1), minlength=dict_size)
        records["gaps_end"] = np.cumsum(bytes_each)
        records["sum"] = np.bincount(feature, activations[order], minlength=dict_size)
        np.maximum.at(records["max"], feature, activations[order])
        self._write("postings_gaps.u1", gaps)
        self._write("postings_activations.u1", levels)
        self._write("features.bin", records)
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        sums = {name: digest.hexdigest() for name, digest in self._hashes.items()}
        self._record({"documents": self.pending, "ends": self.ends, "sha256": sums})
        self.shards += 1
        self.documents += self.pending
        self._begin()

    def finish(self, meta: dict) -> None:
        """Finishes the last shard and makes the index loadable: docno lookups, and ``pt_meta.json`` as the last step."""
        self.commit()
        before = json.loads((self.path / META).read_text())["documents"] if (self.path / META).exists() else None
        first, second = self.path / VECTORS, self.path / FOLDED
        if before != self.documents:
            for folder in (first, second):  # search structures that pyterrier_dr built over fewer documents
                for derived in folder.iterdir():
                    if derived.name not in (self._matrix, "docnos.npids", META):
                        shutil.rmtree(derived) if derived.is_dir() else derived.unlink()
        write_lookup(Layout(self.path), first / "docnos.npids")
        shutil.copyfile(first / "docnos.npids", second / ".docnos.npids.tmp")
        os.replace(second / ".docnos.npids.tmp", second / "docnos.npids")
        flex = {"type": "dense_index", "format": "flex", "package_hint": "pyterrier_dr", "vec_size": self.settings["dim"]}
        for folder in (first, second):
            if self.settings["dtype"] == "float32":  # a FlexIndex of its own knows no other
                write_json(folder / META, {**flex, "doc_count": self.documents})
        lines = (self.path / SHARDS).stat().st_size
        sums = {SHARDS: sha256(self.path / SHARDS, 0, lines), "docnos.npids": sha256(first / "docnos.npids")}
        counts = {"documents": self.documents, "shards": self.shards, "shards_bytes": lines, "sha256": sums}
        write_json(self.path / META, {**meta, **self.settings, **counts})

    def _record(self, line: dict) -> None:
        self._log.write(json.dumps(line).encode() + b"\n")
        self._log.flush()
        os.fsync(self._log.fileno())

    def _write(self, name: str, array: np.ndarray) -> None:
        data = np.ascontiguousarray(array).view(np.uint8).reshape(-1).data
        self._files[name].write(data)
        self._hashes[name].update(data)
        self.ends[name] += len(data)
