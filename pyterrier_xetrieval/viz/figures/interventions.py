"""Figures of what happens without features, or with more of them: the tables of four evaluations of interventions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from .axes import axes_or_new, titled
from .frames import by, chosen, kinds, rows_of, words
from .primitives import draw_dots, draw_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SETS = ("overlap", "untrained", "overlap_original", "direct", "non_overlap", "random_features", "random_directions")
ORDERS = ("contribution", "activation", "random", "untrained", "untrained_random")
CHANGES = {"deletion": "erased", "insertion": "kept alone"}


def plot_steering(frame: pd.DataFrame, *, split: str = "unseen", measure: str = "change", ax: Axes | None = None) -> Axes:
    """nDCG@10 against the factor α by which features are scaled in all documents (Cai et al. 2026, Fig. 8).

    A line for each set of features, with 95% intervals as bands.

    Args:
        frame: what :func:`pyterrier_xetrieval.evaluation.steering` returns.
        split: queries that the key features were not chosen on (``"unseen"``) or were (``"same"``, as in the paper).
        measure: ``"change"`` or ``"nDCG@10"``, or one of these with ``_at_length``.
        ax: where to draw; a new figure unless given.

    Returns:
        the axes; the vertical axis is in points of nDCG@10.

    Raises:
        ValueError: another table, split or measure. ImportError: matplotlib is not installed.

    Example::

        plot_steering(steering(model, collection))
    """
    rows = chosen(rows_of(frame, "steering", "set", "split", "alpha"), split=split, measure=measure)
    series = {words(name): by(own, "alpha", 100) for name, own in rows.groupby("set", sort=False)}
    ax = axes_or_new(ax, 5.5, 3)
    draw_lines(ax, series, kinds(series))
    what, _, at_length = measure.partition("_")
    what = "change of nDCG@10 (points)" if what == "change" else f"{what} (%)"
    ax.set(xlabel="α", ylabel=f"{what},\ndocuments at their length" if at_length else what)
    return titled(ax, rows)


def plot_erasure(frame: pd.DataFrame, *, mode: str = "erase", ax: Axes | None = None) -> Axes:
    """How a set of features, erased or alone kept, changes the cosine of query and document (Cai et al. 2026, Fig. 7).

    A row for each set, a marker for relevant documents and one for others, with 95% intervals.

    Args:
        frame: what :func:`pyterrier_xetrieval.evaluation.erasure` returns; sets cut to equal size are not drawn.
        mode: ``"erase"`` or ``"keep_only"``.
        ax: where to draw; a new figure unless given.

    Returns:
        the axes; the horizontal axis is a difference of cosines.

    Raises:
        ValueError: another table or mode. ImportError: matplotlib is not installed.

    Example::

        plot_erasure(erasure(model, collection), mode="keep_only")
    """
    rows = chosen(rows_of(frame, "erasure", "set", "mode", "pairs"), mode=mode, measure="change")
    rows = rows[rows["set"].isin(SETS)]
    found = {pairs: rows[rows["pairs"] == pairs] for pairs in ("true positive", "false positive")}
    series = {f"{pairs}s": by(own, "set").rename(index=words) for pairs, own in found.items() if len(own)}
    names = [words(name) for name in SETS if name in set(rows["set"])]
    ax = axes_or_new(ax, 6.5, 0.9 + 0.3 * len(names))
    draw_dots(ax, series, names, kinds(series), zero=True)
    ax.set_xlabel(f"change of the cosine, features {'erased' if mode == 'erase' else 'kept alone'}")
    return titled(ax, rows)


def plot_faithfulness(frame: pd.DataFrame, *, curve: str = "deletion", ax: Axes | None = None) -> Axes:
    """What is left of the cosine as more and more of the shared features are erased, or alone kept, in several orders.

    A line for each order, with 95% intervals as bands. A faithful order falls fast (deletion) or rises fast (insertion).

    Args:
        frame: what :func:`pyterrier_xetrieval.evaluation.faithfulness_curves` returns.
        curve: ``"deletion"`` or ``"insertion"``.
        ax: where to draw; a new figure unless given.

    Returns:
        the axes; the vertical axis is the cosine over that of the unedited pair.

    Raises:
        ValueError: another table or curve. ImportError: matplotlib is not installed.

    Example::

        plot_faithfulness(faithfulness_curves(model, collection), curve="insertion")
    """
    rows = rows_of(frame, "faithfulness_curves", "curve", "order", "fraction")
    rows = chosen(rows, curve=curve, measure="relative_score")
    found = {order: rows[rows["order"] == order] for order in ORDERS}
    series = {order.replace("_", ", "): by(own, "fraction") for order, own in found.items() if len(own)}
    ax = axes_or_new(ax, 5.5, 3)
    draw_lines(ax, series, kinds(series))
    ax.set(xlabel=f"share of the shared features {CHANGES[curve]}", ylabel="cosine / cosine before")
    return titled(ax, rows)


def plot_counterfactual(frame: pd.DataFrame, *, of: str = "features", ax: Axes | None = None) -> Axes:
    """How few features have to go for a document to leave the top results, and how many documents leave at all.

    A row for each order in which features are erased, with 95% intervals.

    Args:
        frame: what :func:`pyterrier_xetrieval.evaluation.counterfactual` returns.
        of: ``"features"``: how many are erased until the document is out, and how many of these are needed;
            or ``"documents"``: the share of them that leaves, and the share of these that leaves too when as many features
            are erased that the query does not share.
        ax: where to draw; a new figure unless given.

    Returns:
        the axes; the horizontal axis is in features or in percent of the documents.

    Raises:
        ValueError: another table, or neither of the two. ImportError: matplotlib is not installed.

    Example::

        plot_counterfactual(counterfactual(model, collection), of="documents")
    """
    drawn = {
        "features": ({"pruned": "needed for it", "greedy": "erased until it is out"}, 1.0, "features (mean)"),
        "documents": ({"possible": "documents that leave", "control": "of these, with as many\nothers erased instead"}, 100.0,
                      "share of the documents (%)"),
    }  # fmt: skip
    if of not in drawn:
        raise ValueError(f"plot_counterfactual expects of to be one of {list(drawn)}, found {of!r}")
    rows = rows_of(frame, "counterfactual", "order")
    measures, factor, label = drawn[of]
    series = {name: by(chosen(rows, measure=measure), "order", factor) for measure, name in measures.items()}
    names = [order for order in ORDERS if order in set(rows["order"])]
    ax = axes_or_new(ax, 6.5, 0.9 + 0.3 * len(names))
    draw_dots(ax, series, names, kinds(series))
    ax.set(xlabel=label, ylabel="erased in order of")
    return titled(ax, rows)
