"""The pairs whose rows are judged: queries drawn by seed, each with the document that ranks first for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pyterrier_xetrieval.evaluation.collection import EmbeddedCollection
from pyterrier_xetrieval.evaluation.pairs import cut, drawn_with_best, texts_of

QUERY_WORDS, DOCUMENT_WORDS = 80, 170  # as much as a judge takes in; an encoder of 256 tokens reads little more


@dataclass(frozen=True)
class ReadingPair:
    """A query and a document that was found for it, as a judge sees them.

    Attributes:
        collection: its name; qid, docno: the pair's ids there.
        query, document: the texts, cut after :data:`QUERY_WORDS` and :data:`DOCUMENT_WORDS` words. These texts are
            what is explained, so that a row never points at words that the judge does not see.
        query_row, document_row: the pair's rows in the collection.
        query_cut, document_cut: whether words were cut.
    """

    collection: str
    qid: str
    docno: str
    query: str
    document: str
    query_row: int
    document_row: int
    query_cut: bool = False
    document_cut: bool = False

    @property
    def id(self) -> str:
        """``collection/qid``: no query is drawn twice in one test."""
        return f"{self.collection}/{self.qid}"


def draw_pairs(collections: Sequence[EmbeddedCollection], n: int, *, seed: int = 0) -> list[ReadingPair]:
    """``n`` pairs, as many of each collection as of any other, or one more.

    Args:
        collections: with texts; each must have enough queries.
        n: how many pairs.
        seed: of the draw of queries, and of which collections give one more.

    Returns:
        The pairs, those of a collection together, in the order in which they were drawn.

    Raises:
        ValueError: a collection without texts, one name twice, or too few queries with a document that may be
        retrieved.

    Example::

        pairs = draw_pairs([read_embedded("data", name, vectors="vectors") for name in ("nq", "scifact")], 100)
    """
    names = [collection.name for collection in collections]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"draw_pairs expects collections of different names, found {names}")
    for collection in collections:
        texts_of(collection)  # what lacks them is noticed before anything is ranked
    rng = np.random.default_rng(seed)
    counts = even_counts(n, len(collections), rng)
    return [pair for collection, count in zip(collections, counts) for pair in _drawn(collection, count, rng)]


def even_counts(n: int, parts: int, rng: np.random.Generator) -> list[int]:
    """``n`` in that many parts of one size, or of one more; which are larger is drawn."""
    counts = np.full(parts, n // parts)
    counts[rng.permutation(parts)[: n % parts]] += 1
    return counts.tolist()


def pair_of(collection: EmbeddedCollection, query_row: int, document_row: int) -> ReadingPair:
    """A query and a document of a collection with texts, as a judge sees them."""
    texts, query_texts = texts_of(collection)
    query, query_cut = cut(str(query_texts[query_row]), QUERY_WORDS)
    document, document_cut = cut(texts([document_row])[0], DOCUMENT_WORDS)
    qid, docno = str(collection.qids[query_row]), str(collection.docnos[document_row])
    return ReadingPair(collection.name, qid, docno, query, document, query_row, document_row, query_cut, document_cut)


def _drawn(collection: EmbeddedCollection, count: int, rng: np.random.Generator) -> list[ReadingPair]:
    _, query_texts = texts_of(collection)
    order, best = drawn_with_best(collection, rng)
    found: list[ReadingPair] = []
    seen: set[str] = set()
    for query_row, document_row in zip(order.tolist(), best.tolist()):
        query = cut(str(query_texts[query_row]), QUERY_WORDS)[0]
        if document_row < 0 or query in seen or len(found) == count:
            continue
        seen.add(query)
        found.append(pair_of(collection, query_row, document_row))
    if len(found) < count:
        raise ValueError(f"draw_pairs expects {count} different queries of {collection.name!r}, found {len(found)}")
    return found
