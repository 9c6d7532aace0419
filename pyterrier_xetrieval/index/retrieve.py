"""First-stage retrieval by the multi-view score."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyterrier as pt

from ..core.checks import positive_int
from ..stages.base import Stage
from ..stages.columns import stack_unique


class IndexRetriever(Stage):
    """Ranks all documents by ``⟨q,z⟩ + Σ_t w_t ⟨q,R_t(z)⟩`` (Eq. 11): one dot product with each folded vector, exact.

    ``qid`` and ``query_vec`` in; ``docno``, ``docid``, ``score`` and ``rank`` added. The work is pyterrier_dr's
    ``np_retriever``, which streams the vectors from disk, or with ``device`` its ``torch_retriever``, which holds them
    all there; other backends: ``index.folded.faiss_hnsw_retriever()`` and so on.

    Args:
        index: a :class:`~pyterrier_xetrieval.XetrievalIndex`.
        num_results: documents per query.
        device: e.g. ``"cuda"``.

    Raises:
        ValueError: vectors of another dimension, NaN or infinite.

    Example::

        model.encoder() >> index.retriever(num_results=10) >> index.explainer()
    """

    def __init__(self, index, *, num_results: int = 1000, device: str | None = None):
        self.index, self.device = index, device
        self.num_results = positive_int(num_results, "num_results", stage="IndexRetriever")

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        pt.validate.query_frame(inp, extra_columns=["query_vec"], context=self)
        folded, number = self.index.folded, min(self.num_results, len(self.index))
        stack_unique(inp, "query_vec", dim=self.index.settings["dim"], stage=self)  # raises what pyterrier_dr would not see
        if self.device is None or not len(inp):
            out = folded.np_retriever(num_results=number)(inp)
        else:
            out = folded.torch_retriever(num_results=number, device=self.device)(inp)
        if number == 1 and len(inp):  # pyterrier_dr leaves arrays of one element in the cells
            out = out.assign(**{name: np.concatenate(out[name].to_list()) for name in ("docno", "docid", "score", "rank")})
        return out

    def fuse_rank_cutoff(self, k: int) -> IndexRetriever | None:
        return IndexRetriever(self.index, num_results=k, device=self.device) if k < self.num_results else None
