"""Does reasoning help retrieval? nDCG without it, internalised, and written out (Cai et al. 2026, Table 1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

import ir_measures
import numpy as np
import pandas as pd
import pyterrier as pt
from scipy import stats

from ..core.checks import positive_int
from ..core.internalizer import internalize
from ..core.views import fold_views
from ..stages.base import Stage
from ..stages.columns import stack_unique, unstack
from .bootstrap import estimate
from .collection import CUTOFF, EmbeddedCollection, rank

ORIGINAL = "original"
INTERNALIZER, COT = "internalizer", "CoT reasoner"


class VectorRetriever(Stage):
    """Exact dot-product retrieval over vectors in memory: ``qid``, ``query_vec`` in, ``docno``, ``score``, ``rank`` out.

    All queries of a frame are answered together. What a collection excludes for a query is never retrieved for it.

    Args:
        collection: whose documents and excluded documents are meant.
        docs: float32 ``[n, m]``, vectors in the place of the collection's own (folded, reconstructed, edited, …).
        num_results: documents for each query.

    Raises:
        ValueError: another number of vectors than documents; a query that the collection does not have.
    """

    def __init__(self, collection: EmbeddedCollection, docs: np.ndarray | None = None, *, num_results: int = CUTOFF):
        self.collection, self.docs = collection, collection.docs if docs is None else docs
        self.num_results = positive_int(num_results, "num_results", stage="VectorRetriever")
        if len(self.docs) != len(collection.docnos):
            raise ValueError(f"VectorRetriever expects {len(collection.docnos)} vectors, found {len(self.docs)}")

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        pt.validate.query_frame(inp, extra_columns=["query_vec"], context=self)
        queries, which = stack_unique(inp, "query_vec", dim=self.docs.shape[1], stage=self)
        at = {qid: i for i, qid in enumerate(self.collection.qids.tolist())}
        unknown = [qid for qid in inp["qid"] if qid not in at]
        if unknown:
            raise ValueError(f"{self!r} knows no query {unknown[0]!r}, so not what is excluded for it")
        excluded = [self.collection.excluded[at[qid]] for qid in inp["qid"]]
        rows, scores = rank(queries[which], self.docs, self.num_results, excluded=excluded)
        query, position = np.nonzero(rows >= 0)
        found = rows[query, position]
        out = inp.iloc[query].reset_index(drop=True)
        return out.assign(docno=self.collection.docnos[found], score=scores[query, position].astype(np.float64), rank=position)

    def _identity(self) -> tuple:
        return (id(self.collection), id(self.docs), self.num_results)

    def __repr__(self) -> str:
        return f"VectorRetriever(<{self.collection.name}, {len(self.docs)} documents>, num_results={self.num_results})"


class System(NamedTuple):
    """One line of a table: what it is called, and the vectors and weights that its documents are folded from."""

    enhancement: str
    views: tuple[str, ...]
    vectors: list[np.ndarray]
    weights: tuple[float, ...]  # of all views but the first

    @property
    def conditions(self) -> dict:
        return {
            "enhancement": self.enhancement,
            "views": " + ".join(self.views),
            "weights": " + ".join(f"{w:g}" for w in (1.0, *self.weights)),
        }


def retrieval(
    model, collection: EmbeddedCollection, *, weights=None, explicit: Mapping[str, np.ndarray] | None = None,
    num_results: int = CUTOFF, per_query: bool = False, batch_size: int = 4096, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Table 1: nDCG of dense retrieval alone, with internalised views (Eq. 11), and with a CoT reasoner's views.

    Multi-view systems retrieve from the whole collection with folded vectors. Weights are 1, and ``weights``; the test is
    the paired t-test against the dense system, p values corrected by Holm over the table's systems.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        collection: what to retrieve from.
        weights: beside 1, as in :class:`~pyterrier_xetrieval.MultiViewScorer`; None for the model's own. Choose them on
            other queries, see :func:`~pyterrier_xetrieval.evaluation.view_weights.choose_weights`.
        explicit: aspect to float32 ``[n, m]``, vectors of texts that a language model wrote about the documents, for
            aspects of the model.
        num_results: k of nDCG@k.
        per_query: return each query's nDCG instead of the table.
        batch_size: documents internalised at once.
        seed: of the bootstrap.

    Returns:
        columns collection, enhancement, views, weights, measure, value, low, high, n. Measures: ``nDCG@k``; for all but the
        dense system ``nDCG@k_minus_dense``, ``improved`` and ``degraded`` (queries), ``p`` and ``p_holm``. Intervals are 95%
        bootstrap over queries, n counts these. With ``per_query``: collection, enhancement, views, weights, qid, measure, value.

    Raises:
        ValueError: weights that do not fit; explicit views of other aspects or shapes.

    Example::

        table = retrieval(Xetrieval.default(), collection, weights=[0.3, 0, 0.5])
        table[table.measure == "nDCG@10"]
    """
    given = model.check_weights(weights, model.aspects, stage="retrieval")
    views = _views(model, collection, explicit, batch_size)

    def systems() -> Iterator[System]:
        original = views[ORIGINAL, ORIGINAL]
        yield System("none", (ORIGINAL,), [original], ())
        for kind in (INTERNALIZER, COT):
            own = {aspect: vectors for (k, aspect), vectors in views.items() if k == kind}
            for chosen in dict.fromkeys(((1.0,) * len(model.aspects), given)) if own else ():
                by_aspect = dict(zip(model.aspects, chosen))
                yield System(kind, (ORIGINAL, *own), [original, *own.values()], tuple(by_aspect[a] for a in own))

    return compare(collection, systems(), num_results=num_results, per_query=per_query, seed=seed)


def ablation(
    model, collection: EmbeddedCollection, *, explicit: Mapping[str, np.ndarray] | None = None,
    num_results: int = CUTOFF, per_query: bool = False, batch_size: int = 4096, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Which view does what: every non-empty subset of the views with weights 1, each view alone among them.

    Arguments and columns as for :func:`retrieval`; the p values are corrected over all systems of this table. The
    dense system, the original view alone, comes first.
    """
    views = _views(model, collection, explicit, batch_size)

    def systems() -> Iterator[System]:
        original = views[ORIGINAL, ORIGINAL]
        yield System("none", (ORIGINAL,), [original], ())
        for kind in (INTERNALIZER, COT):
            own = {ORIGINAL: original} | {aspect: vectors for (k, aspect), vectors in views.items() if k == kind}
            subsets = [names for size in range(1, len(own) + 1) for names in combinations(own, size)]
            for names in subsets:
                if names != (ORIGINAL,):
                    yield System(kind, names, [own[name] for name in names], (1.0,) * (len(names) - 1))

    return compare(collection, systems(), num_results=num_results, per_query=per_query, seed=seed)


def compare(
    collection: EmbeddedCollection, systems: Iterator[System], *, num_results: int, per_query: bool, seed: int
) -> pd.DataFrame:
    """The table of :func:`retrieval` for any systems, the first one the baseline."""
    topics = pd.DataFrame(
        {"qid": collection.qids, "query": collection.qids if collection.query_texts is None else collection.query_texts}
    )
    topics["query_vec"] = unstack(np.asarray(collection.queries))
    conditions, runs = [], {}
    for i, system in enumerate(systems):  # one folded matrix at a time
        conditions.append({"collection": collection.name, **system.conditions})
        found = VectorRetriever(collection, fold_views(system.vectors, system.weights), num_results=num_results)(topics)
        # trec_eval would order equal scores by docno; the order of retrieval stands
        runs[str(i)] = found[["qid", "docno", "rank"]].assign(score=-found["rank"].astype(np.float64))
    measure = ir_measures.nDCG @ num_results
    topics, judgements = topics[["qid", "query"]], qrels(collection)
    each = pt.Experiment(runs, topics, judgements, [measure], perquery=True)
    each = each.pivot(index="qid", columns="name", values="value").reindex(collection.qids).fillna(0.0)
    name, n = str(measure), len(collection.qids)
    if per_query:
        frames = [
            pd.DataFrame({**known, "qid": collection.qids, "measure": name, "value": each[str(i)].to_numpy()})
            for i, known in enumerate(conditions)
        ]
        return pd.concat(frames, ignore_index=True)
    tests = None
    if len(runs) > 1 and n > 1:
        tests = pt.Experiment(runs, topics, judgements, [measure], baseline="0", test=paired_t, correction="holm")
        tests = tests.set_index("name")
    rows = []
    for i, known in enumerate(conditions):
        values = each[str(i)].to_numpy()
        rows.append({**known, "measure": name, **estimate(values, seed=seed)})
        if not i:
            continue
        difference = values - each["0"].to_numpy()
        rows.append({**known, "measure": f"{name}_minus_dense", **estimate(difference, seed=seed)})
        rows.append({**known, "measure": "improved", "value": float((difference > 0).sum()), "n": n})
        rows.append({**known, "measure": "degraded", "value": float((difference < 0).sum()), "n": n})
        if tests is not None:
            found = tests.loc[str(i)]
            rows.append({**known, "measure": "p", "value": found[f"{name} p-value"], "n": n})
            rows.append({**known, "measure": "p_holm", "value": found[f"{name} p-value corrected"], "n": n})
    return pd.DataFrame(rows, columns=[*conditions[0], "measure", "value", "low", "high", "n"])


def paired_t(system: np.ndarray, baseline: np.ndarray) -> tuple[float, float]:
    """Statistic and p of the paired t-test; p is 1, not undefined, where no query differs (which Holm could not order)."""
    if np.array_equal(system, baseline):
        return 0.0, 1.0
    return tuple(map(float, stats.ttest_rel(system, baseline)))


def qrels(collection: EmbeddedCollection) -> pd.DataFrame:
    """The judgements as PyTerrier has them: qid, docno, label."""
    rows = [(q, d, label) for q, judged in zip(collection.qids, collection.judged) for d, label in judged.items()]
    frame = pd.DataFrame(rows, columns=["qid", "docno", "label"])
    return frame.assign(docno=collection.docnos[frame["docno"].to_numpy(np.int64)])


def _views(model, collection, explicit, batch_size) -> dict[tuple[str, str], np.ndarray]:
    """(kind, aspect) to the vectors ``[n, m]`` of every view, the original first."""
    docs = np.asarray(collection.docs)
    views = {(ORIGINAL, ORIGINAL): docs}
    for aspect in model.aspects:
        views[INTERNALIZER, aspect] = internalize(model.internalizers[aspect], docs, batch_size=batch_size)
    for aspect, vectors in (explicit or {}).items():
        if aspect not in model.aspects or np.shape(vectors) != docs.shape:
            raise ValueError(f"retrieval expects explicit views of {list(model.aspects)} with shape {docs.shape}, found "
                             f"{aspect!r} with shape {np.shape(vectors)}")  # fmt: skip
        views[COT, aspect] = np.asarray(vectors, np.float32)
    return views
