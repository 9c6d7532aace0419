"""What an indexing pipeline makes of a part on a worker, and how parts become one XetrievalIndex or FlexIndex."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyterrier as pt

from ..index import XetrievalIndex, XetrievalIndexer, merge
from ..index.storage import META, MODEL, SHARDS
from ..model import Xetrieval
from ..store.files import new_folder, replacing
from .cluster import PartJob
from .corpus_parts import Part
from .shared_folder import wait_for_lock

if TYPE_CHECKING:
    from pyterrier_dr import FlexIndex

STAGE = "index_corpus"


def save_model(model: Xetrieval, folder: Path) -> None:
    """Puts the model where workers find it, unless it is there, in the dtype that an index would keep it in."""
    if not folder.exists():
        model.save(folder, dtype=model.stored_dtype)


@dataclass
class IndexingJob(PartJob):
    """The index that a pipeline makes at ``path``, by the stages before it."""

    path: Path
    stages: tuple[pt.Transformer, ...]

    @property
    def folder(self) -> Path:
        """What is known of the job, beside the index."""
        return self.path.with_name(f"{self.path.name}.parts")

    @property
    def done(self) -> Path:
        """What the stages make of each part."""
        return self.folder / "done"

    def prepare(self) -> None:
        """Called before the first part."""
        self.done.mkdir(exist_ok=True)

    def renew(self, part: Part) -> bool:
        """Drops what was made of the part's documents before they were corrected; False if the part is finished."""
        return not self.is_done(part)

    def index(self, part: Part, last: pt.Indexer) -> None:
        """Sends the part's documents through the stages and into the last one."""
        (pt.Compose(*self.stages, last) if self.stages else last).index(part.documents())


@dataclass
class XetrievalPartJob(IndexingJob):
    """Parts become indexes of their own; :func:`~pyterrier_xetrieval.index.merge` joins them."""

    indexer: XetrievalIndexer

    def __post_init__(self) -> None:
        self.device = str(self.indexer.model.device)

    def facts(self) -> dict[str, Any]:
        """What a run that goes on must have in common with the one that began."""
        encoder = () if self.indexer.encoder is None else (self.indexer.encoder,)
        return {"kind": "xetrieval", **self.indexer.settings(), "stages": list(map(_name, (*self.stages, *encoder)))}

    def prepare(self) -> None:
        super().prepare()
        save_model(self.indexer.model, self.folder / MODEL)

    def file(self, part: Part) -> Path:
        return self.done / part.name / META

    def renew(self, part: Part) -> bool:
        if self.is_done(part):
            return False
        wait_for_lock(self.done / part.name / SHARDS)
        shutil.rmtree(self.done / part.name, ignore_errors=True)
        return True

    def __getstate__(self) -> dict[str, Any]:
        indexer = copy.copy(self.indexer)
        del indexer.model  # workers load it from the shared folder
        return {**self.__dict__, "indexer": indexer}

    def start(self) -> None:
        self.indexer.model = Xetrieval(self.folder / MODEL, device=self.device)

    def run(self, part: Part) -> None:
        path = self.done / part.name
        wait_for_lock(path / SHARDS)
        if not self.is_done(part):
            indexer = copy.copy(self.indexer)
            indexer.path, indexer.resume = path, True
            indexer.encodes_again = False  # one run's workers have one encoder
            self.index(part, indexer)

    def join(self, parts: Sequence[Part], path: Path) -> None:
        """Makes one index of all parts."""
        merge(_Indexes([self.done / part.name for part in parts]), path)

    def open(self) -> XetrievalIndex:
        return XetrievalIndex(self.path, device=self.device)


class _Indexes(Sequence[XetrievalIndex]):
    """Indexes, each opened when it is asked for: a process may not have the memory maps of thousands at once."""

    def __init__(self, paths: list[Path]):
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: Any) -> Any:
        return XetrievalIndex(self.paths[i])


@dataclass
class FlexPartJob(IndexingJob):
    """Parts become matrices; the FlexIndex's own indexing joins them."""

    options: dict[str, Any]  # of the FlexIndex

    def facts(self) -> dict[str, Any]:
        return {"kind": "flex", "stages": list(map(_name, self.stages))}

    def file(self, part: Part) -> Path:
        return self.done / f"{part.name}.f4"

    def run(self, part: Part) -> None:
        self.index(part, _VectorWriter(self.file(part), len(part)))

    def join(self, parts: Sequence[Part], path: Path) -> None:
        matrices = (np.memmap(self.file(part), "<f4", "r").reshape(len(part), -1) for part in parts)
        with new_folder(path) as folder:
            _flex(folder).indexer(mode="overwrite").index(
                {"docno": docno, "doc_vec": vector}
                for part, matrix in zip(parts, matrices)
                for docno, vector in zip(part.docnos(), matrix, strict=True)
            )

    def open(self) -> FlexIndex:
        return _flex(self.path, **self.options)


def _flex(path: Path, *, verbose: bool = False, **options: Any) -> FlexIndex:
    from pyterrier_dr import FlexIndex  # slow to import

    return FlexIndex(str(path), verbose=verbose, **options)


class _VectorWriter(pt.Indexer):
    """Writes ``doc_vec`` of ``n`` documents as the float32 numbers of a matrix, all or nothing."""

    def __init__(self, path: Path, n: int):
        self.path, self.n = path, n

    def index(self, iter: Iterable[dict[str, Any]], **kwargs: Any) -> None:
        shapes = []
        with replacing(self.path, "wb") as file:
            for document in iter:
                vector = np.asarray(document["doc_vec"], "<f4")
                shapes.append(vector.shape)
                file.write(vector.tobytes())
            if len(shapes) != self.n or len(set(shapes)) > 1 or len(shapes[0]) != 1:
                found = f"{len(shapes)} of shapes {sorted(set(shapes))}"
                raise ValueError(f"{STAGE} expects a doc_vec of one dimension for each of {self.n} documents, found {found}")


def _name(stage: pt.Transformer) -> str:
    """What a stage is known by when a job goes on; a memory address would be another one each time."""
    name = repr(stage)
    return type(stage).__qualname__ if " object at 0x" in name else name
