"""Figures of what dictionaries keep of vectors and what their labels are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .axes import axes_or_new, titled
from .frames import by, chosen, kinds, rows_of
from .primitives import draw_dots, draw_histogram, draw_lines, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OF_VIEWS = {
    "mse": "mean squared error",
    "variance_explained": "share of variance explained",
    "l0": "active features of a vector",
    "features_active": "features that any vector activates",
}
BINS = 20


def plot_reconstruction(frame: pd.DataFrame, *, measure: str = "mse", ax: Axes | None = None) -> Axes:
    """How well dictionaries rebuild each view from its features, with the encoder's own coefficients.

    A row for each view, a marker for each dictionary, with 95% intervals where there are any.

    Args:
        frame: what :func:`pyterrier_xetrieval.evaluation.reconstruction` returns, of eight dictionaries at most.
        measure: ``"mse"``, ``"variance_explained"``, ``"l0"`` or ``"features_active"``.
        ax: where to draw; a new figure unless given.

    Returns:
        the axes; the horizontal axis is in the unit of the measure.

    Raises:
        ValueError: another table or measure, or more dictionaries. ImportError: matplotlib is not installed.

    Example::

        plot_reconstruction(reconstruction(model, collection), measure="variance_explained")
    """
    rows = _of_views(rows_of(frame, "reconstruction", "sae", "view", "refit"), measure)
    series = {shortened(str(name), 24): by(own, "view") for name, own in rows.groupby("sae", sort=False)}
    names = list(dict.fromkeys(rows["view"]))
    ax = axes_or_new(ax, 6.5, 0.9 + max(0.3, 0.08 * len(series)) * len(names))
    draw_dots(ax, series, names, kinds(series))
    ax.set_xlabel(OF_VIEWS[measure])
    return titled(ax, rows)


def plot_sparsity(frame: pd.DataFrame, *, measure: str = "mse", view: str = "original", ax: Axes | None = None) -> Axes:
    """What dictionaries keep against how many features they take for it (Cai et al. 2026, Fig. 3 and 4).

    Dictionaries whose names differ in the last word alone (``"topk 16"``, ``"topk 32"``) are of one kind and joined by a
    line, in the order of their active features. All with the encoder's own coefficients.

    Args:
        frame: what :func:`pyterrier_xetrieval.evaluation.reconstruction` returns, of eight kinds at most.
        measure: ``"mse"``, ``"variance_explained"``, ``"features_active"``, or, of the original view, ``"nDCG@10"`` with
            rebuilt documents (or another cutoff) or ``"mono_semanticity"``.
        view: whose vectors: ``"original"``, an aspect or ``"query"``.
        ax: where to draw; a new figure unless given.

    Returns:
        the axes; the horizontal axis is the mean number of active features of a vector, every doubling equally wide.

    Raises:
        ValueError: another table, measure or view, or more kinds. ImportError: matplotlib is not installed.

    Example::

        saes = {f"{kind} {k}": … for kind in ("topk", "jumprelu") for k in (16, 32, 64)}
        plot_sparsity(reconstruction(model, collection, saes=saes), measure="variance_explained")
    """
    rows = chosen(rows_of(frame, "reconstruction", "sae", "view", "refit", "reconstructed", "unit"), view=view)
    active = chosen(rows, measure="l0").set_index("sae")["value"]
    if measure in OF_VIEWS:
        own = _of_views(rows, measure)
    else:
        own = chosen(rows, measure=measure)
        if measure.startswith("nDCG"):
            own = own[(own["reconstructed"] == "docs") & own["refit"].eq(False) & own["unit"].eq(False)]
    points = by(own, "sae")
    points["kind"] = [" ".join(str(name).split()[:-1]) or str(name) for name in points.index]
    points = points[points.index.map(active) > 0]  # a dead dictionary has no place on this axis
    points.index = points.index.map(active)
    series = {shortened(name, 24): part.drop(columns="kind") for name, part in points.groupby("kind", sort=False)}
    ax = axes_or_new(ax, 5.5, 3.2)
    draw_lines(ax, series, kinds(series), doubling=True)
    label = f"{measure} with rebuilt documents (%)" if measure.startswith("nDCG") else measure.replace("_", "-")
    ax.set(xlabel=OF_VIEWS["l0"], ylabel=OF_VIEWS.get(measure, label))
    if measure.startswith("nDCG"):
        ax.yaxis.set_major_formatter(lambda value, place: f"{100 * value:g}")
    return titled(ax, rows)


def plot_label_scores(frame: pd.DataFrame, *, labels: str = "keywords", ax: Axes | None = None) -> Axes:
    """How well labels tell the texts that activate their features: the distribution over features (Cai et al. 2026, Fig. 5).

    An outline of a histogram of 20 bins for each dictionary, with its number of features; .5 is chance.

    Args:
        frame: what :func:`pyterrier_xetrieval.evaluation.label_scores` returns, of eight dictionaries at most.
        labels: ``"keywords"`` (drawn is the balanced accuracy) or ``"hypotheses"`` (the detection score).
        ax: where to draw; a new figure unless given.

    Returns:
        the axes; the horizontal axis is a share of right answers, the vertical one a share of features.

    Raises:
        ValueError: another table or kind of labels, or more dictionaries. ImportError: matplotlib is not installed.

    Example::

        plot_label_scores(label_scores(model, collection))
    """
    rows = rows_of(frame, "label_scores", "sae", "labels", "feature", numbers=("measure", "value"))
    rows = chosen(rows, labels=labels)
    rows = chosen(rows, measure="balanced_accuracy" if labels == "keywords" else "detection")
    counts = {
        f"{shortened(str(name), 24)} ({len(own):,} features)": np.histogram(own["value"], BINS, (0, 1))[0]
        for name, own in rows.groupby("sae", sort=False)
    }
    kinds(counts)
    ax = axes_or_new(ax, 6.5, 3)
    draw_histogram(ax, counts)
    ax.axvline(0.5, color="#777777", lw=0.8)
    ax.set_xlabel("balanced accuracy of a feature's label" if labels == "keywords" else "detection score of a feature's label")
    return titled(ax, rows)


def _of_views(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """The rows of a measure that every view has, with the encoder's own coefficients where these matter."""
    if measure not in OF_VIEWS:
        raise ValueError(f"figure expects measure among {list(OF_VIEWS)}, found {measure!r}")
    return chosen(rows[rows["refit"].isna() | rows["refit"].eq(False)], measure=measure)
