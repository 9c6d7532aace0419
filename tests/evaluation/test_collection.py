"""Exact rankings, and their measure."""

import numpy as np
import pytest

from pyterrier_xetrieval.evaluation.collection import EmbeddedCollection, ndcg, rank, retrieval_ndcg
from tests.helpers.retrieval import make_collection


def test_ndcg_of_known_rankings():
    docs = np.eye(12, dtype=np.float32)
    queries = np.array([[3, 2, 1] + [0] * 9], np.float32)

    def of(judged):
        names = np.arange(12).astype(str)
        collection = EmbeddedCollection("axes", names, docs, names[:1], queries, judged, [np.empty(0, np.int64)])
        return ndcg(collection, rank(queries, docs, 10)[0])

    assert of([{0: 1, 1: 1}]) == pytest.approx(1)
    assert of([{1: 2}]) == pytest.approx(1 / np.log2(3))


def test_excluded_documents_are_left_out_and_the_others_ranked():
    collection = make_collection()
    rows, scores = rank(collection.queries, collection.docs, 40, excluded=collection.excluded, batch_size=5)
    for i, (query, excluded) in enumerate(zip(collection.queries, collection.excluded)):
        own = rows[i][rows[i] >= 0]
        assert len(own) == 40 - len(excluded) and (rows[i][len(own) :] == -1).all()
        assert not set(own.tolist()) & set(excluded.tolist())
        np.testing.assert_allclose(scores[i][: len(own)], collection.docs[own] @ query, atol=1e-6)
        assert (np.diff(scores[i][: len(own)]) <= 0).all()
    with pytest.raises(ValueError, match="40 vectors of documents, found 39"):
        retrieval_ndcg(collection, collection.docs[1:])
