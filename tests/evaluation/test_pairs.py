"""Which pairs are looked at."""

import numpy as np

from pyterrier_xetrieval.evaluation.pairs import contrast_pairs, cut, ranked_pairs, relevant_pairs, sample_pairs
from tests.helpers.erasure import make_collection, random_collection


def test_excluded_documents_and_duplicates_leave():
    docs = [[1, 0], [0.9, 0.1], [0.9, 0.1], [0, 1], [0.5, 0.5]]
    collection = make_collection(docs, [[1, 0]], [{1: 1, 3: 2, 4: 0}], excluded=[[0]])
    pairs = ranked_pairs(collection, num_results=4)
    assert pairs.docs.tolist()[1:] == [4, 3] and pairs.docs[0] in (1, 2)
    collection = make_collection(docs, [[1, 0]], [{1: 1, 3: 2, 4: 0}], excluded=[[0, 2]])
    pairs = ranked_pairs(collection, num_results=4)
    assert (pairs.docs.tolist(), pairs.relevant.tolist()) == ([1, 4, 3], [True, False, True])
    assert relevant_pairs(collection).docs.tolist() == [1, 3]


def test_at_most_so_many_of_each_kind_and_a_seed():
    collection = random_collection()
    everything = ranked_pairs(collection, num_results=20)
    pairs = sample_pairs(collection, num_results=20, per_query=2, seed=1)
    for q in range(12):
        for kind in (True, False):
            there = ((everything.queries == q) & (everything.relevant == kind)).sum()
            assert ((pairs.queries == q) & (pairs.relevant == kind)).sum() == min(2, there)
    again, other = (sample_pairs(collection, num_results=20, per_query=2, seed=s) for s in (1, 2))
    assert np.array_equal(again.docs, pairs.docs) and not np.array_equal(other.docs, pairs.docs)
    top = {(q, d) for q, d in zip(everything.queries, everything.docs)}
    assert {(q, d) for q, d in zip(pairs.queries, pairs.docs)} <= top


def test_contrast_is_balanced_query_by_query():
    collection = random_collection()
    pairs = contrast_pairs(collection, num_results=3)
    for q in range(12):
        own = pairs.relevant[pairs.queries == q]
        assert own.sum() == (~own).sum() <= 3
    judged = np.array([d in collection.judged[q] for q, d in zip(pairs.queries, pairs.docs)])
    assert np.array_equal(judged, pairs.relevant) and 0 < judged.sum() <= 36


def test_a_text_that_is_short_enough_is_not_cut():
    assert cut("a b", 2) == ("a b", False)
