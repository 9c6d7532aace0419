"""Weights of the views, chosen where nothing is reported: on the queries of a training collection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..core.internalizer import internalize
from ..core.views import fold_views
from .collection import CUTOFF, EmbeddedCollection, ndcg, rank

MEAN = "mean"
GRID = (0.0, 0.1, 0.2, 0.33, 0.5, 0.75, 1.0, 1.5)


def choose_weights(
    model, training_collection: EmbeddedCollection | Sequence[EmbeddedCollection], *, grid: Sequence[float] = GRID, num_results: int = CUTOFF,
    batch_size: int = 4096,
) -> tuple[dict[str, float], pd.DataFrame]:  # fmt: skip
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
        batch_size: documents internalised at once.

    Returns:
        aspect to weight, and the table of all sets tried: columns collection, step (``common`` or the aspect), one
        column ``weight_<aspect>`` each, measure, value (mean nDCG), n (queries), chosen (True in the rows of the
        weights returned). Several collections have a row each for every set, and one called ``mean`` whose ``n`` is
        their number.

    Raises:
        ValueError: an empty grid, a number in it that is not finite, a model without internalizers, no collection.

    Example::

        weights, tried = choose_weights(model, training)
        retrieval(model, test, weights=weights)
    """
    grid = [float(w) for w in grid]
    if not grid or not np.isfinite(grid).all():
        raise ValueError(f"choose_weights expects a grid of finite numbers, found {grid}")
    if not model.aspects:
        raise ValueError("choose_weights expects a model with internalizers, found one without any view to weight")
    collections = [training_collection] if isinstance(training_collection, EmbeddedCollection) else list(training_collection)
    if not collections:
        raise ValueError("choose_weights expects a collection to choose by, found none")
    views = [_views(model, np.asarray(collection.docs), batch_size) for collection in collections]
    known: dict[tuple[float, ...], float] = {}
    rows = []

    def measure(step: str, weights: tuple[float, ...]) -> float:
        if weights not in known:
            own = {f"weight_{a}": w for a, w in zip(model.aspects, weights)}
            values = [_mean_ndcg(c, fold_views(v, weights), num_results) for c, v in zip(collections, views, strict=True)]
            known[weights] = float(np.mean(values))
            found = [(c.name, value, len(c.qids)) for c, value in zip(collections, values, strict=True)]
            found += [(MEAN, known[weights], len(values))] if len(values) > 1 else []
            rows.extend({"collection": name, "step": step, **own, "value": value, "n": n} for name, value, n in found)
        return known[weights]

    best = max(((w,) * len(model.aspects) for w in grid), key=lambda weights: measure("common", weights))
    for i, aspect in enumerate(model.aspects):
        tried = [best, *((*best[:i], w, *best[i + 1 :]) for w in grid)]
        best = max(tried, key=lambda weights, step=aspect: measure(step, weights))
    table = pd.DataFrame(rows)
    columns = [f"weight_{a}" for a in model.aspects]
    table = table.assign(measure=f"nDCG@{num_results}", chosen=(table[columns].to_numpy() == np.array(best)).all(axis=1))
    return dict(zip(model.aspects, best)), table[["collection", "step", *columns, "measure", "value", "n", "chosen"]]


def _views(model, docs: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """The original view and every internalised one, float32 ``[n, m]`` each."""
    return [docs, *(internalize(model.internalizers[a], docs, batch_size=batch_size) for a in model.aspects)]


def _mean_ndcg(collection: EmbeddedCollection, docs: np.ndarray, num_results: int) -> float:
    found, _ = rank(collection.queries, docs, num_results, excluded=collection.excluded)
    return float(ndcg(collection, found, cutoff=num_results).mean())
