"""The mean document of a collection: what a score is measured against where all vectors share a long mean.

Vectors of E5 and its relatives share a mean of nearly their own length. Most of every score is that mean's, and the bias of the
dictionary carries it: nearly all of a score says nothing about why one document is found and another is not. The mean document's
score, split in the same way, is what every document has to start with; what a score has above it tells documents apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .attribution import Attribution
from .codes import DocumentCodes
from .sae import SparseAutoencoder

_LONG = 0.5  # of the vectors' length: a bias of a quarter of a score between vectors that are near the mean
_PAIRS = 4096  # whose directions are in memory at once


@dataclass(frozen=True)
class MeanDocument:
    """The mean of documents, all views folded into one.

    Attributes:
        vector: float32 ``[m]``; coefficients: float32 ``[D]``, how much of each direction it has.
        documents: how many documents it is the mean of; 0 for none: the bias alone, a document without a feature.
    """

    vector: np.ndarray
    coefficients: np.ndarray
    documents: int

    @classmethod
    def of(cls, vectors: np.ndarray, codes: DocumentCodes, weights: Sequence[float], dict_size: int) -> MeanDocument:
        """The mean of ``n`` documents: float32 ``[n, m]``, folded, and their codes; weights: of their views."""
        folded = codes.coefficients.astype(np.float64) @ np.asarray(weights, np.float64)
        total = np.bincount(codes.features, weights=folded, minlength=dict_size)
        mean = np.asarray(vectors).mean(axis=0, dtype=np.float64)
        return cls(mean.astype(np.float32), (total / len(codes)).astype(np.float32), len(codes))

    @classmethod
    def without_features(cls, sae: SparseAutoencoder, weights: Sequence[float]) -> MeanDocument:
        """The document that the dictionary decodes from nothing: its bias, once for each view."""
        bias = float(np.sum(weights)) * sae.bias
        return cls(bias.astype(np.float32), np.zeros(sae.dict_size, np.float32), 0)


@dataclass(frozen=True)
class Baseline:
    """The mean document's score for the query of each of ``n`` pairs, split as the pair's own score is.

    ``score = Σ contribution + other + bias + residual`` holds for every pair, where the features listed are those of the
    pair, and the bias is the pair's own, which is the same for all documents of a query. Shapes: ``score``, ``other``,
    ``residual`` float64 ``[n]``; ``contribution`` float32 ``[t]``, in the order of the pairs' features.
    """

    score: np.ndarray
    other: np.ndarray
    residual: np.ndarray
    contribution: np.ndarray
    documents: int

    def pair(self, i: int, listed: slice) -> Baseline:
        """Pair ``i`` alone, in memory of its own; listed: where its features are."""
        own = slice(i, i + 1)
        return Baseline(
            self.score[own].copy(),
            self.other[own].copy(),
            self.residual[own].copy(),
            self.contribution[listed].copy(),
            self.documents,
        )

    def above(self, parts: Attribution) -> Attribution:
        """What the pairs' scores have above it, part by part; they add up to the difference of the scores."""
        return Attribution(
            parts.score - self.score, parts.other - self.other, np.zeros_like(parts.bias), parts.residual - self.residual,
            parts.offsets, parts.features, parts.contribution - self.contribution, parts.query_activation,
            parts.document_activation,
        )  # fmt: skip


def has_long_bias(sae: SparseAutoencoder, length: float) -> bool:
    """Whether the dictionary's bias is more than half as long as its encoder's vectors are."""
    return float(sae.b_dec.detach().norm()) > _LONG * length


def baseline(
    sae: SparseAutoencoder, queries: np.ndarray, query_rows: np.ndarray, parts: Attribution, mean: MeanDocument
) -> Baseline:
    """The score of the mean document for each pair's query, split as ``parts`` splits the pair's.

    Args:
        queries: float32 ``[u, m]``, distinct query vectors; query_rows: int64 ``[n]``, which one each pair has.
        parts: of the pairs.
        mean: of the views that the parts are of.
    """
    scores = np.einsum("um,m->u", queries, mean.vector).astype(np.float64)
    used = np.flatnonzero(mean.coefficients)
    w = sae.w_dec.detach()
    decoded = (torch.from_numpy(mean.coefficients[used]).to(w.device) @ w[torch.from_numpy(used).to(w.device)]).cpu().numpy()
    explained = np.einsum("um,m->u", queries, decoded).astype(np.float64)[query_rows]
    counts = np.diff(parts.offsets)
    rows = np.repeat(query_rows, counts)
    contribution = np.zeros(len(rows), np.float32)
    some = np.flatnonzero(mean.coefficients[parts.features])
    for start in range(0, len(some), _PAIRS):
        own = some[start : start + _PAIRS]
        directions = sae.directions(parts.features[own])
        contribution[own] = mean.coefficients[parts.features[own]] * np.einsum("nm,nm->n", queries[rows[own]], directions)
    pair = np.repeat(np.arange(len(counts)), counts)
    shared = np.bincount(pair, weights=contribution, minlength=len(counts))
    scores = scores[query_rows]
    return Baseline(scores, explained - shared, scores - parts.bias - explained, contribution, mean.documents)
