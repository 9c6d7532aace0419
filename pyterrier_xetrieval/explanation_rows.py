"""What a reader sees of an explanation beside its numbers: a feature's row, and where another score ranks the document."""

from __future__ import annotations

from typing import NamedTuple


class ShownFeature(NamedTuple):
    """One row of an explanation, as a reader sees it.

    Attributes:
        feature: its id.
        label: what it is called; of a label with two readings, the one that the words support.
        confidence: the probability that the label fits query and document; NaN where nobody measured it.
        contribution: the feature's part of the score.
        query_words, document_words: the phrases that carry it, strongest first; empty without evidence.
    """

    feature: int
    label: str
    confidence: float
    contribution: float
    query_words: tuple[str, ...]
    document_words: tuple[str, ...]

    def __str__(self) -> str:
        """``“sort” ↔ “sorted”, “ascending” · ordering things``."""
        sides = [", ".join(f"“{word}”" for word in words) or "…" for words in (self.query_words, self.document_words)]
        return f"{sides[0]} ↔ {sides[1]} · {self.label}" if self.query_words or self.document_words else self.label

    def with_id(self) -> str:
        """The row as it is printed: its feature's id tells those of one label apart."""
        return str(self) if self.label == f"feature {self.feature}" else f"{self} [{self.feature}]"

    def in_sentence(self) -> str:
        """``*ordering things* (“sort” ↔ “sorted”)``: the strongest words of both texts.

        One word where they are equal; where only one text has any, ``(“sort” in the query)``.
        """
        found = {"query": self.query_words[:1], "document": self.document_words[:1]}
        both = [words[0] for words in found.values() if words]
        if len(both) == 1:
            (side,) = (side for side, words in found.items() if words)
            return f"*{self.label}* (“{both[0]}” in the {side})"
        if len({word.casefold() for word in both}) == 1:
            both = both[:1]
        return f"*{self.label}*" + (f" ({' ↔ '.join(f'“{word}”' for word in both)})" if both else "")


class OtherRanking(NamedTuple):
    """A ranking by another score than the one that is explained: re-ranked, fused or hybrid results.

    Attributes:
        score: the document's score in the frame.
        place: int from 0, at which the explained score would put it among the frame's results of the query.
        of: how many results of the query the frame has.
    """

    score: float
    place: int
    of: int

    def sentence(self, explained: float) -> str:
        """Which score is explained, and what it is in the ranking."""
        return (
            f"This explains the score {explained:.4f} of the vectors, which alone would put the document at place "
            f"{self.place + 1} of {self.of}; the results are ranked by another score ({self.score:.4f})."
        )
