"""Which (query, document) pairs an evaluation looks at, and their texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

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

    def __getitem__(self, rows: slice | np.ndarray) -> Pairs:
        return Pairs(self.queries[rows], self.docs[rows], self.relevant[rows])

    def ids(self, collection: EmbeddedCollection) -> pd.DataFrame:
        """A row for each pair: ``qid`` and ``docno``."""
        return pd.DataFrame({"qid": collection.qids[self.queries], "docno": collection.docnos[self.docs]})


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
    n, pairs = len(collection.docnos), Pairs(queries, docs, np.ones(len(queries), bool))
    return pairs[~np.isin(_keys(pairs, n), [q * n + d for q, rows in enumerate(collection.excluded) for d in rows])]


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
    kinds = (positive, found[~found.relevant])
    limit = np.minimum(*(np.bincount(pairs.queries, minlength=len(collection.qids)) for pairs in kinds))
    rng = np.random.default_rng(seed)
    drawn = [pairs[_drawn(pairs.queries, limit, rng)] for pairs in kinds]
    return Pairs(*(np.concatenate([getattr(pairs, field) for pairs in drawn]) for field in ("queries", "docs", "relevant")))


def drawn_with_best(collection: EmbeddedCollection, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The rows of all queries in a random order, and of the best document of each, -1 where none may be retrieved; int64 ``[q]``."""
    order = rng.permutation(len(collection.qids))
    excluded = [collection.excluded[i] for i in order]
    return order, rank(np.asarray(collection.queries)[order], collection.docs, 1, excluded=excluded)[0][:, 0]


def texts_of(collection: EmbeddedCollection) -> tuple[Callable[[Sequence[int]], list[str]], np.ndarray]:
    """The texts of a collection's documents and queries; ValueError where there are none."""
    if collection.texts is None or collection.query_texts is None:
        raise ValueError(f"the evaluation expects collections with texts, found none in {collection.name!r}")
    return collection.texts, collection.query_texts


def cut(text: str, words: int) -> tuple[str, bool]:
    """The first ``words`` words of a text, single spaces between them; and whether there are more.

    Example::

        >>> cut("how to  sort a list", 3)
        ('how to sort', True)
    """
    all_words = text.split()
    return " ".join(all_words[:words]), len(all_words) > words


def _keys(pairs: Pairs, n: int) -> np.ndarray:
    """One number for each pair."""
    return pairs.queries * n + pairs.docs


def _drawn(group: np.ndarray, limit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows of at most ``limit[g]`` random members of each group ``g``, ascending."""
    order = np.lexsort((rng.random(len(group)), group))
    counts = np.bincount(group, minlength=len(limit))
    place = np.arange(len(group)) - (np.cumsum(counts) - counts)[group[order]]
    return np.sort(order[place < limit[group[order]]])
