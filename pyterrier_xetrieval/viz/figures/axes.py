"""Where a figure begins and ends: axes to draw on, and the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ...store.files import replacing
from .primitives import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# text as outlines in an SVG, as a TrueType font in a PDF, which is what publishers take; the same file for the same figure
SAVED: dict[Any, Any] = {"svg.hashsalt": "pyterrier_xetrieval", "svg.fonttype": "path", "pdf.fonttype": 42}
UNDATED = {".svg": {"Date": None, "Creator": None}, ".pdf": {"CreationDate": None, "Creator": None, "Producer": None}}
NEEDED = 'figures need matplotlib: pip install "pyterrier-xetrieval[figures]"'


def axes_or_new(ax: Axes | None, width: float, height: float) -> Axes:
    """``ax``, or the axes of a new pyplot figure of this size in inches, which a notebook then shows.

    Raises:
        ImportError: matplotlib is not installed.
    """
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError(NEEDED, name="matplotlib") from None
    return pyplot.subplots(figsize=(width, height), layout="constrained")[1]


def titled(ax: Axes, rows: pd.DataFrame) -> Axes:
    """The axes with the collection of these rows as title and, if several things are compared, a legend.

    The legend is to the right of the axes, where no data and no title are.
    """
    ax.set_title(shortened(str(rows["collection"].iloc[0]), 40), fontsize="medium", loc="left")
    if len(ax.get_legend_handles_labels()[1]) > 1:
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize="small")
    return ax


def save_figure(drawn: Axes | Figure, path: str | os.PathLike[str]) -> Path:
    """Writes a figure as SVG or PDF on white, all or nothing, in a folder that is made if need be.

    The file holds no date and no name of a program: with the same numbers and version of matplotlib it is the same, byte for
    byte. Fonts are embedded, so that it looks the same everywhere.

    Args:
        drawn: a figure, or axes of it, as all functions of :mod:`pyterrier_xetrieval.viz` return them.
        path: the file, ending in ``.svg`` or ``.pdf``.

    Returns:
        the path.

    Raises:
        ValueError: another ending, or nothing drawn. ImportError: matplotlib is not installed.

    Example::

        save_figure(explanation.plot("waterfall"), "figures/waterfall.pdf")
    """
    try:
        import matplotlib
    except ImportError:
        raise ImportError(NEEDED, name="matplotlib") from None
    path = Path(path)
    if path.suffix not in UNDATED:
        raise ValueError(f"save_figure expects a path that ends in .svg or .pdf, found {path.name!r}")
    figure: Any = getattr(drawn, "figure", drawn)
    if not hasattr(figure, "savefig"):
        raise ValueError(f"save_figure expects a figure or axes of one, found {type(drawn).__name__}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(SAVED), replacing(path, "wb") as file:
        figure.savefig(file, format=path.suffix[1:], facecolor="white", metadata=UNDATED[path.suffix])
    return path
