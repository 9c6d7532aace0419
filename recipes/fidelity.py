"""How faithful a dictionary is on a collection it has not seen: variance explained, retrieval, shared features."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from pyterrier_xetrieval.core.edits import reconstruct
from pyterrier_xetrieval.core.internalizer import internalize
from pyterrier_xetrieval.datasets import beir_folder
from pyterrier_xetrieval.evaluation import EmbeddedCollection, read_embedded
from pyterrier_xetrieval.evaluation.collection import retrieval_ndcg
from pyterrier_xetrieval.training import fraction_of_variance_explained
from recipes.data import vectors_of


def read_collection(folder, name: str) -> EmbeddedCollection:
    """A collection of a data folder; each query's judgements in file order, to tell the first pairs from others."""
    found = read_embedded(folder, name, vectors=vectors_of(folder))
    row_of = {docno: row for row, docno in enumerate(found.docnos.tolist())}
    listed: dict[str, list[int]] = {}
    for qid, docno in beir_folder(Path(folder) / name).get_qrels()[["qid", "docno"]].itertuples(index=False):
        if docno in row_of:
            listed.setdefault(qid, []).append(row_of[docno])
    judged = [{row: grades[row] for row in listed[qid]} for qid, grades in zip(found.qids.tolist(), found.judged, strict=True)]
    return replace(found, judged=judged)


def measure(internalizers, sae, collection: EmbeddedCollection, *, refit_rows: int = 4000, max_pairs: int = 2000) -> dict:
    """Figures of one collection; reconstructions are scored by dot product as they are unless a name ends in ``_unit``.

    Args:
        internalizers: ``{aspect: Internalizer}``; sae: the dictionary.
        collection: as from :func:`read_collection`.
        refit_rows: the first so many documents measure the variance explained with refitted coefficients.
        max_pairs: the first so many (query, relevant document) pairs count shared features.

    Returns:
        ``fve.<view>`` and ``fve_refit.<view>`` of the original vectors, each aspect and the queries; mean nDCG@10 as
        ``ndcg`` (original), ``ndcg_docs`` (documents reconstructed), ``ndcg_both`` (queries too), the same with
        ``_refit``, and with ``_unit`` (documents at length 1); ``shared_raw`` and ``shared``, features that a query has
        in common with the relevant document's original vector and with any of its views (Eq. 15); ``l0_docs``,
        ``l0_queries``.
    """
    docs, queries = collection.docs, collection.queries
    views = {"original": docs} | {a: internalize(m, docs, batch_size=4096) for a, m in internalizers.items()}
    out: dict = {"docs": len(docs), "queries": len(queries), "ndcg": _ndcg(collection, queries, docs)}
    for view, vectors in (views | {"query": queries}).items():
        x = torch.from_numpy(vectors)
        out[f"fve.{view}"], l0 = fraction_of_variance_explained(sae, x)
        out[f"fve_refit.{view}"] = fraction_of_variance_explained(sae, x[:refit_rows], refit=True, batch_size=256)[0]
        if view in ("original", "query"):
            out["l0_docs" if view == "original" else "l0_queries"] = l0
    for suffix, refit in (("", False), ("_refit", True)):
        docs_hat, queries_hat = (reconstruct(sae, v, refit=refit, batch_size=256) for v in (docs, queries))
        for side, asked in (("docs", queries), ("both", queries_hat)):
            out[f"ndcg_{side}{suffix}"] = _ndcg(collection, asked, docs_hat)
        if not refit:  # x̃ is shorter where more of x is missing, which reorders documents
            docs_hat = docs_hat / np.linalg.norm(docs_hat, axis=1, keepdims=True)
            out["ndcg_docs_unit"] = _ndcg(collection, queries, docs_hat)
            out["ndcg_both_unit"] = _ndcg(collection, queries_hat, docs_hat)
    relevant = ((q, d) for q, grades in enumerate(collection.judged) for d, grade in grades.items() if grade > 0)
    pairs = np.array(list(islice(relevant, max_pairs)))
    in_query = activity(sae, queries[pairs[:, 0]])
    in_views = [activity(sae, vectors[pairs[:, 1]]) for vectors in views.values()]
    out["shared_raw"] = float((in_query & in_views[0]).sum(1).mean())
    out["shared"] = float((in_query & np.logical_or.reduce(in_views)).sum(1).mean())
    return out


def _ndcg(collection: EmbeddedCollection, queries: np.ndarray, docs: np.ndarray) -> float:
    """The mean of other vectors of the same queries and documents."""
    return float(retrieval_ndcg(collection, docs, queries=queries).mean())


@torch.no_grad()
def activity(sae, vectors: np.ndarray) -> np.ndarray:
    """Which features are active, bool ``[n, D]``."""
    codes = sae.encode(torch.from_numpy(vectors))
    return (codes.dense(sae.dict_size) > 0).numpy()
