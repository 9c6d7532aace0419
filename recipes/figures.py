"""The figures of the results page, one function each: frames of numbers in, a matplotlib figure out.

Told apart by marker or line style as well as by colour, for print in black and white; white background; bars are 95%
intervals. Saved files are the same, byte for byte, for the same numbers and the same version of matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pyterrier_xetrieval.store.files import replacing

# one scale for whatever is compared (Okabe and Ito's colours); the subject of a figure is black
STYLES = [
    {"color": "#000000", "marker": "o", "linestyle": "-"},
    {"color": "#0072b2", "marker": "s", "linestyle": "--"},
    {"color": "#d55e00", "marker": "^", "linestyle": "-."},
    {"color": "#009e73", "marker": "D", "linestyle": ":"},
    {"color": "#999999", "marker": "v", "linestyle": (0, (1, 3))},
    {"color": "#cc79a7", "marker": "P", "linestyle": (0, (5, 1, 1, 1, 1, 1))},
    {"color": "#56b4e9", "marker": "X", "linestyle": (0, (7, 2))},
    {"color": "#e69f00", "marker": "<", "linestyle": (0, (3, 1, 1, 1))},
]
HATCHES = ["", "//", "\\\\", ""]
SAVED = {"svg.hashsalt": "pyterrier_xetrieval", "svg.fonttype": "path"}


def save(figure: Figure, path: Path) -> None:
    """Writes an SVG on white without a date, all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(SAVED), replacing(path) as file:
        figure.savefig(file, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})


def dots(panels: Mapping[str, Mapping[str, pd.DataFrame]], label: str | Mapping[str, str], *, zero: bool = False) -> Figure:
    """Values with intervals, a row for each collection and a panel for each condition.

    Args:
        panels: title to {what is compared: frame indexed by collection with ``value`` and, unless missing, ``low``, ``high``}.
        label: of the horizontal axes, with the unit; one for all, or one for each panel by title.
        zero: draw a line at 0.
    """
    names = list(dict.fromkeys(name for series in panels.values() for frame in series.values() for name in frame.index))
    kinds = list(dict.fromkeys(kind for series in panels.values() for kind in series))
    height = 0.3 if len(kinds) < 5 else 0.08 * len(kinds)  # of a row
    step = min(0.16, 0.7 / len(kinds))  # what is compared in a row stays nearer to its middle than to the next row
    figure = Figure(figsize=(max(6.5, 3.6 * len(panels)), 1.6 + height * len(names)), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (title, series) in zip(axes, panels.items(), strict=True):
        for kind, frame in series.items():
            i, style = kinds.index(kind), STYLES[kinds.index(kind)]
            frame = frame.reindex(names)
            y = np.arange(len(names)) + step * (i - (len(kinds) - 1) / 2)
            spread = _spread(frame)
            ax.errorbar(frame["value"], y, xerr=spread, fmt=style["marker"], color=style["color"], ms=4, lw=1, label=kind)
        if zero:
            ax.axvline(0, color="#777777", lw=0.8)
        ax.set(title=title, xlabel=label if isinstance(label, str) else label[title])
        ax.set_yticks(np.arange(len(names)), names)
        ax.grid(axis="x", color="#dddddd", lw=0.5)
        ax.set_axisbelow(True)
    axes[0].invert_yaxis()
    _legend(figure, axes, kinds)
    return figure


def lines(
    panels: Mapping[str, Mapping[str, pd.DataFrame]], xlabel: str, ylabel: str, *, columns: int = 4,
    panel: tuple[float, float] = (2.7, 2.2), doubling: bool = False,
) -> Figure:  # fmt: skip
    """Curves with their intervals as bands, a panel for each title.

    Args:
        panels: title to {what is compared: frame indexed by the horizontal value with ``value`` and, unless missing,
            ``low``, ``high``}.
        columns: panels side by side.
        panel: width and height of one, in inches.
        doubling: a horizontal axis on which every doubling is equally wide.
    """
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(max(6.5, panel[0] * columns), 0.8 + panel[1] * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    kinds = list(dict.fromkeys(kind for series in panels.values() for kind in series))
    for ax in grid.flat[len(panels) :]:
        ax.set_visible(False)
    for i, (ax, (title, series)) in enumerate(zip(grid.flat, panels.items())):
        for kind, frame in series.items():
            style, frame = STYLES[kinds.index(kind)], frame.sort_index()
            ax.plot(frame.index, frame["value"], **style, ms=3, lw=1.2, label=kind)
            if frame[["low", "high"]].notna().all(axis=None):
                ax.fill_between(frame.index, frame["low"], frame["high"], color=style["color"], alpha=0.15, lw=0)
        if doubling:
            ax.set_xscale("log", base=2)
            ax.xaxis.set_major_formatter("{x:g}")
        ax.set_title(title, fontsize="medium")
        ax.grid(color="#dddddd", lw=0.5)
        ax.tick_params(labelbottom=i + columns >= len(panels))
    figure.supxlabel(xlabel, fontsize="medium")
    figure.supylabel(ylabel, fontsize="medium")
    _legend(figure, list(grid.flat[: len(panels)]), kinds)
    return figure


def stacked(shares: pd.DataFrame, label: str) -> Figure:
    """Horizontal bars of parts that add up to a whole; ``shares`` has a row for each collection and a column for each part."""
    figure = Figure(figsize=(7.5, 1.4 + 0.3 * len(shares)), layout="constrained")
    ax, grey = figure.subplots(), ["#444444", "#999999", "#cccccc", "#ffffff"]
    left = {True: np.zeros(len(shares)), False: np.zeros(len(shares))}  # negative parts to the left of 0
    for i, part in enumerate(shares):
        values = shares[part].to_numpy()
        start = np.where(values >= 0, left[True], left[False])
        ax.barh(range(len(shares)), values, left=start, color=grey[i], edgecolor="black", hatch=HATCHES[i], lw=0.6, label=part)
        for side in (True, False):
            left[side] = left[side] + np.where((values >= 0) == side, values, 0)
    ax.axvline(0, color="black", lw=0.8)
    ax.set(xlabel=label)
    ax.set_yticks(range(len(shares)), list(shares.index))
    ax.invert_yaxis()
    _legend(figure, [ax], list(shares))
    return figure


def histogram(densities: Mapping[str, np.ndarray], xlabel: str) -> Figure:
    """Outlines of histograms over [0, 1] in bins of equal width, each scaled to shares of its features."""
    figure = Figure(figsize=(6.5, 3), layout="constrained")
    ax = figure.subplots()
    for (name, counts), style in zip(densities.items(), STYLES):
        counts = np.asarray(counts, np.float64)
        edges = np.linspace(0, 1, len(counts) + 1)
        ax.stairs(counts / max(counts.sum(), 1), edges, color=style["color"], linestyle=style["linestyle"], lw=1.4, label=name)
    ax.set(xlabel=xlabel, ylabel="share of features", xlim=(0, 1))
    ax.grid(color="#dddddd", lw=0.5)
    _legend(figure, [ax], list(densities))
    return figure


def _spread(frame: pd.DataFrame) -> np.ndarray:
    """Distances to both ends of the interval, 0 where there is none, ``[2, n]``."""
    value = frame["value"]
    ends = [value - frame["low"], frame["high"] - value] if "low" in frame else [value * 0, value * 0]
    return np.stack([end.fillna(0.0).clip(lower=0).to_numpy() for end in ends])


def _legend(figure: Figure, axes: Sequence, kinds: list[str]) -> None:
    """Above all panels, one entry for each kind."""
    found = {name: handle for ax in axes for handle, name in zip(*ax.get_legend_handles_labels())}
    if len(kinds) > 1:
        width = 0.08 * (max(map(len, kinds)) + 5)  # of an entry, in inches, roughly
        columns = max(1, min(len(kinds), int(figure.get_figwidth() // width)))
        figure.legend([found[k] for k in kinds], kinds, loc="outside upper center", ncols=columns, frameon=False)
