"""A test collection as vectors: what every evaluation works on, and exact ranking and nDCG over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import ir_measures
import numpy as np
import torch

CUTOFF = 10


@dataclass(frozen=True, eq=False)
class EmbeddedCollection:
    """Vectors, judgements and excluded documents of one collection; documents and queries are named by their row.

    Attributes:
        name: for tables.
        docnos: str ``[n]``; docs: float32 ``[n, m]``, may be memory-mapped.
        qids: str ``[q]``; queries: float32 ``[q, m]``. Every query has at least one relevant document.
        judged: for each query ``{row of a document: grade}``, judged documents of the collection only.
        excluded: for each query the rows that must not be retrieved for it, int64 (BRIGHT's excluded documents, the
            query's own id in ArguAna); empty arrays where there are none.
        texts: rows of documents to their texts; None where only vectors are at hand.
        query_texts: str ``[q]`` or None.
    """

    name: str
    docnos: np.ndarray
    docs: np.ndarray
    qids: np.ndarray
    queries: np.ndarray
    judged: Sequence[dict[int, int]]
    excluded: Sequence[np.ndarray]
    texts: Callable[[Sequence[int]], list[str]] | None = None
    query_texts: np.ndarray | None = None

    def __post_init__(self):
        q, n = len(self.qids), len(self.docnos)
        found = (len(self.queries), len(self.judged), len(self.excluded))
        if found != (q, q, q) or len(self.docs) != n:
            raise ValueError(f"EmbeddedCollection {self.name!r} expects parts of {q} queries and {n} documents, found "
                             f"queries, judged, excluded of {found} and docs of {len(self.docs)}")  # fmt: skip

    @property
    def dim(self) -> int:
        return self.docs.shape[1]

    def select(self, query_rows) -> EmbeddedCollection:
        """The same documents with these queries only."""
        rows = np.asarray(query_rows, np.int64)
        return replace(
            self, qids=self.qids[rows], queries=self.queries[rows],
            judged=[self.judged[i] for i in rows], excluded=[self.excluded[i] for i in rows],
            query_texts=None if self.query_texts is None else self.query_texts[rows],
        )  # fmt: skip


def rank(
    queries: np.ndarray, docs: np.ndarray, k: int, *, excluded: Sequence[np.ndarray] | None = None, batch_size: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` documents of largest dot product for each query, best first: rows int64 and scores float32 ``[q, k]``.

    Args:
        queries: float32 ``[q, m]``; docs: float32 ``[n, m]``, used as they are.
        k: cut to ``n`` where the collection is smaller.
        excluded: for each query the rows to leave out. Where fewer than k documents remain, the row is -1.
        batch_size: queries scored at once, ``[batch_size, n]`` floats of memory.

    Example::

        rows, scores = rank(collection.queries, collection.docs, 10)
    """
    k, matrix = min(k, len(docs)), torch.from_numpy(np.asarray(docs))
    rows, scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    for start in range(0, len(queries), batch_size):
        batch = slice(start, min(start + batch_size, len(queries)))
        found = torch.from_numpy(np.ascontiguousarray(queries[batch])) @ matrix.T
        for i in range(batch.start, batch.stop) if excluded is not None else ():
            found[i - start, torch.from_numpy(np.asarray(excluded[i], np.int64))] = -torch.inf
        top = found.topk(k, dim=1)
        rows[batch], scores[batch] = top.indices.numpy(), top.values.numpy()
    rows[scores == -np.inf] = -1
    return rows, scores


def ndcg(collection: EmbeddedCollection, rows: np.ndarray, *, cutoff: int = CUTOFF) -> np.ndarray:
    """nDCG@cutoff of each query by ir-measures, float64 ``[q]``; ``rows`` int64 ``[q, ≥cutoff]`` as :func:`rank` gives them."""
    qrels = {str(i): {str(doc): grade for doc, grade in judged.items()} for i, judged in enumerate(collection.judged)}
    run = {str(i): {str(d): float(-r) for r, d in enumerate(row[:cutoff].tolist()) if d >= 0} for i, row in enumerate(rows)}
    out = np.zeros(len(rows))
    for metric in ir_measures.iter_calc([ir_measures.nDCG @ cutoff], qrels, run):
        out[int(metric.query_id)] = metric.value
    return out
