"""What a score, or the difference of two, is made of: parts that add up, bar by bar."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from ...explanation import Explanation
from ...explanation_rows import ShownFeature
from ...explanation_text import baseline_name, score_parts
from ..palette import PALETTE
from .axes import axes_or_new
from .primitives import Bar, draw_bars, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REST = {
    "more": ("#333333", ""),
    "weak": ("#555555", "//"),
    "other": ("#777777", "\\\\"),
    "bias": ("#aaaaaa", ""),
    "residual": ("#999999", "xx"),
}  # colour and hatch
SCORE = "#000000"


def plot_explanation(explanation: Explanation, kind: str, ax: Axes | None = None) -> Axes:
    """See :meth:`pyterrier_xetrieval.Explanation.plot`."""
    kinds = {"waterfall": _waterfall}
    if kind not in kinds:
        raise ValueError(
            f"Explanation.plot expects a kind among {list(kinds)}, found {kind!r}; "
            'figures need pip install "pyterrier-xetrieval[figures]"'
        )
    return kinds[kind](explanation, ax)


def _waterfall(explanation: Explanation, ax: Axes | None) -> Axes:
    """The rows of the explanation, each from where the one before it ended, then the rest of the score, and the score."""
    whole, explanation = explanation, explanation.above_mean or explanation
    bars = [
        Bar(part.name, part.value, *REST[part.kind]) if part.row is None else Bar(_row(part.row), part.value, colour.bar)
        for part, colour in zip(score_parts(explanation, explanation.top), cycle(PALETTE))
    ]
    ends = np.cumsum([bar.value for bar in bars])
    bars.append(Bar("score" if whole is explanation else f"score above {baseline_name(whole)}", explanation.score, SCORE))
    ax = axes_or_new(ax, 7, _height([bar.name for bar in bars]))
    draw_bars(ax, bars, [0.0, *ends[:-1], 0.0])
    ax.vlines(ends, np.arange(len(ends)) + 0.34, np.arange(len(ends)) + 0.66, color="#777777", lw=0.8)
    ax.set_xlabel(shortened(f"score of document {explanation.docno} for query {explanation.qid}", 72))
    return ax


def plot_compare(a: Explanation, b: Explanation, *, across_queries: bool = False, ax: Axes | None = None) -> Axes:
    """Why document ``a`` scores higher than document ``b``: signed bars that add up to the difference of the scores.

    Drawn are the features of largest difference, as many as ``a.top``, all others in one bar, and the rest of the scores as
    far as they differ; to the right and plain what speaks for ``a``, to the left and hatched what speaks for ``b``. The last
    bar is the difference of the scores.

    Args:
        a, b: explanations of one query by one dictionary, or of one document before and after an edit.
        across_queries: compare explanations of two queries all the same.
        ax: where to draw; a new figure unless given.

    Returns:
        the axes; the horizontal axis is in the unit of the score.

    Raises:
        ValueError: no two explanations that :meth:`pyterrier_xetrieval.Explanation.compare` compares.
        ImportError: matplotlib is not installed.

    Example::

        first, second = results.explanation[:2]
        plot_compare(first, second).figure.savefig("why-first.pdf")
    """
    if not isinstance(a, Explanation):
        raise ValueError(f"plot_compare expects two explanations, found {type(a).__name__}")
    table = a.compare(b, across_queries=across_queries)
    features, rest = table[table["feature"].notna()], table[table["feature"].isna()]
    most, more = features[: a.top], features[a.top :]
    read = {row.feature: row.label for e in (b, a) for row in e.rows}  # of a label with two readings, the one the words support
    bars = [Bar.signed(_named(read.get(row.feature, row.label), row.feature), row.difference) for row in most.itertuples()]
    if len(more):
        bars.append(Bar.signed(f"{len(more)} more shared features", float(more["difference"].sum())))
    bars += [Bar.signed(row.label, row.difference) for row in rest.itertuples()]
    bars.append(Bar("difference of the scores", a.score - b.score, SCORE))
    ax = axes_or_new(ax, 7, _height([bar.name for bar in bars]))
    draw_bars(ax, bars)
    names = [shortened(str(docno), 32) for docno in (a.docno, b.docno)]
    ax.set_xlabel(f"part of the score: {names[0]} less {names[1]}")
    return ax


def _named(label: str, feature: int) -> str:
    """A label with the feature's id, which tells those of one label apart, and is not shortened away."""
    return label if label == f"feature {feature}" else f"{shortened(label, 36)} [{feature}]".replace(r"\$", "$")


def _row(row: ShownFeature) -> str:
    """A feature's name, and on a line below the strongest words of both texts, if there are any."""
    words = row.query_words, row.document_words
    name, strongest = _named(row.label, row.feature), [f"“{shortened(own[0], 24)}”" if own else "…" for own in words]
    return f"{name}\n{' ↔ '.join(strongest)}".replace(r"\$", "$") if any(words) else name


def _height(names: list[str]) -> float:
    """Of a figure with a row for each name, in inches."""
    return 0.9 + sum(0.46 if "\n" in name else 0.27 for name in names)
