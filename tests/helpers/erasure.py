"""Small collections, and the change by an erasure computed the slow way."""

import numpy as np
import torch

from pyterrier_xetrieval.evaluation.collection import EmbeddedCollection
from tests.helpers.builders import unit

QUERY = np.array([0.8, 0.4, 0.2, 0, 0, 0])
DOCUMENT = np.array([0.5, 0.6, 0.4, 0, 0, 0])  # contributions by coordinate .40, .24, .08; activations .5, .6, .4


def make_collection(docs, queries, judged, excluded=None, **options) -> EmbeddedCollection:
    docs, queries = np.asarray(docs, np.float32), np.asarray(queries, np.float32)
    excluded = excluded or [()] * len(queries)
    return EmbeddedCollection(
        "toy", np.array([f"d{i}" for i in range(len(docs))]), docs, np.array([f"q{i}" for i in range(len(queries))]), queries,
        judged, [np.array(e, np.int64) for e in excluded], **options,
    )  # fmt: skip


def random_collection(n=40, queries=12, dim=16, seed=0, **options) -> EmbeddedCollection:
    rng = np.random.default_rng(seed)
    judged = [{int(d): 1 for d in rng.choice(n, 3, replace=False)} for _ in range(queries)]
    return make_collection(unit(rng, n, dim), unit(rng, queries, dim), judged, **options)


def active(sae, x) -> set[int]:
    codes = sae.encode(torch.from_numpy(np.array(x, np.float32)[None]))
    return set(codes.ids[codes.active()].tolist())


def slow_cosine(q, z) -> float:
    return float(q @ z / np.linalg.norm(q) / np.linalg.norm(z))


def slow_edit(sae, z, features, mode) -> np.ndarray:
    """Eq. 24-26 as they are printed, one vector at a time."""
    w, b = sae.w_dec.detach().double().numpy()[sorted(features)].T, sae.b_dec.detach().double().numpy()
    projected = w @ np.linalg.inv(w.T @ w + 1e-6 * np.eye(w.shape[1])) @ w.T @ (z.astype(float) - b)
    return z - projected if mode == "erase" else b + projected


def slow_change(sae, q, z, features, mode) -> float:
    """By how much the edit changes the cosine, which takes no notice of lengths."""
    return slow_cosine(q, slow_edit(sae, z, features, mode)) - slow_cosine(q, z)
