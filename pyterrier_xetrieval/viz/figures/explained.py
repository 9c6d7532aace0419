"""Figures of explanations in the large: what scores are made of, how stable explanations are, and how long they take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from .axes import axes_or_new, titled
from .frames import by, chosen, kinds, rows_of
from .primitives import draw_dots, draw_lines, draw_stacked

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PARTS = {"shared": "shared features", "other": "other features", "bias": "bias", "residual": "not explained"}
DICTIONARIES = {"mean": "this dictionary", "untrained": "untrained dictionary"}


def plot_score_shares(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """What scores are made of: a stacked bar of the mean shares for the dictionary, and one for an untrained one.

    Args:
        frame: what :func:`pyterrier_xetrieval.evaluation.score_shares` returns.
        ax: where to draw; a new figure unless given.

    Returns:
        the axes; the horizontal axis is in percent of the score. Each bar adds up to 100, negative parts to the left of 0.

    Raises:
        ValueError: another table. ImportError: matplotlib is not installed.

    Example::

        plot_score_shares(score_shares(model, collection))
    """
    rows = rows_of(frame, "score_shares", "part")
    shares = {name: chosen(rows, measure=measure).set_index("part")["value"] for measure, name in DICTIONARIES.items()}
    table = 100 * pd.DataFrame(shares).T.astype(float)[list(PARTS)].rename(columns=PARTS)
    ax = axes_or_new(ax, 6.5, 1.6)
    draw_stacked(ax, table)
    ax.set_xlabel("share of the score (%), mean over pairs")
    return titled(ax, rows)


def plot_stability(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """How alike explanations stay when the document hardly changes.

    A row for each change, a marker for the Jaccard similarity of the shared features and one for Pearson's correlation of
    their contributions, with 95% intervals.

    Args:
        frame: what :func:`pyterrier_xetrieval.evaluation.stability` returns.
        ax: where to draw; a new figure unless given.

    Returns:
        the axes; 1 on the horizontal axis is the same explanation.

    Raises:
        ValueError: another table. ImportError: matplotlib is not installed.

    Example::

        plot_stability(stability(model, collection))
    """
    rows = rows_of(frame, "stability", "change", "amount")
    rows = rows.assign(row=[_change(change, amount) for change, amount in zip(rows["change"], rows["amount"])])
    measures = {"jaccard": "features (Jaccard)", "correlation": "contributions\n(correlation)"}
    series = {name: by(chosen(rows, measure=measure), "row") for measure, name in measures.items()}
    names = list(dict.fromkeys(rows["row"]))
    ax = axes_or_new(ax, 6.5, 0.9 + 0.3 * len(names))
    draw_dots(ax, series, names, kinds(series))
    ax.set_xlabel("agreement of explanations before and after")
    return titled(ax, rows)


def plot_latency(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Milliseconds per query against the size of the corpus (Cai et al. 2026, Fig. 6).

    A line for each of dense retrieval, multi-view retrieval and the explanation of its results: the median, and as a band
    what lies between it and the 95th percentile.

    Args:
        frame: what :func:`pyterrier_xetrieval.evaluation.latency` returns.
        ax: where to draw; a new figure unless given.

    Returns:
        the axes.

    Raises:
        ValueError: another table. ImportError: matplotlib is not installed.

    Example::

        plot_latency(latency(model, collection, sizes=[10_000, 60_000]))
    """
    rows = rows_of(frame, "latency", "size", "system")
    series = {}
    for system, own in chosen(rows, measure="median_ms").groupby("system", sort=False):
        slow = chosen(rows, measure="p95_ms", system=system).set_index("size")["value"]
        series[system] = by(own, "size").assign(low=lambda frame: frame["value"], high=slow)
    ax = axes_or_new(ax, 5.5, 3)
    draw_lines(ax, series, kinds(series))
    ax.set(xlabel="documents", ylabel="milliseconds per query,\nmedian to 95th percentile", ylim=(0, None))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    return titled(ax, rows)


def _change(change: str, amount: float) -> str:
    """A change of a document in words."""
    if change == "documents":
        return f"different documents, ranks 1 and {amount:g}"
    return f"noise, cosine {amount:g}" if change == "noise" else f"{100 * amount:.0f}% of words left out"
