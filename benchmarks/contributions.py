"""What contributions are made of, and what edits of single features take away, with the bundled model and collection.

    python benchmarks/contributions.py [--documents 1000] [--depth 3] [--seed 0]

Takes all queries and so many documents drawn by the seed, and of each query the best of these, by the original view. Prints

- what a shared feature's contribution ``c_d,j ⟨q, w_j⟩`` is made of, if the query is written as ``q = Σ_i c_q,i w_i + b + e_q``
  with its activations: the feature itself ``c_d,j c_q,j ‖w_j‖²``, the query's other features, the bias, and the query's residual;
  and what it is the other way round, ``c_q,j ⟨d, w_j⟩``;
- what ``"scale"`` by 0 and ``"erase"`` of one feature take from the score, compared with its contribution, and how active it is in
  the edited vector, encoded again; also of ``"erase"`` before it restores the vector's length. Shared features with a contribution
  above 0, each alone;
- how much of the shared features' contributions is on the encoder's special tokens and not in words, on either side, for the first
  60 queries.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import torch

from pyterrier_xetrieval import Xetrieval, pydocs
from pyterrier_xetrieval.core.codes import ViewCodes, encode_view
from pyterrier_xetrieval.core.edits import erase, intervene
from pyterrier_xetrieval.core.sae import SparseAutoencoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"documents": 1000, "depth": 3, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    model, dataset = Xetrieval.default(), pydocs()
    corpus = list(dataset.get_corpus_iter(verbose=False))
    chosen = np.random.default_rng(args.seed).permutation(len(corpus))[: args.documents]
    encoder = model.shared_encoder
    documents = np.asarray(encoder.encode_docs([corpus[i]["text"] for i in np.sort(chosen)]), np.float32)
    queries = np.asarray(encoder.encode_queries(dataset.get_topics()["query"].tolist()), np.float32)
    best = np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, : args.depth]
    q, d = queries[np.repeat(np.arange(len(queries)), args.depth)], documents[best.ravel()]
    for name, value in measured(model.sae, q, d).items():
        print(f"{name:75s} {value:8.3f}")
    pairs = [(i, j) for i, own in enumerate(best[:60]) for j in own]
    chosen = np.sort(chosen)
    frame = pd.DataFrame({
        "qid": [str(i) for i, _ in pairs], "query": [dataset.get_topics()["query"].iloc[i] for i, _ in pairs],
        "docno": [corpus[chosen[j]]["docno"] for _, j in pairs], "text": [corpus[chosen[j]]["text"] for _, j in pairs],
        "query_vec": [queries[i] for i, _ in pairs], "doc_vec": [documents[j] for _, j in pairs],
    })  # fmt: skip
    plain = model.with_views(())
    explained = (plain.explainer() >> plain.evidence())(frame)["explanation"]
    for side in ("query", "document"):
        tables = [e.evidence.table(side).iloc[: len(e)] for e in explained]
        special, total = (sum(part(table) for table in tables) for part in (_special, lambda table: table.to_numpy().sum()))
        print(f"{f'special tokens of the {side}: share of {len(pairs)} pairs':75s} {special / total:8.3f}")


def _special(table: pd.DataFrame) -> float:
    return table["special tokens"].sum()


def measured(sae: SparseAutoencoder, q: np.ndarray, d: np.ndarray) -> dict[str, float]:
    """The figures of pairs of float32 ``[n, m]`` query and document vectors."""
    w, bias = sae.directions(), sae.bias
    code, of_query, of_document = (
        encode_view(sae, x, refit=refit, batch_size=512) for x, refit in ((q, False), (q, True), (d, True))
    )
    c_q, own_q = _dense(code.ids, code.activations, sae.dict_size), _dense(of_query.ids, of_query.coefficients, sae.dict_size)
    active_d, c_d = (_dense(of_document.ids, x, sae.dict_size) for x in (of_document.activations, of_document.coefficients))
    pair, feature = np.nonzero((c_q > 0) & (active_d > 0))
    directions, c = w[feature], c_d[pair, feature]
    contribution = c * _dots(q[pair], directions)
    other_way = own_q[pair, feature] * _dots(d[pair], directions)
    itself = c * c_q[pair, feature] * _dots(directions, directions)
    of_bias = c * (directions @ bias)
    of_residual = c * _dots((q - c_q @ w - bias)[pair], directions)
    total = contribution.sum()
    found = {
        "pairs": len(q), "shared features": len(pair),
        "share of the summed contribution: the feature itself": itself.sum() / total,
        "share of the summed contribution: the query's other features": (contribution - itself - of_bias - of_residual).sum() / total,
        "share of the summed contribution: bias": of_bias.sum() / total,
        "share of the summed contribution: the query's residual": of_residual.sum() / total,
        "the other way round: summed contribution, relative": other_way.sum() / total,
        "the other way round: correlation over shared features": np.corrcoef(contribution, other_way)[0, 1],
        "the other way round: median difference, relative to the contribution":
            np.median(np.abs(other_way - contribution) / np.abs(contribution)),
    }  # fmt: skip
    some = np.flatnonzero(contribution > 0)
    pair, feature, contribution = pair[some], feature[some], contribution[some]
    before = active_d[pair, feature]
    exact = before * _dots(q[pair], w[feature])
    x, ids = torch.from_numpy(d[pair]), torch.from_numpy(feature[:, None])
    edits = {mode: intervene(sae, d[pair], feature[:, None], mode) for mode in ("scale", "erase")}
    found["features edited"] = len(pair)
    edits["erase, length not restored"] = erase(sae, x, ids, torch.ones_like(ids, dtype=torch.bool)).detach().numpy()
    for name, edited in edits.items():
        drop, again = _dots(q[pair], d[pair] - edited), encode_view(sae, edited, refit=False, batch_size=512)
        left = _activation(again, feature)
        found |= {
            f"{name}: drop in score, in sum, over the contributions": drop.sum() / contribution.sum(),
            f"{name}: slope of the drop over the contribution": np.polyfit(contribution, drop, 1)[0],
            f"{name}: correlation of the two": np.corrcoef(contribution, drop)[0, 1],
            f"{name}: largest difference from a contribution without refit": np.abs(drop - exact).max(),
            f"{name}: share of features that are active again": (left > 0).mean(),
            f"{name}: share of the activation that remains": left.sum() / before.sum(),
        }
    return found


def _dense(ids: np.ndarray, values: np.ndarray, dict_size: int) -> np.ndarray:
    out = np.zeros((len(ids), dict_size), np.float32)
    np.add.at(out, (np.arange(len(ids))[:, None], ids), values)
    return out


def _dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("nm,nm->n", a, b, dtype=np.float64)


def _activation(codes: ViewCodes, feature: np.ndarray) -> np.ndarray:
    """How active the n-th feature is in the n-th vector."""
    return np.where(codes.ids == feature[:, None], codes.activations, 0).sum(axis=1)


if __name__ == "__main__":
    main()
