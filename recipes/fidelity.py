"""How faithful a dictionary is on a collection it was not trained on: variance explained, retrieval, shared features."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch

from pyterrier_xetrieval.internalizer import internalize
from pyterrier_xetrieval.reconstruction import reconstruct
from pyterrier_xetrieval.training import fraction_of_variance_explained

from .data import read_jsonl, read_vectors

CUTOFF = 10


def read_collection(data, name: str):
    """Vectors and judgements of a collection: docs ``[n, m]``, queries ``[q, m]``, ``[{row of document: grade}]``.

    Queries without a relevant document are dropped.
    """
    folder = Path(data) / name
    docs, queries = read_vectors(data, name), read_vectors(data, f"{name}.q")
    doc_row = {row["_id"]: i for i, row in enumerate(read_jsonl(folder / "corpus.jsonl.gz"))}
    query_row = {row["_id"]: i for i, row in enumerate(read_jsonl(folder / "queries.jsonl.gz"))}
    judged: dict[int, dict[int, int]] = {}
    with open(folder / "qrels.tsv", encoding="utf-8", newline="") as file:
        for query, doc, grade in list(csv.reader(file, delimiter="\t"))[1:]:
            if query in query_row and doc in doc_row and int(grade) > 0:
                judged.setdefault(query_row[query], {})[doc_row[doc]] = int(grade)
    rows = sorted(judged)
    return docs, queries[rows], [judged[row] for row in rows]


def ndcg(queries: np.ndarray, docs: np.ndarray, judged: list[dict[int, int]], *, cutoff: int = CUTOFF) -> float:
    """Mean nDCG@cutoff (trec_eval's linear gain) of ranking ``docs`` by dot product; vectors are used as they are."""
    total = 0.0
    for start in range(0, len(queries), 512):
        scores = queries[start : start + 512] @ docs.T
        top = np.argpartition(-scores, cutoff, axis=1)[:, :cutoff]
        top = np.take_along_axis(top, np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable"), 1)
        for grades, ranked in zip(judged[start : start + 512], top, strict=True):
            gains = np.array([grades.get(int(doc), 0) for doc in ranked])
            ideal = np.array(sorted(grades.values(), reverse=True)[:cutoff])
            discount = 1 / np.log2(np.arange(2, cutoff + 2))
            total += (gains * discount).sum() / (ideal * discount[: len(ideal)]).sum()
    return total / len(queries)


def measure(internalizers, sae, docs, queries, judged, *, refit_rows: int = 4000, max_pairs: int = 2000) -> dict:
    """Figures of one collection; reconstructions are scored by dot product as they are unless a name ends in ``_unit``.

    Args:
        internalizers: ``{aspect: Internalizer}``; sae: the dictionary.
        docs: float32 ``[n, m]``; queries: float32 ``[q, m]``; judged: as from :func:`read_collection`.
        refit_rows: the first so many documents measure the variance explained with refitted coefficients.
        max_pairs: the first so many (query, relevant document) pairs count shared features.

    Returns:
        ``fve.<view>`` and ``fve_refit.<view>`` of the original vectors, each aspect and the queries; ``ndcg`` (original), ``ndcg_docs``
        (documents reconstructed), ``ndcg_both`` (queries too), the same with ``_refit``, and with ``_unit`` (documents at length 1); ``shared_raw`` and ``shared``,
        features that a query has in common with the relevant document's original vector and with any of its views
        (Eq. 15); ``l0_docs``, ``l0_queries``.
    """
    views = {"original": docs} | {a: internalize(m, docs, batch_size=4096) for a, m in internalizers.items()}
    out: dict = {"docs": len(docs), "queries": len(queries), "ndcg": ndcg(queries, docs, judged)}
    for view, vectors in (views | {"query": queries}).items():
        x = torch.from_numpy(vectors)
        out[f"fve.{view}"], l0 = fraction_of_variance_explained(sae, x)
        out[f"fve_refit.{view}"] = fraction_of_variance_explained(sae, x[:refit_rows], refit=True, batch_size=256)[0]
        if view in ("original", "query"):
            out["l0_docs" if view == "original" else "l0_queries"] = l0
    for suffix, refit in (("", False), ("_refit", True)):
        docs_hat, queries_hat = (reconstruct(sae, v, refit=refit, batch_size=256) for v in (docs, queries))
        out[f"ndcg_docs{suffix}"] = ndcg(queries, docs_hat, judged)
        out[f"ndcg_both{suffix}"] = ndcg(queries_hat, docs_hat, judged)
        if not refit:  # x̃ is shorter where more of x is missing, which reorders documents
            docs_hat = docs_hat / np.linalg.norm(docs_hat, axis=1, keepdims=True)
            out["ndcg_docs_unit"], out["ndcg_both_unit"] = ndcg(queries, docs_hat, judged), ndcg(queries_hat, docs_hat, judged)
    pairs = np.array([(q, d) for q, grades in enumerate(judged) for d in grades][:max_pairs])
    in_query = activity(sae, queries[pairs[:, 0]])
    in_views = [activity(sae, vectors[pairs[:, 1]]) for vectors in views.values()]
    out["shared_raw"] = float((in_query & in_views[0]).sum(1).mean())
    out["shared"] = float((in_query & np.logical_or.reduce(in_views)).sum(1).mean())
    return out


@torch.no_grad()
def activity(sae, vectors: np.ndarray) -> np.ndarray:
    """Which features are active, bool ``[n, D]``."""
    codes = sae.encode(torch.from_numpy(vectors))
    return (codes.dense(sae.dict_size) > 0).numpy()
