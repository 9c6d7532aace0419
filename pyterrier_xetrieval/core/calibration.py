"""What the documents of a corpus have in common, and a linear map of queries that spends less of the score on it.

A corpus about one thing spends its scores on what all its documents share. Dividing each principal direction of the corpus by a
power of its variance (soft whitening) turns these directions down. As ``⟨A q, z⟩ = ⟨q, A z⟩`` for a symmetric A, it is enough
to map the query: the index stays as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

STRENGTH = 0.2  # the exponent for corpora about one thing; chosen on 16 collections, each of them left out in turn
_GENERAL, _TOPICAL = 0.35, 0.4  # topicality up to which nothing is done, and from which on all is; chosen in the same way
_FLOOR = 1e-3  # of the mean variance: directions in which the encoder gives nothing, as one of all-MiniLM's, are not blown up


@dataclass(frozen=True, eq=False)
class CorpusStatistics:
    """The first two moments of a corpus's vectors.

    Attributes:
        count: how many vectors; mean: float64 ``[m]``; covariance: float64 ``[m, m]``.

    Two are equal if all numbers are.
    """

    count: int
    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def from_vectors(cls, blocks: Iterable[np.ndarray]) -> CorpusStatistics:
        """Of vectors that come in blocks, float ``[n, m]`` each; a pass over them in memory of two ``[m, m]``.

        Raises:
            ValueError: fewer than two vectors; NaN or infinite ones.

        Example::

            >>> CorpusStatistics.from_vectors([np.float32([[1, 0], [1, 2]]), np.float32([[1, 4]])]).mean
            array([1., 2.])
        """
        count, mean, scatter = 0, np.zeros(1), np.zeros((1, 1))
        for block in blocks:
            if not len(block):
                continue
            x = np.asarray(block, np.float64)
            own = x.mean(axis=0)
            centred = x - own
            apart, total = own - mean, count + len(x)
            # parallel variance (Chan, Golub, LeVeque 1983): squares of large sums would cancel
            scatter = scatter + centred.T @ centred + np.outer(apart, apart) * (count * len(x) / total)
            count, mean = total, mean + apart * (len(x) / total)
        if count < 2:
            raise ValueError(f"CorpusStatistics expects at least two vectors, found {count}")
        if not np.isfinite(scatter).all():
            raise ValueError("CorpusStatistics found NaN or infinity among the vectors; check the encoder or the index")
        return cls(count, mean, scatter / count)

    def topicality(self, origin: np.ndarray) -> float:
        """How far the mean vector lies from ``origin``, in units of a vector's typical distance from there; 0 to 1.

        1 means that all vectors are one. With the dictionary's bias as origin, which is near the mean of all sorts of texts, it
        says how much the documents of this corpus share that others do not.

        Example::

            >>> CorpusStatistics.from_vectors([np.float32([[1, 1], [1, -1]])]).topicality(np.zeros(2)).round(3)
            np.float64(0.707)
        """
        apart = self.mean - origin
        squared = float(apart @ apart)
        total = squared + float(np.trace(self.covariance))
        return np.sqrt(squared / total) if total > 0 else 0.0

    @property
    def effective_rank(self) -> float:
        """The exponential of the entropy of the spectrum: how many directions the vectors spread over (Roy and Vetterli 2007)."""
        share = np.clip(np.linalg.eigvalsh(self.covariance), 0, None)
        share = share[share > 0] / share.sum()
        return float(np.exp(-(share * np.log(share)).sum()))

    def whitening(self, strength: float) -> np.ndarray:
        """``A = s Σ^(−p)`` for ``p = strength``, symmetric float64 ``[m, m]``, with ``s`` such that its trace is ``m``.

        Strength 0 gives the identity; 0.5 whitens.
        """
        if strength == 0:
            return np.eye(len(self.mean))
        variance, directions = np.linalg.eigh(self.covariance)
        variance = np.maximum(variance, _FLOOR * variance.mean())
        gain = variance**-strength
        return (directions * (gain / gain.mean())) @ directions.T

    @property
    def fingerprint(self) -> str:
        """Tells the statistics of one corpus from those of another."""
        return hashlib.sha256(self.mean.tobytes() + self.covariance.tobytes() + str(self.count).encode()).hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        return self.fingerprint == other.fingerprint if isinstance(other, CorpusStatistics) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"<{self.count} vectors, {self.fingerprint}>"


def calibration_strength(topicality: float) -> float:
    """The exponent for a corpus: 0 for general ones, :data:`STRENGTH` for those about one thing, a straight line between.

    It asks for no judgements. What it gains on collections that took no part in choosing its numbers is in ``docs/tuning.md``,
    by ``recipes/calibration_strength.py``.

    Example::

        >>> calibration_strength(0.3), calibration_strength(0.5)
        (0.0, 0.2)
    """
    return float(STRENGTH * np.clip((topicality - _GENERAL) / (_TOPICAL - _GENERAL), 0, 1))


def feature_gains(directions: np.ndarray, mapped: np.ndarray) -> np.ndarray:
    """What a map A of queries does to each feature's own direction, ``⟨w_j, A w_j⟩ / ⟨w_j, w_j⟩``, float64 ``[D]``.

    A feature that only the query and the document share contributes so many times as much.

    Args:
        directions: float ``[D, m]``, the decoder's rows; mapped: float ``[m, m]``.

    Example::

        >>> feature_gains(np.eye(2), np.diag([0.5, 2]))
        array([0.5, 2. ])
    """
    w = np.asarray(directions, np.float64)
    return np.einsum("dm,dm->d", w @ np.asarray(mapped, np.float64), w) / np.einsum("dm,dm->d", w, w)
