"""Indexing pipelines over a cluster: the same pipeline, part by part, and the parts joined."""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyterrier as pt
from pyterrier_dr import FlexIndex

from ..files import replacing, same_as_kept
from ..index import XetrievalIndex, XetrievalIndexer, merge
from ..index.docnos import SeenDocnos
from ..index.format import META, MODEL, SHARDS
from ..jsonl import appending
from ..model import Xetrieval
from ..stage import positive_int
from .cluster import Workforce, require_ray, run_parts
from .folder import JOB, LOCK, check_free, put_away, shared_token, wait_for_files, wait_for_lock
from .parts import ROWS, Part, cut, digest_of

STAGE = "index_corpus"


def index_corpus(
    pipeline, corpus, *, part_size: int = 100_000, workers: int | None = None, num_cpus: float = 1, num_gpus: float = 0,
    verbose: bool = False,
):  # fmt: skip
    """``pipeline.index(corpus)`` on a Ray cluster: the same files, byte for byte, whatever the number of workers
    (:func:`pyterrier_xetrieval.index.merge` names the exception).

    The corpus is cut into consecutive parts, a worker indexes each with the pipeline's own stages, and this process
    joins them. Parts and what is known of the job are in ``PATH.parts`` beside the index until it is finished: started
    again, the job goes on with what is missing there. All machines must see that folder and the corpus's Parquet files
    at the same paths. Ray's cluster is the one that ``ray.init(…)`` was called for, or this machine.

    A text's vector depends in its last bits on the processor and on the number of threads (Ray gives a worker
    ``num_cpus`` of them); "the same" is meant for the same of both.

    Args:
        pipeline: stages that end in ``model.indexer(path)`` or in a :class:`pyterrier_dr.FlexIndex` (vectors alone).
            ``model.indexer(path, encoder=encoder)`` alone is resumed within a part without encoding again. Stages are
            pickled; those that cannot be, or need a worker's GPU, go into :class:`OnWorker`.
        corpus: a Parquet file or folder of them (with ``docno`` and what the stages read), read where it is; or a JSONL
            file, a dataset of PyTerrier or ir_datasets, a frame, an iterable of dicts, or a function that returns one,
            which are copied into parts first. All docnos are compared before the work begins.
        part_size: documents per part, rounded up to whole shards and batches.
        workers: at most so many at once; None for as many as the cluster has room for.
        num_cpus, num_gpus: of each worker.
        verbose: show a progress bar.

    Returns:
        the finished index.

    Raises:
        ImportError: no Ray.
        ValueError: another pipeline; no documents, or a docno twice; what the pipeline itself raises; parts begun with
            another corpus or settings.
        FileExistsError: something at the path.
        FileNotFoundError: no corpus at its path; a worker does not see the folder.
        RuntimeError: another run is at work on the same parts; the workers of one part died too often.

    Example::

        index_corpus(model.encoder() >> model.indexer("/shared/msmarco.xetrieval"), "/shared/msmarco", verbose=True)
    """
    require_ray(STAGE)
    cluster = Workforce.checked(workers, num_cpus, num_gpus, stage=STAGE)
    *stages, target = pipeline if isinstance(pipeline, pt.Compose) else [pipeline]
    if not isinstance(target, (XetrievalIndexer, FlexIndex)) or getattr(target, "_add", False):
        raise ValueError(f"{STAGE} expects a pipeline that ends in model.indexer(path) or a FlexIndex, found {target!r}")
    kind = _Xetrieval if isinstance(target, XetrievalIndexer) else _Flex
    path = Path(target.path if kind is _Xetrieval else target.index_path).expanduser().absolute()
    folder = path.with_name(f"{path.name}.parts")
    size = positive_int(part_size, "part_size", stage=STAGE)
    unit = math.lcm(_batch(stages), target.shard_size if kind is _Xetrieval else 1)
    size = -(-size // unit) * unit  # no batch and no shard across parts
    check_free(folder, path, stage=STAGE)
    with appending(folder / LOCK):
        check_free(folder, path, stage=STAGE)  # another run may just have finished
        shared_token(folder)
        job = kind(folder / "done", tuple(stages), target)
        same_as_kept(folder / JOB, {**job.facts(), "part_size": size}, stage=STAGE)
        if not (path / META).exists():  # otherwise the last run was cut off as it ended
            parts = cut(corpus, size, folder / "corpus", stage=STAGE)
            if not (folder / "parts.json").exists():
                _check_docnos(parts)
            same_as_kept(folder / "parts.json", digest_of(parts), stage=STAGE)
            job.prepare()
            missing = [part for part in parts if not job.file(part).exists()]
            n = parts[-1].stop
            with pt.tqdm(total=n, initial=n - sum(map(len, missing)), desc="index", unit="d", disable=not verbose) as bar:
                for i, _ in run_parts(job, missing, folder, cluster, stage=STAGE):
                    bar.update(len(missing[i]))
            wait_for_files(map(job.file, parts), stage=STAGE)
            job.join(parts, path)
        gone = put_away(folder)
    shutil.rmtree(gone)
    return job.open(path)


def _batch(stages: Sequence) -> int:
    """How many documents go through the stages at once: as PyTerrier's own ``Compose.index`` says."""
    sizes = [stage.batch_size for stage in stages if isinstance(getattr(stage, "batch_size", None), int)]
    return max([100, *sizes]) if stages else 1


def _check_docnos(parts: Sequence[Part]) -> None:
    """ValueError for a docno that two documents have: joining would find it too, after all the work."""
    docnos = (docno for part in parts for docno in part.docnos())
    with closing(SeenDocnos(stage="index_corpus")) as seen:
        while batch := list(islice(docnos, ROWS)):
            seen.add(batch)


def pipeline_of(stages: Sequence, sink):
    return pt.Compose(*stages, sink) if stages else sink


def shared_model(model: Xetrieval, folder: Path) -> None:
    """Keeps the model where workers find it, in the type that an index would keep it in."""
    if not folder.exists():
        model.save(folder, dtype=model.stored_dtype)


@dataclass
class _Xetrieval:
    """Parts as indexes of their own; joined by :func:`pyterrier_xetrieval.index.merge`."""

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
            pipeline_of(self.stages, indexer).index(part.documents())

    def join(self, parts: Sequence[Part], path: Path) -> None:
        merge(_Opened([self.folder / part.name for part in parts]), path)

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
class _Flex:
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


def _name(stage) -> str:
    """What a stage is known by when a job is gone on with; a memory address would be another one each time."""
    name = repr(stage)
    return type(stage).__qualname__ if " object at 0x" in name else name
