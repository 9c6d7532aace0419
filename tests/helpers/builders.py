"""Models, vectors and frames whose numbers are known, for the tests of every part."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
import numpy as np
import pandas as pd
import torch

from pyterrier_xetrieval import FeatureLabels, SparseAutoencoder, Xetrieval
from pyterrier_xetrieval.core.internalizer import Internalizer

DIM = 6


def identity_sae(dim=DIM, k=3, bias=0.0) -> SparseAutoencoder:
    """Feature ``j`` is coordinate ``j``: the code of a non-negative vector is its k largest coordinates."""
    sae = SparseAutoencoder(dim, dim, k)
    with torch.no_grad():
        sae.w_enc.copy_(torch.eye(dim))
        sae.w_dec.copy_(torch.eye(dim))
        sae.b_dec.fill_(bias)
    return sae


def random_sae(dim=16, dict_size=48, k=5, seed=0) -> SparseAutoencoder:
    """Random unit directions, an encoder of its own and biases, so that no term of an equation vanishes."""
    generator = torch.Generator().manual_seed(seed)
    sae = SparseAutoencoder(dim, dict_size, k)
    sae.reset_parameters(generator)
    with torch.no_grad():
        sae.w_enc.add_(0.1 * torch.randn(dict_size, dim, generator=generator))
        sae.b_enc.copy_(0.05 * torch.randn(dict_size, generator=generator))
        sae.b_dec.copy_(0.1 * torch.randn(dim, generator=generator))
    return sae


def sae_of_rule(rule, dim, dict_size, k) -> SparseAutoencoder:
    """Random weights under "topk", "relu", "one threshold", "thresholds" (one for each feature) or "gated"."""
    generator, activation = torch.Generator().manual_seed(3), {"topk": "topk", "gated": "gated"}.get(rule, "threshold")
    sae = SparseAutoencoder(dim, dict_size, k if rule == "topk" else None, activation=activation).requires_grad_(False)
    for parameter in sae.parameters():
        parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
    if activation == "threshold":
        fixed = {"relu": torch.zeros(dict_size), "one threshold": torch.full((dict_size,), 0.3)}
        sae.threshold.copy_(fixed.get(rule, sae.threshold.abs()))
    if activation == "gated":
        sae.gain.abs_()
    return sae


def random_internalizer(dim, seed) -> Internalizer:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Internalizer(dim, 8)


def make_model(sae=None, aspects=("summary", "purpose", "qa")) -> Xetrieval:
    sae = sae or random_sae()
    names = [f"word{j}" for j in range(sae.dict_size)]
    table = pd.DataFrame({"feature": range(sae.dict_size), "label": names, "method": "test"})
    return Xetrieval.from_parts(
        internalizers={a: random_internalizer(sae.dim, i) for i, a in enumerate(aspects)},
        sae=sae,
        labels=FeatureLabels(table, sae.dict_size),
        encoder={"name": "", "dim": sae.dim},
    )


def unit(rng, n, dim) -> np.ndarray:
    x = rng.normal(size=(n, dim)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def result_frame(n_queries=3, n_docs=4, dim=16, seed=0) -> pd.DataFrame:
    """Every query with every document; a column of the user's own."""
    rng = np.random.default_rng(seed)
    q, d = unit(rng, n_queries, dim), unit(rng, n_docs, dim)
    rows = [
        {"qid": f"q{i}", "docno": f"d{j}", "query_vec": q[i], "doc_vec": d[j], "score": 0.0, "rank": j, "mine": f"{i}/{j}"}
        for i in range(n_queries)
        for j in range(n_docs)
    ]
    return pd.DataFrame(rows)


WORDS = "oak elm ash yew fir pine beech birch maple cedar larch alder".split()


def toy(name="toy", seed=0, n=200, queries=12, dim=16):
    """A collection of random vectors; each query is near one document, and another one is relevant too."""
    from pyterrier_xetrieval.evaluation import EmbeddedCollection  # late: models and frames are built without it

    rng = np.random.default_rng(seed)
    docs = unit(rng, n, dim)
    texts = [" ".join(rng.choice(WORDS, 6)) for _ in range(n)]
    near = np.stack([docs[i] + 0.6 * unit(rng, 1, dim)[0] for i in range(queries)])
    return EmbeddedCollection(
        name, np.array([f"d{i}" for i in range(n)]), docs, np.array([f"q{i}" for i in range(queries)]),
        (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32), [{i: 1, 50 + i: 1} for i in range(queries)],
        [np.empty(0, np.int64)] * queries, texts=lambda rows: [texts[row] for row in rows],
    )  # fmt: skip


def long_mean_model(dim=24, n=60, seed=0, aspects=("summary",)) -> tuple[Xetrieval, np.ndarray]:
    """A model whose vectors share a long mean, as E5's do, and its training vectors: unit, float32 ``[n, dim]``."""
    rng = np.random.default_rng(seed)
    sae = random_sae(dim=dim, dict_size=2 * dim, k=5, seed=seed)
    bias = 0.9 * unit(rng, 1, dim)[0]
    with torch.no_grad():
        sae.b_dec.copy_(torch.from_numpy(bias))
    x = bias + 0.4 * unit(rng, n, dim)
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    names = pd.DataFrame({"feature": range(2 * dim), "label": [f"word{j}" for j in range(2 * dim)], "method": "test"})
    parts = {"internalizers": {a: random_internalizer(dim, i) for i, a in enumerate(aspects)}, "sae": sae}
    return Xetrieval.from_parts(**parts, labels=FeatureLabels(names, 2 * dim), encoder={"name": "", "dim": dim}, weights=0.3), x
