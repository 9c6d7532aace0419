"""Weights of the views, chosen where nothing is reported: on the queries of a training collection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..internalizer import internalize
from ..scorer import fold_views
from .collection import CUTOFF, EmbeddedCollection, ndcg, rank

GRID = (0.0, 0.1, 0.2, 0.33, 0.5, 0.75, 1.0, 1.5)


def choose_weights(
    model, training_collection: EmbeddedCollection, *, grid: Sequence[float] = GRID, num_results: int = CUTOFF,
    batch_size: int = 4096,
) -> tuple[dict[str, float], pd.DataFrame]:  # fmt: skip
    """The weights ``w_t`` of Eq. 11's views with the greatest mean nDCG on a training collection.

    First one weight for all views, every number of the grid; then, from the best of these, each aspect's own weight
    in turn, every number of the grid while the others stay. Of equal ones, the set that was tried first stands.
    Nothing but the given collection is looked at, so it should share no query with the evaluated one.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval` with internalizers.
        training_collection: queries, documents and judgements to choose by.
        grid: the numbers to try.
        num_results: k of nDCG@k.
        batch_size: documents internalised at once.

    Returns:
        aspect to weight, and the table of all sets tried: columns collection, step (``common`` or the aspect), one
        column ``weight_<aspect>`` each, measure, value (mean nDCG), n (queries), chosen (True in the row of the
        weights returned).

    Raises:
        ValueError: an empty grid, a number in it that is not finite, a model without internalizers.

    Example::

        weights, tried = choose_weights(model, training)
        retrieval(model, test, weights=weights)
    """
    grid = [float(w) for w in grid]
    if not grid or not np.isfinite(grid).all():
        raise ValueError(f"choose_weights expects a grid of finite numbers, found {grid}")
    if not model.aspects:
        raise ValueError("choose_weights expects a model with internalizers, found one without any view to weight")
    docs = np.asarray(training_collection.docs)
    views = [docs, *(internalize(model.internalizers[a], docs, batch_size=batch_size) for a in model.aspects)]
    known: dict[tuple[float, ...], float] = {}
    rows = []

    def measure(step: str, weights: tuple[float, ...]) -> float:
        if weights not in known:
            folded = fold_views(views, weights)
            found, _ = rank(training_collection.queries, folded, num_results, excluded=training_collection.excluded)
            known[weights] = float(ndcg(training_collection, found, cutoff=num_results).mean())
            own = {f"weight_{a}": w for a, w in zip(model.aspects, weights)}
            rows.append({"collection": training_collection.name, "step": step, **own, "value": known[weights]})
        return known[weights]

    best = max(((w,) * len(model.aspects) for w in grid), key=lambda weights: measure("common", weights))
    for i, aspect in enumerate(model.aspects):
        tried = [best, *((*best[:i], w, *best[i + 1 :]) for w in grid)]
        best = max(tried, key=lambda weights, step=aspect: measure(step, weights))
    table = pd.DataFrame(rows)
    columns = [f"weight_{a}" for a in model.aspects]
    table = table.assign(
        measure=f"nDCG@{num_results}",
        n=len(training_collection.qids),
        chosen=(table[columns].to_numpy() == np.array(best)).all(axis=1),
    )
    return dict(zip(model.aspects, best)), table[["collection", "step", *columns, "measure", "value", "n", "chosen"]]
