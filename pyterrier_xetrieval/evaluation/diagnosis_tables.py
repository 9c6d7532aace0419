"""The tables of a diagnosis: each query's errors by feature, blind spots, groups of queries, and examples of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core.checks import is_missing
from ..explanation_tables import BIAS, OTHER, RESIDUAL
from ..feature_names import reading
from .collection import EmbeddedCollection
from .diagnosis_candidates import ExplainedCandidates, Searched

if TYPE_CHECKING:
    from scipy import sparse

EXAMPLES = 3  # of a finding
SYSTEMATIC = 0.25  # of the queries that have a feature, in so many no relevant document shows a blind spot
ON_PAGE = 0.2  # of the wrong results on the first page, so many show a blind spot
MAIN, MAIN_SHARE = 3, 0.1  # reasons of a query: so many features at most, each with such a part of what lifts the wrong results


class Errors:
    """What stands above the relevant documents of each query, and by which features.

    Attributes:
        candidates: the pairs; collection: queries and documents.
        wrong, right: sparse ``[q, D]``, mean contributions to the wrong results and to the relevant documents below them.
        lifts: sparse ``[q, D]``, their difference; rest: float64 ``[q, 3]``, that of the other parts; gap: float64 ``[q]``,
            of the scores. ``gap = Σ lifts + Σ rest``.
        shown: sparse ``[q, D]``, in how many of its relevant documents a query's feature is.
        best: int64 ``[q]``, the pair of the relevant document of the best score, or -1.
    """

    def __init__(self, candidates: ExplainedCandidates, collection: EmbeddedCollection):
        self.candidates, self.collection = candidates, collection
        wrong, right = candidates.compared()
        both = wrong - right
        self.wrong, self.right = ((side @ candidates.contributions).tocsr() for side in (wrong, right))
        self.lifts: sparse.csr_matrix = (self.wrong - self.right).tocsr()
        self.rest, self.gap = both @ candidates.rest, both @ candidates.score
        self.failing = np.diff(wrong.indptr) > 0
        self.shown = _counts(candidates, candidates.relevant)
        self.best = np.full(len(collection.qids), -1)
        relevant = np.flatnonzero(candidates.relevant)[::-1]
        self.best[candidates.query[relevant]] = relevant  # the last one written is the first of its query

    def lacks(self, q: int) -> np.ndarray:
        """The features of a query that none of its relevant documents shows, strongest in the query first."""
        own = self.candidates.asked[q]
        lacking = ~np.isin(own.indices, self.shown[q].indices)
        return own.indices[lacking][np.argsort(-own.data[lacking], kind="stable")]

    def reasons(self, q: int) -> np.ndarray:
        """The features that lift the wrong results of a query most, at most three, largest first."""
        own = self.lifts[q]
        order = np.argsort(-own.data, kind="stable")[:MAIN]
        needed = MAIN_SHARE * own.data[own.data > 0].sum()
        return own.indices[order[(own.data[order] > 0) & (own.data[order] >= needed)]]

    def parts(self, q: int, names: Any) -> pd.DataFrame:
        """The parts of the gap of one query, which they add up to: ``feature``, ``label``, ``wrong``, ``relevant``, ``lift``."""
        features = np.union1d(self.wrong[q].indices, self.right[q].indices)
        sides = [side[q, features].toarray().ravel() for side in (self.wrong, self.right)] if len(features) else [[], []]
        table = pd.DataFrame({
            "feature": pd.array(features, dtype="Int64"), "label": [names[j] for j in features.tolist()],
            "wrong": sides[0], "relevant": sides[1],
        })  # fmt: skip
        table["lift"] = table["wrong"] - table["relevant"]
        table = table.sort_values("lift", ascending=False, kind="stable")
        rest = pd.DataFrame({"feature": pd.array([pd.NA] * 3, dtype="Int64"), "label": [OTHER, BIAS, RESIDUAL]})
        rest["lift"] = self.rest[q]
        return pd.concat([table, rest], ignore_index=True)

    def table(self, ndcg: np.ndarray, places: np.ndarray, names: Any) -> pd.DataFrame:
        """One row for each query."""
        rows = []
        for q, pairs in self.candidates.of_queries():
            reasons, wrong = self.reasons(q), self.candidates.wrong_on_page(pairs)
            above = self.failing[q] and len(wrong)
            rows.append({
                "qid": str(self.collection.qids[q]), "query": _text(self.collection, q), "ndcg": ndcg[q],
                "relevant": int(self.candidates.relevant[pairs].sum()),
                "retrieved": int((self.candidates.relevant & self.candidates.retrieved)[pairs].sum()), "rank": int(places[q]),
                "wrong": self._docno(wrong[0]) if above else None, "best": self._docno(self.best[q]),
                "gap": self.gap[q], "features": float(self.lifts[q].sum()), **dict(zip(("other", "bias", "residual"), self.rest[q])),
                "reasons": [names[j] for j in reasons.tolist()], "reason": int(reasons[0]) if len(reasons) else pd.NA,
                "lacks": [names[j] for j in self.lacks(q)[:MAIN].tolist()],
            })  # fmt: skip
        table = pd.DataFrame(rows).astype({"reason": "Int64"})
        return table.sort_values(["ndcg", "gap"], ascending=[True, False], kind="stable", ignore_index=True)

    def examples(self, feature: int, queries: np.ndarray) -> list[dict[str, Any]]:
        """The queries in which a feature lifts wrong results most, no text twice, each with a pair that shows it.

        Of the wrong results of the first page the one with most of the feature, of the relevant documents below it the one with
        least.
        """
        lift = self.lifts[queries, feature].toarray().ravel()
        found: dict[str, dict[str, Any]] = {}
        for q in queries[np.argsort(-lift, kind="stable")].tolist():
            if len(found) == EXAMPLES:
                break
            at = slice(*np.searchsorted(self.candidates.query, [q, q + 1]))
            values = self.candidates.contributions[at][:, [feature]].toarray().ravel()
            wrong, right = self.candidates.wrong_on_page(at) - at.start, np.flatnonzero(self.candidates.relevant[at])
            wrong = wrong[wrong < right.max(initial=-1)]
            if not len(wrong):
                continue
            w = wrong[values[wrong].argmax()]
            r = right[right > w][values[right[right > w]].argmin()]
            text = _text(self.collection, q)
            found.setdefault(text or str(self.collection.qids[q]), {
                "qid": str(self.collection.qids[q]), "query": text, "wrong": self._docno(at.start + w),
                "relevant": self._docno(at.start + r), "wrong_contribution": float(values[w]),
                "relevant_contribution": float(values[r]),
            })  # fmt: skip
        return list(found.values())

    def _docno(self, pair: int) -> str:
        return str(self.collection.docnos[self.candidates.docs[pair]])


def blind_spots(errors: Errors, *, min_queries: int, most: int) -> pd.DataFrame:
    """Features of queries that no relevant document shows, while the results on the first page do.

    Returns:
        ``feature``, ``asked`` (queries that have it), ``blind`` (of these, in how many no relevant document shows it),
        ``on_page`` (in the blind queries, the share of the page's wrong results that show it), ``missing`` (their mean
        contribution); first the feature by which the blind queries together lose most. Left out are features that are blind in
        fewer than ``min_queries`` queries or in less than a quarter of those that have them, and those that less than a fifth of
        the page's wrong results show.
    """
    candidates = errors.candidates
    pages = np.zeros(len(candidates.query), bool)
    for _, pairs in candidates.of_queries():
        pages[candidates.wrong_on_page(pairs)] = True
    number = np.bincount(candidates.query[pages], minlength=candidates.asked.shape[0])
    asked = candidates.asked.astype(bool).astype(np.int64).tocsr()
    blind = (asked - asked.multiply(errors.shown.astype(bool))).tocsr()
    blind.eliminate_zeros()
    page = _sum(candidates, pages, candidates.contributions)
    per_query = np.divide(1.0, number, out=np.zeros(len(number)), where=number > 0)
    shares, sums = (blind.multiply(part.multiply(per_query[:, None])).tocsr() for part in (_counts(candidates, pages), page))
    count = np.asarray(blind.sum(axis=0)).ravel()
    lost = np.asarray(sums.sum(axis=0)).ravel()
    of_all = np.asarray(asked.sum(axis=0)).ravel()
    features = np.flatnonzero((count >= min_queries) & (count >= SYSTEMATIC * of_all) & (lost > 0))
    on_page = np.asarray(shares.sum(axis=0)).ravel()
    features = features[on_page[features] >= ON_PAGE * count[features]]
    features = features[np.argsort(-lost[features], kind="stable")][:most]
    return pd.DataFrame({
        "feature": features, "asked": of_all[features], "blind": count[features],
        "on_page": on_page[features] / count[features], "missing": lost[features] / count[features],
    })  # fmt: skip


def blind_queries(errors: Errors, feature: int) -> np.ndarray:
    """The queries that have a feature which none of their relevant documents shows, int64."""
    own = errors.candidates.asked[:, [feature]].nonzero()[0]
    return own[errors.shown[own][:, [feature]].toarray().ravel() == 0]


def groups(errors: Errors, *, min_queries: int, most: int) -> list[tuple[int, np.ndarray]]:
    """Failing queries by a common reason: again and again the feature that is among the reasons of most of those left.

    Returns:
        features and their queries; every query is in one group at most.
    """
    reasons = {q: set(errors.reasons(q).tolist()) for q in np.flatnonzero(errors.failing).tolist()}
    lifts = errors.lifts
    found: list[tuple[int, np.ndarray]] = []
    while len(found) < most:
        counts: dict[int, list[float]] = {}
        for q, own in reasons.items():
            for j in own:
                counts.setdefault(j, []).append(float(lifts[q, j]))
        if not counts:
            break
        feature = max(counts, key=lambda j: (len(counts[j]), sum(counts[j]), -j))
        members = np.array([q for q, own in reasons.items() if feature in own])
        if len(members) < min_queries:
            break
        found.append((feature, members))
        reasons = {q: own for q, own in reasons.items() if feature not in own}
    return found


def add_words(table: pd.DataFrame, searched: Searched, errors: Errors) -> pd.DataFrame:
    """Labels, and the words that carry each feature in its examples, for an index that keeps them."""
    names = searched.model.labels
    pairs = [(e["qid"], e["query"], docno) for own in table["examples"] for e in own for docno in (e["wrong"], e["relevant"])]
    spoken: dict[tuple[str, str], Any] = {}
    if pairs and searched.index is not None and searched.index.settings.get("evidence") and all(q for _, q, _ in pairs):
        frame = pd.DataFrame(pairs, columns=["qid", "query", "docno"]).drop_duplicates(ignore_index=True)
        row = {str(qid): q for q, qid in enumerate(errors.collection.qids)}
        frame["query_vec"] = [errors.collection.queries[row[qid]] for qid in frame["qid"]]
        told = (searched.explainer >> searched.index.evidence()).transform(frame)
        spoken = {(e.qid, e.docno): e for e in told["explanation"]}
    words: list[list[str]] = []
    for feature, own in zip(table["feature"].tolist(), table["examples"]):
        found: dict[str, None] = {}
        for example in own:
            for side in ("wrong", "relevant"):
                e = spoken.get((example["qid"], example[side]))
                at = [] if e is None else np.flatnonzero(e.features == feature).tolist()
                spoken_of = e.words(at[0]) if e is not None and at else {"document_words": []}
                example[f"{side}_words"] = spoken_of["document_words"]
                if "query_words" in spoken_of:
                    example["query_words"] = spoken_of["query_words"]
            example.setdefault("query_words", [])
            found |= dict.fromkeys(w.lower() for w in [*example["query_words"], *example["wrong_words"]])
        words.append(list(found)[:5])
    table = table.copy()
    table.insert(1, "label", [reading(names[j], own) for j, own in zip(table["feature"].tolist(), words)])
    table.insert(2, "words", words)
    return table


def _counts(candidates: ExplainedCandidates, pairs: np.ndarray) -> sparse.csr_matrix:
    """In how many of some pairs of each query a feature is shared, int64 sparse ``[q, D]``."""
    shared = candidates.contributions.copy()
    shared.data = np.ones_like(shared.data)
    return _sum(candidates, pairs, shared)


def _sum(candidates: ExplainedCandidates, pairs: np.ndarray, values: sparse.csr_matrix) -> sparse.csr_matrix:
    """Of each query the sum of ``values``, sparse ``[n, D]``, over some of its pairs, bool ``[n]``: sparse ``[q, D]``."""
    from scipy import sparse  # late: it takes a second to import

    rows, n = np.flatnonzero(pairs), len(pairs)
    one = sparse.csr_matrix((np.ones(len(rows)), (candidates.query[rows], rows)), shape=(candidates.asked.shape[0], n))
    return (one @ values).tocsr()


def _text(collection: EmbeddedCollection, q: int) -> str:
    text = None if collection.query_texts is None else collection.query_texts[q]
    return "" if is_missing(text) else str(text)
