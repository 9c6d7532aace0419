"""Samples of the documents that activate a feature and of those that do not: what hypotheses are made from (section 2.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyterrier as pt
import torch

from ..core.checks import positive_int, threshold_of

if TYPE_CHECKING:
    from ..model import Xetrieval

# The last bits of a matrix product depend on how many rows it has. With always the same number of rows, and each document
# always at the same place among them, samples are equal however the vectors arrive.
BLOCK = 256


@dataclass(frozen=True)
class FeatureSamples:
    """For each of D features: its most activating documents, random activating and random non-activating ones.

    Documents are row numbers of the corpus; -1 fills up rows of features that have fewer. A document's activation of a
    feature is the maximum over its views.

    Attributes:
        docs: int64 ``[D, n]``, most activating first, equal ones in the order of the corpus.
        values: float32 ``[D, n]``, their activations; 0 where there is no document.
        active: int64 ``[D, r]``, a uniform sample of all activating documents in random order.
        active_values: float32 ``[D, r]``, their activations to the precision of float16; 0 where there is no document.
        others: int64 ``[D, r]``, documents that do not activate the feature, in random order, from a pool that is a
            uniform sample of the corpus.
        counts: int64 ``[D]``, how many documents activate the feature.
        docnos: names of all documents, in the order of the corpus.
    """

    docs: np.ndarray
    values: np.ndarray
    active: np.ndarray
    active_values: np.ndarray
    others: np.ndarray
    counts: np.ndarray
    docnos: Sequence[str]

    @property
    def dict_size(self) -> int:
        """``D``."""
        return len(self.counts)

    @property
    def firing_rate(self) -> np.ndarray:
        """Share of the documents that activate each feature, float64 ``[D]``."""
        return self.counts / max(1, len(self.docnos))

    @property
    def max_activation(self) -> np.ndarray:
        """The greatest activation of each feature, float32 ``[D]``; 0 if no document activates it."""
        return self.values[:, 0]

    def examples(self, feature: int, n: int) -> tuple[np.ndarray, np.ndarray]:
        """At most ``n`` documents that activate a feature, the most activating first, and their activations.

        The first half are the most activating of all; the others are spread over the strengths of the random ones.
        Where there are too few random ones, the next most activating take their places.
        """
        best = {d: v for d, v in zip(self.docs[feature].tolist(), self.values[feature].tolist()) if d >= 0}
        shown = dict(list(best.items())[: n - n // 2])
        left = [
            (d, v)
            for d, v in zip(self.active[feature].tolist(), self.active_values[feature].tolist())
            if d >= 0 and d not in shown
        ]
        shown |= dict(left[i] for i in spread([v for _, v in left], n // 2))
        shown |= dict([pair for pair in best.items() if pair[0] not in shown][: n - len(shown)])
        found = sorted(shown.items(), key=lambda pair: -pair[1])
        return np.array([d for d, _ in found], np.int64), np.array([v for _, v in found], np.float32)

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row number by docno."""
        return {docno: row for row, docno in enumerate(self.docnos)}

    def check_texts(self, texts: Sequence[str], *, stage: str) -> None:
        """ValueError unless there is one text per document."""
        if len(texts) != len(self.docnos):
            raise ValueError(f"{stage} expects a text for each of {len(self.docnos)} documents, found {len(texts)}")

    def __repr__(self) -> str:
        return f"FeatureSamples(<{self.dict_size} features, {len(self.docnos)} documents>)"


@torch.no_grad()
def feature_samples(
    model: Xetrieval,
    vectors: np.ndarray | Iterable[np.ndarray],
    *,
    docnos: Iterable[str] | None = None,
    top: int = 20,
    random: int = 50,
    pool: int = 1000,
    threshold: float = 0.0,
    seed: int = 0,
    verbose: bool = False,
) -> FeatureSamples:
    """Streams over a corpus once and keeps, for every feature, the documents of :class:`FeatureSamples`.

    Every view of the model counts: the vector itself and its internalised ones. Memory is ``[D, top + 3 random]`` and
    ``[pool, D]`` bits, whatever the size of the corpus. Equal arguments give equal samples, also if the vectors come
    in other batches.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`; ``model.with_views(aspects=())`` for raw vectors only.
        vectors: float ``[n, m]``, also memory-mapped, or an iterable of ``[b, m]`` arrays.
        docnos: n names; default the row numbers as strings.
        top: ``n``, most activating documents kept per feature.
        random: ``r``, random activating and non-activating documents kept per feature.
        pool: random documents among which non-activating ones are looked for.
        threshold: ``τ >= 0`` of Eq. 4: a document is activating if its activation exceeds it.
        seed: of the random documents.

    Raises:
        ValueError: vectors of another dimension, NaN or infinite; another number of docnos, or one twice; a number out of
            range.

    Example::

        model, index = Xetrieval.default(), FlexIndex("corpus.flex")
        samples = feature_samples(model, index.np_vecs(), docnos=list(index.docnos().fwd))
        samples.docs[17], samples.values[17]     # the documents that activate feature 17 most
    """
    for name, value in {"top": top, "random": random, "pool": pool}.items():
        positive_int(value, name, stage="feature_samples")
    threshold = threshold_of(threshold, stage="feature_samples")
    dict_size = model.sae.dict_size
    best, drawn = BestDocuments(dict_size, top), BestDocuments(dict_size, random)
    others, counts, n = DocumentPool(dict_size, pool, seed), np.zeros(dict_size, np.int64), 0
    rng = np.random.default_rng([seed, 1])
    total = len(vectors) if isinstance(vectors, np.ndarray) else None
    with pt.tqdm(total=total, disable=not verbose, unit="d", desc="samples") as bar:
        for block in blocks(vectors, model.dim):
            dense = max_over_views(model, block)
            activating = dense > threshold
            rows, features = np.nonzero(activating)  # by document, so that the random numbers are always the same ones'
            best.add(features, n + rows, dense[activating])
            drawn.add(features, n + rows, rng.random(len(rows)), dense[activating])
            others.add(n, activating)
            counts += activating.sum(0)
            n += len(block)
            bar.update(len(block))
    docnos = [str(docno) for docno in (range(n) if docnos is None else docnos)]
    if len(docnos) != n or len(set(docnos)) != n:
        raise ValueError(f"feature_samples expects a docno of its own for each of {n} vectors, found {len(set(docnos))}")
    values = np.where(best.docs >= 0, best.scores, 0).astype(np.float32)
    return FeatureSamples(best.docs, values, drawn.docs, drawn.values, others.without(random), counts, docnos)


@torch.no_grad()
def max_over_views(model: Xetrieval, block: np.ndarray) -> np.ndarray:
    """Activations of a block's documents, the maximum over the model's views: float32 ``[b, m]`` to ``[b, D]``."""
    sae = model.sae
    z = torch.from_numpy(block).to(sae.w_enc.device)
    dense = torch.zeros(len(z), sae.dict_size, device=z.device)
    for view in (z, *(module(z) for module in model.internalizers.values())):
        codes = sae.encode(view)
        dense.scatter_reduce_(1, codes.ids, codes.values, "amax")
    return dense.cpu().numpy()


def blocks(vectors: np.ndarray | Iterable[np.ndarray], dim: int) -> Iterator[np.ndarray]:
    """The rows in float32 blocks of :data:`BLOCK`, the last one shorter, however they arrive.

    Raises:
        ValueError: rows of another dimension; NaN or infinity.
    """
    if isinstance(vectors, np.ndarray):
        matrix = vectors
        vectors = (matrix[i : i + BLOCK] for i in range(0, len(matrix), BLOCK))
    rest, n = np.empty((0, dim), np.float32), 0
    for batch in vectors:
        batch = np.asarray(batch, dtype=np.float32)
        if batch.ndim != 2 or batch.shape[1] != dim:
            raise ValueError(f"feature_samples expects batches of {dim}-dimensional vectors, found shape {batch.shape}")
        finite = np.isfinite(batch).all(1)
        if not finite.all():
            raise ValueError(f"feature_samples found NaN or infinity in vector {n + int(finite.argmin())}; check the encoder")
        n += len(batch)
        rest = np.concatenate([rest, batch])
        while len(rest) >= BLOCK:
            yield rest[:BLOCK]
            rest = rest[BLOCK:]
    if len(rest):
        yield rest


class BestDocuments:
    """The ``n`` documents with the highest scores for each of D features; of equal ones the earlier documents.

    Attributes:
        docs: int64 ``[D, n]``, -1 where there are fewer; scores: float64 ``[D, n]``.
        values: float32 ``[D, n]``, a number that was given with each document, as float16; 0 where there is none.
    """

    def __init__(self, dict_size: int, n: int):
        self.docs = np.full((dict_size, n), -1, np.int64)
        self.scores = np.full((dict_size, n), -np.inf)
        self.values = np.zeros((dict_size, n), np.float32)

    def add(self, features: np.ndarray, docs: np.ndarray, scores: np.ndarray, values: np.ndarray | None = None) -> None:
        """Takes in pairs of a feature and a document that comes later in the corpus than all before, with their scores."""
        n, values = self.docs.shape[1], np.zeros(len(docs), np.float32) if values is None else values
        better = scores > self.scores[features, -1]  # after the first blocks that leaves few
        touched = np.unique(features[better])
        features = np.concatenate([np.repeat(touched, n), features[better]])
        docs = np.concatenate([self.docs[touched].ravel(), docs[better]])
        scores = np.concatenate([self.scores[touched].ravel(), scores[better]])
        values = np.concatenate([self.values[touched].ravel(), values[better].astype(np.float16).astype(np.float32)])
        order = np.lexsort((docs, -scores, features))
        features, docs, scores, values = features[order], docs[order], scores[order], values[order]
        rank = np.arange(len(features)) - np.searchsorted(features, features)
        kept = rank < n
        self.docs[features[kept], rank[kept]] = docs[kept]
        self.scores[features[kept], rank[kept]] = scores[kept]
        self.values[features[kept], rank[kept]] = values[kept]


class DocumentPool:
    """A uniform sample of the documents, and which features each activates; non-activating documents are drawn from it."""

    def __init__(self, dict_size: int, size: int, seed: int):
        self.size, self.rng = size, np.random.default_rng([seed, 0])
        self.docs, self.keys = np.empty(0, np.int64), np.empty(0)
        self.activating = np.empty((0, dict_size), bool)

    def add(self, first: int, activating: np.ndarray) -> None:
        """Takes in the next documents, numbered from ``first``: bool ``[b, D]``, the features that each activates."""
        self.keep(first + np.arange(len(activating)), self.rng.random(len(activating)), activating)

    def keep(self, docs: np.ndarray, keys: np.ndarray, activating: np.ndarray) -> None:
        """Takes in documents with the random numbers, of which those with the lowest stay."""
        keys = np.concatenate([self.keys, keys])
        kept = np.sort(np.argsort(keys, kind="stable")[: self.size])
        if len(kept) and kept[-1] >= len(self.docs):  # after the first blocks that is rare
            self.docs = np.concatenate([self.docs, docs])[kept]
            self.activating = np.concatenate([self.activating, activating])[kept]
            self.keys = keys[kept]

    def without(self, n: int) -> np.ndarray:
        """``n`` documents of the pool that do not activate each feature, int64 ``[D, n]``, -1 where there are fewer."""
        # an order of its own for each feature: with one for all, every feature would be compared with the same few texts
        keys = self.rng.random((self.activating.shape[1], len(self.docs)), dtype=np.float32)
        keys[self.activating.T] = 2
        order = np.argsort(keys, axis=1, kind="stable")[:, :n]
        found = np.full((len(order), n), -1, np.int64)
        found[:, : order.shape[1]] = np.where(np.take_along_axis(keys, order, 1) < 2, self.docs[order], -1)
        return found


def spread(values: Sequence[float], n: int) -> list[int]:
    """Places of ``n`` of the values, as evenly over their range as they lie: each the nearest to one of n equal steps.

    Example::

        >>> spread([0.1, 0.11, 0.12, 0.5, 0.9, 1.0], 3)
        [0, 3, 5]
    """
    left, out = dict(enumerate(values)), []
    for level in np.linspace(min(values, default=0.0), max(values, default=0.0), n).tolist():
        if left:
            out.append(min(left, key=lambda i: abs(left[i] - level)))
            del left[out[-1]]
    return out
