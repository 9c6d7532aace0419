"""A small embedded collection, and its figures computed the slow way."""

import numpy as np
import torch

from pyterrier_xetrieval.evaluation.collection import EmbeddedCollection
from tests.helpers.builders import unit


def make_collection(n=40, q=12, dim=16, seed=0) -> EmbeddedCollection:
    """Random vectors, graded judgements, a few documents that some queries must not be given."""
    rng = np.random.default_rng(seed)
    docs, queries = unit(rng, n, dim), unit(rng, q, dim)
    judged, excluded = [], []
    for i in range(q):
        close = np.argsort(-(docs @ queries[i]) + 0.3 * rng.normal(size=n))[:5]  # something to find
        judged.append({int(d): int(g) for d, g in zip(close, (3, 2, 1, 1, 0))})
        excluded.append(
            np.sort(rng.choice(np.setdiff1d(np.arange(n), close), min(6, n - len(close)), replace=False))
            if i % 3
            else np.empty(0, np.int64)
        )
    docnos, qids = (np.array([f"{kind}{i}" for i in range(size)], object) for kind, size in (("d", n), ("q", q)))
    return EmbeddedCollection("tiny", docnos, docs, qids, queries, judged, excluded)


def slow_ndcg(collection, docs, k=10) -> np.ndarray:
    """One query, one document, one gain at a time."""
    out = []
    for query, judged, excluded in zip(collection.queries, collection.judged, collection.excluded):
        scores = {d: sum(float(a) * float(b) for a, b in zip(query, vector)) for d, vector in enumerate(docs)}
        ranked = sorted((d for d in scores if d not in set(excluded.tolist())), key=scores.get, reverse=True)[:k]
        gain = sum(judged.get(d, 0) / np.log2(r + 2) for r, d in enumerate(ranked))
        out.append(gain / sum(g / np.log2(r + 2) for r, g in enumerate(sorted(judged.values(), reverse=True)[:k])))
    return np.array(out)


def slow_views(model, docs) -> dict[str, np.ndarray]:
    return {a: np.stack([m(torch.from_numpy(z[None]))[0].numpy() for z in docs]) for a, m in model.internalizers.items()}
