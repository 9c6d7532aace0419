"""What a retriever gets wrong, feature by feature: distractors, blind spots, groups of failing queries."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt

from ..core.checks import positive_ints
from ..index import XetrievalIndex
from ..model import Xetrieval
from .diagnosis_candidates import Searched, gather
from .diagnosis_tables import Errors, add_words, blind_queries, blind_spots, groups
from .diagnosis_text import page_of, told
from .distractors import find_distractors
from .held_out import HeldOut
from .significance import SIGNIFICANT

if TYPE_CHECKING:
    from pyterrier_dr import FlexIndex


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What :func:`diagnose` found; printed, a page of text.

    Attributes:
        queries: one row for each judged query with results, worst first: ``qid``, ``query``, ``ndcg`` (nDCG@10, 0 to 1),
            ``relevant`` documents and how many of them were ``retrieved``, ``rank`` (of the best one among all documents,
            from 0), ``wrong`` and ``best`` (docnos of the first wrong result and of the best relevant document), ``gap`` (by
            how much the wrong results of the first page score more than the relevant documents below them, on average) and
            what it is made of, ``features``, ``other``, ``bias`` and ``residual``, which add up to it; ``reason`` (Int64)
            and ``reasons`` (labels: the features that make most of the gap), ``lacks`` (labels of features of the query that
            no relevant document shows).
        distractors: one row for each distractor feature, first the one by which all its queries together lose most: ``feature``,
            ``label``, ``words``, ``lift`` (by how much it lifts a wrong result over a relevant document of about the same score),
            ``queries`` (how many have results with it), ``p``, ``p_holm``; then the columns below.
        blind_spots: one row for each blind spot, first the one by which its queries together lose most: ``feature``, ``label``,
            ``words``, ``asked`` (queries that have it), ``blind`` (in how many of these no relevant document has it),
            ``on_page`` and ``missing`` (in the blind queries, the share of the first page's wrong results that have it, and their
            mean contribution); then the columns below.
        groups: failing queries with a common reason: ``feature``, ``label``, ``words``, ``queries`` (how many), ``qids``,
            ``kind`` (``"distractor"``, ``"blind spot"``, or ``"weaker"`` in the relevant documents), ``lift`` and ``gap``
            (their means); then the columns below.
        together: the values below, over all queries, for turning down together the distractors that are found on the other half
            of the queries; ``features`` is how many these are (the mean of the two halves).
        facts: about all queries: ``queries``, ``left_out`` (topics without a relevant document in the index, or without
            results), ``failing`` (queries with a wrong result of the first page above a relevant document), ``ndcg`` (mean, 0 to
            1), ``in_groups`` (queries), ``retrieved`` (share of the relevant documents), and the shares of all gaps together that
            are ``by_features``, ``by_other`` and ``unexplained``.

    The columns that say what turning a feature down gives: ``alpha`` is the factor of the feature's activation in the query.
    It is chosen on one half of the queries and measured on the other half, and the other way round; the column has the mean
    of the two. Over the queries that have the feature, ``ndcg`` is nDCG@10 as it is, ``ndcg_held_out`` with the feature
    turned down, ``gain`` the difference, and ``gain_low`` and ``gain_high`` its 95 % interval. ``examples`` are up to three
    queries, each with a wrong result and a relevant document below it, the feature's contributions to both, and its words.
    Which features are listed was chosen on all queries, so that the best of many gains is a little too good; ``together`` is
    not.
    """

    queries: pd.DataFrame
    distractors: pd.DataFrame
    blind_spots: pd.DataFrame
    groups: pd.DataFrame
    together: dict[str, float]
    facts: dict[str, float]
    _errors: Errors = field(repr=False)
    _model: Xetrieval = field(repr=False)

    def query(self, qid: str) -> pd.DataFrame:
        """What lifts the wrong results of one query over its relevant documents, part by part.

        Returns:
            ``feature``, ``label``, ``wrong`` and ``relevant`` (mean contributions) and ``lift`` (wrong − relevant), largest
            first; then the other features, the bias and what the dictionary does not explain. ``lift`` adds up to the query's
            ``gap``.

        Raises:
            ValueError: a query that was not diagnosed.
        """
        found = np.flatnonzero(self._errors.collection.qids == str(qid))
        if not len(found):
            raise ValueError(f"Diagnosis.query expects one of its {len(self.queries)} judged queries with results, found {qid!r}")
        return self._errors.parts(int(found[0]), self._model.labels)

    def to_html(self, path: str | os.PathLike[str], *, explorer: str | None = None) -> Path:
        """Writes the diagnosis as one HTML file, without a script, for any browser.

        Args:
            path: the file; an older one is replaced.
            explorer: address of a page that :func:`~pyterrier_xetrieval.explore` wrote; features then link to it.
        """
        from ..viz.diagnosis import write_page  # late: pages are beside this layer

        return write_page(page_of(self), path, explorer)

    def __str__(self) -> str:
        return told(self)


def diagnose(
    pipeline: pt.Transformer, topics: pd.DataFrame, qrels: pd.DataFrame, *, index: XetrievalIndex | FlexIndex,
    model: Xetrieval | None = None, excluded: pd.DataFrame | None = None, min_queries: int = 5, findings: int = 10, seed: int = 0,
    verbose: bool = False,
) -> Diagnosis:  # fmt: skip
    """Finds what a retriever gets wrong, by features: what lifts wrong results over relevant documents, and what these lack.

    A result that nobody judged counts as wrong, as in nDCG. The wrong ones among the first ten documents, the first page, are
    compared with the relevant documents below them; relevant documents that were not retrieved are explained through the index.

    Args:
        pipeline: gives ``qid``, ``docno``, ``query_vec`` and ``explanation`` for the topics, ranked by the explained score.
            Let it return a hundred results or more: distractors are found among them.
        topics: ``qid`` and ``query``, and what else the pipeline needs.
        qrels: ``qid``, ``docno``, ``label``; above 0 is relevant.
        index: the index that the pipeline searches; with edited queries it is searched exactly, by its vectors.
        model: the model of the explanations; for a FlexIndex, which holds none.
        excluded: ``qid`` and ``docno`` of documents that must not be retrieved for a query; ``dataset.get_excluded()``.
        min_queries: a finding needs a feature that is in at least so many queries, and a group at least so many queries.
        findings: how many of each kind at most.
        seed: of the random draws, the halves and the intervals.
        verbose: show progress bars.

    Returns:
        A :class:`Diagnosis`: tables of the findings, each with what turning the feature down would give on held-out queries.

    Raises:
        ValueError: columns missing; no judged query with results; results of another index, by another model, or ranked by
            another score than the one explained.

    Example::

        pipeline = model.encoder() >> index.retriever(num_results=100) >> index.explainer()
        found = diagnose(pipeline, dataset.get_topics(), dataset.get_qrels(), index=index)
        print(found)
        found.to_html("diagnosis.html")
    """
    positive_ints(stage="diagnose", min_queries=min_queries, findings=findings)
    searched = Searched.of(index, model)
    collection, candidates = gather(pipeline, topics, qrels, searched, excluded, verbose=verbose)
    errors, everything = Errors(candidates, collection), np.arange(len(collection.qids))
    held_out = HeldOut(collection, searched.model.sae, candidates.asked, seed=seed)

    def distracting(rows: np.ndarray) -> pd.DataFrame:
        table = find_distractors(candidates, rows, min_queries=min_queries, seed=seed)
        table = table[(table["p_holm"] < SIGNIFICANT) & (table["lift"] > 0)]
        return table.loc[(table["lift"] * table["queries"]).sort_values(ascending=False, kind="stable").index][:findings]

    distractors = distracting(everything).reset_index(drop=True)
    blind = blind_spots(errors, min_queries=min_queries, most=findings)
    grouped = _grouped(errors, set(distractors["feature"]), min_queries, findings)
    gains: dict[int, dict[str, float]] = {}
    features = dict.fromkeys([*distractors["feature"], *blind["feature"], *grouped["feature"]])
    for feature in pt.tqdm(features, desc="features turned down", disable=not verbose):
        gains[feature] = held_out.turned_down(feature)

    def finished(table: pd.DataFrame, own: dict[int, np.ndarray]) -> pd.DataFrame:
        measured = pd.DataFrame([gains[j] for j in table["feature"]], columns=_GAIN, index=table.index)
        examples = pd.Series([errors.examples(j, own[j]) for j in table["feature"]], index=table.index, dtype=object)
        return add_words(pd.concat([table, measured], axis=1).assign(examples=examples), searched, errors)

    failing = np.flatnonzero(errors.failing)
    facts = {
        "queries": len(everything), "left_out": len(topics) - len(everything), "failing": len(failing),
        "ndcg": float(held_out.ndcg.mean()), "in_groups": int(grouped["queries"].sum()),
        "retrieved": float(np.mean(candidates.retrieved[candidates.relevant])),
        "by_features": _share(np.asarray(errors.lifts.sum(axis=1)).ravel(), errors.gap, failing),
        "by_other": _share(errors.rest[:, 0], errors.gap, failing), "unexplained": _share(errors.rest[:, 2], errors.gap, failing),
    }  # fmt: skip
    members = {j: np.array(own) for j, own in zip(grouped["feature"], grouped.pop("rows"))}
    return Diagnosis(
        errors.table(held_out.ndcg, held_out.places(candidates.docs[errors.best]), searched.model.labels),
        finished(distractors, dict.fromkeys(distractors["feature"], failing)),
        finished(blind, {j: np.intersect1d(blind_queries(errors, j), failing) for j in blind["feature"]}),
        finished(grouped, members),
        held_out.together(lambda rows: distracting(rows)["feature"].tolist()), facts, errors, searched.model,
    )  # fmt: skip


_GAIN = ["alpha", "ndcg", "ndcg_held_out", "gain", "gain_low", "gain_high"]


def _share(part: np.ndarray, gap: np.ndarray, failing: np.ndarray) -> float:
    """What part of all gaps together this is; NaN without any."""
    return float(part[failing].sum() / gap[failing].sum()) if len(failing) else float("nan")


def _grouped(errors: Errors, distractors: set[int], min_queries: int, most: int) -> pd.DataFrame:
    """The groups, with the rows of their queries in the collection."""
    rows = []
    for feature, own in groups(errors, min_queries=min_queries, most=most):
        without = np.isin(own, blind_queries(errors, feature)).mean()
        kind = "distractor" if feature in distractors else "blind spot" if without > 0.5 else "weaker"
        lift, qids = errors.lifts[own, feature].mean(), errors.collection.qids[own].tolist()
        rows.append((feature, len(own), [str(qid) for qid in qids], kind, float(lift), float(errors.gap[own].mean()), own))
    return pd.DataFrame(rows, columns=["feature", "queries", "qids", "kind", "lift", "gap", "rows"])
