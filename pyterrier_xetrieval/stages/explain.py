"""The stage that explains each result by the features that query and document share (Cai et al. 2026, Eq. 12-16)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..core.attribution import Attribution, QueryChange, explain_vectors
from ..core.checks import check_model, positive_int, share_of_one, threshold_of
from ..core.mean_document import MeanDocument, baseline
from ..core.views import fold_views
from ..documents import each_once
from ..explanation import Explanation
from ..explanation_rows import OtherRanking
from .base import RowWiseStage
from .columns import VectorColumns
from .score import ranks, views_of

if TYPE_CHECKING:
    from ..model import Xetrieval


class Explainer(RowWiseStage):
    """What all explainers share: which features are active, which are shown, and how the parts of scores become explanations.

    Args:
        threshold, min_confidence, top: as in :class:`SAEExplainer`.
    """

    def __init__(self, *, threshold: float, min_confidence: float | None, top: int):
        stage = type(self).__name__
        self.min_confidence = None if min_confidence is None else share_of_one(min_confidence, "min_confidence", stage=stage)
        self.threshold = threshold_of(threshold, stage=stage)
        self.top = positive_int(top, "top", stage=stage)

    def explanations(
        self, inp: pd.DataFrame, parts: Attribution, model: Xetrieval, *, views: tuple[str, ...], mean: MeanDocument | None,
        queries: np.ndarray, query_rows: np.ndarray, change: QueryChange | None, documents: np.ndarray,
        document_rows: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """One :class:`~pyterrier_xetrieval.Explanation` for each row, object ``[n]``.

        Args:
            inp: the rows, with ``qid`` and ``docno``; parts: of their scores; model: who names the features.
            views: those that the scores are of.
            mean: the mean document that the scores are measured against, if they are.
            queries: float32 ``[u, m]``, distinct query vectors; query_rows: int64 ``[n]``, which one each row has; change: what
                they were before a stage changed them.
            documents, document_rows: the same of document vectors, with all views folded into one.
        """
        against = None if mean is None else baseline(model.sae, queries, query_rows, parts, mean)
        floor = model.min_confidence if self.min_confidence is None else self.min_confidence
        labels, column = model.labels, np.empty(len(inp), dtype=object)
        asked = queries if change is None else change.encoded
        fit = labels.fit(parts, asked, query_rows, documents, document_rows)
        column[:] = [
            Explanation(qid, docno, parts, row, views, labels, self.top, floor, baseline=against, fit=fit)
            for row, (qid, docno) in enumerate(zip(inp["qid"].tolist(), inp["docno"].tolist()))
        ]
        return column


class SAEExplainer(Explainer):
    """Explains each result: which hidden features query and document share, and how they add up to the score.

    Needs ``qid``, ``docno``, ``query_vec`` and ``doc_vec``; uses the views ``doc_vec_<aspect>`` of the model that the
    frame has. Adds the column ``explanation`` (:class:`~pyterrier_xetrieval.Explanation`). What is explained is the score
    of these views (Eq. 11); if the frame has none, it is the ``⟨q,z⟩`` of a plain dense retriever. The frame's own ``score`` is
    the score explained where the retriever ranks by dot product, or where ``model.scorer()`` stands before. Where it is
    another one, explanations say so (``Explanation.ranking``).

    A frame whose query vectors were changed by :class:`~pyterrier_xetrieval.QueryCalibration` or
    :class:`~pyterrier_xetrieval.FeatureLinks` holds the encoder's in ``query_vec_0``. The features of a query are then those of
    the encoder's vector (and those that links added), its scores are those of the changed vector, and ``Explanation.changes``
    says what the change did to each contribution.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        threshold: τ, a feature is active when its activation is above it (Eq. 4).
        min_confidence: from 0 to 1; a feature is shown if its confidence, the probability that its label fits both texts, is
            at least this, and where fewer than three are, the surest three that have at least half of it. None for the model's
            own. It decides what a reader sees and changes no number.
        top: how many features the printed form of an explanation spells out; the object holds all.
        refit: write each view as the least-squares combination of its active features' directions instead of the
            encoder's own activations. Which features are active does not change; the part of the score that the
            dictionary does not explain becomes smaller on average. False shows the activations that an intervention's
            ``"scale"`` edits: scaled to 0, a feature takes exactly its contribution with it.
        batch_size: vectors encoded at once.

    Raises:
        ValueError: vectors of another dimension, NaN or infinite.

    Example::

        pipeline = retriever >> VectorLoader(index) >> model.internalizer() >> model.scorer() >> model.explainer()
        pipeline.search("sort a list by two keys").iloc[0].explanation
    """

    def __init__(
        self, model: Xetrieval, *, threshold: float = 0.0, min_confidence: float | None = None, top: int = 10, refit: bool = True,
        batch_size: int = 512,
    ):  # fmt: skip
        check_model(model, stage="SAEExplainer")
        super().__init__(threshold=threshold, min_confidence=min_confidence, top=top)
        self.model, self.refit = model, refit
        self.batch_size = positive_int(batch_size, "batch_size", stage="SAEExplainer")

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        self.check(inp, ["qid", "docno", "query_vec", "doc_vec"])
        each_once(inp, ["score"], stage=self)
        if not len(inp):
            return inp.assign(explanation=np.empty(0, dtype=object))
        weights = views_of(inp, self.model)
        columns = VectorColumns(inp, stage=self, model=self.model)
        queries, query_rows, change = columns.changed_queries()
        documents, rows = columns.documents(list(weights))
        folded = fold_views(documents, list(weights.values()))
        parts = explain_vectors(
            self.model.sae, queries, query_rows, documents, rows, weights=(1.0, *weights.values()),
            threshold=self.threshold, refit=self.refit, batch_size=self.batch_size, folded=folded, check=columns.check_space,
            change=change,
        )  # fmt: skip
        mean = self.model.mean_document(tuple(weights))
        found = self.explanations(
            inp, parts, self.model, views=("original", *weights), mean=mean, queries=queries, query_rows=query_rows,
            change=change, documents=folded, document_rows=rows,
        )  # fmt: skip
        for i, ranking in other_rankings(inp, parts.score, stage=self).items():
            found[i].ranking = ranking
        return columns.assign(explanation=found)


def other_rankings(results: pd.DataFrame, explained: np.ndarray, *, stage: object) -> dict[int, OtherRanking]:
    """Where documents stand in a frame that another score ranks than the one explained, as re-ranked and fused results are.

    Args:
        results: ``n`` rows with ``qid`` and, if they are ranked, ``score``; explained: float64 ``[n]``, the scores explained.

    Returns:
        By row; empty where the frame's scores are those explained.
    """
    given = _numbers(results["score"]) if "score" in results.columns else explained
    known = ~np.isnan(given)  # joined rankings may leave gaps
    if np.allclose(given[known], explained[known], rtol=1e-3, atol=1e-3):  # retrievers round, and sum in another order
        return {}
    places = ranks(results["qid"], explained, stage=stage).tolist()
    counts = results["qid"].map(results["qid"].value_counts()).tolist()
    return {i: OtherRanking(float(given[i]), places[i], counts[i]) for i in np.flatnonzero(known).tolist()}


def _numbers(scores: pd.Series) -> np.ndarray:
    """float64; NaN for what is no number, or too large for one."""
    try:
        return pd.to_numeric(scores, errors="coerce").to_numpy(np.float64)
    except OverflowError:
        return np.full(len(scores), np.nan)
