"""What all figures are made of, drawn on axes that are there: dots, lines, stacked bars, outlines of histograms, signed bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# one scale for whatever is compared (Okabe and Ito's colours); the subject of a figure is black
STYLES: list[dict[str, Any]] = [
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
GREYS = ["#444444", "#999999", "#cccccc", "#ffffff"]
RAISES, LOWERS = ("#0072b2", ""), ("#d55e00", "////")  # colour and hatch of parts above and below 0


class Bar(NamedTuple):
    """One horizontal bar: its row's name, its length (negative to the left), and how it looks."""

    name: str
    value: float
    colour: str
    hatch: str = ""

    @classmethod
    def signed(cls, name: str, value: float) -> Bar:
        """A bar whose colour and hatch say whether it is above or below 0."""
        return cls(name, value, *(RAISES if value >= 0 else LOWERS))


def draw_bars(ax: Axes, bars: Sequence[Bar], starts: Sequence[float] | None = None) -> None:
    """A row for each bar, from the top down, with its value at its right end, or its left end if it points there.

    Args:
        ax: empty axes.
        bars: what is drawn; starts: where each bar begins, 0 unless given; then all values stand at the right.
    """
    begins = np.zeros(len(bars)) if starts is None else np.asarray(starts, float)
    for y, (bar, start) in enumerate(zip(bars, begins)):
        edge = "white" if bar.hatch else bar.colour  # which is the colour of the hatch
        ax.barh(y, bar.value, left=start, height=0.68, color=bar.colour, edgecolor=edge, hatch=bar.hatch, lw=0)
        left = bar.value < 0 and starts is None
        at = start + bar.value if left else max(start, start + bar.value)
        shift, side = (-3, "right") if left else (3, "left")
        text = f"{bar.value:+.3f}".replace("-", "−")
        ax.annotate(text, (at, y), (shift, 0), textcoords="offset points", ha=side, va="center", fontsize="small")
    ax.axvline(0, color="black", lw=0.8)
    names = ["\n".join(map(shortened, bar.name.split("\n"))) for bar in bars]
    ax.set_yticks(range(len(bars)), names)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(bars) - 0.4, -0.6)
    ends = [0.0, *begins, *(start + bar.value for start, bar in zip(begins, bars))]
    low, high = min(ends), max(ends)
    room = (high - low) or 1.0  # a part of which the values take
    ax.set_xlim(low - 0.22 * room if low < 0 and starts is None else low, high + 0.15 * room)
    ax.locator_params(axis="x", nbins=5)
    ax.spines[["top", "right", "left"]].set_visible(False)
    _grid(ax, "x")


def draw_dots(
    ax: Axes, series: Mapping[str, pd.DataFrame], rows: Sequence[str], kinds: Sequence[str], *, zero: bool = False
) -> None:
    """Values with their intervals, a row for each name.

    Args:
        ax: empty axes.
        series: what is compared: frame indexed by row with ``value`` and, unless missing, ``low``, ``high``.
        rows: their names, from the top down.
        kinds: all that is compared in the figure, at most eight; its place in here says how each looks.
        zero: draw a line at 0.
    """
    step = min(0.16, 0.7 / len(kinds))  # what is compared in a row stays nearer to its middle than to the next row
    for kind, frame in series.items():
        i, style = kinds.index(kind), STYLES[kinds.index(kind)]
        frame = frame.reindex(rows)
        y = np.arange(len(rows)) + step * (i - (len(kinds) - 1) / 2)
        spread = _spread(frame)
        ax.errorbar(frame["value"], y, xerr=spread, fmt=style["marker"], color=style["color"], ms=4, lw=1, label=kind)
    if zero:
        ax.axvline(0, color="#777777", lw=0.8)
    ax.set_yticks(np.arange(len(rows)), rows)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    _grid(ax, "x")


def draw_lines(ax: Axes, series: Mapping[str, pd.DataFrame], kinds: Sequence[str], *, doubling: bool = False) -> None:
    """Curves with their intervals as bands.

    Args:
        ax: empty axes.
        series: what is compared: frame indexed by the horizontal value with ``value``, ``low``, ``high``.
        kinds: as in :func:`draw_dots`.
        doubling: a horizontal axis on which every doubling is equally wide.
    """
    for kind, frame in series.items():
        style, frame = STYLES[kinds.index(kind)], frame.sort_index()
        ax.plot(frame.index, frame["value"], **style, ms=3, lw=1.2, label=kind)
        if frame[["low", "high"]].notna().all(axis=None):
            ax.fill_between(frame.index, frame["low"], frame["high"], color=style["color"], alpha=0.15, lw=0)
    if doubling:
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
    ax.grid(color="#dddddd", lw=0.5)


def draw_stacked(ax: Axes, shares: pd.DataFrame) -> None:
    """Horizontal bars of parts that add up to a whole, a row for each row and a part for each of at most four columns."""
    left = {True: np.zeros(len(shares)), False: np.zeros(len(shares))}  # negative parts to the left of 0
    for i, part in enumerate(shares):
        values = shares[part].to_numpy()
        start = np.where(values >= 0, left[True], left[False])
        ax.barh(range(len(shares)), values, left=start, color=GREYS[i], edgecolor="black", hatch=HATCHES[i], lw=0.6, label=part)
        for side in (True, False):
            left[side] = left[side] + np.where((values >= 0) == side, values, 0)
    ax.axvline(0, color="black", lw=0.8)
    ax.set_yticks(range(len(shares)), list(shares.index))
    ax.invert_yaxis()


def draw_histogram(ax: Axes, densities: Mapping[str, np.ndarray]) -> None:
    """Outlines of histograms over [0, 1] in bins of equal width, each scaled to shares of its features."""
    for (name, counts), style in zip(densities.items(), STYLES):
        counts = np.asarray(counts, np.float64)
        edges = np.linspace(0, 1, len(counts) + 1)
        ax.stairs(counts / max(counts.sum(), 1), edges, color=style["color"], linestyle=style["linestyle"], lw=1.4, label=name)
    ax.set(ylabel="share of features", xlim=(0, 1))
    ax.grid(color="#dddddd", lw=0.5)


def shortened(text: str, most: int = 44) -> str:
    """At most so many characters in one line, the last of them ``…`` if some are left out; ``$`` stays a dollar sign.

    Example::

        >>> shortened("keys: keyboard keys, car keys", 16)
        'keys: keyboard…'
    """
    text = " ".join(text.split())
    text = text if len(text) <= most else f"{text[: most - 1].rstrip(' ,;:')}…"
    return text.replace("$", r"\$")  # or matplotlib reads what stands between two of them as a formula


def _spread(frame: pd.DataFrame) -> np.ndarray:
    """Distances to both ends of the interval, 0 where there is none, ``[2, n]``."""
    value = frame["value"]
    ends = [value - frame["low"], frame["high"] - value] if "low" in frame else [value * 0, value * 0]
    return np.stack([end.fillna(0.0).clip(lower=0).to_numpy() for end in ends])


def _grid(ax: Axes, axis: Any) -> None:
    ax.grid(axis=axis, color="#dddddd", lw=0.5)
    ax.set_axisbelow(True)
