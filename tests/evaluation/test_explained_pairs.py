"""Sets of features and their sizes."""

import numpy as np

from pyterrier_xetrieval.evaluation.explained_pairs import equal_sizes


def test_sets_of_equal_size():
    a, b = equal_sizes([np.arange(5), np.arange(2)], [np.arange(10, 12), np.arange(10, 16)], np.random.default_rng(0))
    assert [len(x) for x in a] == [len(x) for x in b] == [2, 2]
    assert set(a[0]) < set(range(5)) and set(b[0]) == {10, 11} and set(a[1]) == {0, 1} and set(b[1]) < set(range(10, 16))
