"""First-stage retrieval: by the vectors of an index, and by features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd
import pyterrier as pt

from ..core.checks import is_finite, positive_int
from ..core.codes import active_features, encode_view
from ..documents import each_once
from ..labels import FeatureNames, feature_ids
from ..stages.base import Stage
from ..stages.cells import plain_cells
from ..stages.columns import VectorColumns
from ..vector_cells import unstack
from .features import postings

if TYPE_CHECKING:
    from scipy import sparse

    from .artifact import XetrievalIndex

Features: TypeAlias = Mapping[int | str, float] | Iterable[int | str] | pd.Series | pd.DataFrame
_FOUND = ("docno", "docid", "score", "rank")
_QUERIES = 64  # scored at once: a shard's scores for all of them are one dense matrix


class IndexRetriever(Stage):
    """Ranks all documents by ``⟨q,z⟩ + Σ_t w_t ⟨q,R_t(z)⟩`` (Eq. 11): one dot product with each folded vector, exact.

    Over an index without its views (``index.with_views(())``) it ranks by ``⟨q,z⟩``. ``qid`` and ``query_vec`` in;
    ``docno``, ``docid``, ``score`` and ``rank`` added. The work is pyterrier_dr's ``np_retriever``, which streams the
    vectors from disk, or with ``device`` its ``torch_retriever``, which holds them all there; other backends:
    ``index.folded.faiss_hnsw_retriever()`` and so on.

    Args:
        index: a :class:`~pyterrier_xetrieval.XetrievalIndex`.
        num_results: documents per query.
        device: e.g. ``"cuda"``.

    Raises:
        ValueError: vectors of another dimension, NaN or infinite.

    Example::

        model.encoder() >> index.retriever(num_results=10) >> index.explainer()
    """

    def __init__(self, index: XetrievalIndex, *, num_results: int = 1000, device: str | None = None):
        self.index, self.device = index, device
        self.num_results = positive_int(num_results, "num_results", stage="IndexRetriever")

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        pt.validate.query_frame(inp, extra_columns=["query_vec"], context=self)
        each_once(inp, ["qid", "query_vec"], stage=self)
        columns = VectorColumns(inp, dim=self.index.settings["dim"], stage=self)
        queries, rows = columns["query_vec"]  # pyterrier_dr would take vectors with NaN, and not every kind of vector
        inp = columns.assign()
        searched, number = self.index.folded if self.index.aspects else self.index.vectors, min(self.num_results, len(self.index))
        if self.device is None or not len(inp):
            retriever = searched.np_retriever(num_results=number)
        else:
            retriever = searched.torch_retriever(num_results=number, device=self.device)
        # nor does it take every kind of column: it gets a number for each row, and the columns stay here
        asked = pd.DataFrame({"qid": np.arange(len(inp)).astype(str), "query_vec": unstack(queries[rows])})
        found = plain_cells(retriever(asked))
        own = inp.iloc[found["qid"].astype(np.int64).to_numpy()].reset_index(drop=True)
        return own.assign(**{name: found[name].to_numpy() if name != "docno" else found[name] for name in _FOUND})

    def fuse_rank_cutoff(self, k: int) -> IndexRetriever | None:
        """``retriever % k`` retrieves ``k`` documents (under ``.compile()``)."""
        return IndexRetriever(self.index, num_results=k, device=self.device) if k < self.num_results else None


class FeatureRetriever(Stage):
    """Retrieves by features: ``Σ_j w_j max_v a_v,j(d)`` over the postings, documents with a score above 0.

    ``docno``, ``docid``, ``score`` and ``rank`` are added to each query; documents of equal score are in the order of the
    index. The postings are those of all views, also of an index that is seen without them.

    Args:
        index: a :class:`~pyterrier_xetrieval.XetrievalIndex`.
        features: the same for every query: feature ids or words of labels (weight 1 each; also a frame with a column
            ``feature``, as ``labels.find`` gives), or a mapping from these to weights, or a Series of weights over an index
            named ``feature`` (what grouping an ``explanation_frame`` gives). None for the features of each query's own code
            with its activations as weights, which needs ``query_vec``.
        num_results: documents per query.

    Raises:
        ValueError: no features, one outside the dictionary, words that no label contains, or a weight that is no finite
            number.

    Example::

        index.feature_retriever({"sorting": 1.0, 77: 0.5}).search("anything")
        model.encoder() >> index.feature_retriever(num_results=10)
    """

    def __init__(self, index: XetrievalIndex, features: Features | None = None, *, num_results: int = 1000):
        self.index, self.num_results = index, positive_int(num_results, "num_results", stage="FeatureRetriever")
        self.features: dict[int, float] | None = None
        if features is not None:
            self.features = _weighted(features, index.model.labels)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        pt.validate.query_frame(inp, extra_columns=["query_vec"] if self.features is None else [], context=self)
        best = [found for start in range(0, len(inp), _QUERIES) for found in self._best(inp.iloc[start : start + _QUERIES])]
        counts = [len(docid) for _, docid in best]
        docids = np.concatenate([np.empty(0, np.int64), *(docid for _, docid in best)])
        out = inp.iloc[np.repeat(np.arange(len(inp)), counts)].reset_index(drop=True)
        return out.assign(
            docno=pd.Series(self.index.layout.docnos(docids), dtype="str"),
            docid=docids,
            score=np.concatenate([np.empty(0), *(score for score, _ in best)]),
            rank=np.concatenate([np.empty(0, np.int64), *map(np.arange, counts)]),
        )

    def fuse_rank_cutoff(self, k: int) -> FeatureRetriever | None:
        """``retriever % k`` retrieves ``k`` documents (under ``.compile()``)."""
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
        from scipy import sparse  # late: most who import this package retrieve by vectors

        if self.features is not None:
            features, weights = np.array(sorted(self.features.items())).T
            return features.astype(np.int64), sparse.csr_matrix(np.repeat(weights[:, None], len(inp), axis=1))
        model = self.index.model
        queries, rows = VectorColumns(inp, dim=model.dim, stage=self)["query_vec"]
        codes = encode_view(model.sae, queries, refit=False, batch_size=512)
        query, ids, values = active_features(codes.ids[rows], codes.activations[rows])
        features, at = np.unique(ids, return_inverse=True)
        return features, sparse.csr_matrix((values.astype(np.float64), (at, query)), shape=(len(features), len(inp)))


def _weighted(features: Features, names: FeatureNames) -> dict[int, float]:
    """The weight of each feature that a user has chosen."""
    if isinstance(features, pd.Series) and features.index.name == "feature":
        features = features.to_dict()
    if not isinstance(features, Mapping):
        features = dict.fromkeys(feature_ids(features, names, stage="FeatureRetriever").tolist(), 1.0)
    weights = list(features.values())
    if not features:
        raise ValueError("FeatureRetriever expects a feature at least, found none")
    if not all(is_finite(weight) for weight in weights):
        raise ValueError(f"FeatureRetriever expects finite numbers as weights, found {weights[:6]}")
    chosen = [(feature_ids([feature], names, stage="FeatureRetriever"), weight) for feature, weight in features.items()]
    return {j: float(weight) for ids, weight in chosen for j in ids.tolist()}
