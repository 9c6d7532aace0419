"""What a part becomes on a worker, and how parts become one index: as XetrievalIndex, as FlexIndex."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyterrier as pt
from pyterrier_dr import FlexIndex

from ..index import XetrievalIndex, XetrievalIndexer
from ..index import merging as merge
from ..index.storage import META, MODEL, SHARDS
from ..model import Xetrieval
from ..store.files import replacing
from .corpus_parts import Part
from .shared_folder import wait_for_lock

STAGE = "index_corpus"


def pipeline_of(stages: Sequence, sink):
    return pt.Compose(*stages, sink) if stages else sink


def shared_model(model: Xetrieval, folder: Path) -> None:
    """Keeps the model where workers find it, in the type that an index would keep it in."""
    if not folder.exists():
        model.save(folder, dtype=model.stored_dtype)


@dataclass
class XetrievalKind:
    """Parts as indexes of their own; joined by :func:`pyterrier_xetrieval.index.merging`."""

    folder: Path
    stages: tuple
    indexer: XetrievalIndexer

    def facts(self) -> dict:
        stages = [*self.stages, *([self.indexer.encoder] if self.indexer.encoder is not None else [])]
        return {"kind": "xetrieval", **self.indexer.settings(), "stages": list(map(_name, stages))}

    def prepare(self) -> None:
        self.folder.mkdir(exist_ok=True)
        shared_model(self.indexer.model, self.folder.parent / MODEL)

    def file(self, part: Part) -> Path:
        return self.folder / part.name / META

    def renew(self, part: Part) -> bool:
        """Drops what was made of the part's documents before they were corrected; False if it is finished."""
        if self.file(part).exists():
            return False
        wait_for_lock(self.folder / part.name / SHARDS)
        if (self.folder / part.name).exists():
            shutil.rmtree(self.folder / part.name)
        return True

    def __getstate__(self) -> dict:  # weights come from the shared folder
        indexer = copy.copy(self.indexer)
        device, indexer.model = str(indexer.model.device), None
        return {"folder": self.folder, "stages": self.stages, "indexer": indexer, "device": device}

    def start(self) -> None:
        self.indexer.model = Xetrieval(self.folder.parent / MODEL, device=self.device)

    def run(self, part: Part) -> None:
        path = self.folder / part.name
        wait_for_lock(path / SHARDS)
        if not self.file(part).exists():
            indexer = copy.copy(self.indexer)
            indexer.path, indexer.resume = path, True
            indexer._encodes_again = False  # one run's workers have one encoder
            pipeline_of(self.stages, indexer).index(part.documents())

    def join(self, parts: Sequence[Part], path: Path) -> None:
        merge(_Opened([self.folder / part.name for part in parts]), path)

    def is_at(self, path: Path, ends: dict) -> bool:
        try:
            index = XetrievalIndex(path)
            return index.settings == self.indexer.settings() and _ends(index.vectors) == ends
        except (ValueError, FileNotFoundError):  # something else
            return False

    def open(self, path: Path) -> XetrievalIndex:
        return XetrievalIndex(path, device=str(self.indexer.model.device))


class _Opened(Sequence):
    """Indexes, each opened when it is asked for: memory maps of thousands at once are more than a process may have."""

    def __init__(self, paths: list[Path]):
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i):
        return XetrievalIndex(self.paths[i])


@dataclass
class FlexKind:
    """Parts as matrices; joined by the FlexIndex's own indexing."""

    folder: Path
    stages: tuple
    target: FlexIndex | None

    def facts(self) -> dict:
        return {"kind": "flex", "stages": list(map(_name, self.stages))}

    def prepare(self) -> None:
        self.folder.mkdir(exist_ok=True)

    def file(self, part: Part) -> Path:
        return self.folder / f"{part.name}.npy"

    def renew(self, part: Part) -> bool:
        return not self.file(part).exists()  # there is nothing unfinished

    def __getstate__(self) -> dict:
        return {**self.__dict__, "target": None}

    def start(self) -> None:
        pass

    def run(self, part: Part) -> None:
        if not self.file(part).exists():
            pipeline_of(self.stages, _Matrix(self.file(part), len(part))).index(part.documents())

    def join(self, parts: Sequence[Part], path: Path) -> None:
        partial = path.with_name(f".{path.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        FlexIndex(str(partial), verbose=False).index(
            {"docno": docno, "doc_vec": vector}
            for part in parts
            for docno, vector in zip(part.docnos(), np.load(self.file(part), mmap_mode="r"), strict=True)
        )
        partial.rename(path)

    def is_at(self, path: Path, ends: dict) -> bool:
        kept = json.loads((path / META).read_text(encoding="utf-8"))
        return kept.get("format") == "flex" and _ends(FlexIndex(str(path), verbose=False)) == ends

    def open(self, path: Path) -> FlexIndex:
        return FlexIndex(str(path), sim_fn=self.target.sim_fn, verbose=self.target.verbose)


class _Matrix(pt.Indexer):
    """Writes ``doc_vec`` of ``n`` documents as a float32 matrix, all or nothing."""

    def __init__(self, path: Path, n: int):
        self.path, self.n = path, n

    def index(self, inp):
        rows, matrix = 0, None
        with replacing(self.path, "wb") as file:
            for document in inp:
                vector = np.asarray(document["doc_vec"])
                if matrix is None:
                    matrix = np.lib.format.open_memmap(file.name, "w+", "<f4", (self.n, *vector.shape))
                if vector.shape != matrix.shape[1:] or rows == self.n or vector.ndim != 1:
                    raise ValueError(f"{STAGE} expects one vector of one dimension for each document, found {vector.shape}")
                matrix[rows], rows = vector, rows + 1
            if rows != self.n:
                raise ValueError(f"{STAGE} expects a doc_vec for each of {self.n} documents, found {rows}")
            matrix.flush()


def _ends(index: FlexIndex) -> dict:
    """What an index is known again by, without reading it."""
    docnos = index.docnos().fwd
    return {"documents": len(docnos), "first": docnos[0], "last": docnos[len(docnos) - 1]}


def _name(stage) -> str:
    """What a stage is known by when a job is gone on with; a memory address would be another one each time."""
    name = repr(stage)
    return type(stage).__qualname__ if " object at 0x" in name else name
