"""Writing an index shard by shard: one writer at a time, each shard all or nothing, and the step that finishes it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..model import Xetrieval
from ..store.checksums import sha256
from ..store.facts import read_json
from ..store.files import remove_unfinished, replacing, write_json
from ..store.locks import locked
from .deletion import read_deleted, record_deleted
from .docnos import docno_blocks
from .npids_file import write_lookup
from .packing import decode_levels, encode_gaps
from .storage import (
    DOCUMENT,
    FEATURE,
    FOLDED,
    KEPT,
    LOOKUP,
    MERGING,
    META,
    MODEL,
    SHARDS,
    VECTORS,
    Block,
    Layout,
    data_files,
    kept,
    matrix_file,
)  # fmt: skip


class ShardWriter:
    """Appends documents to the files of an index, from behind the last finished shard on.

    A context manager: holds the lock of ``shards.jsonl`` (which ends with the process, however that ends), and drops
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

    def __init__(self, path: Path, settings: dict[str, Any], model: Xetrieval, *, finished: int | None = None):
        if path.exists() and not path.is_dir():
            raise FileExistsError(f"XetrievalIndexer expects a folder or nothing at {path}, found a file")
        others = (f for f in path.glob("[!.]*") if f.name != MERGING) if not (path / SHARDS).exists() else ()
        if any(others):
            raise FileExistsError(f"XetrievalIndexer expects an index or an empty folder at {path}, found other files")
        path.mkdir(parents=True, exist_ok=True)
        self.path, self.settings = path, settings
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(path / SHARDS))
            except RuntimeError:
                raise FileExistsError(f"another XetrievalIndexer is writing to {path}") from None
            self._log = stack.enter_context(open(path / SHARDS, "ab"))
            layout = self._resumed(finished)
            for folder in (path, path / VECTORS, path / FOLDED):
                folder.mkdir(exist_ok=True)
                remove_unfinished(folder)
            if not (path / MODEL).exists():
                model.save(path / MODEL, dtype=model.stored_dtype)
            self.documents, self.shards, self.ends = len(layout), len(layout.shards), dict(layout.ends)
            self._types, self._files = layout.files, {name: open(path / name, "ab") for name in layout.files}
            stack.callback(self._close)
            for name, file in self._files.items():
                file.truncate(self.ends[name])
            for name in set(data_files({**settings, **dict.fromkeys(KEPT, True)})) - set(layout.files):
                (path / name).unlink(missing_ok=True)  # of a run with other settings that finished nothing
            self._begin()
            self._open = stack.pop_all()

    def _resumed(self, finished: int | None) -> Layout:
        """What is kept of an earlier run, whose last line may be torn."""
        found = None if finished == 0 else Layout(self.path, finished)
        if found is None or (not found.shards and found.settings != self.settings):  # a run that finished nothing binds nobody
            self._log.truncate(0)
            shutil.rmtree(self.path / MODEL, ignore_errors=True)
            self._record(self.settings)
            return Layout(self.path)
        if found.settings != self.settings:
            there, asked = found.settings, self.settings
            differs = {k: (there.get(k), asked.get(k)) for k in {**there, **asked} if there.get(k) != asked.get(k)}
            raise ValueError(
                f"XetrievalIndexer expects the settings of the index at {self.path}; (there, asked for) differ: {differs}; "
                "resume=False starts over"
            )
        lines = (self.path / SHARDS).read_bytes().split(b"\n")[: len(found.shards) + 1]
        self._log.truncate(sum(len(line) + 1 for line in lines))
        return found

    def _begin(self) -> None:
        self._hashes = {name: hashlib.sha256() for name in self._types}
        self._entries: list[tuple[np.ndarray, ...]] = []
        self.pending = 0

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _close(self) -> None:
        for file in self._files.values():
            with suppress(OSError):  # what could not be written is behind the last finished shard
                file.close()

    @property
    def room(self) -> int:
        """Documents that the shard at hand still takes."""
        return self.settings["shard_size"] - self.pending

    def append(self, block: Block) -> None:
        """Adds at most ``room`` documents; a full shard is finished."""
        codes, names = block.codes, [d.encode() for d in block.docnos]
        records = np.empty(len(names), DOCUMENT)
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
        for name, array in {
            matrix_file(VECTORS, self.settings["dtype"]): block.vectors,
            matrix_file(FOLDED, self.settings["dtype"]): block.folded,
            "docnos.u1": np.frombuffer(b"".join(names), np.uint8),
            "documents.bin": records,
            "ids.u1": codes.ids,
            "views.u1": codes.views,
            "coefficients.f2": codes.coefficients,
            "activations.u1": codes.activations,
        }.items():
            self._write(name, array)
        for name in kept(self.settings):
            own = block.records[name]
            self._write(f"{name}_end.i8", self.ends[f"{name}.u1"] + np.cumsum(list(map(len, own))))
            self._write(f"{name}.u1", np.frombuffer(b"".join(own), np.uint8))
        self.pending += len(names)
        if not self.room:
            self.commit()

    def commit(self) -> None:
        """Finishes the shard at hand, if it has documents: its postings, all of it on the disk, then its line."""
        if not self.pending:
            return
        feature, document, levels, activations = map(np.concatenate, zip(*self._entries))
        order = np.argsort(feature, kind="stable")  # documents came in order
        feature, document, levels = feature[order], document[order], levels[order]
        gaps, at = encode_gaps(document, np.diff(feature, prepend=-1) > 0)
        count = partial(np.bincount, feature, minlength=self.settings["dict_size"])
        records = np.zeros(self.settings["dict_size"], FEATURE)
        records["entries_end"] = np.cumsum(count())
        records["gaps_end"] = np.cumsum(count(np.diff(at, prepend=-1)))
        records["sum"] = count(activations[order])
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

    def finish(self, meta: dict[str, Any], *, deleted: np.ndarray | None = None) -> None:
        """Finishes the last shard and makes the index loadable: docno lookups, and ``pt_meta.json`` as the last step.

        Args:
            meta: facts for ``pt_meta.json``, beside settings and counts.
            deleted: rows int64 ``[k]`` that are deleted in the same step; those that were deleted before stay so.
        """
        self.commit()
        folders = [self.path / VECTORS, self.path / FOLDED]
        before = read_json(self.path / META) if (self.path / META).exists() else {}
        if before.get("shards") != self.shards:
            own = {Path(name).name for name in self._types} | {LOOKUP, META}
            for derived in (f for folder in folders for f in folder.iterdir() if f.name not in own):
                # a search structure that pyterrier_dr built over fewer documents
                shutil.rmtree(derived) if derived.is_dir() else derived.unlink()
        new = np.empty(0, np.int64) if deleted is None else deleted
        every = np.concatenate([read_deleted(self.path, before), new])
        write_lookup(folders[0] / LOOKUP, self.documents, partial(docno_blocks, Layout(self.path)), every)
        with open(folders[0] / LOOKUP, "rb") as made, replacing(folders[1] / LOOKUP, "wb") as file:
            shutil.copyfileobj(made, file)
        gone = {key: before[key] for key in ("version", "deleted", "sha256") if "deleted" in before}
        if len(new):
            gone = record_deleted(self.path, before, new)
        if self.settings["dtype"] == "float32" and not gone:  # a FlexIndex of pyterrier_dr's own knows nothing else
            flex = {"type": "dense_index", "format": "flex", "package_hint": "pyterrier_dr", "vec_size": self.settings["dim"]}
            for folder in folders:
                write_json(folder / META, {**flex, "doc_count": self.documents})
        lines = (self.path / SHARDS).stat().st_size
        sums = {**gone.get("sha256", {}), SHARDS: sha256(self.path / SHARDS, 0, lines), LOOKUP: sha256(folders[0] / LOOKUP)}
        counts = {"documents": self.documents - len(every), "shards": self.shards, "shards_bytes": lines, "sha256": sums}
        write_json(self.path / META, {**meta, **self.settings, **gone, **counts})

    def _record(self, line: dict[str, Any]) -> None:
        self._log.write(json.dumps(line).encode() + b"\n")
        self._log.flush()
        os.fsync(self._log.fileno())

    def _write(self, name: str, array: np.ndarray) -> None:
        array = np.ascontiguousarray(array, dtype=self._types[name])
        data = array.view(np.uint8).reshape(-1).data
        self._files[name].write(data)
        self._hashes[name].update(data)
        self.ends[name] += len(data)
