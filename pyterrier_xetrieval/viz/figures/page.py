"""One query's page at a glance: which features carry which results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...explanation import Explanation, explained_in
from .axes import axes_or_new
from .primitives import LOWERS, RAISES, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_FEATURES = 15
MOST_NUMBERS = 15  # documents: of more, the cells are too narrow for numbers


def plot_page(results: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """The contributions of features to the scores of one query's results, as a heat map.

    A row for each of the 15 strongest features, by the sum over the page, that at least one explanation shows; a column for
    each result in the order of ranks, with its score. A cell holds the feature's part of that score, blue above 0 and orange
    below, and is grey where the feature is not shared. Up to 15 results the numbers stand in the cells.

    Args:
        results: rows of one query with ``docno`` and ``explanation``; ordered by ``rank`` where there is one.
        ax: where to draw; a new figure unless given.

    Returns:
        the axes.

    Raises:
        ValueError: missing columns, no rows, several queries, a row without an explanation, or none that shows a feature.
        ImportError: matplotlib is not installed.

    Example::

        plot_page(explain.search("sort a list by two keys"))
    """
    own = _checked(results)
    cells = pd.DataFrame({i: pd.Series(e.contributions, index=e.features, dtype="float64") for i, e in enumerate(own)})
    names = {row.feature: row.label for e in reversed(own) for row in e.rows}
    if not names:
        raise ValueError("plot_page expects explanations that show features, found none shown; lower min_confidence")
    cells = cells.loc[list(names)]
    cells = cells.loc[cells.abs().sum(axis=1).sort_values(ascending=False, kind="stable").index[:MOST_FEATURES]]
    width = 3.6 + max(0.5 * cells.shape[1], 1.5) if cells.shape[1] <= MOST_NUMBERS else 12.0
    ax = axes_or_new(ax, width, 1.6 + 0.27 * len(cells))
    _draw(ax, cells)
    labels = [name if name == f"feature {j}" else f"{shortened(name, 36)} [{j}]" for j, name in names.items()]
    by_feature = dict(zip(names, labels))
    ax.set_yticks(np.arange(len(cells)) + 0.5, [by_feature[j] for j in cells.index])
    ax.set_xticks(
        np.arange(len(own)) + 0.5, [f"{shortened(str(e.docno), 22)}  {e.score:.2f}" for e in own], rotation=45, ha="left",
        rotation_mode="anchor",
    )  # fmt: skip
    ax.tick_params(length=0, top=False, bottom=False, labeltop=True, labelbottom=False)
    ax.set_xlabel(shortened(f"results of query {own[0].qid}, best first, with their scores", 72))
    return ax


def _checked(results: pd.DataFrame) -> list[Explanation]:
    """The explanations of the page in the order of ranks."""
    if missing := [c for c in ("docno", "explanation") if c not in results.columns]:
        raise ValueError(f"plot_page expects columns docno and explanation, found no {missing}; add model.explainer()")
    ordered = results.sort_values("rank", kind="stable") if "rank" in results else results
    own = explained_in(ordered, stage="plot_page")
    queries = list(dict.fromkeys(str(e.qid) for e in own))
    if len(queries) != 1:
        raise ValueError(
            f"plot_page expects the results of one query, found {len(queries)} {queries[:5]}; "
            "choose one of them: results[results.qid == qid]"
        )
    return own


def _draw(ax: Axes, cells: pd.DataFrame) -> None:
    """The coloured cells, their numbers where these fit, and the scale."""
    from matplotlib.colors import LinearSegmentedColormap

    values = cells.to_numpy()
    largest = float(np.nanmax(np.abs(values))) or 1.0
    colours = LinearSegmentedColormap.from_list("contribution", [LOWERS[0], "#ffffff", RAISES[0]])
    ax.set_facecolor("#e4e4e4")
    # not imshow, which would be an image in an SVG
    mesh = ax.pcolormesh(np.ma.masked_invalid(values), cmap=colours, vmin=-largest, vmax=largest, edgecolors="white", linewidth=1)
    ax.invert_yaxis()
    ax.spines[:].set_visible(False)
    if values.shape[1] <= MOST_NUMBERS:
        for (row, column), value in np.ndenumerate(values):
            if value == value:
                colour = "white" if abs(value) > 0.6 * largest else "black"
                text = f"{value:.2f}".replace("-", "−")
                ax.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize="x-small", color=colour)
    bar = ax.figure.colorbar(mesh, ax=ax, label="part of the score", pad=0.02, aspect=30)
    if bar.solids is not None:
        bar.solids.set_rasterized(False)  # of a scale of many colours matplotlib makes an image unless told
    bar.outline.set_visible(False)
