"""Weights of the views, chosen where nothing is reported: on the queries of a training collection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..core.views import fold_views
from ..model import Xetrieval
from .collection import CUTOFF, EmbeddedCollection, retrieval_ndcg
from .document_views import document_views

MEAN = "mean"
GRID = (0.0, 0.1, 0.2, 0.33, 0.5, 0.75, 1.0, 1.5)


def choose_weights(
    model: Xetrieval,
    training_collection: EmbeddedCollection | Sequence[EmbeddedCollection],
    *,
    grid: Sequence[float] = GRID,
    num_results: int = CUTOFF,
) -> tuple[dict[str, float], pd.DataFrame]:
    """The weights ``w_t`` of Eq. 11's views with the greatest mean nDCG on a training collection.

    First one weight for all views, every number of the grid; then, from the best of these, each aspect's own weight
    in turn, every number of the grid while the others stay. Of equal ones, the set that was tried first stands.
    Nothing but the given collection is looked at, so it should share no query with the evaluated one. Of several
    collections the mean of their means decides, so that each counts the same whatever its number of queries.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval` with internalizers.
        training_collection: queries, documents and judgements to choose by; one, or a list of several.
        grid: the numbers to try.
        num_results: k of nDCG@k.

    Returns:
        aspect to weight, and the table of all sets tried, with columns collection, step (``common`` or the aspect), one
        column ``weight_<aspect>`` each, measure, value (mean nDCG), n (queries), chosen (True in the rows of the
        weights returned). Several collections have a row each for every set, and one called ``mean`` whose ``n`` is
        their number.

    Raises:
        ValueError: an empty grid, a number in it that is not finite, a model without internalizers, no collection.

    Example::

        weights, tried = choose_weights(model, training)
        retrieval(model.with_views(weights=weights), test)
    """
    grid = [float(w) for w in grid]
    if not grid or not np.isfinite(grid).all():
        raise ValueError(f"choose_weights expects a grid of finite numbers, found {grid}")
    if not model.aspects:
        raise ValueError("choose_weights expects a model with internalizers, found one without any view to weight")
    collections = [training_collection] if isinstance(training_collection, EmbeddedCollection) else list(training_collection)
    if not collections:
        raise ValueError("choose_weights expects a collection to choose by, found none")
    views = [[*document_views(model, c.docs).values()] for c in collections]
    known: dict[tuple[float, ...], float] = {}
    rows: list[dict[str, object]] = []

    def best_of(step: str, tried: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
        """The first of the greatest mean; each set of weights is measured once."""
        for weights in tried:
            if weights not in known:
                own = {f"weight_{aspect}": weight for aspect, weight in zip(model.aspects, weights)}
                values = [
                    float(retrieval_ndcg(c, fold_views(v, weights), cutoff=num_results).mean())
                    for c, v in zip(collections, views)
                ]
                known[weights] = float(np.mean(values))
                found = [(c.name, value, len(c.qids)) for c, value in zip(collections, values)]
                found += [(MEAN, known[weights], len(values))] if len(values) > 1 else []
                rows.extend({"collection": name, "step": step, **own, "value": value, "n": n} for name, value, n in found)
        return max(tried, key=lambda weights: known[weights])

    best = best_of("common", [(w,) * len(model.aspects) for w in grid])
    for i, aspect in enumerate(model.aspects):
        best = best_of(aspect, [best, *((*best[:i], w, *best[i + 1 :]) for w in grid)])
    table, columns = pd.DataFrame(rows), [f"weight_{aspect}" for aspect in model.aspects]
    chosen = (table[columns].to_numpy() == np.array(best)).all(axis=1)
    table = table.assign(measure=f"nDCG@{num_results}", chosen=chosen)
    return dict(zip(model.aspects, best)), table[["collection", "step", *columns, "measure", "value", "n", "chosen"]]
