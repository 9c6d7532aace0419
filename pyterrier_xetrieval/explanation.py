"""What one (query, document) pair's answer is, and the forms in which it is read: rows, sentence, text, table, JSON, HTML."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import explanation_text
from .core.checks import found_type
from .explanation_parts import ExplanationParts
from .explanation_records import arguments, record
from .explanation_rows import ShownFeature
from .explanation_tables import compared
from .feature_names import reading
from .store.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Explanation(ExplanationParts):
    """Why this document got this score: ``score = Σ contributions + other + bias + residual``.

    The shared features are ``O(q,d)`` (Eq. 15): active in the query and in at least one view of the document. Each
    contributes ``Σ_v w_v c_v,j ⟨q, w_j⟩``; together with the other features of the document, the bias of the
    dictionary and what the dictionary does not explain, the parts add up to the score of all views used (Eq. 11).

    Stages make explanations, in the column ``explanation``; the arguments below are for them. Two explanations are equal if
    they are of the same pair and all numbers are equal. Arrays are read-only, because the results of a frame share memory.
    Printed, an explanation is one line; in a notebook it is a card.

    Args:
        qid, docno: the pair.
        parts: the scores of pairs taken apart; row: which of them this pair is.
        views: names of the ``V`` views, ``"original"`` first, then the aspects.
        labels: what the features are called, and how far to trust it.
        top: how many features the printed forms and the notebook's card spell out (the card ten at most).
        min_confidence: the confidence from which on a feature is shown (and, where these are fewer than three, from half of it
            on); the others are counted as weakly shared. It changes no number. Where nobody measured the confidence of the
            labels, every feature is shown.
        evidence: the words that carry the features; None where no stage looked for them.
        ranking: where the document stands in the frame, if the frame ranks by another score than the one explained.
        baseline: the mean document's scores, split as ``parts`` are.
        fit: which readings of labels most likely fit the pairs of the page, or this one; None for labels without vectors.

    Attributes:
        score: float, ``Σ_v w_v ⟨q, v⟩`` over ``views``.
        features: int32 ``[s]``, ids of the shared features, largest contribution first.
        contributions: float32 ``[s]``, their parts of the score.
        query_activations: float32 ``[s]``, activation in the query.
        document_activations: float32 ``[s, V]``, activation in each view of the document; 0 where not active.
        other, bias, residual: float, the rest of the score: features of the document that the query does not share,
            ``Σ_v w_v ⟨q, b⟩``, and ``Σ_v w_v ⟨q, e_v⟩`` of the reconstruction errors ``e_v``.

    Where the dictionary's bias is long, as with E5, its part is nearly all of every score, and says nothing about one document.
    The sentence, the card and the order of rows are then those of :attr:`above_mean`: what the score has above that of the mean
    document.

    Example::

        e = pipeline.search("sort a list by two keys").explanation[0]
        print(e)                                       # ordering .10 · best .09 · lists .07 · +30
        print(e.to_text())                             # all parts of the score
        e.sentence()                                   # in words
        e.shown                                        # the features to read: label, confidence, contribution, words
        e.labels[e.features[0]], e.contributions[0], e.shared / e.score, e.to_dict()
    """

    __slots__ = ()

    def row(self, i: int) -> ShownFeature:
        """The ``i``-th shared feature as a reader sees it, whether it is one of :attr:`rows` or weakly shared."""
        words = self.words(i) or {"query_words": [], "document_words": []}
        meant = self._meant(i) or self.labels[int(self.features[i])]
        label = reading(meant, [*words["query_words"], *words["document_words"]])
        sides = tuple(words["query_words"]), tuple(words["document_words"])
        return ShownFeature(int(self.features[i]), label, float(self.confidence[i]), float(self.contributions[i]), *sides)

    @property
    def rows(self) -> list[ShownFeature]:
        """The shared features to read (:attr:`is_shown`), what matters most first.

        They are in order of contribution times confidence: of two features with about the same contribution, the one whose
        label is surer comes first. Where there is a baseline, the contribution counts as far as it is above the mean document's.
        Where nobody measured the confidence of the labels, all features are here, largest contribution first.
        """
        shown = np.flatnonzero(self.is_shown)
        matters = self.contributions if self._baseline is None else self.contributions - self._baseline_contributions
        weights = matters * np.where(np.isnan(self.confidence), 1.0, self.confidence)
        return [self.row(i) for i in shown[np.argsort(-weights[shown], kind="stable")].tolist()]

    @property
    def shown(self) -> pd.DataFrame:
        """:attr:`rows` as a table.

        Columns are ``feature``, ``label``, ``confidence``, ``contribution``, ``query_words`` and ``document_words``.
        """
        return pd.DataFrame(self.rows, columns=list(ShownFeature._fields))

    def sentence(self) -> str:
        """The explanation in one sentence.

        Example::

            Retrieved mainly for *ordering* (“sort” ↔ “sorted”) and *lists* (“list”). The 12 features shown carry 62 % of the
            score, 27 weakly shared ones 24 %.
        """
        return explanation_text.sentence(self)

    def compare(self, other: Explanation, *, across_queries: bool = False) -> pd.DataFrame:
        """Why this document scores higher than another one, or than itself after an edit, part by part.

        Args:
            other: of the same query, by the same dictionary.
            across_queries: compare explanations of two queries all the same.

        Returns:
            ``feature`` (Int64), ``label`` and ``confidence`` (where the feature contributes more), ``left`` and ``right`` (the
            contributions to this score and to the other one, 0 where the feature is not shared) and ``difference`` (left −
            right), largest in size first; then the other features, the bias and what the dictionary does not explain.
            ``difference`` adds up to ``self.score - other.score``.

        Raises:
            ValueError: no explanation by the same dictionary, or of another query.

        Example::

            first, second = results.explanation[:2]
            first.compare(second).head(5)
        """
        if not isinstance(other, Explanation):
            raise ValueError(f"Explanation.compare expects another explanation, found {found_type(other)}")
        if (other.labels.dict_size, other.labels.dictionary) != (self.labels.dict_size, self.labels.dictionary):
            raise ValueError("Explanation.compare expects another one by the same dictionary, found one by another dictionary")
        if other.qid != self.qid and not across_queries:
            raise ValueError(
                f"Explanation.compare expects another one of query {self.qid!r}, found query {other.qid!r}; "
                "to compare two queries all the same, set across_queries=True"
            )
        return compared(self, other)

    def plot(self, kind: str = "waterfall", *, ax: Axes | None = None) -> Axes:
        """Draws the explanation for a paper or a notebook.

        ``"waterfall"``: the shown rows from 0 on, each from where the one before it ended, with the strongest words of both
        texts if there are any; then the weakly shared features, the other features, the bias and what the dictionary does
        not explain. The last of them ends at the score, which is the black bar below.

        Args:
            kind: ``"waterfall"``.
            ax: where to draw; a new figure unless given.

        Returns:
            the axes; the horizontal axis is in the unit of the score.

        Raises:
            ValueError: another kind.
            ImportError: matplotlib is not installed: ``pip install "pyterrier-xetrieval[figures]"``.

        Example::

            results.explanation[0].plot("waterfall").figure.savefig("waterfall.pdf")
        """
        from .viz.figures.scores import plot_explanation  # late: figures are of the layer of tools, and an extra

        return plot_explanation(self, kind, ax)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, ready for JSON and for a column of a Parquet file; :meth:`from_dict` reads them.

        ``query_id``, ``doc_id``, ``shared_features``, ``per_view_shared_features`` and ``feature_explanations`` are
        the released program's keys; ``score``, ``parts`` and ``features`` are the attribution, with the words of each
        feature and, in ``query_phrases`` and ``document_phrases``, where they are in ``texts``.

        Example::

            results.assign(explanation=results.explanation.map(Explanation.to_dict)).to_parquet("results.parquet")
        """
        return record(self)

    toDict = to_dict  # pandas' to_json calls it by this name; of an object without it, it would write every attribute

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Explanation:
        """What :meth:`to_dict` was called on: equal, and with the same words, sentence and card.

        Only each word's part of every number (``evidence.table``) is not kept; a pickle keeps it, rounded to float32.

        Raises:
            ValueError: something else, or values that do not fit together.

        Example::

            results = pd.read_parquet("results.parquet")
            results["explanation"] = results.explanation.map(Explanation.from_dict)
        """
        return cls(**arguments(record))

    def __repr__(self) -> str:
        named = [f"{row.label} {row.contribution:+.3f}" for row in self.rows[: self.top]]
        named += ["…"] if len(self) > len(named) else []
        return (
            f"Explanation({self.score:.3f} = {self.shared:+.3f} from {len(self)} shared features ({', '.join(named)})"
            f" {self.other:+.3f} other {self.bias:+.3f} bias {self.residual:+.3f} not explained)"
        )

    def __str__(self) -> str:
        return explanation_text.one_line(self)

    def to_text(self) -> str:
        """All parts of the score, one a line; together they are the score.

        Example::

            score 0.6679 of document 0 for query 1, from views original, summary, purpose, qa
              +0.2294  “sort a list”, “length” ↔ “sorted list” · sorting or ordering data [461]
              +0.1571  …

        Where there is a :attr:`baseline`, each line also says in brackets what the part has above that of the mean document.
        """
        return explanation_text.full_text(self)

    def lines(self) -> list[tuple[str, float]]:
        """What :meth:`to_text` prints: the parts of the score, each with its name; together they are the score.

        A feature's id follows its label, because two features may have the same label.
        """
        return explanation_text.lines(self)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """:meth:`to_dict` as JSON.

        Args:
            path: a file to write instead, all or nothing.

        Returns:
            The JSON; None if it was written to ``path``.

        Example::

            e.to_json("why.json")
        """
        return _text_or_file(json.dumps(self.to_dict(), ensure_ascii=False), path)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """The notebook's card as a web page of its own, which needs no other file and no script.

        Args:
            path: a file to write instead, all or nothing.

        Returns:
            The page; None if it was written to ``path``.

        Example::

            e.to_html("why.html")
        """
        from .viz.cards import page_html  # late, as in _repr_html_

        return _text_or_file(page_html(self), path)

    def _repr_html_(self) -> str:
        from .viz.cards import card_html  # late: a card is made of an explanation, and nobody needs it outside of a notebook

        return card_html(self)


def explained_in(results: pd.DataFrame, *, stage: object, cure: str = "") -> list[Explanation]:
    """The explanations of a frame, row by row; ValueError, naming ``stage``, for a cell that is none; cure: how it ends."""
    found = results["explanation"].tolist()
    for e in found:
        if not isinstance(e, Explanation):
            raise ValueError(f"{stage} expects an Explanation in every row, found {found_type(e)}{cure}")
    return found


def _text_or_file(text: str, path: str | os.PathLike[str] | None) -> str | None:
    if path is None:
        return text
    with replacing(path) as file:
        file.write(text)
    return None
