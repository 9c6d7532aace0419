"""A score by the words of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...explanation import Explanation
from .axes import axes_or_new
from .primitives import Bar, draw_bars, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_WORDS = 20
NO_WORD = 4  # last columns of an evidence table, which hold what no word carries


def plot_words(explanation: Explanation, side: str = "document", *, ax: Axes | None = None) -> Axes:
    """The words of a text with their parts of the score: a bar for each of the 20 strongest, the strongest first.

    A word that occurs several times is one bar, with the sum. With exact evidence further bars hold all other words, the
    punctuation, and what no word carries (special tokens, prompt, constants, and what only the stored vector has), so that
    all bars add up to the score. Leave-out evidence adds up to nothing: a bar is what the score loses without the word.
    Where an index kept the strongest words alone, a bar is the word's part of the shared features' contributions. To the
    left and hatched: words that count against the document.

    Args:
        explanation: one with words, as ``model.evidence()`` adds them.
        side: ``"document"`` or ``"query"``.
        ax: where to draw; a new figure unless given.

    Returns:
        the axes; the horizontal axis is in the unit of the score.

    Raises:
        ValueError: an explanation without words, or another side.
        ImportError: matplotlib is not installed.

    Example::

        plot_words(results.explanation[0], side="query")
    """
    if not isinstance(explanation, Explanation) or explanation.evidence is None:
        raise ValueError("plot_words expects an explanation with words, found none; add model.evidence() to the pipeline")
    evidence, table = explanation.evidence, explanation.evidence.table(side)
    exact = (evidence.tables.query if side == "query" else evidence.tables.document).exact
    kept_only = evidence.strongest_only and side == "document"
    of_words = table.iloc[: len(evidence.tables.features)] if kept_only else table
    parts = of_words.iloc[:, :-NO_WORD].sum()
    words, punctuation = _merged(parts)
    strongest = words.sort_values("part", key=abs, ascending=False, kind="stable")
    bars = [Bar.signed(row.word, row.part) for row in strongest[:MOST_WORDS].itertuples()]
    if exact and not kept_only:
        if len(more := strongest[MOST_WORDS:]):
            bars.append(Bar(f"{len(more)} other words", float(more["part"].sum()), "#777777", "\\\\"))
        if punctuation:
            bars.append(Bar("punctuation", punctuation, "#999999", "//"))
        bars.append(Bar("special tokens, constants", float(table.iloc[:, -NO_WORD:].to_numpy().sum()), "#aaaaaa"))
    ax = axes_or_new(ax, 5.5, 0.9 + 0.24 * len(bars))
    draw_bars(ax, bars)
    what = "lost from the score without the word" if not exact else "part of the score"
    what = "part of the shared features' contributions" if kept_only else what
    of = f"query {explanation.qid}" if side == "query" else f"document {explanation.docno}"
    ax.set_xlabel(f"{what}: words of {shortened(of, 40)}")
    return ax


def _merged(parts: pd.Series) -> tuple[pd.DataFrame, float]:
    """``word`` and ``part`` of words that differ in no more than their case, in the order of the text; and of punctuation."""
    names = pd.Series([str(name).rpartition("@")[0] for name in parts.index], dtype=object)
    frame = pd.DataFrame({"word": names, "part": parts.to_numpy(), "key": [name.casefold() for name in names]})
    said = np.array([any(map(str.isalnum, name)) for name in names], bool)
    found = frame[said].groupby("key", sort=False).agg(word=("word", "first"), part=("part", "sum"), times=("part", "size"))
    found["word"] = [f"{w} ({n}×)" if n > 1 else w for w, n in zip(found["word"], found["times"])]
    return found, float(frame.loc[~said, "part"].sum())
