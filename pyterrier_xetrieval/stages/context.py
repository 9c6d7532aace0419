"""The stage that makes the context of a language model's prompt, and keeps beside each passage why it came up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyterrier as pt

from ..core.checks import positive_int
from ..documents import document_name, no_text, query_texts
from ..explanation import Explanation, explained_in
from .base import Stage

_CITATION = re.compile(r"\[(\d+(?:\s*[,;]\s*\d+)*)\]")


@dataclass(frozen=True)
class CitedPassage:
    """A passage of a context, as a citation leads to it.

    Attributes:
        number: int from 1, by which it is cited: ``[1]``.
        docno: the document whose text it is.
        words: phrases of the text that made it come up, those of the largest contribution first; empty without evidence.
        explanation: the features, and all parts of the score.
    """

    number: int
    docno: str
    words: tuple[str, ...]
    explanation: Explanation

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values; ``explanation`` as :meth:`~pyterrier_xetrieval.Explanation.to_dict` gives it."""
        own = {"number": self.number, "docno": self.docno, "words": list(self.words)}
        return own | {"explanation": self.explanation.to_dict()}

    toDict = to_dict  # pandas' to_json asks for it by this name

    def __str__(self) -> str:
        """``[1] list.sort (“sort”, “list”)``."""
        return f"[{self.number}] {self.docno}" + (f" ({_quoted(self.words)})" if self.words else "")


class ContextBuilder(Stage):
    """Makes one context of each query's results, and keeps why each of them came up.

    Needs ``qid``, ``query``, ``docno``, the text and ``explanation``; behind ``model.evidence()``, the context names the
    words that made each passage come up. Gives a row for each query: ``qid``, ``query``, other columns of the query,
    ``qcontext`` (text) and ``qpassages`` (a list of :class:`CitedPassage`), so that the ``[2]`` of an answer leads back to
    words and features. ``qcontext`` is what readers of pyterrier_rag read, whose own ``Concatenator`` keeps no other
    columns; :class:`~pyterrier_xetrieval.CitingReader` puts a reader behind this stage and keeps them.

    Passages are in order of ``rank``; if there is no rank, of ``score``; if there is neither, as they come. The words are the
    strongest phrase of each shared feature whose contribution is above 0, largest contribution first. A phrase is left out if
    it is part of one before it, or contains one.

    Args:
        num_results: how many passages of each query; None for all.
        words: how many phrases of each passage, at most.
        text_field: the column with the documents' text.

    Raises:
        ValueError: a query or a document without a text, a row without an explanation.

    Example::

        contexts = (dense >> load >> model.explainer() >> model.evidence() >> ContextBuilder(num_results=3)).search(query)
        print(contexts.qcontext[0])         # [1] Sort the list in ascending order … Found by: “sort”, “list”
        contexts.qpassages[0][1].explanation.rows
    """

    label = "Context"

    def __init__(self, *, num_results: int | None = None, words: int = 5, text_field: str = "text"):
        self.num_results = None if num_results is None else positive_int(num_results, "num_results", stage="ContextBuilder")
        self.words = positive_int(words, "words", stage="ContextBuilder")
        self.text_field = text_field

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        self.check(inp, ["qid", "query", "docno", self.text_field, "explanation"])
        rows = inp.assign(query=query_texts(inp, stage=self))
        if "rank" in rows.columns:
            rows = rows.sort_values("rank", kind="stable")
        elif "score" in rows.columns:
            rows = rows.sort_values("score", ascending=False, kind="stable")
        own = [column for column in pt.model.query_columns(inp) if column not in ("qcontext", "qpassages")]
        contexts = rows.drop_duplicates("qid")[own].set_index("qid", drop=False)
        contexts = contexts.loc[inp["qid"].drop_duplicates()].reset_index(drop=True)
        groups = {qid: group.head(self.num_results or len(group)) for qid, group in rows.groupby("qid", sort=False)}
        found = [self._context(groups[qid]) for qid in contexts["qid"]]
        texts, passages = ([pair[i] for pair in found] for i in (0, 1))
        columns = {"qcontext": texts, "qpassages": passages}
        return contexts.assign(**{name: pd.Series(cells, contexts.index, dtype=object) for name, cells in columns.items()})

    def _context(self, rows: pd.DataFrame) -> tuple[str, list[CitedPassage]]:
        passages, texts = [], []
        explained = explained_in(rows, stage=repr(self), cure="; put model.explainer() before")
        cells = zip(rows["docno"].tolist(), rows[self.text_field].tolist(), explained)
        for i, (docno, text, e) in enumerate(cells):
            if not isinstance(text, str):
                raise no_text(repr(self), document_name(rows, i), text, field=self.text_field)
            passage = CitedPassage(i + 1, docno, self._words(e), e)
            passages.append(passage)
            found_by = f"\nFound by: {_quoted(passage.words)}" if passage.words else ""
            texts.append(f"[{passage.number}] {text.strip()}{found_by}")
        return "\n\n".join(texts), passages

    def _words(self, e: Explanation) -> tuple[str, ...]:
        chosen: list[str] = []
        for i, contribution in enumerate(e.contributions.tolist()):
            for phrase in e.words(i).get("document_words", [])[:1] if contribution > 0 else ():
                own = phrase.casefold()
                chosen += [] if any(own in other.casefold() or other.casefold() in own for other in chosen) else [phrase]
            if len(chosen) == self.words:
                break
        return tuple(chosen)


def cited(answer: str, passages: Sequence[CitedPassage]) -> list[CitedPassage]:
    """The passages that an answer cites, as ``[2]`` or ``[1, 3]``, each once, in the answer's order.

    A number that no passage has is left out.

    Example::

        cited("Sort it by a tuple [2].", contexts.qpassages[0])[0].docno
    """
    known = {passage.number: passage for passage in passages}
    numbers = [int(number) for found in _CITATION.findall(answer) for number in re.findall(r"\d+", found)]
    return [known[number] for number in dict.fromkeys(numbers) if number in known]


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f"“{word}”" for word in words)
