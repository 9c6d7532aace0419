"""Why a document is not on the first page: where it stands, and which features it lacks that the page has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .core.checks import positive_int
from .core.views import unit_rows
from .documents import as_texts
from .explanation_tables import side_by_side
from .feature_names import reading
from .stages.cells import plain_cells
from .stages.load import compares_by_cosine
from .store.surrogates import repaired
from .words import phrases_of_features

if TYPE_CHECKING:
    from .model import Xetrieval

_ROWS = 65_536  # of vectors looked at at once when the document's rank is counted


@dataclass(frozen=True)
class WhyNot:
    """Where a document stands for a query, and what keeps it off the page.

    Attributes:
        query, docno: the query's text and the document.
        rank: int from 0, the document's place among all; printed as place 1, 2, …
        documents: how many documents there are.
        score: of the document.
        page_score: of the last result on the page; page_mean: the mean of its results.
        num_results: how many results the page has.
        table: one row for each feature of the query that the page or the document shares, what is missing most first:
            ``feature`` (Int64), ``label`` and ``confidence`` (where the feature contributes most), ``shown`` (whether the
            label is sure enough for a reader of one of these explanations), ``query_words``, ``page`` (its mean
            contribution to the page's results), ``document`` (to this document) and ``missing`` (the difference). The last
            three rows are the other features, the bias and what the dictionary does not explain, so that ``missing`` adds
            up to :attr:`page_mean` minus :attr:`score`.
    """

    query: str
    docno: str
    rank: int
    documents: int
    score: float
    page_score: float
    page_mean: float
    num_results: int
    table: pd.DataFrame

    @property
    def gap(self) -> float:
        """The score of the last result on the page less the document's; not above 0 for a document on the page."""
        return self.page_score - self.score

    def sentence(self) -> str:
        """The answer in words: places, scores, and up to three features, whose numbers and the rest add up."""
        place = f"{self.docno} is at place {self.rank + 1} of {self.documents} with a score of {self.score:.3f}"
        where = ": it is on the page" if self.rank < self.num_results else f", {self.gap:.3f} less than place {self.num_results}"
        less = self.page_mean - self.score
        sign = 1.0 if less >= 0 else -1.0
        told = f"{place}{where} and {abs(less):.3f} {'less' if less >= 0 else 'more'} than the page's mean."
        sure = self.table[self.table["shown"] & (sign * self.table["missing"] >= 0.0005)]
        named = sure.sort_values("missing", key=lambda missing: -sign * missing, kind="stable").head(3)
        if not len(named):
            return told
        parts = [f"*{label}*{_quoted(words)} {_signed(-missing)}" for label, words, missing in zip(
            named["label"], named["query_words"], named["missing"]
        )]  # fmt: skip
        rest = named["missing"].sum() - less
        return f"{told} It {'lacks' if less >= 0 else 'has more of'} {', '.join(parts)}; all else comes to {_signed(rest)}."

    __str__ = sentence


def why_not(model: Xetrieval, query: str, docno: str, index: Any, *, num_results: int = 10) -> WhyNot:
    """See :meth:`Xetrieval.why_not`."""
    from .index.statistics import search_parts  # an index holds a model, which offers this function

    num_results, query = positive_int(num_results, "num_results", stage="why_not"), repaired(query)
    q = np.asarray(model.shared_encoder.encode_queries([query]), np.float32)
    asked = pd.DataFrame({"qid": ["1"], "query": [query], "query_vec": list(q)})
    flex, _, explain = search_parts(index, model)
    (name,) = as_texts([docno], stage="why_not")
    if name != repaired(name):  # half of a character, which no index holds
        raise ValueError(f"why_not: {index!r} does not hold the document {name!r}")
    page = plain_cells(flex.np_retriever(num_results=num_results)(asked))
    page = page.assign(docno=as_texts(page["docno"].tolist(), stage="why_not"))[["qid", "docno", "query_vec"]]
    explained = explain.transform(pd.concat([page, asked.assign(docno=name)[page.columns]], ignore_index=True))[
        "explanation"
    ].tolist()
    *results, document = explained
    scores = sorted(e.score for e in results)
    above, vectors, scored = 0, flex.np_vecs(), unit_rows if compares_by_cosine(flex) else np.asarray
    for start in range(0, len(vectors), _ROWS):
        # not by a hair: the same vector in another product differs in its last bits
        above += int((scored(vectors[start : start + _ROWS]) @ scored(q)[0] > document.score + 1e-6).sum())
    table = side_by_side({"page": results, "document": [document]}, "missing")
    words = _query_words(model, query, [] if table["feature"].isna().all() else table["feature"].dropna().tolist())
    table.insert(3, "query_words", [words.get(j, ()) if pd.notna(j) else () for j in table["feature"]])
    table["label"] = [reading(label, own) for label, own in zip(table["label"], table["query_words"])]
    shown = {row.feature for e in explained for row in e.rows}
    table.insert(3, "shown", table["feature"].isin(shown))
    return WhyNot(query, name, above, len(vectors), document.score, scores[0], float(np.mean(scores)), num_results, table)


def _query_words(model: Xetrieval, query: str, features: list[int]) -> dict[int, tuple[str, ...]]:
    """The phrases of the query that carry each feature."""
    (words,) = model.shared_readers["query"].words([query])
    directions = model.sae.directions(np.array(features, np.int64))
    shares = directions @ words.rows[: len(words.spans)].T
    found = phrases_of_features(query, words.spans, shares)
    return {j: tuple(phrase.text for phrase in own) for j, own in zip(features, found)}


def _quoted(words: tuple[str, ...]) -> str:
    return f" (“{words[0]}”)" if words else ""


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
