"""Samples of features over a cluster: workers compute the activations of each part, this process chooses from them."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.checks import positive_int, threshold_of
from ..index.blocks import fingerprint
from ..index.storage import MODEL
from ..labelling.samples import BLOCK, BestDocuments, DocumentPool, FeatureSamples, blocks, max_over_views
from ..model import Xetrieval
from ..store.files import replacing, same_as_kept
from ..training.vector_rows import evenly
from .cluster import PartJob, Workers
from .corpus_parts import Part
from .part_jobs import save_model
from .shared_folder import JOB, job_folder

STAGE = "feature_samples"
PAIRS = 1 << 16  # of a document and a feature, drawn from at once


def feature_samples(
    model: Xetrieval,
    vectors: np.memmap,
    work: str | os.PathLike[str],
    *,
    docnos: Iterable[str] | None = None,
    top: int = 20,
    random: int = 50,
    pool: int = 1000,
    threshold: float = 0.0,
    seed: int = 0,
    part_size: int = 100_000,
    workers: int | None = None,
    num_cpus: float = 1,
    num_gpus: float = 0,
    verbose: bool = False,
) -> FeatureSamples:
    """:func:`pyterrier_xetrieval.labelling.feature_samples` on a Ray cluster: the same samples, bit for bit.

    Workers compute the activations of each part and keep its best documents, and the ids and activations of all active
    features (four bytes for both where the dictionary has at most 65,536 features). This process then reads these, part
    after part, and makes the random choices that a single pass would make.

    Args:
        model, docnos, top, random, pool, threshold, seed, verbose: as there.
        vectors: a memory-mapped matrix in a file that all machines see, e.g. ``index.np_vecs()`` of a FlexIndex or
            ``np.load(path, mmap_mode="r")``.
        work: a folder that all machines see, for this job alone; one that was cut off goes on there, a finished one
            removes it.
        part_size: vectors per part, rounded up to whole blocks.
        workers, num_cpus, num_gpus: as in :func:`index_corpus`.

    Raises:
        ValueError: as there; vectors that are no memory-mapped file; a folder begun with other arguments.
        FileExistsError: other files in ``work``.
        FileNotFoundError, RuntimeError: as in :func:`index_corpus`.

    Example::

        vectors = XetrievalIndex("/shared/corpus.xetrieval").vectors.np_vecs()
        samples = feature_samples(model, vectors, "/shared/samples.work", docnos=docnos)
    """
    crew = Workers(workers, num_cpus, num_gpus, STAGE)
    mapped = _mapped(vectors, model.dim)
    numbers = {"top": top, "random": random, "pool": pool, "part_size": part_size}
    numbers = {name: positive_int(number, name, stage=STAGE) for name, number in numbers.items()}
    threshold, seed = threshold_of(threshold, stage=STAGE), int(seed)
    n, size = len(vectors), math.ceil(part_size / BLOCK) * BLOCK
    names = [str(docno) for docno in (range(n) if docnos is None else docnos)]
    if len(names) != n or len(set(names)) != n:
        raise ValueError(f"{STAGE} expects a docno of its own for each of {n} vectors, found {len(set(names))}")
    folder = Path(work).expanduser().absolute()
    job = ActivationsJob(folder, str(model.device), mapped, top, threshold)
    parts = [Part(i, start, min(n, start + size)) for i, start in enumerate(range(0, n, size))]
    with job_folder(folder, stage=STAGE) as finish:
        spread = np.ascontiguousarray(vectors[evenly(n, 256)])
        facts = {**numbers, "part_size": size, "threshold": threshold, "seed": seed, "mapped": mapped, "aspects": model.aspects}
        facts |= {
            "model_sha256": fingerprint(model),
            "vectors_sha256": hashlib.sha256(spread.tobytes()).hexdigest(),
        }
        same_as_kept(folder / JOB, facts, stage=STAGE)
        save_model(model, folder / MODEL)
        crew.do(job, parts, folder, verbose=verbose)
        samples = _joined(job, parts, model.sae.dict_size, names, random=random, pool=pool, seed=seed)
        finish()
    return samples


@dataclass
class ActivationsJob(PartJob):
    """Which features each document of a part activates, and the part's best documents for each feature."""

    folder: Path
    device: str
    mapped: tuple[str, str, int, list[int]]
    top: int
    threshold: float

    def file(self, part: Part) -> Path:
        return self.folder / f"{part.name}.npz"

    def start(self) -> None:
        self.model = Xetrieval(self.folder / MODEL, device=self.device)

    def run(self, part: Part) -> None:
        filename, dtype, offset, shape = self.mapped
        matrix = np.memmap(filename, dtype, "r", offset, tuple(shape))[part.start : part.stop]
        dict_size, start = self.model.sae.dict_size, part.start
        narrow = np.uint16 if dict_size <= 1 << 16 else np.uint32
        best, counts, features, values = BestDocuments(dict_size, self.top), [], [], []
        try:
            for block in blocks(matrix, self.model.dim):
                dense = max_over_views(self.model, block)
                activating = dense > self.threshold
                row, feature = np.nonzero(activating)
                best.add(feature, start + row, dense[activating])
                counts.append(activating.sum(1).astype(np.uint32))
                features.append(feature.astype(narrow))
                values.append(dense[activating].astype(np.float16))
                start += len(block)
        except ValueError as error:
            raise ValueError(f"{error} (counted from vector {part.start})") from None
        active, ids, activations = np.concatenate(counts), np.concatenate(features), np.concatenate(values)
        with replacing(self.file(part), "wb") as file:
            np.savez(file, docs=best.docs, scores=best.scores, counts=active, features=ids, activations=activations)


def _joined(
    job: ActivationsJob, parts: Sequence[Part], dict_size: int, docnos: list[str], *, random: int, pool: int, seed: int
) -> FeatureSamples:
    """The samples of all parts, with the random numbers of a single pass over the corpus."""
    best, drawn = BestDocuments(dict_size, job.top), BestDocuments(dict_size, random)
    others, counts = DocumentPool(dict_size, pool, seed), np.zeros(dict_size, np.int64)
    rng = np.random.default_rng([seed, 1])
    for part in parts:
        with np.load(job.file(part)) as arrays:
            features, rows = arrays["features"].astype(np.int64), np.repeat(np.arange(len(part)), arrays["counts"])
            docs, scores, activations = arrays["docs"], arrays["scores"], arrays["activations"]
        feature, place = np.nonzero(docs >= 0)
        best.add(feature, docs[feature, place], scores[feature, place])
        counts += np.bincount(features, minlength=dict_size)
        for i in range(0, len(features), PAIRS):
            own = slice(i, i + PAIRS)
            drawn.add(features[own], part.start + rows[own], rng.random(len(features[own])), activations[own])
        keys = others.rng.random(len(part))
        near = np.sort(np.argsort(keys, kind="stable")[:pool])  # no other document of the part can get into the pool
        places = np.full(len(part), -1)
        places[near] = np.arange(len(near))
        inside, activating = places[rows] >= 0, np.zeros((len(near), dict_size), bool)
        activating[places[rows[inside]], features[inside]] = True
        others.keep(part.start + near, keys[near], activating)
    values = np.where(best.docs >= 0, best.scores, 0).astype(np.float32)
    return FeatureSamples(best.docs, values, drawn.docs, drawn.values, others.without(random), counts, docnos)


def _mapped(vectors: np.memmap, dim: int) -> tuple[str, str, int, list[int]]:
    """File, dtype, offset and shape of a memory-mapped matrix, for another process to map it; ValueError for others."""
    root: Any = vectors
    while isinstance(getattr(root, "base", None), np.ndarray):  # a slice says the file's own offset all the same
        root = root.base
    whole = isinstance(vectors, np.memmap) and vectors.ndim == 2 and (root.size, root.dtype) == (vectors.size, vectors.dtype)
    if not whole or vectors.filename is None or not vectors.flags.c_contiguous or vectors.shape[1] != dim:
        found = f"{type(vectors).__name__} of shape {np.shape(vectors)}"
        raise ValueError(f"{STAGE} expects a whole memory-mapped file of {dim}-dimensional vectors, found {found}")
    if not len(vectors):
        raise ValueError(f"{STAGE} expects vectors, found none in {vectors.filename}")
    return str(vectors.filename), vectors.dtype.str, int(vectors.offset), list(map(int, vectors.shape))
