"""Indexing pipelines over a cluster: the same pipeline, part by part, and the parts joined."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import pyterrier as pt
from pyterrier_dr import FlexIndex

from ..core.checks import positive_int
from ..index import XetrievalIndexer
from ..index.docnos import SeenDocnos, check_docno
from ..index.storage import META
from ..store.files import replacing, same_as_kept
from ..store.jsonl import appending
from .cluster import Workforce, require_ray, run_parts
from .corpus_parts import ROWS, Part, cut, digest_of
from .part_jobs import STAGE, FlexKind, XetrievalKind
from .shared_folder import JOB, LOCK, check_free, put_away, shared_token, wait_for_files

JOINED = "joined.json"  # in a job's folder: what the index at its path will be known by


def index_corpus(
    pipeline, corpus, *, part_size: int = 100_000, workers: int | None = None, num_cpus: float = 1, num_gpus: float = 0,
    verbose: bool = False,
):  # fmt: skip
    """``pipeline.index(corpus)`` on a Ray cluster: the same files, byte for byte, whatever the number of workers
    (:func:`pyterrier_xetrieval.index.merging` names the exception).

    The corpus is cut into consecutive parts, a worker indexes each with the pipeline's own stages, and this process
    joins them. Parts and what is known of the job are in ``PATH.parts`` beside the index until it is finished: started
    again, the job goes on with what is missing there; documents of parts that are not finished may have been corrected.
    All machines must see that folder and the corpus's Parquet files at the same paths. Ray's cluster is the one that
    ``ray.init(…)`` was called for, or this machine.

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
    kind = XetrievalKind if isinstance(target, XetrievalIndexer) else FlexKind
    path = Path(target.path if kind is XetrievalKind else target.index_path).expanduser().absolute()
    folder = path.with_name(f"{path.name}.parts")
    size = positive_int(part_size, "part_size", stage=STAGE)
    unit = math.lcm(_batch(stages), target.shard_size if kind is XetrievalKind else 1)
    size = -(-size // unit) * unit  # no batch and no shard across parts
    check_free(folder, path, stage=STAGE)
    with appending(folder / LOCK):
        check_free(folder, path, stage=STAGE)  # another run may just have finished
        shared_token(folder)
        job = kind(folder / "done", tuple(stages), target)
        same_as_kept(folder / JOB, {**job.facts(), "part_size": size}, stage=STAGE)
        if (path / META).exists():  # the last run was cut off as it ended, or somebody else was here
            if not (folder / JOINED).exists() or not job.is_at(path, json.loads((folder / JOINED).read_text())):
                raise FileExistsError(
                    f"{STAGE} expects nothing at {path}, found another index; move it away to go on with the parts in {folder}"
                )
        else:
            parts = cut(corpus, size, folder / "corpus", stage=STAGE, renew=job.renew)
            _check_parts(parts, folder / "parts.json", job)
            job.prepare()
            missing = [part for part in parts if not job.file(part).exists()]
            n = parts[-1].stop
            with pt.tqdm(total=n, initial=n - sum(map(len, missing)), desc="index", unit="d", disable=not verbose) as bar:
                for i, _ in run_parts(job, missing, folder, cluster, stage=STAGE):
                    bar.update(len(missing[i]))
            wait_for_files(map(job.file, parts), stage=STAGE)
            with replacing(folder / JOINED) as file:
                json.dump(_ends(parts), file)
            job.join(parts, path)
        gone = put_away(folder)
    shutil.rmtree(gone)
    return job.open(path)


def _batch(stages: Sequence) -> int:
    """How many documents go through the stages at once: as PyTerrier's own ``Compose.index`` says."""
    sizes = [stage.batch_size for stage in stages if isinstance(getattr(stage, "batch_size", None), int)]
    return max([100, *sizes]) if stages else 1


def _ends(parts: Sequence[Part]) -> dict:
    *_, last = parts[-1].docnos()
    return {"documents": parts[-1].stop, "first": next(parts[0].docnos()), "last": last}


def _check_parts(parts: Sequence[Part], kept: Path, job) -> None:
    """ValueError for parts that are not those the job was begun with, but for corrected ones that nothing was made of yet."""
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
    _check_docnos(parts)
    with replacing(kept) as file:
        json.dump(found, file, indent=1)


def _check_docnos(parts: Sequence[Part]) -> None:
    """ValueError for a docno that cannot be indexed or that two documents have: it would be found too late, after much work."""
    docnos = (check_docno(docno, stage=STAGE) for part in parts for docno in part.docnos())
    with closing(SeenDocnos(stage=STAGE)) as seen:
        while batch := list(islice(docnos, ROWS)):
            seen.add(batch)
