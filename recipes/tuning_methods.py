"""What a practitioner may do about a dense retriever's queries: calibration, links, and what they have to be better than.

Every method is a function of a collection and of the rows of its training and test queries. It returns the test queries' vectors,
changed; the documents stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pyterrier_dr import FlexIndex

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.core.codes import encode_view
from pyterrier_xetrieval.evaluation import EmbeddedCollection
from pyterrier_xetrieval.evaluation.collection import rank
from pyterrier_xetrieval.evaluation.dictionaries import untrained
from pyterrier_xetrieval.query_tuning import QueryTuning
from pyterrier_xetrieval.training.judged_candidates import JudgedCandidates
from pyterrier_xetrieval.training.link_path import Judged, link_path
from pyterrier_xetrieval.training.tuner import FeatureTuner
from pyterrier_xetrieval.vector_cells import unstack
from recipes.measured_collections import qrels_of
from recipes.tuning_folds import folds

DEPTH, LISTED = 200, 40
PRF_DOCS, PRF_FEATURES, PRF_WEIGHT = 3, 20, 0.3
FOLDS = 3


@dataclass
class Trial:
    """One collection, its index and model, and for each query its group, int64 ``[q]``: a group is never in two folds."""

    model: Xetrieval
    collection: EmbeddedCollection
    index: FlexIndex
    groups: np.ndarray
    seed: int = 0

    @classmethod
    def of(cls, model: Xetrieval, collection: EmbeddedCollection, folder: Path, seed: int = 0) -> Trial:
        index = FlexIndex(str(folder), verbose=False)
        if not index.built():
            index.index({"docno": d, "doc_vec": v} for d, v in zip(collection.docnos.tolist(), np.asarray(collection.docs)))
        return cls(model, collection, index, np.arange(len(collection.qids)), seed)

    def topics(self, rows: np.ndarray) -> pd.DataFrame:
        """Results of the first stage, without what must not be retrieved, as candidates."""
        own = self.collection.select(rows)
        found, _ = rank(own.queries, own.docs, DEPTH, excluded=own.excluded)
        qid = np.repeat(own.qids, found.shape[1])
        at = np.repeat(np.arange(len(rows)), found.shape[1])
        kept = found.ravel() >= 0
        docnos, vectors = self.collection.docnos[found.ravel()[kept]], unstack(own.queries, at[kept])
        return pd.DataFrame({"qid": qid[kept], "docno": docnos, "query_vec": vectors})

    def qrels(self, rows: np.ndarray, *, shuffled: bool = False) -> pd.DataFrame:
        """Judgements of these queries; ``shuffled``, those of another one of them in the place of each one's own."""
        own = self.collection.select(rows)
        if shuffled:
            order = np.random.default_rng(self.seed).permutation(len(rows))
            own = replace(own, judged=[own.judged[i] for i in np.roll(order, 1)[np.argsort(order)]])
        return qrels_of(own)

    def changed(self, stage, rows: np.ndarray) -> np.ndarray:
        frame = pd.DataFrame({"qid": self.collection.qids[rows], "query_vec": unstack(self.collection.queries, rows)})
        return np.stack(stage(frame)["query_vec"])


def dense(trial: Trial, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    return trial.collection.queries[test]


def calibrated(trial: Trial, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    return trial.changed(trial.model.calibrated(trial.index), test)


def centred(trial: Trial, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """``⟨q − μ, z − μ⟩`` ranks as ``⟨q − μ, z⟩`` does."""
    return trial.collection.queries[test] - np.asarray(trial.collection.docs).mean(axis=0)


def feature_idf(trial: Trial, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Each feature of the query times its idf over the corpus, in units of the mean idf of the query's features."""
    sae, q = trial.model.sae, trial.collection.queries[test]
    shown = encode_view(sae, np.ascontiguousarray(trial.collection.docs), refit=False, batch_size=512)
    count = np.bincount(shown.ids[shown.activations > 0], minlength=sae.dict_size)
    idf = np.log((1 + len(shown.ids)) / (1 + count))
    codes = encode_view(sae, q, refit=False, batch_size=512)
    own = idf[codes.ids]
    mean = (own * codes.activations).sum(axis=1, keepdims=True) / codes.activations.sum(axis=1, keepdims=True)
    change = (own / mean - 1) * codes.activations
    return q + np.einsum("nk,nkm->nm", change, sae.w_dec.detach().numpy()[codes.ids]).astype(np.float32)


def vector_prf(trial: Trial, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """pyterrier_dr's ``VectorPrf`` with its own parameters: ``α q + β`` mean of the first three documents."""
    from pyterrier_dr import VectorPrf

    frame = _with_vectors(trial, test)
    moved = VectorPrf(k=PRF_DOCS)(frame).set_index("qid")["query_vec"]
    return np.stack([moved[qid] for qid in trial.collection.qids[test]])


def feature_prf(trial: Trial, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """RM3's idea on features: those of the first documents, the strongest of their mean, are added to the query."""
    sae, q = trial.model.sae, trial.collection.queries[test]
    own = trial.collection.select(test)
    first, _ = rank(q, own.docs, PRF_DOCS, excluded=own.excluded)
    docs = np.asarray(trial.collection.docs)[first.ravel()]
    codes = encode_view(sae, docs, refit=False, batch_size=512)
    mean = np.zeros((len(test), sae.dict_size), np.float32)
    np.add.at(mean, (np.repeat(np.arange(len(test)), PRF_DOCS)[:, None], codes.ids), codes.activations / PRF_DOCS)
    kept = np.argpartition(-mean, PRF_FEATURES, axis=1)[:, :PRF_FEATURES]
    return q + PRF_WEIGHT * np.einsum("nk,nkm->nm", np.take_along_axis(mean, kept, 1), sae.w_dec.detach().numpy()[kept])


def _with_vectors(trial: Trial, rows: np.ndarray) -> pd.DataFrame:
    frame = trial.topics(rows)
    frame = frame[frame.groupby("qid").cumcount() < PRF_DOCS].reset_index(drop=True)
    by_docno = dict(zip(trial.collection.docnos.tolist(), np.asarray(trial.collection.docs)))
    ranks = frame.groupby("qid").cumcount()
    return frame.assign(query="", doc_vec=[by_docno[d] for d in frame["docno"]], rank=ranks, score=-ranks.astype(float))


def links(trial: Trial, train: np.ndarray, test: np.ndarray, *, calibrate: bool = False, shuffled: bool = False) -> np.ndarray:
    return trial.changed(fitted(trial, train, calibrate=calibrate, shuffled=shuffled), test)


def fitted(trial: Trial, train: np.ndarray, *, calibrate: bool = True, shuffled: bool = False) -> FeatureTuner:
    tuner = trial.model.tuner(trial.index, calibrate=calibrate, seed=trial.seed)
    return tuner.fit(trial.topics(train), trial.qrels(train, shuffled=shuffled))


def random_links(trial: Trial, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Links between the features of a dictionary that was never trained."""
    sae = trial.model.sae
    random = untrained(sae, with_bias=True, seed=trial.seed)
    model = Xetrieval.from_parts(internalizers={}, sae=random, encoder={"dim": sae.dim}).with_check("off")
    return links(replace(trial, model=model), train, test, calibrate=True)


def feature_weights(trial: Trial, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """One weight for each feature of the query: links from a feature to itself, the penalty by cross-validation."""
    data, shown = _data(trial, train)
    sae = trial.model.sae
    directions = sae.w_dec.detach()
    allowed = torch.eye(sae.dict_size, dtype=torch.bool)

    def path(rows: np.ndarray):
        docs, target = data.listed(rows, LISTED)
        judged = Judged(*map(torch.from_numpy, (data.mapped[rows], shown[rows], data.vectors(docs), target)))
        return link_path(judged, directions, max_links=10_000, allowed=allowed)

    w = directions.numpy()
    chosen = _best(
        data, lambda rows: [(s.penalty, lambda q, a, s=s: s.moved(q, a, w)) for s in path(rows)], shown, _folds(trial, train)
    )
    found = {s.penalty: s for s in path(np.arange(len(data)))}
    q = trial.collection.queries[test]
    return q if chosen is None else found[chosen].moved(q, _activations(trial.model, q), w)


def shift(trial: Trial, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """One vector for all queries, with an L2 penalty by cross-validation."""
    return _dense_map(trial, train, test, adapter=False)


def adapter(trial: Trial, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """``q + Δ q`` for a full matrix Δ, with an L2 penalty by cross-validation."""
    return _dense_map(trial, train, test, adapter=True)


def _dense_map(trial: Trial, train: np.ndarray, test: np.ndarray, *, adapter: bool) -> np.ndarray:
    data, _ = _data(trial, train)

    def maps(rows: np.ndarray) -> list:
        docs, target = data.listed(rows, LISTED)
        judged = Judged(torch.from_numpy(data.mapped[rows]), torch.empty(0), *map(torch.from_numpy, (data.vectors(docs), target)))
        penalties = (10.0, 3.0, 1.0, 0.3, 0.1) if adapter else (1.0, 0.3, 0.1, 0.03, 0.01)
        found = [(penalty, _fit_map(judged, penalty, adapter)) for penalty in penalties]
        return [(p, (lambda q, _, x=x: q + q @ x) if adapter else (lambda q, _, x=x: q + x)) for p, x in found]

    chosen = _best(data, maps, np.zeros((len(data), 0), np.float32), _folds(trial, train))
    q = trial.collection.queries[test]
    return q if chosen is None else dict(maps(np.arange(len(data))))[chosen](q, None)


def _fit_map(judged: Judged, penalty: float, adapter: bool) -> np.ndarray:
    m = judged.queries.shape[1]
    x = torch.zeros((m, m) if adapter else m, requires_grad=True)
    optimizer = torch.optim.LBFGS([x], max_iter=40, line_search_fn="strong_wolfe")

    def closure() -> float:
        with torch.no_grad():
            moved = judged.queries + (judged.queries @ x if adapter else x)
            value, gradient = judged.loss(moved)
            x.grad = (judged.queries.T @ gradient if adapter else gradient.sum(dim=0)) + penalty * x
            return value + penalty * float((x * x).sum()) / 2

    optimizer.step(closure)
    return x.detach().numpy()


def _data(trial: Trial, train: np.ndarray) -> tuple[JudgedCandidates, np.ndarray]:
    """The training queries with their candidates, and the activations of their features."""
    own = trial.collection.select(train)
    data = JudgedCandidates.of(
        own.qids.tolist(), own.queries, own.queries, trial.topics(train), trial.qrels(train), trial.index
    )  # fmt: skip
    return data, _activations(trial.model, data.encoded)


def _activations(model: Xetrieval, q: np.ndarray) -> np.ndarray:
    codes = encode_view(model.sae, np.ascontiguousarray(q), refit=False, batch_size=512)
    shown = np.zeros((len(q), model.sae.dict_size), np.float32)
    np.put_along_axis(shown, codes.ids.astype(np.int64), np.maximum(codes.activations, 0), axis=1)
    return shown


def _folds(trial: Trial, train: np.ndarray) -> np.ndarray:
    return folds(np.unique(trial.groups[train], return_inverse=True)[1], FOLDS, trial.seed)


def _best(data: JudgedCandidates, maps: Callable, shown: np.ndarray, fold: np.ndarray) -> float | None:
    """The penalty of the largest gain over folds of the training queries, if any gains."""
    gains: dict[float, list[np.ndarray]] = {}
    for f in range(FOLDS):
        rows, test = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        before = data.ndcg(data.mapped[test], test)
        for penalty, move in maps(rows):
            after = data.ndcg(np.ascontiguousarray(move(data.mapped[test], shown[test]), np.float32), test)
            gains.setdefault(penalty, []).append(after - before)
    means = {penalty: float(np.concatenate(own).mean()) for penalty, own in gains.items()}
    best = max(means, key=lambda penalty: means[penalty])
    return best if means[best] > 0 else None


def learned(trial: Trial) -> QueryTuning:
    """What is learned from all queries of a collection, to be read."""
    tuning = fitted(trial, np.arange(len(trial.collection.qids))).tuning
    assert tuning is not None
    return tuning


METHODS: dict[str, Callable[[Trial, np.ndarray, np.ndarray], np.ndarray]] = {
    "dense": dense, "centred": centred, "feature idf": feature_idf, "calibrated": calibrated, "VectorPrf": vector_prf,
    "feature PRF": feature_prf, "one weight per feature": feature_weights, "links": links, "calibrated + links": partial(links, calibrate=True),
    "shift": shift, "adapter": adapter, "random features": random_links, "shuffled judgements": partial(links, calibrate=True, shuffled=True),
}  # fmt: skip
UNSUPERVISED = ("dense", "centred", "feature idf", "calibrated", "VectorPrf", "feature PRF")
