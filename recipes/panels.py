"""Figures of several panels over many collections, as on the results page: frames of numbers in, a matplotlib figure out.

Told apart by marker or line style as well as by colour, for print in black and white; white background; bars are 95%
intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pyterrier_xetrieval.viz.figures.primitives import draw_dots, draw_histogram, draw_lines, draw_stacked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def dots(panels: Mapping[str, Mapping[str, pd.DataFrame]], label: str | Mapping[str, str], *, zero: bool = False) -> Figure:
    """Values with intervals, a row for each collection and a panel for each condition.

    Args:
        panels: title to {what is compared: frame indexed by collection with ``value`` and, unless missing, ``low``, ``high``}.
        label: of the horizontal axes, with the unit; one for all, or one for each panel by title.
        zero: draw a line at 0.
    """
    names = list(dict.fromkeys(name for series in panels.values() for frame in series.values() for name in frame.index))
    kinds = _kinds(panels)
    height = 0.3 if len(kinds) < 5 else 0.08 * len(kinds)  # of a row
    figure = _figure(max(6.5, 3.6 * len(panels)), 1.6 + height * len(names))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (title, series) in zip(axes, panels.items(), strict=True):
        draw_dots(ax, series, names, kinds, zero=zero)
        ax.set(title=title, xlabel=label if isinstance(label, str) else label[title])
    _legend(figure, axes, kinds)
    return figure


def lines(
    panels: Mapping[str, Mapping[str, pd.DataFrame]], xlabel: str, ylabel: str, *, columns: int = 4,
    panel: tuple[float, float] = (2.7, 2.2), doubling: bool = False,
) -> Figure:  # fmt: skip
    """Curves with their intervals as bands, a panel for each title.

    Args:
        panels: title to {what is compared: frame indexed by the horizontal value with ``value``, ``low``, ``high``}.
        xlabel, ylabel: of all panels, with the unit.
        columns: panels side by side.
        panel: width and height of one, in inches.
        doubling: a horizontal axis on which every doubling is equally wide.
    """
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = _figure(max(6.5, panel[0] * columns), 0.8 + panel[1] * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    kinds = _kinds(panels)
    for ax in grid.flat[len(panels) :]:
        ax.set_visible(False)
    for i, (ax, (title, series)) in enumerate(zip(grid.flat, panels.items())):
        draw_lines(ax, series, kinds, doubling=doubling)
        ax.set_title(title, fontsize="medium")
        ax.tick_params(labelbottom=i + columns >= len(panels))
    figure.supxlabel(xlabel, fontsize="medium")
    figure.supylabel(ylabel, fontsize="medium")
    _legend(figure, list(grid.flat[: len(panels)]), kinds)
    return figure


def stacked(shares: pd.DataFrame, label: str) -> Figure:
    """Horizontal bars of parts that add up to a whole; ``shares`` has a row for each collection and a column for each part."""
    figure = _figure(7.5, 1.4 + 0.3 * len(shares))
    ax = figure.subplots()
    draw_stacked(ax, shares)
    ax.set(xlabel=label)
    _legend(figure, [ax], list(shares))
    return figure


def histogram(densities: Mapping[str, np.ndarray], xlabel: str) -> Figure:
    """Outlines of histograms over [0, 1] in bins of equal width, each scaled to shares of its features."""
    figure = _figure(6.5, 3)
    ax = figure.subplots()
    draw_histogram(ax, densities)
    ax.set(xlabel=xlabel)
    _legend(figure, [ax], list(densities))
    return figure


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # late: it needs the extra [figures]

    return Figure(figsize=(width, height), layout="constrained")


def _kinds(panels: Mapping[str, Mapping[str, pd.DataFrame]]) -> list[str]:
    """All that is compared, in the order in which it comes first."""
    return list(dict.fromkeys(kind for series in panels.values() for kind in series))


def _legend(figure: Figure, axes: Sequence[Axes], kinds: list[str]) -> None:
    """Above all panels, one entry for each kind."""
    found = {name: handle for ax in axes for handle, name in zip(*ax.get_legend_handles_labels())}
    if len(kinds) > 1:
        width = 0.08 * (max(map(len, kinds)) + 5)  # of an entry, in inches, roughly
        columns = max(1, min(len(kinds), int(figure.get_figwidth() // width)))
        figure.legend([found[k] for k in kinds], kinds, loc="outside upper center", ncols=columns, frameon=False)
