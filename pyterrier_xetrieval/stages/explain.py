"""The stage that explains each result by the features that query and document share (Cai et al. 2026, Eq. 12-16)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyterrier as pt

from ..core.attribution import Attribution, attribute
from ..core.checks import positive_int, threshold_of
from ..core.codes import encode_views, join_views
from ..core.views import distinct_documents, fold_views, row_dots
from ..explanation import Explanation
from ..labels import FeatureNames
from .base import RowWiseStage
from .columns import stack_queries, stack_unique, view_column


class SAEExplainer(RowWiseStage):
    """Explains each result: which hidden features query and document share, and how they add up to the score.

    Needs ``qid``, ``docno``, ``query_vec``, ``doc_vec`` and ``doc_vec_<aspect>`` for each aspect; adds the column
    ``explanation`` (:class:`~pyterrier_xetrieval.Explanation`). What is explained is the score of the views used
    (Eq. 11); ``aspects=()`` explains a plain dense retriever's ``⟨q,z⟩``. The frame's own ``score`` is not read: it is the
    one explained where ``model.scorer()`` with the same aspects and weights stands before.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        aspects: the views beside the original one (default: all that the model has).
        weights: as in :class:`~pyterrier_xetrieval.MultiViewScorer`; None for the model's own.
        threshold: τ, a feature is active when its activation is above it (Eq. 4).
        top: how many features the printed form of an explanation spells out; the object holds all.
        refit: write each view as the least-squares combination of its active features' directions instead of the
            encoder's own activations. Which features are active does not change; the part of the score that the
            dictionary does not explain becomes smaller on average. False shows the activations that an intervention's
            ``"scale"`` edits: scaled to 0, a feature takes exactly its contribution with it.
        batch_size: vectors encoded at once.

    Raises:
        ValueError: an aspect that the model does not have, weights that do not fit, vectors of another dimension.

    Example::

        pipeline = retriever >> VectorLoader(index) >> model.internalizer() >> model.scorer() >> model.explainer()
        pipeline.search("sort a list by two keys").iloc[0].explanation
    """

    def __init__(self, model, *, aspects=None, weights=None, threshold=0.0, top=10, refit=True, batch_size=512):
        self.model = model
        self.aspects = model.check_aspects(aspects, stage="SAEExplainer")
        self.weights = model.check_weights(weights, self.aspects, stage="SAEExplainer")
        self.threshold = threshold_of(threshold, stage="SAEExplainer")
        self.top = positive_int(top, "top", stage="SAEExplainer")
        self.refit, self.batch_size = refit, positive_int(batch_size, "batch_size", stage="SAEExplainer")

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        columns = ["doc_vec", *map(view_column, self.aspects)]
        pt.validate.result_frame(inp, extra_columns=["query_vec", *columns], context=self)
        if not len(inp):
            return inp.assign(explanation=pd.Series([], dtype=object, index=inp.index))
        sae, weights = self.model.sae, (1.0, *self.weights)
        inp, queries, query_rows = stack_queries(inp, dim=self.model.dim, stage=self)
        views, doc_rows = zip(*(stack_unique(inp, column, dim=self.model.dim, stage=self) for column in columns))
        rows, first = distinct_documents(doc_rows)
        own = [of_view[first] for of_view in doc_rows]
        folded = fold_views([view[of_view] for view, of_view in zip(views, own)], self.weights)
        scores = row_dots(queries, query_rows, folded, rows)
        q, *codes = encode_views(sae, [queries, *views], refit=self.refit, batch_size=self.batch_size)
        documents = join_views(codes, own, sae.dict_size)
        parts = attribute(sae, queries, q, query_rows, documents, rows, scores, weights=weights, threshold=self.threshold)
        views, labels = ("original", *self.aspects), self.model.labels
        named = inp["qid"].tolist(), inp["docno"].tolist()
        return inp.assign(explanation=explanations(*named, parts, views=views, labels=labels, top=self.top))


def explanations(
    qids: list[str], docnos: list[str], parts: Attribution, *, views: tuple[str, ...], labels: FeatureNames, top: int
) -> np.ndarray:
    """One :class:`~pyterrier_xetrieval.Explanation` for each pair, object ``[n]``."""
    column = np.empty(len(qids), dtype=object)
    pairs = enumerate(zip(qids, docnos))
    column[:] = [Explanation(qid, docno, parts, row, views, labels, top) for row, (qid, docno) in pairs]
    return column
