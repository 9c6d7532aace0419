"""A test collection as vectors: what every evaluation works on, and exact ranking and nDCG over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import ir_measures
import numpy as np
import torch
from numpy.typing import ArrayLike

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

    Raises:
        ValueError: parts of different numbers of queries or documents.
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

    def __post_init__(self) -> None:
        q, n = len(self.qids), len(self.docnos)
        found = (len(self.queries), len(self.judged), len(self.excluded))
        if found != (q, q, q) or len(self.docs) != n:
            raise ValueError(
                f"EmbeddedCollection {self.name!r} expects parts of {q} queries and {n} documents, found "
                f"queries, judged, excluded of {found} and docs of {len(self.docs)}"
            )

    @property
    def dim(self) -> int:
        """``m``."""
        return self.docs.shape[1]

    def select(self, query_rows: ArrayLike) -> EmbeddedCollection:
        """The same documents with these queries only."""
        rows = np.asarray(query_rows, np.int64)
        return replace(
            self,
            qids=self.qids[rows],
            queries=self.queries[rows],
            judged=[self.judged[i] for i in rows],
            excluded=[self.excluded[i] for i in rows],
            query_texts=None if self.query_texts is None else self.query_texts[rows],
        )

    def read_texts(self, rows: Iterable[int] | None = None, *, stage: str) -> list[str]:
        """The texts of these documents, or of all; ValueError in the name of ``stage`` where there are no texts."""
        if self.texts is None:
            raise ValueError(f"{stage} expects a collection with texts, found none in {self.name!r}")
        return self.texts(range(len(self.docnos)) if rows is None else [int(row) for row in rows])


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

        >>> rank(np.float32([[1, 0]]), np.float32([[0.5, 0], [0.9, 0], [0, 1]]), 2)[0]
        array([[1, 0]])
    """
    k, matrix = min(k, len(docs)), torch.from_numpy(np.asarray(docs))
    rows, scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    for start in range(0, len(queries), batch_size):
        batch = slice(start, start + batch_size)
        found = torch.from_numpy(np.ascontiguousarray(queries[batch])) @ matrix.T
        rows[batch], scores[batch] = best(found, k, () if excluded is None else excluded[batch])
    return rows, scores


def best(scores: torch.Tensor, k: int, excluded: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` largest of each row of float32 ``[q, n]``: columns int64 and values float32, ``[q, k]`` both.

    ``excluded`` has the columns to leave out of each row, or is empty; they become -infinity in ``scores`` itself. Where
    fewer than k are left, the column is -1.
    """
    for row, columns in zip(scores, excluded):
        row[torch.from_numpy(np.asarray(columns, np.int64))] = -torch.inf
    top = scores.topk(k, dim=1)
    return torch.where(top.values == -torch.inf, -1, top.indices).numpy(), top.values.numpy()


def ndcg(collection: EmbeddedCollection, rows: np.ndarray, *, cutoff: int = CUTOFF) -> np.ndarray:
    """nDCG@cutoff of each query by ir-measures, float64 ``[q]``.

    ``rows`` are int64 ``[q, ≥cutoff]``, as :func:`rank` gives them.
    """
    qrels = {str(i): {str(doc): grade for doc, grade in judged.items()} for i, judged in enumerate(collection.judged)}
    # trec_eval orders equal scores by docno; by their places they keep the order of the rows
    run = {str(i): {str(d): float(-r) for r, d in enumerate(row[:cutoff].tolist()) if d >= 0} for i, row in enumerate(rows)}
    out = np.zeros(len(rows))
    for metric in ir_measures.iter_calc([ir_measures.nDCG @ cutoff], qrels, run):
        out[int(metric.query_id)] = metric.value
    return out


def retrieval_ndcg(
    collection: EmbeddedCollection, docs: np.ndarray, *, queries: np.ndarray | None = None, cutoff: int = CUTOFF
) -> np.ndarray:
    """nDCG@cutoff of each query, float64 ``[q]``, with vectors in the place of the collection's own.

    Args:
        collection: judgements and excluded documents.
        docs: float32 ``[n, m]``, folded, reconstructed, edited, …
        queries: float32 ``[q, m]``; the collection's own unless given.
        cutoff: k of nDCG@k.

    Raises:
        ValueError: another number of vectors than documents.
    """
    if len(docs) != len(collection.docnos):
        raise ValueError(f"retrieval_ndcg expects {len(collection.docnos)} vectors of documents, found {len(docs)}")
    rows, _ = rank(collection.queries if queries is None else queries, docs, cutoff, excluded=collection.excluded)
    return ndcg(collection, rows, cutoff=cutoff)
