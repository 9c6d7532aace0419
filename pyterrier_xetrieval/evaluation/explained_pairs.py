"""Which (query, document) pairs an evaluation looks at, and the features they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.attribution import Attribution, attribute
from ..core.codes import ViewCodes, encode_views, join_views
from ..core.internalizer import Internalizer, internalize
from ..core.sae import SparseAutoencoder
from ..core.views import fold_distinct, row_dots
from .collection import EmbeddedCollection, rank

NUM_RESULTS = 32  # the paper's K


@dataclass(frozen=True)
class Pairs:
    """``n`` pairs of a collection: ``queries`` and ``docs`` int64 ``[n]`` name rows, ``relevant`` bool ``[n]``."""

    queries: np.ndarray
    docs: np.ndarray
    relevant: np.ndarray

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, rows) -> Pairs:
        return Pairs(self.queries[rows], self.docs[rows], self.relevant[rows])


@dataclass(frozen=True)
class ExplainedPairs:
    """Pairs with vectors, and what their scores are made of.

    Attributes:
        q: float32 ``[n, m]``, each pair's query; z: float32 ``[n, m]``, each pair's original document embedding.
        parts: the attribution of the pairs' scores; codes: codes of the distinct original document embeddings;
            rows: int64 ``[n]``, which of those each pair has.
    """

    q: np.ndarray
    z: np.ndarray
    parts: Attribution
    codes: ViewCodes
    rows: np.ndarray

    @property
    def owner(self) -> np.ndarray:
        """The pair of each listed feature, int64 ``[t]``."""
        return np.repeat(np.arange(len(self.q)), np.diff(self.parts.offsets))

    @property
    def sets(self) -> list[np.ndarray]:
        """The shared features ``O(q,d)`` (Eq. 15, 23) of each pair, largest contribution first."""
        return split(self.parts.features, self.parts.offsets)

    @property
    def original_sets(self) -> list[np.ndarray]:
        """Those of :attr:`sets` that are active in the original document embedding, not in internalised views alone."""
        original = self.parts.document_activation[:, 0] > 0
        counts = np.bincount(self.owner[original], minlength=len(self.q))
        return split(self.parts.features[original], np.concatenate([[0], np.cumsum(counts)]))

    def own_features(self, dict_size: int) -> list[np.ndarray]:
        """The features active on the original document embedding that the pair does not share (App. C's control)."""
        pair, slot = np.nonzero(self.codes.activations[self.rows] > 0)
        features = self.codes.ids[self.rows[pair], slot]
        shared = self.owner * dict_size + self.parts.features
        own = ~np.isin(pair * dict_size + features, shared)
        counts = np.bincount(pair[own], minlength=len(self.rows))
        return split(features[own], np.concatenate([[0], np.cumsum(counts)]))


def split(flat: np.ndarray, offsets: np.ndarray) -> list[np.ndarray]:
    """The pieces ``flat[offsets[i]:offsets[i+1]]``."""
    return np.split(flat, offsets[1:-1])[: len(offsets) - 1]


def ranked_pairs(collection: EmbeddedCollection, *, num_results: int) -> Pairs:
    """Every query with its ``num_results`` best documents by dot product, best first.

    Excluded documents are left out. Of documents with one and the same vector a query keeps one, a relevant one if
    there is any.
    """
    rows, _ = rank(collection.queries, collection.docs, num_results, excluded=collection.excluded)
    queries, at = np.nonzero(rows >= 0)
    docs = rows[queries, at]
    vectors: dict[bytes, int] = {}
    n = len(collection.docnos)
    relevant = np.isin(queries * n + docs, _keys(relevant_pairs(collection), n))
    distinct, which = np.unique(docs, return_inverse=True)
    twin = np.array([vectors.setdefault(collection.docs[row].tobytes(), row) for row in distinct], np.int64)[which]
    by_relevance = np.lexsort((np.arange(len(docs)), ~relevant))
    first = np.unique(np.stack([queries, twin])[:, by_relevance], axis=1, return_index=True)[1]
    kept = np.sort(by_relevance[first])
    return Pairs(queries[kept], docs[kept], relevant[kept])


def relevant_pairs(collection: EmbeddedCollection) -> Pairs:
    """Every query with every document of a grade above zero that is not excluded for it."""
    found = [(q, d) for q, grades in enumerate(collection.judged) for d, grade in grades.items() if grade > 0]
    queries, docs = np.array(found, np.int64).reshape(-1, 2).T
    barred = [(q, d) for q, rows in enumerate(collection.excluded) for d in rows]
    n, pairs = len(collection.docnos), Pairs(queries, docs, np.ones(len(queries), bool))
    return pairs[~np.isin(_keys(pairs, n), [q * n + d for q, d in barred])]


def sample_pairs(collection: EmbeddedCollection, *, num_results: int = NUM_RESULTS, per_query: int = 4, seed: int = 0) -> Pairs:
    """True and false positives among each query's top results, the sample of Fig. 7.

    The paper takes at most 4 pairs per query; here at most ``per_query`` of each of the two kinds, since they are
    reported apart and one relevant document per query would otherwise leave hardly any true positives.
    """
    pairs = ranked_pairs(collection, num_results=num_results)
    group = 2 * pairs.queries + pairs.relevant
    return pairs[_drawn(group, np.full(2 * len(collection.qids), per_query), np.random.default_rng(seed))]


def contrast_pairs(collection: EmbeddedCollection, *, num_results: int = NUM_RESULTS, seed: int = 0) -> Pairs:
    """``D_pos`` and ``D_neg`` of Eq. 17-18: relevant pairs, and as many of each query's top results that are not.

    Balanced query by query: a query with fewer non-relevant top results than relevant documents gives as many of each
    as it has of the rarer. Which ones is drawn at random.
    """
    found, positive = ranked_pairs(collection, num_results=num_results), relevant_pairs(collection)
    negative = found[~found.relevant]
    counts = [np.bincount(pairs.queries, minlength=len(collection.qids)) for pairs in (positive, negative)]
    limit, rng = np.minimum(*counts), np.random.default_rng(seed)
    positive, negative = (pairs[_drawn(pairs.queries, limit, rng)] for pairs in (positive, negative))
    return Pairs(*(np.concatenate([getattr(p, f) for p in (positive, negative)]) for f in ("queries", "docs", "relevant")))


def explain_pairs(
    sae: SparseAutoencoder, collection: EmbeddedCollection, pairs: Pairs, *,
    internalizers: Mapping[str, Internalizer] | None = None, weights: Sequence[float] = (), z: np.ndarray | None = None,
    refit: bool = False, batch_size: int = 512,
) -> ExplainedPairs:  # fmt: skip
    """Codes and attribution of pairs, by the same code as :class:`~pyterrier_xetrieval.SAEExplainer`.

    Args:
        internalizers: the views beside the original one; none: the plain score ``⟨q,z⟩``.
        weights: one for each of them; which features are shared does not depend on them.
        z: float32 ``[u, m]``, embeddings instead of the collection's own for the ``u`` distinct documents of the
            pairs, in ascending order of their rows.
        refit, batch_size: as in the explainer.
    """
    query_rows, of_query = np.unique(pairs.queries, return_inverse=True)
    doc_rows, of_doc = np.unique(pairs.docs, return_inverse=True)
    queries = np.array(collection.queries[query_rows], np.float32)
    z = np.array(collection.docs[doc_rows], np.float32) if z is None else z
    views = [z, *(internalize(module, z, batch_size=4096) for module in (internalizers or {}).values())]
    q, *codes = encode_views(sae, [queries, *views], refit=refit, batch_size=batch_size)
    which, weights = [of_doc] * len(views), tuple(weights) or (1.0,) * (len(views) - 1)
    scores = row_dots(queries, of_query, *fold_distinct(views, which, weights))
    documents = join_views(codes, [np.arange(len(z))] * len(views), sae.dict_size)
    parts = attribute(sae, queries, q, of_query, documents, of_doc, scores, weights=(1.0, *weights), threshold=0.0)
    return ExplainedPairs(queries[of_query], z[of_doc], parts, codes[0], of_doc)


def view_modules(model, aspects, *, stage: str) -> dict[str, Internalizer]:
    """The internalizers of these aspects (None: all of the model's); ValueError for one that it does not have."""
    return {aspect: model.internalizers[aspect] for aspect in model.check_aspects(aspects, stage=stage)}


def equal_sizes(a, b, rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The sets ``a[i]`` and ``b[i]`` of each pair, both cut to the size of the smaller; a random part of the larger stays."""
    sizes = [min(len(x), len(y)) for x, y in zip(a, b, strict=True)]
    return tuple([own[rng.permutation(len(own))[:size]] for own, size in zip(sets, sizes)] for sets in (a, b))


def cosines(q: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Cosine of each row of ``q`` with that of ``z``, float64 ``[n]``; 0 where either is zero."""
    q, z = q.astype(np.float64), z.astype(np.float64)
    norms = np.linalg.norm(q, axis=1) * np.linalg.norm(z, axis=1)
    return np.divide((q * z).sum(axis=1), norms, out=np.zeros(len(q)), where=norms > 0)


def _keys(pairs: Pairs, n: int) -> np.ndarray:
    return pairs.queries * n + pairs.docs


def _drawn(group: np.ndarray, limit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows of at most ``limit[g]`` random members of each group ``g``, ascending."""
    order = np.lexsort((rng.random(len(group)), group))
    counts = np.bincount(group, minlength=len(limit))
    place = np.arange(len(group)) - (np.cumsum(counts) - counts)[group[order]]
    return np.sort(order[place < limit[group[order]]])
