"""Does reasoning help retrieval? nDCG without it, internalised, and written out (Cai et al. 2026, Table 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..core.checks import positive_ints
from ..core.internalizer import ORIGINAL
from ..core.views import fold_views
from ..model import Xetrieval
from .collection import CUTOFF, EmbeddedCollection, retrieval_ndcg
from .document_views import document_views
from .significance import holm, paired_t
from .tidy_rows import TidyRows

INTERNALIZER, COT = "internalizer", "CoT reasoner"


class System(NamedTuple):
    """One line of a table: what it is called, and the views and weights that its documents are folded from."""

    enhancement: str
    views: Mapping[str, np.ndarray]
    weights: tuple[float, ...]  # of all views but the first

    @property
    def conditions(self) -> dict[str, Any]:
        weights = " + ".join(f"{weight:g}" for weight in (1.0, *self.weights))
        return {"enhancement": self.enhancement, "views": " + ".join(self.views), "weights": weights}


def retrieval(
    model: Xetrieval,
    collection: EmbeddedCollection,
    *,
    explicit: Mapping[str, np.ndarray] | None = None,
    num_results: int = CUTOFF,
    per_query: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Table 1: nDCG of dense retrieval alone, with internalised views (Eq. 11), and with a CoT reasoner's views.

    Multi-view systems retrieve from the whole collection with folded vectors, whose views weigh 1 each, and once more
    as the model says (:meth:`~pyterrier_xetrieval.Xetrieval.with_views`); choose weights on other queries, see
    :func:`~pyterrier_xetrieval.evaluation.choose_weights`. The test is the paired t-test against the dense system, p
    values corrected by Holm over the table's systems.

    Args:
        model: whose views and weights.
        collection: what to retrieve from.
        explicit: aspect to float32 ``[n, m]``, vectors of texts that a language model wrote about the documents, for
            aspects of the model.
        num_results: k of nDCG@k.
        per_query: return each query's nDCG instead of the table.
        seed: of the bootstrap.

    Returns:
        columns collection, enhancement, views, weights, measure, value, low, high, n. Measures are ``nDCG@k``; for all but
        the dense system ``nDCG@k_minus_dense``, ``improved`` and ``degraded`` (queries), ``p`` and ``p_holm``.
        Intervals are 95% bootstrap over queries, n counts these. With ``per_query``: collection, enhancement, views,
        weights, qid, measure, value.

    Raises:
        ValueError: explicit views of other aspects or shapes.

    Example::

        table = retrieval(model.with_views(weights=[0.3, 0, 0.5]), collection)
        table[table.measure == "nDCG@10"]
    """
    original, by_kind = _views(model, collection, explicit)
    systems = [System("none", original, ())]
    for kind, views in by_kind.items():
        for weights in dict.fromkeys([(1.0,) * len(model.aspects), tuple(model.weights.values())]):
            by_aspect = dict(zip(model.aspects, weights))
            systems.append(System(kind, original | views, tuple(by_aspect[aspect] for aspect in views)))
    return _compared(collection, systems, num_results, per_query, seed)


def ablation(
    model: Xetrieval,
    collection: EmbeddedCollection,
    *,
    explicit: Mapping[str, np.ndarray] | None = None,
    num_results: int = CUTOFF,
    per_query: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Which view does what: every non-empty subset of the views with weights 1, each view alone among them.

    Arguments and columns as for :func:`retrieval`; the p values are corrected over all systems of this table. The
    dense system, the original view alone, comes first.
    """
    original, by_kind = _views(model, collection, explicit)
    systems = [System("none", original, ())]
    for kind, views in by_kind.items():
        own = original | views
        for names in (names for size in range(1, len(own) + 1) for names in combinations(own, size)):
            if names != (ORIGINAL,):
                systems.append(System(kind, {name: own[name] for name in names}, (1.0,) * (len(names) - 1)))
    return _compared(collection, systems, num_results, per_query, seed)


def _compared(
    collection: EmbeddedCollection, systems: Sequence[System], num_results: int, per_query: bool, seed: int
) -> pd.DataFrame:
    """The table of :func:`retrieval` for any systems, the first one the baseline."""
    positive_ints(stage="retrieval", num_results=num_results)
    name, n = f"nDCG@{num_results}", len(collection.qids)
    # one folded matrix at a time
    values = [retrieval_ndcg(collection, fold_views([*s.views.values()], s.weights), cutoff=num_results) for s in systems]
    if per_query:
        first = {"collection": collection.name}
        known = {"qid": collection.qids, "measure": name}
        frames = [pd.DataFrame({**first, **s.conditions, **known, "value": v}) for s, v in zip(systems, values)]
        return pd.concat(frames, ignore_index=True)
    dense, tests = values[0], [paired_t(value, values[0]) for value in values[1:]] if n > 1 else []
    corrected, rows = [np.nan, *holm(tests)], TidyRows(seed, collection=collection.name)
    for i, (system, value) in enumerate(zip(systems, values)):
        rows.mean(name, value, **system.conditions)
        if i:
            rows.mean(f"{name}_minus_dense", value - dense, **system.conditions)
            rows.number("improved", float((value > dense).sum()), n, **system.conditions)
            rows.number("degraded", float((value < dense).sum()), n, **system.conditions)
        if i and tests:
            rows.number("p", tests[i - 1], n, **system.conditions)
            rows.number("p_holm", corrected[i], n, **system.conditions)
    return rows.frame("enhancement", "views", "weights")


def _views(
    model: Xetrieval, collection: EmbeddedCollection, explicit: Mapping[str, np.ndarray] | None
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, np.ndarray]]]:
    """The original view; and the others, name to float32 ``[n, m]``, by what made them, where there are any."""
    views = document_views(model, collection.docs)
    original = {ORIGINAL: views.pop(ORIGINAL)}
    shape = original[ORIGINAL].shape
    for aspect, vectors in (explicit or {}).items():
        if aspect not in model.aspects or np.shape(vectors) != shape:
            raise ValueError(
                f"retrieval expects explicit views of {list(model.aspects)} with shape {shape}, found "
                f"{aspect!r} with shape {np.shape(vectors)}"
            )
    written = {aspect: np.asarray(vectors, np.float32) for aspect, vectors in (explicit or {}).items()}
    return original, {kind: own for kind, own in ((INTERNALIZER, views), (COT, written)) if own}
