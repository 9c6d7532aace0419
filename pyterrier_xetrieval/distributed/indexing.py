"""Indexing pipelines over a cluster: the same pipeline, part by part, and the parts joined."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pyterrier as pt

from ..core.checks import positive_int
from ..index import XetrievalIndex, XetrievalIndexer
from ..index.docnos import SeenDocnos, check_docno
from ..store.files import replacing, same_as_kept
from .cluster import Workers
from .corpus_parts import ROWS, Corpus, Part, cut, digest_of
from .part_jobs import STAGE, FlexPartJob, IndexingJob, XetrievalPartJob
from .shared_folder import JOB, job_folder

if TYPE_CHECKING:
    from pyterrier_dr import FlexIndex


def index_corpus(
    pipeline: pt.Transformer | pt.Indexer,
    corpus: Corpus,
    *,
    part_size: int = 100_000,
    workers: int | None = None,
    num_cpus: float = 1,
    num_gpus: float = 0,
    verbose: bool = False,
) -> XetrievalIndex | FlexIndex:
    """``pipeline.index(corpus)`` on a Ray cluster: the same files, byte for byte, whatever the number of workers
    (:func:`pyterrier_xetrieval.index.merge` names the exception).

    The corpus is cut into consecutive parts, a worker indexes each with the pipeline's own stages, and this process
    joins them. Parts and what is known of the job are in ``PATH.parts`` beside the index until it is finished: started
    again, the job goes on with what is missing there; documents of parts that are not finished may have been corrected.
    All machines must see that folder and the corpus's Parquet files at the same paths. Ray's cluster is the one that
    ``ray.init(…)`` was called for, or this machine.

    A text's vector depends in its last bits on the processor and on the number of threads (a worker has ``num_cpus`` of
    them); "the same" is meant for the same of both.

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
        ValueError: another pipeline; no documents, or a docno twice; what the pipeline itself raises; parts begun with
            another corpus or settings.
        FileExistsError: something at the path.
        FileNotFoundError: no corpus at its path; a worker does not see the folder.
        RuntimeError: another run is at work on the same parts; the workers of one part died too often.

    Example::

        index_corpus(model.encoder() >> model.indexer("/shared/msmarco.xetrieval"), "/shared/msmarco", verbose=True)
    """
    from pyterrier_dr import FlexIndex  # slow to import

    crew = Workers(workers, num_cpus, num_gpus, STAGE)
    *stages, target = pipeline if isinstance(pipeline, pt.Compose) else [pipeline]
    job: XetrievalPartJob | FlexPartJob
    if isinstance(target, XetrievalIndexer) and not target.adds:
        if target.missing == "drop":
            raise ValueError(
                f"{STAGE} expects an indexer with missing='error', since its parts have the documents of the corpus; leave the "
                "documents without a text out of the corpus"
            )
        job, shard_size = XetrievalPartJob(target.path, tuple(stages), target), target.shard_size
    elif isinstance(target, FlexIndex):
        path, options = Path(target.index_path).expanduser().absolute(), {"sim_fn": target.sim_fn, "verbose": target.verbose}
        job, shard_size = FlexPartJob(path, tuple(stages), options), 1
    else:
        raise ValueError(f"{STAGE} expects a pipeline that ends in model.indexer(path) or a FlexIndex, found {target!r}")
    path, folder, unit = job.path, job.folder, math.lcm(_batch_size(stages), shard_size)  # no batch and no shard across parts
    size = math.ceil(positive_int(part_size, "part_size", stage=STAGE) / unit) * unit
    joined, moved = folder / "joined", folder / "joined.json"
    with job_folder(folder, stage=STAGE, result=path) as finish:
        same_as_kept(folder / JOB, {**job.facts(), "part_size": size}, stage=STAGE)
        if path.exists():  # the last run was cut off as it ended, or somebody else was here
            if not moved.exists() or json.loads(moved.read_text()) != {"inode": path.stat().st_ino}:
                raise FileExistsError(
                    f"{STAGE} expects nothing at {path}, found another index; move it away to go on with the parts in {folder}"
                )
        else:
            parts = cut(corpus, size, folder / "corpus", stage=STAGE, renew=job.renew)
            _check_parts(parts, folder / "parts.json", job)
            job.prepare()
            crew.do(job, parts, folder, verbose=verbose)
            shutil.rmtree(joined, ignore_errors=True)  # of a run that was cut off here
            job.join(parts, joined)
            with replacing(moved) as file:  # a renamed folder keeps its inode: the result is known again by it
                json.dump({"inode": joined.stat().st_ino}, file)
            joined.rename(path)
        finish()
    return job.open()


def _batch_size(stages: Sequence[pt.Transformer]) -> int:
    """How many documents go through the stages at once: as PyTerrier's own ``Compose.index`` says."""
    sizes = [getattr(stage, "batch_size", None) for stage in stages]
    return max([100, *(size for size in sizes if isinstance(size, int))]) if stages else 1


def _check_parts(parts: Sequence[Part], kept: Path, job: IndexingJob) -> None:
    """ValueError unless the parts are those that the job was begun with; unfinished ones may have been corrected."""
    found = {part.name: digest_of([part]) for part in parts}
    known = json.loads(kept.read_text()) if kept.exists() else {}
    if known == found:
        return
    for part in parts:
        if part.name in known and known[part.name] != found[part.name] and not job.renew(part):
            raise ValueError(
                f"{STAGE}: {kept.parent} was begun with other documents among {part.start} … {part.stop - 1}, which are indexed; "
                "give the same corpus, or remove that folder"
            )
    if len(known) > len(found):
        raise ValueError(f"{STAGE}: {kept.parent} was begun with {len(known)} parts, not {len(found)}; remove that folder")
    # a docno that cannot be indexed, or that two documents have, would be found too late, after much work
    docnos = (check_docno(docno, stage=STAGE) for part in parts for docno in part.docnos())
    with closing(SeenDocnos(stage=STAGE)) as seen:
        while batch := list(islice(docnos, ROWS)):
            seen.add(batch)
    with replacing(kept) as file:
        json.dump(found, file, indent=1)
