"""Folds of queries for cross-validation, by query or by the relevant documents that queries share.

Two queries with the same relevant document are two chances to learn that document. With one of them in training, a method that
has learned nothing but the document gains on the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def shared_groups(judged: Sequence[Mapping[int, float]]) -> np.ndarray:
    """The group of each query, int64 ``[q]``, numbered from 0: queries that share relevant documents, if only by way of others.

    They are the connected components of the graph of queries and their relevant documents (``judged``: row of a document to its
    grade, above 0 is relevant). ::

        >>> shared_groups([{7: 1, 8: 1}, {9: 1}, {8: 1, 5: 1}, {5: 2}])
        array([0, 1, 0, 0])
    """
    group = np.arange(len(judged))
    first: dict[int, int] = {}  # of each relevant document, a query that has it
    for query, own in enumerate(judged):
        for doc, grade in own.items():
            if grade > 0:
                pair = group[query], group[first.setdefault(doc, query)]
                group[group == max(pair)] = min(pair)
    return np.unique(group, return_inverse=True)[1]


def folds(groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The fold of each query, int64 ``[q]``, 0 to ``count`` - 1: groups in random order, each to the fold of the fewest queries.

    Where each query is a group of its own these are the ``count`` parts of a random permutation of the queries. ::

        >>> folds(np.array([0, 1, 0, 2]), 2, seed=0)
        array([0, 0, 0, 1])
    """
    out, size, members = np.zeros(len(groups), np.int64), np.zeros(count, np.int64), np.bincount(groups)
    for group in np.argsort(np.random.default_rng(seed).permutation(len(members))):
        fold = size.argmin()
        out[groups == group] = fold
        size[fold] += members[group]
    return out
