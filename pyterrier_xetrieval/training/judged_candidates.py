"""Judged queries with the documents that compete for their first places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core.views import unit_rows
from ..documents import as_texts
from ..index.statistics import docnos_of, vectors_of
from ..stages.load import rows_of

if TYPE_CHECKING:
    from pyterrier_dr import FlexIndex

    from ..index import XetrievalIndex

DEPTH = 200  # candidates of a query: what its links are to bring to the first ten is mostly among them already
_BACKGROUND = 5000  # other documents of the corpus, the same for all queries, which a changed query may bring up as well
_CUT = 10  # nDCG@10
_QUERIES, _BLOCK, _DOCUMENTS = 64, 1024, 16_384  # at once: bounds the vectors in memory


@dataclass(frozen=True, eq=False)
class JudgedCandidates:
    """``n`` queries and, for each, up to ``c`` documents of a corpus.

    Attributes:
        encoded: float32 ``[n, m]``, the encoder's vectors; mapped: float32 ``[n, m]``, what calibration made of them.
        pool: int64 ``[n, c]``, rows of the corpus in the order of their scores by ``mapped``, -1 where there are fewer.
        gain: float32 ``[n, c]``, their labels, 0 if not judged.
        ideal: float64 ``[n]``, the best possible DCG@10 of all that was judged.
        corpus: the vectors, to be read by row; cosine: whether they count at length 1.
        background: int64 ``[b]``, rows of other documents: what is learned from candidates alone may lift everything else above
            them, which nobody would see among candidates alone.
        hidden: for each query the places in ``background`` that do not count: its candidates, and, where the
            candidates were given, what stands above the first of them and is none: somebody has taken it out.
    """

    encoded: np.ndarray
    mapped: np.ndarray
    pool: np.ndarray
    gain: np.ndarray
    ideal: np.ndarray
    corpus: Any
    cosine: bool
    background: np.ndarray
    hidden: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.pool)

    @classmethod
    def of(
        cls, qids: Sequence[str], encoded: np.ndarray, mapped: np.ndarray, results: pd.DataFrame | None, qrels: pd.DataFrame,
        index: XetrievalIndex | FlexIndex,
    ) -> JudgedCandidates:  # fmt: skip
        """The queries that have a relevant document in the index, each with candidates and its relevant documents.

        Args:
            results: ``qid``, ``docno``: the candidates; None for the first ones of an exact search by ``mapped``.

        Raises:
            ValueError: results that the index does not hold.
        """
        corpus, cosine = vectors_of(index)
        lookup = docnos_of(index)
        judged = qrels[qrels["label"] > 0]
        judged = judged.assign(row=rows_of(as_texts(judged["docno"].tolist(), stage="FeatureTuner"), lookup))
        labels = {qid: own for qid, own in judged.groupby("qid", sort=False)}
        kept = [i for i, qid in enumerate(qids) if qid in labels and (labels[qid]["row"] >= 0).any()]
        n = len(corpus)
        background = np.sort(np.random.default_rng(0).permutation(n)[:_BACKGROUND])
        none = np.zeros((len(kept), 0))
        whole = cls(encoded[kept], mapped[kept], none, none, np.zeros(len(kept)), corpus, cosine, background, [])
        found = whole._searched() if results is None else _given([qids[i] for i in kept], results, lookup)
        pools: list[np.ndarray] = []
        gains: list[np.ndarray] = []
        ideal = np.zeros(len(kept))
        for i, own in zip(kept, found):
            told = labels[qids[i]]
            by_row = dict(zip(told["row"].tolist(), told["label"].astype(float)))
            more = [row for row in by_row if row >= 0 and row not in set(own.tolist())]
            pools.append(np.concatenate([own, more]).astype(np.int64))
            gains.append(np.array([by_row.get(row, 0.0) for row in pools[-1].tolist()], np.float32))
            best = np.sort(told["label"].to_numpy(np.float64))[::-1][:_CUT]
            ideal[len(pools) - 1] = float(best @ _discounts(len(best)))
        width = max(map(len, pools), default=0)
        pool, gain = np.full((len(kept), width), -1), np.zeros((len(kept), width), np.float32)
        for i, (rows, own) in enumerate(zip(pools, gains)):
            pool[i, : len(rows)], gain[i, : len(rows)] = rows, own
        return replace(whole, pool=pool, gain=gain, ideal=ideal)._ordered()._with_hidden(given=results is not None)

    def with_more(self, other: JudgedCandidates) -> JudgedCandidates:
        """These queries, then those of another set of the same corpus."""
        width = max(self.pool.shape[1], other.pool.shape[1])

        def joined(name: str, fill: int = 0) -> np.ndarray:
            own = [getattr(data, name) for data in (self, other)]
            return np.concatenate([np.pad(x, ((0, 0), (0, width - x.shape[1])), constant_values=fill) for x in own])

        return replace(
            self, encoded=np.concatenate([self.encoded, other.encoded]), mapped=np.concatenate([self.mapped, other.mapped]),
            pool=joined("pool", -1), gain=joined("gain"), ideal=np.concatenate([self.ideal, other.ideal]),
            hidden=self.hidden + other.hidden,
        )  # fmt: skip

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """The corpus's vectors in these rows, float32 ``[…, m]``."""
        distinct, places = np.unique(rows, return_inverse=True)
        found = np.asarray(self.corpus[distinct], np.float32)
        return (unit_rows(found) if self.cosine else found)[places.reshape(rows.shape)]

    def scores(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The scores of the pools of some queries, by other vectors of these: float32 ``[k, c]``, -inf where there is none."""
        out = np.full((len(rows), self.pool.shape[1]), -np.inf, np.float32)
        for start in range(0, len(rows), _QUERIES):
            pool = self.pool[rows[start : start + _QUERIES]]
            own = np.matmul(self.vectors(np.maximum(pool, 0)), queries[start : start + len(pool), :, None])[:, :, 0]
            out[start : start + len(pool)] = np.where(pool >= 0, own, -np.inf)
        return out

    def ndcg(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """nDCG@10 of some queries by other vectors of these, float64 ``[k]``: candidates and background are ranked anew."""
        others = np.full((len(rows), _CUT), -np.inf, np.float32)  # the best scores of the background; none of it is relevant
        vectors = self.vectors(self.background)
        for start in range(0, len(rows), _BLOCK):
            own = queries[start : start + _BLOCK] @ vectors.T
            for scores, row in zip(own, rows[start : start + _BLOCK]):
                scores[self.hidden[row]] = -np.inf
            best = np.partition(own, max(own.shape[1] - _CUT, 0), axis=1)[:, -_CUT:]
            others[start : start + len(own), : best.shape[1]] = best
        scores = np.concatenate([self.scores(queries, rows), others], axis=1)
        gain = np.pad(self.gain[rows], ((0, 0), (0, _CUT)))
        first = np.argsort(-scores, axis=1, kind="stable")[:, :_CUT]
        return np.take_along_axis(gain, first, axis=1) @ _discounts(first.shape[1]) / self.ideal[rows]

    def listed(self, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """For a listwise loss: int64 ``[k, count]`` rows of the corpus, and float32 ``[k, count]`` shares of the gain.

        The most relevant ones, up to half of the list, then what stands highest; a query with too few candidates gets others of
        the corpus.
        """
        docs, target = np.empty((len(rows), count), np.int64), np.zeros((len(rows), count), np.float32)
        draw = np.random.default_rng(0)
        for i, row in enumerate(rows.tolist()):
            pool, gain = self.pool[row], self.gain[row]
            relevant = np.flatnonzero(gain > 0)
            relevant = relevant[np.argsort(-gain[relevant], kind="stable")][: count // 2]
            others = np.flatnonzero((gain == 0) & (pool >= 0))[: count - len(relevant)]
            own = pool[np.concatenate([relevant, others])]
            docs[i] = np.concatenate([own, draw.integers(0, len(self.corpus), count - len(own))])
            target[i, : len(relevant)] = gain[relevant] / gain[relevant].sum()
        return docs, target

    def _searched(self) -> list[np.ndarray]:
        """The first rows of the corpus by exact search, for each query."""
        depth = min(DEPTH, len(self.corpus))
        best = np.full((len(self.mapped), 0), 0, np.float32)
        rows = np.zeros((len(self.mapped), 0), np.int64)
        for start in range(0, len(self.corpus), _DOCUMENTS):
            block = np.arange(start, min(start + _DOCUMENTS, len(self.corpus)))
            best = np.concatenate([best, self.mapped @ self.vectors(block).T], axis=1)
            rows = np.concatenate([rows, np.broadcast_to(block, (len(rows), len(block)))], axis=1)
            top = np.argpartition(-best, min(depth, best.shape[1]) - 1, axis=1)[:, :depth]
            best, rows = np.take_along_axis(best, top, axis=1), np.take_along_axis(rows, top, axis=1)
        return list(rows)

    def _with_hidden(self, *, given: bool) -> JudgedCandidates:
        place = np.full(len(self.corpus), -1)
        place[self.background] = np.arange(len(self.background))
        hidden, vectors = [], self.vectors(self.background) if given else np.empty(0)
        first = self.scores(self.mapped, np.arange(len(self))).max(axis=1, initial=-np.inf) if given else np.empty(0)
        for i, pool in enumerate(self.pool):
            own = place[pool[pool >= 0]]
            hidden.append(own[own >= 0])
            if given:
                hidden[-1] = np.union1d(hidden[-1], np.flatnonzero(vectors @ self.mapped[i] > first[i]))
        return replace(self, hidden=hidden)

    def _ordered(self) -> JudgedCandidates:
        order = np.argsort(-self.scores(self.mapped, np.arange(len(self))), axis=1, kind="stable")
        return replace(self, pool=np.take_along_axis(self.pool, order, 1), gain=np.take_along_axis(self.gain, order, 1))


def _given(qids: Sequence[str], results: pd.DataFrame, lookup: Any) -> list[np.ndarray]:
    docnos = as_texts(results["docno"].tolist(), stage="FeatureTuner")
    rows = rows_of(docnos, lookup)
    if (rows < 0).any():
        raise ValueError(f"FeatureTuner expects results that its index holds, found {docnos[int(np.argmin(rows))]!r}")
    own: Mapping[str, np.ndarray] = {qid: rows[at] for qid, at in results.groupby("qid", sort=False).indices.items()}
    return [np.unique(own.get(qid, np.empty(0, np.int64))) for qid in qids]


def _discounts(n: int) -> np.ndarray:
    return 1 / np.log2(np.arange(2, n + 2))
