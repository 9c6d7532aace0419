"""Learns from judged queries which features a query should look for beside those that it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt
import torch

from ..core.checks import positive_ints
from ..core.codes import encode_view
from ..core.links import ALWAYS, ALWAYS_ACTIVATION
from ..index.statistics import corpus_statistics
from ..query_tuning import QueryTuning
from ..stages.base import Stage
from ..stages.calibrate import QueryCalibration
from ..stages.columns import VectorColumns
from .judged_candidates import JudgedCandidates
from .link_path import Judged, Solution, link_path

if TYPE_CHECKING:
    from pyterrier_dr import FlexIndex

    from ..index import XetrievalIndex
    from ..model import Xetrieval

_SHOWN_BY = 3  # queries at least that show a feature which a link starts from
_SURE = 1.5  # a gain must be so many standard errors: one that is chance is mostly smaller
_LISTED = 40  # candidates of a query in the loss, to save time; the penalty is chosen on all of its candidates


class FeatureTuner(Stage, pt.Estimator):
    """Learns from judged queries how to change queries: calibration, then sparse links between features.

    ``fit`` learns links "for queries that show feature A, look for feature B, or avoid it" (:class:`FeatureLinks`) by a listwise
    loss over candidates with an L1 penalty. Cross-validation over the queries chooses the penalty. If with no penalty the mean
    gain over calibration alone is more than 1.5 standard errors, no link is learned. ``transform`` changes ``query_vec``; the
    index and its documents stay as they are, and each query is encoded by the dictionary once more.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        index: the corpus, an :class:`~pyterrier_xetrieval.XetrievalIndex` or a pyterrier_dr ``FlexIndex``; also where the vectors
            of candidates and relevant documents are looked up.
        max_links: the most links that may be learned.
        calibrate: calibrate by the corpus first, if that gains on the queries to learn from.
        folds: of the cross-validation that chooses the penalty.
        seed: of the draw of the folds.

    Attributes:
        tuning: what was learned, a :class:`~pyterrier_xetrieval.QueryTuning`; None before ``fit``.
        calibration_gain: what calibration alone gains on the queries to learn from, in nDCG@10 (0 to 1). If it is not above 0,
            the tuning does not calibrate. None before ``fit``.
        penalties: one row for each penalty tried: ``penalty``, ``links`` (their mean number over folds), ``gain`` (in
            nDCG@10 over calibration alone, on queries that were left out), ``error`` (its standard error), ``chosen`` (bool;
            all False if no link was learned). None before ``fit``.

    Raises:
        ValueError: a ``max_links`` that is no positive number; fewer than 2 folds; (in ``transform``) before ``fit``.

    Example::

        tuner = model.tuner(index)
        (model.encoder() >> tuner).fit(topics, qrels)
        print(tuner.tuning)                                     # every query: less of *beer and brewing methods* (-0.41 …
        model.encoder() >> tuner >> index.retriever()
    """

    def __init__(
        self, model: Xetrieval, index: XetrievalIndex | FlexIndex, *, max_links: int = 200, calibrate: bool = True, folds: int = 3,
        seed: int = 0,
    ):  # fmt: skip
        positive_ints(stage="FeatureTuner", max_links=max_links)
        if not isinstance(folds, int) or folds < 2:
            raise ValueError(f"FeatureTuner expects at least 2 folds, found {folds!r}")
        self.model, self.index, self.max_links, self.calibrate = model, index, max_links, bool(calibrate)
        self.folds, self.seed = folds, seed
        self.tuning: QueryTuning | None = None
        self.calibration_gain: float | None = None
        self.penalties: pd.DataFrame | None = None

    def fit(
        self, topics_or_res: pd.DataFrame, qrels: pd.DataFrame, topics_or_res_va: pd.DataFrame | None = None,
        qrels_va: pd.DataFrame | None = None,
    ) -> FeatureTuner:  # fmt: skip
        """Learns whether to calibrate, and links; returns the tuner itself, with its attributes set.

        Args:
            topics_or_res: ``qid`` and ``query_vec`` (float32 ``[m]``). Without ``docno``, the index is searched for candidates.
                With it, the rows are the results of a first stage, and the candidates (a document that must not be found, such
                as the query itself, can be taken out of them beforehand).
            qrels: ``qid``, ``docno``, ``label`` (above 0 is relevant).
            topics_or_res_va, qrels_va: other queries, alike, that choose the penalty instead of cross-validation.

        Raises:
            ValueError: fewer than ten queries with a relevant document in the index; a candidate that is not in the index.
        """
        calibration = QueryCalibration(self.model, corpus_statistics(self.index)) if self.calibrate else None
        data = self._judged(topics_or_res, qrels, calibration)
        self.calibration_gain = _mean_gain(data)
        if calibration is not None and not self.calibration_gain > 0:
            calibration, data = None, self._judged(topics_or_res, qrels, None)
        corpus = None if calibration is None else calibration.corpus
        if len(data) < 10:
            raise ValueError(f"{self!r} expects at least 10 queries with a relevant document in the index, found {len(data)}")
        shown, sources = self._shown(data)
        if topics_or_res_va is None or qrels_va is None:
            fold = np.random.default_rng(self.seed).permutation(len(data)) % self.folds
            splits = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(self.folds)]
        else:
            other = self._judged(topics_or_res_va, qrels_va, calibration)
            splits = [(np.arange(len(data)), len(data) + np.arange(len(other)))]
            data = data.with_more(other)
            shown = np.concatenate([shown, self._activations(other)[:, sources]])
        learned = np.unique(np.concatenate([train for train, _ in splits]))
        self.penalties, penalty = self._penalty(data, shown, splits)
        solution = self._path(data, shown, learned)
        chosen = next((s for s in solution if s.penalty == penalty), None)
        self.tuning = QueryTuning.from_parts(
            self._table(data, shown, sources, learned, chosen), self.model.labels, corpus=corpus,
        )  # fmt: skip
        return self

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        if self.tuning is None:
            raise ValueError(f"{self!r} has not learned anything yet; call fit(topics, qrels) first")
        return self.model.tuned(self.tuning)(inp)

    def _identity(self) -> tuple:  # an experiment shares equal prefixes, and what was learned makes two of them
        return *super()._identity(), self.tuning

    def _judged(self, frame: pd.DataFrame, qrels: pd.DataFrame, calibration: QueryCalibration | None) -> JudgedCandidates:
        self.check(frame, ["qid", "query_vec"])
        pt.validate.columns(qrels, includes=["qid", "docno", "label"])
        own = frame.drop_duplicates("qid")
        queries, rows = VectorColumns(own, stage=self, model=self.model).queries()
        encoded = queries[rows]
        mapped = encoded if calibration is None else encoded @ calibration.matrix
        return JudgedCandidates.of(
            own["qid"].tolist(), encoded, mapped, frame if "docno" in frame.columns else None, qrels, self.index
        )

    def _activations(self, data: JudgedCandidates) -> np.ndarray:
        """Float32 ``[n, 1 + D]``: what each query shows; the first column is what every query shows."""
        codes = encode_view(self.model.sae, data.encoded, refit=False, batch_size=512)
        shown = np.zeros((len(data), 1 + self.model.sae.dict_size), np.float32)
        np.put_along_axis(shown, 1 + codes.ids.astype(np.int64), np.maximum(codes.activations, 0), axis=1)
        shown[:, 0] = ALWAYS_ACTIVATION
        return shown

    def _shown(self, data: JudgedCandidates) -> tuple[np.ndarray, np.ndarray]:
        """The columns of features that enough queries show, and which they are."""
        shown = self._activations(data)
        sources = np.flatnonzero((shown > 0).sum(axis=0) >= _SHOWN_BY)
        return shown[:, sources], sources

    def _path(self, data: JudgedCandidates, shown: np.ndarray, rows: np.ndarray) -> list[Solution]:
        docs, target = data.listed(rows, _LISTED)
        judged = Judged(*map(torch.from_numpy, (data.mapped[rows], shown[rows], data.vectors(docs), target)))
        return link_path(judged, self.model.sae.w_dec.detach().cpu(), max_links=self.max_links)

    def _penalty(self, data: JudgedCandidates, shown: np.ndarray, splits: list) -> tuple[pd.DataFrame, float | None]:
        """What each penalty gains on queries that were left out, and the one that gains most of those that surely gain."""
        directions = self.model.sae.w_dec.detach().cpu().numpy()
        tried: dict[float, list[tuple[int, np.ndarray]]] = {}
        for train, test in splits:
            before = data.ndcg(data.mapped[test], test)
            for solution in self._path(data, shown, train):
                after = data.ndcg(solution.moved(data.mapped[test], shown[test], directions), test)
                tried.setdefault(solution.penalty, []).append((len(solution.weight), after - before))
        rows: list[tuple[float, float, float, float]] = []
        for penalty, own in tried.items():
            if len(own) == len(splits):  # elsewhere too many links
                links, gains = zip(*own)
                gain = np.concatenate(gains)
                rows.append((penalty, float(np.mean(links)), float(gain.mean()), float(gain.std(ddof=1) / np.sqrt(len(gain)))))
        table = pd.DataFrame(rows, columns=["penalty", "links", "gain", "error"])
        gains_surely = table["gain"] > _SURE * table["error"]
        best = table["gain"].where(gains_surely).idxmax() if gains_surely.any() else None
        table["chosen"] = table.index == best
        return table, None if best is None else float(table["penalty"][best])

    def _table(
        self, data: JudgedCandidates, shown: np.ndarray, sources: np.ndarray, rows: np.ndarray, solution: Solution | None
    ) -> pd.DataFrame:
        """The links, strongest first, with how many queries each helps and hurts."""
        if solution is None:
            return pd.DataFrame({"source": [], "target": [], "weight": [], "queries": [], "helped": [], "hurt": []})
        directions = self.model.sae.w_dec.detach().cpu().numpy()
        moved = solution.moved(data.mapped[rows], shown[rows], directions)
        with_all, told = data.ndcg(moved, rows), []
        for source, target, weight in zip(solution.source, solution.target, solution.weight):
            own = shown[rows, source] > 0
            without = moved[own] - np.outer(shown[rows[own], source] * weight, directions[target])
            gain = with_all[own] - data.ndcg(without, rows[own])
            feature = int(sources[source]) - 1  # the first column is that of every query
            told.append({
                "source": pd.NA if feature == ALWAYS else feature, "target": int(target), "weight": float(weight),
                "queries": int(own.sum()), "helped": int((gain > 1e-9).sum()), "hurt": int((gain < -1e-9).sum()),
            })  # fmt: skip
        table = pd.DataFrame(told).sort_values("weight", key=abs, ascending=False, kind="stable")
        return table.reset_index(drop=True)


def _mean_gain(data: JudgedCandidates) -> float:
    """Of calibrated queries over those that the encoder gave."""
    rows = np.arange(len(data))
    return float((data.ndcg(data.mapped, rows) - data.ndcg(data.encoded, rows)).mean()) if len(data) else 0.0
