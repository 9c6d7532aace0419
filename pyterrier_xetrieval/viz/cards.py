"""Explanations as cards: one, a page of results, and two side by side."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
import pandas as pd

from ..core.checks import is_missing, positive_int
from ..explanation import Explanation, explained_in
from ..stages.explain import other_rankings
from .card import card_of
from .comparison import comparison_of, comparison_text
from .templates import render


class Cards:
    """What :func:`show` returns: cards in a notebook, plain text where it is printed."""

    def __init__(self, html: Callable[[], str], text: Callable[[], str]):
        self._html, self._text = html, text

    def _repr_html_(self) -> str:
        return self._html()

    def __str__(self) -> str:
        return self._text()

    __repr__ = __str__


def show(results: pd.DataFrame | Explanation, other: Explanation | None = None, *, num_results: int = 10) -> Cards:
    """Shows explanations in a notebook: a page of results, one explanation, or what sets two of them apart.

    Args:
        results: a frame with an ``explanation`` column, shown query by query in the order of its ``rank``; or an explanation.
        other: a second explanation of the same query, by the same dictionary. Of the same document, it is the one after
            an intervention.
        num_results: how many results of each query to show.

    Returns:
        Cards, which a notebook displays; printed, they are plain text.

    Raises:
        ValueError: neither a frame with explanations nor an explanation; two explanations that cannot be compared.

    Example::

        show(pipeline.search("sort a list by two keys"))
        first, second = results.explanation[:2]
        show(first, second)                                # why the first is above the second
    """
    count = positive_int(num_results, "num_results", stage="show")
    if isinstance(results, Explanation):
        if other is not None:
            results.compare(other)  # the errors of the comparison, at once and not when the notebook displays
            return Cards(lambda: _comparison_html(results, other), lambda: comparison_text(results, other))
        return Cards(lambda: card_html(results), results.to_text)
    if not isinstance(results, pd.DataFrame):
        raise ValueError(f"show expects a result frame or an explanation, found {type(results).__name__}")
    if other is not None:
        raise ValueError(f"show expects two explanations to compare, found a frame and {type(other).__name__}; give it two cells")
    groups = _groups(results, count)
    return Cards(lambda: _page_html(groups), lambda: _page_text(groups))


def card_html(e: Explanation) -> str:
    """One explanation as HTML for a notebook, with its style sheet."""
    return render("cards", groups=[{"query": None, "cards": [card_of(e)]}])


def page_html(e: Explanation) -> str:
    """One explanation as an HTML document."""
    return render("document", title=f"{e.docno} for query {e.qid}", body=card_of(e))


def _comparison_html(left: Explanation, right: Explanation) -> str:
    return render("comparison", **comparison_of(left, right))


def _groups(results: pd.DataFrame, num_results: int) -> list[dict[str, Any]]:
    """The results to show: for each query its text, if the frame has it, and explanations with their ranks."""
    if "explanation" not in results.columns:
        raise ValueError(
            f"show expects a column explanation, found {list(results.columns)}; add model.explainer() to the pipeline"
        )
    explained = _ranked_as_here(results, explained_in(results, stage="show"))
    ranks = pd.to_numeric(results["rank"], errors="coerce").tolist() if "rank" in results.columns else [None] * len(explained)
    queries = results["query"].tolist() if "query" in results.columns else [None] * len(explained)
    groups: dict[str, dict[str, Any]] = {}
    for e, rank, query in zip(explained, ranks, queries):
        group = groups.setdefault(e.qid, {"query": f"query {e.qid}", "results": []})
        if not is_missing(query):
            group["query"] = str(query)
        group["results"].append((None if rank is None or rank != rank else int(rank) + 1, e))
    for group in groups.values():
        group["results"].sort(key=lambda result: float("inf") if result[0] is None else result[0])
        del group["results"][num_results:]
    return list(groups.values())


def _ranked_as_here(results: pd.DataFrame, explained: list[Explanation]) -> list[Explanation]:
    """The explanations as they are in this frame, whose scores a stage may have changed since; its own are left alone."""
    if not {"qid", "score"} <= set(results.columns):
        return explained
    found, rankings = [], other_rankings(results, np.array([e.score for e in explained]), stage="show")
    for i, e in enumerate(explained):
        if e.ranking != rankings.get(i):
            e = copy(e)
            e.ranking = rankings.get(i)
        found.append(e)
    return found


def _page_html(groups: list[dict[str, Any]]) -> str:
    pages = [{"query": group["query"], "cards": [card_of(e, rank) for rank, e in group["results"]]} for group in groups]
    return render("cards", groups=pages)


def _page_text(groups: list[dict[str, Any]]) -> str:
    told = []
    for group in groups:
        told.append(group["query"])
        told += [(f"{rank}. " if rank else "") + e.to_text() for rank, e in group["results"]]
    return "\n\n".join(told) or "no results"
