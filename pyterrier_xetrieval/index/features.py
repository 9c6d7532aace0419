"""From features to documents: postings, retrieval by features, and how often a corpus uses each feature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd
import pyterrier as pt
from scipy import sparse

from ..core.checks import positive_int
from ..core.codes import encode_view
from ..labels import feature_ids
from ..stages.base import Stage
from ..stages.columns import stack_unique
from .packing import decode_gaps, decode_levels
from .storage import Layout

_QUERIES = 64  # scored at once: a shard's scores for all of them are one dense matrix


def postings(layout: Layout, features: np.ndarray) -> Iterator[tuple[int, sparse.csc_matrix]]:
    """Shard by shard: its first document's row, and activations float32 ``[documents of the shard, len(features)]``.

    An activation is the largest over the views, 0 where the feature is active in none.
    """
    dict_size = layout.settings["dict_size"]
    begins = dict.fromkeys(layout.ends, 0)
    for number, shard in enumerate(layout.shards):
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
        yield first, sparse.csc_matrix((data, document, ends), shape=(shard["documents"], len(features)))
        begins = shard["ends"]


def _slices(ends: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.where(features > 0, ends[np.maximum(features, 1) - 1], 0).astype(np.int64), ends[features].astype(np.int64)


def documents_of(index, feature: int, *, num_results: int | None = None) -> pd.DataFrame:
    """See :meth:`XetrievalIndex.documents_of`."""
    ids = feature_ids([feature], index.settings["dict_size"], stage="documents_of")
    if num_results is not None:
        num_results = positive_int(num_results, "num_results", stage="documents_of")
    found = [(first + matrix.indices, matrix.data) for first, matrix in postings(index.layout, ids)]
    docids, activation = (np.concatenate(parts) for parts in zip(*found))
    best = np.argsort(-activation, kind="stable")[:num_results]
    docnos = np.asarray(index.vectors.docnos().fwd[docids[best]]) if len(best) else np.array([], dtype=np.str_)
    return pd.DataFrame({"docno": docnos, "activation": activation[best]})


def feature_statistics(index) -> pd.DataFrame:
    """See :meth:`XetrievalIndex.feature_statistics`."""
    dict_size = index.settings["dict_size"]
    documents, total = np.zeros(dict_size, np.int64), np.zeros(dict_size)
    largest = np.zeros(dict_size, np.float32)
    for start in range(0, len(index.layout["features.bin"]), dict_size):
        records: np.ndarray = index.layout["features.bin"][start : start + dict_size]
        documents += np.diff(records["entries_end"].astype(np.int64), prepend=0)
        total += records["sum"]
        largest = np.maximum(largest, records["max"])
    mean = np.divide(total, documents, out=np.zeros(dict_size), where=documents > 0)
    labels = [index.model.labels[j] for j in range(dict_size)]
    columns = {"feature": np.arange(dict_size), "label": labels, "documents": documents}
    return pd.DataFrame({**columns, "mean_activation": mean, "max_activation": largest})


class FeatureRetriever(Stage):
    """Retrieves by features: ``Σ_j w_j max_v a_v,j(d)`` over the postings, documents with a score above 0.

    ``docno``, ``docid``, ``score`` and ``rank`` are added to each query; equal scores in the order of the index.

    Args:
        index: a :class:`~pyterrier_xetrieval.XetrievalIndex`.
        features: the same for every query: feature ids (weight 1 each; also a frame with a column ``feature``, as
            ``labels.find`` gives), or a mapping from feature id to weight, or a Series of weights over an index named
            ``feature`` (what grouping an ``explanation_frame`` gives); or None: the features of each query's own code with
            its activations as weights, which needs ``query_vec``.
        num_results: documents per query.

    Raises:
        ValueError: no features, one outside the dictionary, or a weight that is no finite number.

    Example::

        index.feature_retriever({1204: 1.0, 77: 0.5}).search("anything")
        model.encoder() >> index.feature_retriever(num_results=10)
    """

    def __init__(self, index, features: Mapping[int, float] | Iterable[int] | None = None, *, num_results: int = 1000):
        self.index, self.num_results = index, positive_int(num_results, "num_results", stage="FeatureRetriever")
        self.features = None
        if features is not None:
            ids = feature_ids(features, index.settings["dict_size"], stage="FeatureRetriever").tolist()
            if not ids:
                raise ValueError("FeatureRetriever expects a feature at least, found none")
            if isinstance(features, pd.Series) and features.index.name == "feature":
                features = features.to_dict()
            weights = list(features.values()) if isinstance(features, Mapping) else [1.0] * len(ids)
            if not all(isinstance(weight, (int, float, np.number)) and np.isfinite(weight) for weight in weights):
                raise ValueError(f"FeatureRetriever expects finite numbers as weights, found {weights[:6]}")
            self.features = dict(zip(ids, map(float, weights)))

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        pt.validate.query_frame(inp, extra_columns=["query_vec"] if self.features is None else [], context=self)
        rows, docids, scores, ranks = [], [], [], []
        for start in range(0, len(inp), _QUERIES):
            for at, (score, docid) in enumerate(self._best(inp.iloc[start : start + _QUERIES])):
                rows.append(np.full(len(docid), start + at))
                docids.append(docid)
                scores.append(score)
                ranks.append(np.arange(len(docid)))
        empty = np.array([], np.int64)
        rows, docids, ranks = (np.concatenate(p or [empty]).astype(np.int64) for p in (rows, docids, ranks))
        lookup = self.index.vectors.docnos().fwd
        docnos = np.asarray(lookup[docids]).tolist() if len(docids) else []
        out = inp.iloc[rows].reset_index(drop=True)
        return out.assign(
            docno=pd.Series(docnos, dtype="str"), docid=docids, score=np.concatenate(scores or [np.array([])]), rank=ranks
        )

    def fuse_rank_cutoff(self, k: int) -> FeatureRetriever | None:
        return FeatureRetriever(self.index, self.features, num_results=k) if k < self.num_results else None

    def _identity(self) -> tuple:
        return self.index, None if self.features is None else tuple(self.features.items()), self.num_results

    def _best(self, inp: pd.DataFrame) -> list[tuple[np.ndarray, np.ndarray]]:
        """Scores and rows of the best documents of each query, best first."""
        features, weights = self._weights(inp)
        best = [(np.empty(0), np.empty(0, np.int64)) for _ in range(len(inp))]
        if not len(features):
            return best
        for first, matrix in postings(self.index.layout, features):
            scores = (matrix @ weights).toarray()
            for i, (score, docid) in enumerate(best):
                full = len(score) == self.num_results
                better = np.flatnonzero(scores[:, i] > (score[-1] if full else 0.0))
                if len(better):
                    score = np.concatenate([score, scores[better, i]])
                    docid = np.concatenate([docid, first + better])
                    order = np.argsort(-score, kind="stable")[: self.num_results]
                    best[i] = score[order], docid[order]
        return best

    def _weights(self, inp: pd.DataFrame) -> tuple[np.ndarray, sparse.csr_matrix]:
        """The features that any of the queries has, ascending, and weights float64 ``[features, queries]``."""
        if self.features is not None:
            features, weights = np.array(sorted(self.features.items())).T
            return features.astype(np.int64), sparse.csr_matrix(np.repeat(weights[:, None], len(inp), axis=1))
        model = self.index.model
        queries, rows = stack_unique(inp, "query_vec", dim=model.dim, stage=self)
        codes = encode_view(model.sae, queries, refit=False, batch_size=512)
        query, slot = np.nonzero(codes.activations[rows] > 0)
        ids, values = codes.ids[rows][query, slot], codes.activations[rows][query, slot].astype(np.float64)
        features, at = np.unique(ids, return_inverse=True)
        return features, sparse.csr_matrix((values, (at, query)), shape=(len(features), len(inp)))
