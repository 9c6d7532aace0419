"""Pairs and the features that they share, as an explanation of a model lists them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.attribution import Attribution, explain_vectors
from ..core.codes import encode_view
from ..model import Xetrieval
from .collection import EmbeddedCollection
from .document_views import document_views
from .pairs import Pairs


@dataclass(frozen=True)
class ExplainedPairs:
    """Pairs with vectors, and what their scores are made of.

    Attributes:
        model: whose views and dictionary; parts: the attribution of the pairs' scores.
        q, z: float32 ``[n, m]``, each pair's query and original document embedding.
    """

    model: Xetrieval
    q: np.ndarray
    z: np.ndarray
    parts: Attribution

    @property
    def owner(self) -> np.ndarray:
        """The pair of each listed feature, int64 ``[t]``."""
        return np.repeat(np.arange(len(self.q)), np.diff(self.parts.offsets))

    @property
    def sets(self) -> list[np.ndarray]:
        """The shared features ``O(q,d)`` (Eq. 15, 23) of each pair, largest contribution first."""
        return self._split(self.parts.features)

    @property
    def original_sets(self) -> list[np.ndarray]:
        """Those of :attr:`sets` that are active in the original document embedding, not in internalised views alone."""
        original = self._split(self.parts.document_activation[:, 0] > 0)
        return [features[kept] for features, kept in zip(self.sets, original)]

    def own_features(self) -> list[np.ndarray]:
        """The features active on the original document embedding that the pair does not share (App. C's control)."""
        codes = encode_view(self.model.sae, self.z, refit=False, batch_size=512)
        active = (ids[values > 0] for ids, values in zip(codes.ids, codes.activations))
        return [own[~np.isin(own, shared)] for own, shared in zip(active, self.sets)]

    def orders(self, *, draws: int, seed: int) -> dict[str, list[list[np.ndarray]]]:
        """Each pair's features by contribution, by activation in the original embedding, in ``draws`` random orders."""
        owner, rng = self.owner, np.random.default_rng(seed)
        ties = rng.random(len(owner))  # features of other views alone have no activation
        by_activation = np.lexsort((ties, -self.parts.document_activation[:, 0], owner))
        random = [np.lexsort((rng.random(len(owner)), owner)) for _ in range(draws)]
        return {
            "contribution": [self.sets],
            "activation": [self._split(self.parts.features[by_activation])],
            "random": [self._split(self.parts.features[order]) for order in random],
        }

    def _split(self, flat: np.ndarray) -> list[np.ndarray]:
        return np.split(flat, self.parts.offsets[1:-1])[: len(self.q)]


def explain_pairs(
    model: Xetrieval, collection: EmbeddedCollection, pairs: Pairs, *, z: np.ndarray | None = None, refit: bool = False
) -> ExplainedPairs:
    """Explains pairs with the views and weights of a model, as :class:`~pyterrier_xetrieval.SAEExplainer` does.

    Args:
        model: ``model.with_views(())`` for the plain score ``⟨q,z⟩``.
        collection: whose pairs.
        pairs: which of them.
        z: float32 ``[u, m]``, embeddings instead of the collection's own for the ``u`` distinct documents of the
            pairs, in ascending order of their rows.
        refit: as in the explainer.
    """
    query_rows, of_query = np.unique(pairs.queries, return_inverse=True)
    doc_rows, of_doc = np.unique(pairs.docs, return_inverse=True)
    queries = np.array(collection.queries[query_rows], np.float32)
    z = np.array(collection.docs[doc_rows], np.float32) if z is None else z
    views, weights = list(document_views(model, z).values()), (1.0, *model.weights.values())
    parts = explain_vectors(model.sae, queries, of_query, views, of_doc, weights=weights, refit=refit)
    return ExplainedPairs(model, queries[of_query], z[of_doc], parts)


def equal_sizes(
    a: Sequence[np.ndarray], b: Sequence[np.ndarray], rng: np.random.Generator
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The sets ``a[i]`` and ``b[i]`` of each pair, the larger cut at random to the size of the smaller."""
    sizes = [min(len(x), len(y)) for x, y in zip(a, b, strict=True)]

    def cut(sets: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [own[rng.permutation(len(own))[:size]] for own, size in zip(sets, sizes)]

    return cut(a), cut(b)


def cosines(q: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Cosine of each row of ``q`` with that of ``z``, float64 ``[n]``; 0 where either is zero."""
    q, z = q.astype(np.float64), z.astype(np.float64)
    norms = np.linalg.norm(q, axis=1) * np.linalg.norm(z, axis=1)
    return np.divide((q * z).sum(axis=1), norms, out=np.zeros(len(q)), where=norms > 0)
