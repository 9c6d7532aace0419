"""From features to documents and back: postings, the features of a document, and how often a corpus uses each feature."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from ..core.checks import positive_int
from ..documents import as_texts
from ..labels import feature_ids
from .packing import decode_gaps, decode_levels
from .storage import Layout

if TYPE_CHECKING:
    from scipy import sparse

    from .artifact import XetrievalIndex


def postings(layout: Layout, features: np.ndarray) -> Iterator[tuple[int, sparse.csc_matrix]]:
    """Where features are active, shard by shard.

    Args:
        features: int64 ``[f]``.

    Yields:
        the first document's docid, and activations float32 ``[documents of the shard, f]``: the largest over the views, 0
        where the feature is active in none. Deleted documents are left out.
    """
    first = 0
    for number in range(len(layout.shards)):
        matrix = _shard_postings(layout, number, features)
        yield first, matrix
        first += matrix.shape[0]


def _shard_postings(layout: Layout, number: int, features: np.ndarray) -> sparse.csc_matrix:
    from scipy import sparse  # late: most who import this package have no use for postings

    dict_size, shard = layout.settings["dict_size"], layout.shards[number]
    begins = layout.shards[number - 1]["ends"] if number else dict.fromkeys(layout.ends, 0)
    first = int(layout.starts[number])
    records = layout["features.bin"][number * dict_size : (number + 1) * dict_size]
    bounds = [_slices(records[field], features) for field in ("gaps_end", "entries_end")]
    names = ("postings_gaps.u1", "postings_activations.u1")
    gaps, levels = (
        np.concatenate([layout[name][begins[name] + a : begins[name] + b] for a, b in zip(*bound)])
        for name, bound in zip(names, bounds)
    )
    document, _, _ = decode_gaps(gaps, np.subtract(*bounds[0][::-1]))
    stored = layout["documents.bin"][first + document]
    data = decode_levels(levels, stored["low"], stored["high"])
    ends = np.concatenate([[0], np.cumsum(np.subtract(*bounds[1][::-1]))])
    matrix = sparse.csc_matrix((data, document, ends), shape=(shard["documents"], len(features)))
    left = layout.deleted.left_between(first, first + shard["documents"])
    return matrix if left is None else matrix[left]


def _slices(ends: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.where(features > 0, ends[np.maximum(features, 1) - 1], 0).astype(np.int64), ends[features].astype(np.int64)


class IndexFeatures:
    """What :class:`~pyterrier_xetrieval.XetrievalIndex` says about features and documents."""

    def documents_of(self, feature: int, *, num_results: int | None = None) -> pd.DataFrame:
        """The documents in which a feature is active, strongest first: ``docno``, ``activation`` (largest over the views).

        Args:
            feature: its id.
            num_results: how many documents at most; None for all.

        Raises:
            ValueError: a feature that the dictionary does not have.
        """
        index = cast("XetrievalIndex", self)
        ids = feature_ids([feature], index.model.labels, stage="documents_of")
        if num_results is not None:
            num_results = positive_int(num_results, "num_results", stage="documents_of")
        found = [(first + matrix.indices, matrix.data) for first, matrix in postings(index.layout, ids)]
        docids, activation = (np.concatenate(parts) for parts in zip(*found))
        best = np.argsort(-activation, kind="stable")[:num_results]
        docnos = pd.Series(index.layout.docnos(docids[best]), dtype="str")
        return pd.DataFrame({"docno": docnos, "activation": activation[best]})

    def features_of(self, docno: str) -> pd.DataFrame:
        """The features of a document, strongest first: ``feature``, ``label``, ``views``, ``activation``.

        ``views`` are those in which the feature is active, comma-separated; ``activation`` is the largest over them.

        Raises:
            ValueError: a docno that the index does not hold.
        """
        index = cast("XetrievalIndex", self)
        names = np.array(["original", *index.settings["aspects"]])
        docids = index.docids(as_texts([docno], stage=index))
        codes = index.with_views().codes(docids)
        labels = index.model.labels
        columns = {
            "feature": codes.features,
            "label": [labels[j] for j in codes.features],
            "views": [",".join(names[own > 0]) for own in codes.activations],
            "activation": codes.activations.max(axis=1, initial=0),
        }
        return pd.DataFrame(columns).sort_values(["activation", "feature"], ascending=[False, True], ignore_index=True)

    def feature_statistics(self) -> pd.DataFrame:
        """How often and how strongly the index's documents have each feature, one row per feature.

        Columns are ``feature``, ``label``, ``documents`` (in how many it is active in some view), and ``mean_activation`` and
        ``max_activation`` over these documents (of each the largest over its views).
        """
        index = cast("XetrievalIndex", self)
        dict_size = index.settings["dict_size"]
        documents, total = np.zeros(dict_size, np.int64), np.zeros(dict_size)
        largest = np.zeros(dict_size, np.float32)
        layout = index.layout
        for number, (start, stop) in enumerate(pairwise(layout.starts.tolist())):
            if layout.deleted.left_between(start, stop) is not None:  # the shard's records count deleted documents
                matrix = _shard_postings(layout, number, np.arange(dict_size))
                documents += np.diff(matrix.indptr)
                total += np.asarray(matrix.sum(axis=0, dtype=np.float64)).ravel()
                largest = np.maximum(largest, matrix.max(axis=0).toarray().ravel() if matrix.shape[0] else 0)
                continue
            records: np.ndarray = layout["features.bin"][number * dict_size : (number + 1) * dict_size]
            documents += np.diff(records["entries_end"].astype(np.int64), prepend=0)
            total += records["sum"]
            largest = np.maximum(largest, records["max"])
        mean = np.divide(total, documents, out=np.zeros(dict_size), where=documents > 0)
        labels = index.model.labels
        columns = {"feature": np.arange(dict_size), "label": [labels[j] for j in range(dict_size)], "documents": documents}
        return pd.DataFrame({**columns, "mean_activation": mean, "max_activation": largest})
