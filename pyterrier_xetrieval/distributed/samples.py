"""Samples of features over a cluster: each part's best documents, and the random ones that a single pass would draw."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyterrier as pt
import torch

from ..core.checks import positive_int, threshold_of
from ..index.blocks import fingerprint
from ..index.storage import MODEL
from ..labelling import samples as single
from ..model import Xetrieval
from ..store.files import replacing, same_as_kept
from ..store.jsonl import appending
from .cluster import Workforce, require_ray, run_parts
from .part_jobs import shared_model
from .shared_folder import JOB, LOCK, check_free, put_away, shared_token, wait_for_files

STAGE = "feature_samples"


def feature_samples(
    model, vectors: np.memmap, work, *, docnos=None, aspects=None, top: int = 20, random: int = 50, pool: int = 1000,
    threshold: float = 0.0, seed: int = 0, part_size: int = 100_000, workers: int | None = None, num_cpus: float = 1,
    num_gpus: float = 0, verbose: bool = False,
) -> single.FeatureSamples:  # fmt: skip
    """:func:`pyterrier_xetrieval.training.feature_samples` on a Ray cluster: the same samples, bit for bit.

    Each part's activations are computed once and kept as feature ids (two bytes each where the dictionary has at most
    65,536 features). How many there were before a part is where the part's random numbers begin in the sequence that one
    process would draw, so that a second, cheap round makes the same random choice.

    Args:
        model, docnos, aspects, top, random, pool, threshold, seed, verbose: as there.
        vectors: a memory-mapped matrix in a file that all machines see, e.g. ``index.np_vecs()`` of a FlexIndex or
            ``np.load(path, mmap_mode="r")``.
        work: a folder that all machines see, for this job alone; one that was cut off goes on there, a finished one
            removes it.
        part_size: vectors per part, rounded up to whole blocks.
        workers, num_cpus, num_gpus: as in :func:`index_corpus`.

    Raises:
        ImportError: no Ray.
        ValueError: as there; vectors that are no memory-mapped file; a folder begun with other arguments.
        FileExistsError: other files in ``work``.
        FileNotFoundError, RuntimeError: as in :func:`index_corpus`.

    Example::

        vectors = XetrievalIndex("/shared/corpus.xetrieval").vectors.np_vecs()
        samples = feature_samples(model, vectors, "/shared/samples.work", docnos=docnos)
    """
    require_ray(STAGE)
    mapped = _mapped(vectors, model.dim)
    cluster = Workforce.checked(workers, num_cpus, num_gpus, stage=STAGE)
    sizes = {"top": top, "random": random, "pool": pool, "part_size": part_size}
    top, random, pool, part_size = (positive_int(value, name, stage=STAGE) for name, value in sizes.items())
    threshold, seed = threshold_of(threshold, stage=STAGE), int(seed)
    aspects = list(model.check_aspects(aspects, stage=STAGE))
    n, size = len(vectors), -(-part_size // single.BLOCK) * single.BLOCK
    docnos = [str(docno) for docno in (range(n) if docnos is None else docnos)]
    if len(docnos) != n or len(set(docnos)) != n:
        raise ValueError(f"{STAGE} expects a docno of its own for each of {n} vectors, found {len(set(docnos))}")
    folder = Path(work).expanduser().absolute()
    job = _Count(folder, mapped, aspects, top, random, pool, threshold, seed, str(model.device))
    check_free(folder, stage=STAGE)
    with appending(folder / LOCK):
        shared_token(folder)
        facts = {k: v for k, v in vars(job).items() if k not in ("folder", "device")}
        spread = np.ascontiguousarray(vectors[np.linspace(0, n - 1, min(n, 256)).astype(np.int64)])
        digest = hashlib.sha256(spread.tobytes()).hexdigest()
        facts |= {"model_sha256": fingerprint(model, aspects), "vectors_sha256": digest, "part_size": size}
        same_as_kept(folder / JOB, facts, stage=STAGE)
        shared_model(model, folder / MODEL)
        spans = [(start, min(n, start + size)) for start in range(0, n, size)]
        with pt.tqdm(total=n, desc="samples", unit="d", disable=not verbose) as bar:
            missing = [span for span in spans if not job.file(span).exists()]
            bar.update(n - sum(stop - start for start, stop in missing))
            for i, _ in run_parts(job, missing, folder, cluster, stage=STAGE):
                bar.update(missing[i][1] - missing[i][0])
        wait_for_files(map(job.file, spans), stage=STAGE)
        drawing = _Draw(folder, random, seed, model.sae.dict_size)
        drawn = list(zip(spans, accumulate((int(_load(job.file(span), "rows").sum()) for span in spans), initial=0)))
        missing = [part for part in drawn if not drawing.file(part[0]).exists()]
        for _ in run_parts(drawing, missing, folder, cluster, stage=STAGE):
            pass
        wait_for_files(map(drawing.file, spans), stage=STAGE)
        samples = _joined(job, drawing, spans, model.sae.dict_size, docnos)
        gone = put_away(folder)
    shutil.rmtree(gone)
    return samples


@dataclass
class _Count:
    """First round: the best documents of a part, its share of the pool, and which features each document activates."""

    folder: Path
    mapped: tuple
    aspects: list
    top: int
    random: int
    pool: int
    threshold: float
    seed: int
    device: str

    def file(self, span) -> Path:
        return self.folder / f"{span[0]:012d}.npz"

    def start(self) -> None:
        self.model = Xetrieval(self.folder / MODEL, device=self.device)

    @torch.no_grad()
    def run(self, span) -> None:
        if self.file(span).exists():
            return
        (start, stop), dict_size = span, self.model.sae.dict_size
        filename, dtype, offset, shape = self.mapped
        matrix = np.memmap(filename, dtype, "r", offset, tuple(shape))[start:stop]
        internalizers = [self.model.internalizers[aspect] for aspect in self.aspects]
        best, others = single._Best(dict_size, self.top), single._Pool(dict_size, self.pool, self.seed)
        others.rng.bit_generator.advance(start)  # a number for each document before
        rows, features = [], []
        narrow = np.uint16 if dict_size <= 1 << 16 else np.uint32
        try:
            for block in single._blocks(matrix, self.model.dim):
                dense = single._activations(self.model.sae, internalizers, block)
                activating = dense > self.threshold
                row, feature = np.nonzero(activating)
                best.add(feature, start + row, dense[activating])
                others.add(start, activating)
                rows.append(activating.sum(1).astype(np.uint32))
                features.append(feature.astype(narrow))
                start += len(block)
        except ValueError as error:
            raise ValueError(f"{error} (counted from vector {span[0]})") from None
        _save(
            self.file(span), docs=best.docs, scores=best.scores, rows=np.concatenate(rows), features=np.concatenate(features),
            pool_docs=others.docs, pool_keys=others.keys, pool_activating=np.packbits(others.activating, axis=1),
        )  # fmt: skip


@dataclass
class _Draw:
    """Second round: the activating documents that get the highest of the random numbers which one pass would draw."""

    folder: Path
    random: int
    seed: int
    dict_size: int

    def file(self, span) -> Path:
        return self.folder / f"{span[0]:012d}.random.npz"

    def start(self) -> None:
        pass

    def run(self, part) -> None:
        span, offset = part
        if self.file(span).exists():
            return
        with np.load(self.folder / f"{span[0]:012d}.npz") as counted:
            rows, features = counted["rows"], counted["features"]
        rng = np.random.default_rng([self.seed, 1])
        rng.bit_generator.advance(offset)
        drawn, ends = single._Best(self.dict_size, self.random), np.concatenate([[0], np.cumsum(rows, dtype=np.int64)])
        for first in range(0, len(rows), single.BLOCK):
            own = slice(ends[first], ends[min(len(rows), first + single.BLOCK)])
            counts = rows[first : first + single.BLOCK]
            docs = span[0] + first + np.repeat(np.arange(len(counts)), counts)
            drawn.add(features[own].astype(np.int64), docs, rng.random(len(docs)))
        _save(self.file(span), docs=drawn.docs, scores=drawn.scores)


def _joined(job: _Count, drawing: _Draw, spans, dict_size: int, docnos) -> single.FeatureSamples:
    best, drawn = single._Best(dict_size, job.top), single._Best(dict_size, job.random)
    others, counts = single._Pool(dict_size, job.pool, job.seed), np.zeros(dict_size, np.int64)
    for span in spans:
        with np.load(job.file(span)) as part:
            best.add(*_pairs(part))
            counts += np.bincount(part["features"], minlength=dict_size)
            keys = np.concatenate([others.keys, part["pool_keys"]])
            kept = np.sort(np.argsort(keys, kind="stable")[: job.pool])
            activating = np.unpackbits(part["pool_activating"], axis=1, count=dict_size).astype(bool)
            others.docs = np.concatenate([others.docs, part["pool_docs"]])[kept]
            others.activating = np.concatenate([others.activating, activating])[kept]
            others.keys = keys[kept]
        with np.load(drawing.file(span)) as part:
            drawn.add(*_pairs(part))
    others.rng.bit_generator.advance(len(docnos))
    values = np.where(best.docs >= 0, best.scores, 0).astype(np.float32)
    return single.FeatureSamples(best.docs, values, drawn.docs, others.without(job.random), counts, docnos)


def _pairs(part) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, documents and scores of what a part kept."""
    docs = part["docs"]
    features, at = np.nonzero(docs >= 0)
    return features, docs[features, at], part["scores"][features, at]


def _mapped(vectors, dim: int) -> tuple:
    """File, type, offset and shape of a memory-mapped matrix, for another process to map it."""
    root = vectors
    while isinstance(getattr(root, "base", None), np.ndarray):  # a slice says the file's own offset all the same
        root = root.base
    whole = isinstance(vectors, np.memmap) and vectors.ndim == 2 and (root.size, root.dtype) == (vectors.size, vectors.dtype)
    if not whole or vectors.filename is None or not vectors.flags.c_contiguous or vectors.shape[1] != dim:
        found = f"{type(vectors).__name__} of shape {np.shape(vectors)}"
        raise ValueError(f"{STAGE} expects a whole memory-mapped file of {dim}-dimensional vectors, found {found}")
    if not len(vectors):
        raise ValueError(f"{STAGE} expects vectors, found none in {vectors.filename}")
    return str(vectors.filename), vectors.dtype.str, int(vectors.offset), list(map(int, vectors.shape))


def _load(path: Path, name: str) -> np.ndarray:
    with np.load(path) as part:
        return part[name]


def _save(path: Path, **arrays: np.ndarray) -> None:
    with replacing(path, "wb") as file:
        np.savez(file, **arrays)
