"""Five pairs of one collection that are hard to tell apart: one query's page, or queries that are near each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pyterrier_xetrieval.evaluation.collection import EmbeddedCollection, rank
from pyterrier_xetrieval.evaluation.pairs import texts_of
from recipes.reading_choices import CHOICES, Choice
from recipes.reading_pairs import ReadingPair, even_counts, pair_of
from recipes.reading_rows import ExplainedPair, first_shown

PAGE, QUERIES = "page", "queries"
_NEAR = 8 * CHOICES  # how far down a page, or among the nearest queries, five different ones are looked for


@dataclass(frozen=True)
class CandidatePairs:
    """A pair that is explained, and the five among which a judge is to find it.

    Attributes:
        among: how the four others were chosen, :data:`PAGE` or :data:`QUERIES`.
        pair: the one that is explained; pairs: all five, in the order in which they are shown.
    """

    among: str
    pair: ReadingPair
    pairs: Sequence[ReadingPair]


def page_candidates(collections: Sequence[EmbeddedCollection], n: int, *, seed: int = 0) -> list[CandidatePairs]:
    """The five best documents of one query; which of them is explained is drawn, so that the best is no better guess.

    Args:
        collections: with texts; each gives as many sets as any other, or one more.
        n: how many sets; seed: of all draws.

    Raises:
        ValueError: no texts, or too few queries with five documents of different texts.

    Example::

        page_candidates(collections, 25)[0].pairs[0].query == page_candidates(collections, 25)[0].pairs[1].query
    """

    def page(collection: EmbeddedCollection, query: int) -> list[ReadingPair]:
        excluded = [collection.excluded[query]]
        rows = rank(np.asarray(collection.queries)[[query]], collection.docs, _NEAR, excluded=excluded)[0][0]
        return [pair_of(collection, query, int(row)) for row in rows if row >= 0]

    return _candidates(PAGE, page, collections, n, seed)


def query_candidates(collections: Sequence[EmbeddedCollection], n: int, *, seed: int = 0) -> list[CandidatePairs]:
    """A query and its best document, and the four queries nearest to it whose best documents are others, with these.

    Arguments and errors as of :func:`page_candidates`.
    """

    def nearest(collection: EmbeddedCollection, query: int) -> list[ReadingPair]:
        queries = np.asarray(collection.queries)
        near = rank(queries[[query]], queries, _NEAR, excluded=[np.array([query])])[0][0]
        rows = [query, *near[near >= 0].tolist()]
        best = rank(queries[rows], collection.docs, 1, excluded=[collection.excluded[row] for row in rows])[0][:, 0]
        return [pair_of(collection, row, int(document)) for row, document in zip(rows, best) if document >= 0]

    return _candidates(QUERIES, nearest, collections, n, seed)


def _candidates(
    among: str, near: Callable[[EmbeddedCollection, int], list[ReadingPair]], collections: Sequence[EmbeddedCollection],
    n: int, seed: int,
) -> list[CandidatePairs]:  # fmt: skip
    """``near`` lists pairs by a query's row, nearest first; of a page any is explained, of queries the first."""
    for collection in collections:
        texts_of(collection)  # what lacks them is noticed before anything is ranked
    rng, out = np.random.default_rng([seed, len(among)]), []
    for collection, count in zip(collections, even_counts(n, len(collections), rng)):
        own: list[CandidatePairs] = []
        for query in rng.permutation(len(collection.qids)).tolist():
            if len(own) == count:
                break
            pairs = _different(near(collection, query), same_query=among == PAGE)
            if len(pairs) == CHOICES:
                place = int(rng.integers(CHOICES)) if among == PAGE else 0
                own.append(CandidatePairs(among, pairs[place], [pairs[i] for i in rng.permutation(CHOICES)]))
        if len(own) < count:
            raise ValueError(
                f"reading_within expects {count} queries of {collection.name!r} with {CHOICES} different pairs, found {len(own)}"
            )
        out += own
    return out


def _different(pairs: Sequence[ReadingPair], *, same_query: bool) -> list[ReadingPair]:
    """The first five whose documents, and unless they are of one query also whose queries, read differently."""
    found: list[ReadingPair] = []
    for pair in pairs:
        known = {own.document for own in found} | ({own.query for own in found} if not same_query else set())
        if len(found) < CHOICES and pair.document not in known and (same_query or pair.query not in known):
            found.append(pair)
    return found


def choices_within(
    candidates: Sequence[CandidatePairs], explained: Mapping[str, Sequence[ExplainedPair]], *, min_confidence: float = 0.0,
    most: int = 10,
) -> list[Choice]:  # fmt: skip
    """The sections of a sheet: each explained pair in every form, with as many rows as the first form shows of it.

    A form with more rows would otherwise be easier to find for that reason alone.

    Args:
        candidates: the sets of five.
        explained: by the name of the form, what it makes of ``[own.pair for own in candidates]``.
        min_confidence: from which on a row is shown; rows without a confidence are always. most: rows at most.

    Returns:
        The sections, of one set after the other; none of a set of which the first form shows nothing.
    """
    out = []
    for i, own in enumerate(candidates):
        count = most
        for form, pairs in explained.items():
            rows = first_shown(pairs[i].rows, min_confidence, count)
            if form == next(iter(explained)):
                count = len(rows)
            if count:
                out.append(Choice(form, own.pair, rows, own.pairs, own.among))
    return out
