"""Pairs for judges: as many of each collection, the document that ranks first, texts cut for reading."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from pyterrier_xetrieval import Xetrieval
from recipes.reading_pairs import draw_pairs
from tests.helpers.builders import toy
from tests.helpers.reading import embedded


@pytest.fixture(scope="module")
def collections():
    return embedded(Xetrieval.default().encoder())


def test_pairs_are_spread_and_each_document_ranks_first(collections):
    pairs = draw_pairs(collections, 5, seed=3)
    assert sorted(Counter(pair.collection for pair in pairs).values()) == [2, 3] and len({pair.id for pair in pairs}) == 5
    for pair in pairs:
        collection = next(c for c in collections if c.name == pair.collection)
        scores = collection.docs @ collection.queries[pair.query_row]
        assert pair.document_row == scores.argmax() and pair.docno == collection.docnos[scores.argmax()]
        assert pair.document == collection.texts([pair.document_row])[0] and pair.query == collection.query_texts[pair.query_row]
    assert draw_pairs(collections, 5, seed=3) == pairs != draw_pairs(collections, 5, seed=4)


def test_excluded_documents_and_equal_queries_are_passed_over(collections):
    first = collections[0]
    barred = dataclasses.replace(first, excluded=[np.array([i]) for i in range(5)])
    assert all(pair.document_row != pair.query_row for pair in draw_pairs([barred], 5))
    twice = dataclasses.replace(first, query_texts=np.array(["same"] * 2 + ["a", "b", "c"]))
    assert len({pair.query for pair in draw_pairs([twice], 4)}) == 4
    with pytest.raises(ValueError, match="5 different queries of 'animals', found 4"):
        draw_pairs([twice], 5)


def test_what_no_pairs_can_be_drawn_from(collections):
    with pytest.raises(ValueError, match="different names"):
        draw_pairs([collections[0]] * 2, 2)
    with pytest.raises(ValueError, match="with texts, found none in 'toy'"):
        draw_pairs([toy()], 2)
    with pytest.raises(ValueError, match="different names"):
        draw_pairs([], 2)


def test_long_texts_are_cut(collections):
    long = dataclasses.replace(
        collections[0],
        query_texts=np.array([f"{i} " + "word " * 100 for i in range(5)]),
        texts=lambda rows: ["text\n" * 171] * len(rows),
    )
    pair = draw_pairs([long], 1)[0]
    assert len(pair.query.split()) == 80 and pair.query_cut and pair.document_cut and pair.document == " ".join(["text"] * 170)
