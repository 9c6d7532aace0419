"""What turning features down in the queries gives on queries that took no part in choosing how far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..core.edits import intervene
from ..core.sae import SparseAutoencoder
from .bootstrap import estimate
from .collection import CUTOFF, EmbeddedCollection, ndcg, rank

if TYPE_CHECKING:
    from scipy import sparse

ALPHAS = (0.75, 0.5, 0.25, 0.0)  # what an activation is multiplied by; 1, no change, is chosen where none of them gains
_QUERIES = 64  # ranked at once


class HeldOut:
    """Retrieves again with edited queries, alpha chosen on one half of the queries and measured on the other, and back.

    Args:
        collection: queries, documents, judgements; sae: the dictionary.
        asked: sparse ``[q, D]``, which features the queries have.
        seed: of the halves and the bootstrap.

    Attributes:
        ndcg: float64 ``[q]``, nDCG@10 of each query as it is; first_half: bool ``[q]``.
    """

    def __init__(self, collection: EmbeddedCollection, sae: SparseAutoencoder, asked: sparse.csr_matrix, *, seed: int):
        self.collection, self.sae, self.asked, self.seed = collection, sae, asked, seed
        self.first_half = np.random.default_rng(seed).permutation(len(collection.qids)) % 2 == 0
        self.ndcg = self._searched(np.arange(len(collection.qids)), collection.queries)

    def turned_down(self, feature: int) -> dict[str, float]:
        """Of one feature: what :meth:`_told` says, over the queries that have it, and ``alpha``, the mean of the two chosen."""
        rows = self._having([feature])
        found, alphas = self._both_ways(rows, lambda _: [feature])
        return self._told(rows, found, alphas)

    def together(self, choose: Callable[[np.ndarray], Sequence[int]]) -> dict[str, float]:
        """Of all features that ``choose`` finds on one half of the queries (its rows), turned down alike in the other half.

        Over all queries; ``features`` is the mean number of features that were found.
        """
        everything = np.arange(len(self.collection.qids))
        chosen: list[int] = []

        def counted(rows: np.ndarray) -> Sequence[int]:
            features = choose(rows)
            chosen.append(len(features))
            return features

        found, alphas = self._both_ways(everything, counted)
        return {**self._told(everything, found, alphas), "features": float(np.mean(chosen))}

    def places(self, documents: np.ndarray) -> np.ndarray:
        """The place of one document of each query among all, from 0, int64 ``[q]``.

        Args:
            documents: int64 ``[q]``, its row.
        """
        out, docs = np.empty(len(documents), np.int64), self.collection.docs
        for start in range(0, len(documents), _QUERIES):
            block = slice(start, start + _QUERIES)
            scores = self.collection.queries[block] @ docs.T
            for row, excluded in zip(scores, self.collection.excluded[block]):
                row[excluded] = -np.inf
            own = scores[np.arange(len(scores)), documents[block]]
            out[block] = (scores > own[:, None]).sum(axis=1)
        return out

    def _told(self, rows: np.ndarray, found: np.ndarray, alphas: list[float]) -> dict[str, float]:
        """``ndcg`` before and ``ndcg_held_out`` after, ``gain`` and its interval, all over these queries."""
        gain = estimate(found - self.ndcg[rows], seed=self.seed)
        before = float(self.ndcg[rows].mean()) if len(rows) else np.nan
        after = float(found.mean()) if len(rows) else np.nan
        told = {"alpha": float(np.mean(alphas)), "ndcg": before, "ndcg_held_out": after}
        return {**told, "gain": gain["value"], "gain_low": gain["low"], "gain_high": gain["high"]}

    def _both_ways(self, rows: np.ndarray, choose: Callable[[np.ndarray], Sequence[int]]) -> tuple[np.ndarray, list[float]]:
        out, alphas = self.ndcg[rows].copy(), []
        known: dict[tuple, np.ndarray] = {}  # both halves may ask for the same
        for half in (True, False):
            chosen_on, measured_on = (self.first_half[rows] == side for side in (half, not half))
            features = choose(np.flatnonzero(self.first_half == half))
            tried = [(1.0, self.ndcg[rows])]
            having = np.isin(rows, self._having(features))
            for alpha in ALPHAS if having[chosen_on].any() and having[measured_on].any() else ():
                key = (*features, alpha)
                if key not in known:
                    known[key] = self.ndcg[rows].copy()
                    known[key][having] = self._edited(rows[having], features, alpha)
                tried.append((alpha, known[key]))
            best, values = max(tried, key=lambda one: one[1][chosen_on].sum())  # of equal ones the least change
            out[measured_on] = values[measured_on]
            alphas.append(best)
        return out, alphas

    def _having(self, features: Sequence[int]) -> np.ndarray:
        return np.unique(self.asked[:, list(features)].nonzero()[0])

    def _edited(self, rows: np.ndarray, features: Sequence[int], alpha: float) -> np.ndarray:
        queries = self.collection.queries[rows]
        return self._searched(rows, intervene(self.sae, queries, [features] * len(rows), "scale", alpha=alpha))

    def _searched(self, rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
        own = self.collection.select(rows)
        found, _ = rank(queries, own.docs, CUTOFF, excluded=own.excluded, batch_size=_QUERIES)
        return ndcg(own, found)
