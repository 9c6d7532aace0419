"""The measure of rankings."""

import numpy as np
import pytest

from pyterrier_xetrieval.evaluation import EmbeddedCollection, ndcg, rank


def test_ndcg_of_known_rankings():
    docs = np.eye(12, dtype=np.float32)
    queries = np.array([[3, 2, 1] + [0] * 9], np.float32)

    def of(judged):
        names = np.arange(12).astype(str)
        collection = EmbeddedCollection("axes", names, docs, names[:1], queries, judged, [np.empty(0, np.int64)])
        return ndcg(collection, rank(queries, docs, 10)[0])

    assert of([{0: 1, 1: 1}]) == pytest.approx(1)
    assert of([{1: 2}]) == pytest.approx(1 / np.log2(3))
