"""The words of a query and a document behind one explanation, as text and as tables."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from .core.evidence import Evidence, WordTable
from .words import Phrase, phrases_of_features

SIDES = ("query", "document")
_NO_WORD = ("special tokens", "prompt", "constants", "stored vector")  # the last columns of a table, in its order


class WordEvidence:
    """Which words of a query and of a document carry each shared feature.

    For encoders that average their token vectors, the parts are exact: a feature's row adds up to its contribution, and
    a word's column to its part of the score. For others they are leave-out: what is lost without the word.

    Args:
        query, document: the two texts.
        tables: the parts by feature and word.
        strongest_only: the document's table has no more than the strongest words of each feature, as an index keeps them;
            they do not add up, and what was not kept is 0 or NaN.

    Example::

        evidence = results.explanation[0].evidence
        evidence.phrases("document", 0)                    # where the first feature is, strongest phrase first
        evidence.table("document").sum()                   # each word's part of the score
    """

    def __init__(self, query: str, document: str, tables: Evidence, *, strongest_only: bool = False):
        self.query, self.document, self.tables, self.strongest_only = query, document, tables, strongest_only

    @property
    def exact(self) -> bool:
        """Whether the parts of both texts add up to the score; ``tables.query.exact`` says it of the query alone."""
        return self.tables.query.exact and self.tables.document.exact

    @property
    def stopped_at(self) -> int | None:
        """The first character of the document that the encoder did not read; None if it read the whole text."""
        return self.tables.document.stopped_at

    def phrases(self, side: str, i: int) -> list[Phrase]:
        """The phrases of a text that carry the i-th shared feature, strongest first, three at most.

        Args:
            side: ``"query"`` or ``"document"``.

        Raises:
            ValueError: another side.
        """
        return self._phrases[_checked(side)][i]

    @cached_property
    def _phrases(self) -> dict[str, list[list[Phrase]]]:
        return {side: _phrases_of(*self._side(side), len(self.tables.features)) for side in SIDES}

    def table(self, side: str) -> pd.DataFrame:
        """The parts of the score by feature and word, float64.

        A row for each shared feature (its id), then ``other features``, ``bias`` and ``not explained``; a column for each
        word (``word@start``, where it is in the text), then what no word carries: special tokens, the prompt, constants,
        and what only the stored vector has. If the evidence is exact, every row adds up to a part of the explanation.

        Raises:
            ValueError: another side.
        """
        text, table = self._side(side)
        words = [f"{text[start:stop]}@{start}" for start, stop in table.spans.tolist()]
        rows = [*self.tables.features.tolist(), "other features", "bias", "not explained"]
        return pd.DataFrame(table.values, index=pd.Index(rows, name="feature", dtype=object), columns=[*words, *_NO_WORD])

    def _side(self, side: str) -> tuple[str, WordTable]:
        return (self.query, self.tables.query) if _checked(side) == "query" else (self.document, self.tables.document)

    def __eq__(self, other: object) -> bool:
        """The same texts and, to float32, the same tables."""
        if not isinstance(other, WordEvidence):
            return NotImplemented
        if isinstance(other, KeptPhrases):
            return False
        pairs = [(self._side(side)[1].values, other._side(side)[1].values) for side in SIDES]
        same = all(np.array_equal(a.astype(np.float32), b.astype(np.float32), equal_nan=True) for a, b in pairs)
        return same and (self.query, self.document) == (other.query, other.document)

    def __reduce__(self) -> tuple[Any, ...]:  # encoders compute in float32: a pickle says no more, in half of the bytes
        return _unpickled, (self.query, self.document, _cast(self.tables, np.float32), self.strongest_only)

    def __hash__(self) -> int:
        return hash((self.query, self.document))

    def __repr__(self) -> str:
        kind = "strongest words of the document" if self.strongest_only else "exact" if self.exact else "leave-out"
        return f"WordEvidence({len(self.tables.features)} features, {kind})"


class KeptPhrases(WordEvidence):
    """The phrases of an explanation that was read back from :meth:`Explanation.to_dict`, without the tables they are of.

    Args:
        query, document: the two texts.
        query_phrases, document_phrases: for each shared feature its phrases, strongest first.
        read_to: the first character of the document that the encoder did not read; None if it read the whole text.
    """

    exact = False
    stopped_at: int | None = None

    def __init__(
        self, query: str, document: str, query_phrases: list[list[Phrase]], document_phrases: list[list[Phrase]],
        read_to: int | None,
    ):  # fmt: skip
        self.query, self.document, self.strongest_only, self.stopped_at = query, document, True, read_to
        self._phrases = {"query": query_phrases, "document": document_phrases}

    @property
    def tables(self) -> Evidence:  # type: ignore[override]
        raise ValueError(
            "WordEvidence expects the tables of its words, found phrases alone: the explanation was read from a dict; "
            "keep it as a pickle, or run model.evidence() again"
        )

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, KeptPhrases) else NotImplemented

    def __hash__(self) -> int:
        return super().__hash__()

    def __reduce__(self) -> tuple[Any, ...]:
        return KeptPhrases, (self.query, self.document, *self._phrases.values(), self.stopped_at)

    def __repr__(self) -> str:
        return f"WordEvidence({len(self._phrases['query'])} features, phrases alone)"


def _cast(tables: Evidence, dtype: type) -> Evidence:
    query, document = (replace(table, values=table.values.astype(dtype)) for table in (tables.query, tables.document))
    return replace(tables, query=query, document=document)


def _unpickled(query: str, document: str, tables: Evidence, strongest_only: bool) -> WordEvidence:
    return WordEvidence(query, document, _cast(tables, np.float64), strongest_only=strongest_only)


def _checked(side: str) -> str:
    if side not in SIDES:
        raise ValueError(f"WordEvidence expects side to be one of {SIDES}, found {side!r}")
    return side


def _phrases_of(text: str, table: WordTable, features: int) -> list[list[Phrase]]:
    """The phrases of every feature, the first rows of the table: a text's words are looked at once for all of them."""
    sums, words = table.sums if table.exact else table.words.sum(axis=1), table.words[:features]
    # of a feature that counts against the document, the words that carry it pull down; constants have a say in which it does
    return phrases_of_features(text, table.spans, np.where(sums[:features, None] < 0, -words, words))
