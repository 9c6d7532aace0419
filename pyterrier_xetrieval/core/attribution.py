"""Exact attribution of a retrieval score to sparse features (Cai et al. 2026, Eq. 12-16)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from .codes import DocumentCodes, ViewCodes, encode_view, encode_views, join_views
from .sae import SparseAutoencoder
from .threads import in_threads
from .views import fold_views, row_dots

_QUERIES, _PAIRS = 256, 1024  # joined at once: bounds the tables over the dictionary, and what a thread has in memory


@dataclass(frozen=True)
class Attribution:
    """The parts of ``n`` scores; pair ``i`` owns the features ``offsets[i]:offsets[i+1]``.

    ``score = Σ contribution + other + bias + residual`` holds for every pair. Shapes: ``score``, ``other``, ``bias``,
    ``residual`` float64 ``[n]``; ``offsets`` int64 ``[n+1]``; ``features`` int32 ``[t]``; ``contribution``,
    ``query_activation`` float32 ``[t]``; ``document_activation`` float32 ``[t, V]``, 0 where not active.
    ``before``: the same features' parts of the scores that the queries had before a stage changed their vectors; None
    where none did.
    """

    score: np.ndarray
    other: np.ndarray
    bias: np.ndarray
    residual: np.ndarray
    offsets: np.ndarray
    features: np.ndarray
    contribution: np.ndarray
    query_activation: np.ndarray
    document_activation: np.ndarray
    before: Attribution | None = None

    def __post_init__(self) -> None:
        for array in self.arrays():  # explanations share them
            array.setflags(write=False)

    def arrays(self) -> list[np.ndarray]:
        """All numbers but those of :attr:`before`."""
        return [values for name, values in vars(self).items() if name != "before"]

    def equals(self, other: Attribution) -> bool:
        """All numbers are the same."""
        if self.before is None or other.before is None:
            return self.before is other.before and all(map(np.array_equal, self.arrays(), other.arrays()))
        return self.before.equals(other.before) and all(map(np.array_equal, self.arrays(), other.arrays()))

    def listed(self, i: int) -> slice:
        """Where the features of pair ``i`` are."""
        return slice(self.offsets[i], self.offsets[i + 1])

    def pair(self, i: int) -> Attribution:
        """Pair ``i`` alone, in memory of its own."""
        pair, listed = slice(i, i + 1), self.listed(i)
        offsets = np.array([0, listed.stop - listed.start])
        return Attribution(
            self.score[pair].copy(), self.other[pair].copy(), self.bias[pair].copy(), self.residual[pair].copy(), offsets,
            self.features[listed].copy(), self.contribution[listed].copy(), self.query_activation[listed].copy(),
            self.document_activation[listed].copy(), None if self.before is None else self.before.pair(i),
        )  # fmt: skip


@dataclass(frozen=True)
class QueryChange:
    """What ``u`` query vectors were before a stage changed them.

    Attributes:
        encoded: float32 ``[u, m]``, the vectors that the encoder gave.
        added: for each query, what the stage added to the activations of features, negative for what it took away; empty
            where it changed all directions a little.
    """

    encoded: np.ndarray
    added: Sequence[Mapping[int, float]]

    def of(self, rows: np.ndarray) -> QueryChange:
        """Of some of the queries."""
        return QueryChange(self.encoded[rows], [self.added[row] for row in rows.tolist()])

    def added_to(self, q: ViewCodes) -> ViewCodes:
        """The queries' codes with what was added to them."""
        if not any(self.added):
            return q
        width = q.ids.shape[1]
        ids = np.pad(q.ids, ((0, 0), (0, max(map(len, self.added)))))
        activations = np.pad(q.activations, ((0, 0), (0, ids.shape[1] - width)))
        for row, own in enumerate(self.added):
            place = {j: i for i, j in enumerate(q.ids[row].tolist()) if q.activations[row, i] > 0}
            for slot, (feature, amount) in enumerate(own.items(), width):
                at = place.get(feature, slot)
                ids[row, at] = feature
                activations[row, at] += amount
        return ViewCodes(ids, activations, activations)


def explain_vectors(
    sae: SparseAutoencoder,
    queries: np.ndarray,
    query_rows: np.ndarray,
    documents: Sequence[np.ndarray] | DocumentCodes,
    doc_rows: np.ndarray,
    *,
    weights: Sequence[float],
    threshold: float = 0.0,
    refit: bool = True,
    batch_size: int = 512,
    folded: np.ndarray | None = None,
    check: Callable[[str, np.ndarray, ViewCodes], None] | None = None,
    change: QueryChange | None = None,
) -> Attribution:
    """From vectors to contributions: encodes, joins the views of each document, and splits each pair's score (Eq. 12-16).

    Args:
        sae: the dictionary.
        queries: float32 ``[u_q, m]``, distinct query vectors; query_rows: int64 ``[n]``, which of them each pair has.
        documents: one float32 ``[u, m]`` for each of the ``V`` views of ``u`` distinct documents, the original view
            first; or their stored codes.
        doc_rows: int64 ``[n]``, which document each pair has.
        weights: ``V`` numbers, the original view's first.
        threshold: τ of Eq. 4; features above it are active.
        refit: use least-squares coefficients instead of the activations. Stored codes say themselves what they are.
        batch_size: vectors encoded at once.
        folded: float32 ``[u, m]``, the documents' folded vectors, whose dot products are the scores; stored codes need them,
            and for views they are made unless given.
        check: called with ``"query_vec"`` and with ``"doc_vec"`` (not for stored codes), the distinct vectors and their codes,
            before anything is made of these; it may raise.
        change: what ``queries`` were before a stage changed them. The encoder's vectors say which features a query has, those
            of ``queries`` make the scores; ``before`` are the parts of the scores that the encoder's vectors make.

    Returns:
        The parts of the ``n`` scores. They add up to float precision.

    Example::

        parts = explain_vectors(sae, q, np.array([0]), [z], np.array([0]), weights=[1.0])
        parts.contribution.sum() + parts.other[0] + parts.bias[0] + parts.residual[0]    # ⟨q, z⟩
    """
    encoded = queries if change is None else change.encoded
    if isinstance(documents, DocumentCodes):
        if folded is None:
            raise ValueError("explain_vectors expects folded vectors beside stored codes, found none")
        q = encode_view(sae, encoded, refit=False, batch_size=batch_size)
    else:
        folded = fold_views(documents, weights[1:]) if folded is None else folded
        q, *codes = encode_views(sae, [encoded, *documents], refit=refit, batch_size=batch_size)
        if check is not None:
            check("doc_vec", documents[0], codes[0])
        documents = join_views(codes, sae.dict_size)
    if check is not None:
        check("query_vec", encoded, q)
    if change is None:
        scores = row_dots(queries, query_rows, folded, doc_rows)
        return attribute(sae, queries, q, query_rows, documents, doc_rows, scores, weights=weights, threshold=threshold)
    q = change.added_to(q)
    both, twice = np.concatenate([queries, encoded]), np.concatenate([query_rows, query_rows + len(queries)])
    doc_rows = np.tile(doc_rows, 2)
    codes_of_both = q[np.tile(np.arange(len(queries)), 2)]
    scores = row_dots(both, twice, folded, doc_rows)
    parts = attribute(sae, both, codes_of_both, twice, documents, doc_rows, scores, weights=weights, threshold=threshold)
    return _with_before(parts, sae.dict_size)


def _with_before(parts: Attribution, dict_size: int) -> Attribution:
    """The first half of some pairs, with the second half, of the same pairs with other query vectors, as what was before."""
    n = len(parts.score) // 2
    middle = parts.offsets[n]
    first, second = parts.offsets[: n + 1], parts.offsets[n:] - middle
    # both halves list the same features, each by its own contributions
    keys = [
        np.repeat(np.arange(n), np.diff(offsets)) * dict_size + features
        for offsets, features in ((first, parts.features[:middle]), (second, parts.features[middle:]))
    ]
    order = np.empty(middle, np.int64)
    order[np.argsort(keys[0])] = np.argsort(keys[1])
    own = Attribution(
        parts.score[:n], parts.other[:n], parts.bias[:n], parts.residual[:n], first, parts.features[:middle],
        parts.contribution[:middle], parts.query_activation[:middle], parts.document_activation[:middle],
    )  # fmt: skip
    before = replace(
        own, score=parts.score[n:], other=parts.other[n:], bias=parts.bias[n:], residual=parts.residual[n:],
        contribution=parts.contribution[middle:][order],
    )  # fmt: skip
    return replace(own, before=before)


def attribute(
    sae: SparseAutoencoder,
    queries: np.ndarray,
    q: ViewCodes,
    query_rows: np.ndarray,
    documents: DocumentCodes,
    doc_rows: np.ndarray,
    scores: np.ndarray,
    *,
    weights: Sequence[float],
    threshold: float,
) -> Attribution:
    """Splits each pair's score into contributions of shared features, other features, bias and residual.

    With every view written as ``v = Σ_j c_v,j w_j + b + e_v``, the score ``Σ_v w_v ⟨q,v⟩`` is
    ``Σ_j [Σ_v w_v c_v,j] ⟨q,w_j⟩ + Σ_v w_v ⟨q,b⟩ + Σ_v w_v ⟨q,e_v⟩``. ``O(q,d)`` (Eq. 15) decides which ``j`` are
    listed one by one, largest contribution first.

    Args:
        queries: float32 ``[u_q, m]``, distinct query vectors; q: their codes; query_rows: int64 ``[n]``, which one
            each pair has.
        documents: codes of the ``V`` views of ``u`` documents; doc_rows: int64 ``[n]``, which one each pair has.
        scores: float ``[n]``, the scores to split.
        weights: ``V`` numbers, the original view's first.
        threshold: τ of Eq. 4.
    """
    order = np.argsort(query_rows, kind="stable")  # pairs of one query together
    join = _Join(sae, queries, q, documents, np.asarray(weights, np.float32), threshold)
    parts = []
    for first in range(0, len(queries), _QUERIES):
        start, stop = np.searchsorted(query_rows, [first, first + _QUERIES], sorter=order)
        tables = join.tables(first)
        blocks = [order[i : min(i + _PAIRS, stop)] for i in range(start, stop, _PAIRS)]
        parts += in_threads(lambda pairs, t=tables, f=first: join(t, query_rows[pairs] - f, f, doc_rows[pairs]), blocks)
    parts = parts or [join(join.tables(0), query_rows, 0, doc_rows)]
    explained, counts, *listed = map(np.concatenate, zip(*parts))
    if (order[1:] < order[:-1]).any():  # back to the order of the pairs
        back = np.argsort(order)
        listed = [values[_runs(counts, back)] for values in listed]
        explained, counts = explained[back], counts[back]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    features, contribution, query_activation, document_activation = listed
    shared = _sums(contribution, offsets[:-1], counts)
    bias = float(np.sum(weights)) * np.einsum("um,m->u", queries, sae.bias)
    bias = bias[query_rows].astype(np.float64)
    scores = scores.astype(np.float64)
    return Attribution(
        scores, explained - shared, bias, scores - bias - explained, offsets,
        features, contribution, query_activation, document_activation,
    )  # fmt: skip


class _Join:
    """Queries' and documents' features joined, for some pairs at a time."""

    def __init__(
        self,
        sae: SparseAutoencoder,
        queries: np.ndarray,
        q: ViewCodes,
        documents: DocumentCodes,
        weights: np.ndarray,
        threshold: float,
    ):
        self.queries, self.q, self.documents, self.threshold = queries, q, documents, threshold
        self.folded = np.einsum(
            "tv,v->t", documents.coefficients, weights
        )  # a view's dot product is linear: one coefficient a feature
        used = np.zeros(sae.dict_size, bool)  # a page has a small part of the dictionary
        used[documents.features] = True
        self.known = np.flatnonzero(used)
        self.column = np.full(sae.dict_size, -1)
        self.column[self.known] = np.arange(len(self.known))
        self.place = self.column.take(documents.features)
        self.directions = sae.w_dec.detach()[torch.from_numpy(self.known).to(sae.w_dec.device)]

    def tables(self, first: int) -> tuple[np.ndarray, np.ndarray]:
        """For some queries and all features: ``⟨q, w_j⟩``, and 1 + the slot of j in the query's code, or 0."""
        rows = slice(first, first + _QUERIES)
        dots = (torch.from_numpy(self.queries[rows]).to(self.directions.device) @ self.directions.T).cpu().numpy()
        slots = np.zeros(dots.shape, np.uint8 if self.q.ids.shape[1] < 255 else np.uint32)
        column = self.column[self.q.ids[rows]]
        # what a stage took away from a query is listed like what it added; a code has no activations below 0
        own, slot = np.nonzero((np.abs(self.q.activations[rows]) > self.threshold) & (column >= 0))
        slots[own, column[own, slot]] = slot + 1
        return dots, slots

    def __call__(
        self, tables: tuple[np.ndarray, np.ndarray], query: np.ndarray, first: int, document: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """What all features explain of each pair, how many it shares, and flat: these, largest contribution first."""
        dots, slots = tables
        d, offsets = self.documents, self.documents.offsets
        counts = offsets[document + 1] - offsets[document]
        ends = np.cumsum(counts)
        pair = np.repeat(np.arange(len(query)), counts)
        at = (offsets[document] - ends + counts).take(pair) + np.arange(len(pair))
        key = self.place.take(at) + (query * len(self.known)).take(pair)
        parts = self.folded.take(at) * dots.take(key)
        explained = _sums(parts, ends - counts, counts)

        slot = slots.take(key)
        hit = np.flatnonzero(slot != 0)  # the features that the query has too
        activation = d.activations.take(at.take(hit), axis=0)
        if self.threshold > 0:
            activation *= activation > self.threshold
            active = np.flatnonzero(activation.any(axis=1))
            hit, activation = hit[active], activation[active]
        pair, part = pair.take(hit), parts.take(hit)
        largest = np.argsort((pair << 32) - _ascending(part), kind="stable")
        hit, pair = hit.take(largest), pair.take(largest)
        slot = slot.take(hit).astype(np.int64) - 1
        activation_q = self.q.activations[(first + query).take(pair), slot]
        features = d.features.take(at.take(hit)).astype(np.int32)
        counts = np.bincount(pair, minlength=len(query))
        return explained, counts, features, part.take(largest), activation_q, activation.take(largest, axis=0)


def _sums(x: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sums of consecutive runs, float64; 0 for an empty one, of which reduceat knows nothing."""
    out, some = np.zeros(len(counts)), counts > 0
    if some.any():
        out[some] = np.add.reduceat(x, starts[some], dtype=np.float64)
    return out


def _ascending(x: np.ndarray) -> np.ndarray:
    """Whole numbers, int64 within 32 bits, in the order of the float32 numbers ``x``."""
    bits = x.view(np.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)


def _runs(counts: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Where the items of runs of these lengths are, run by run in this order."""
    starts, lengths = (np.cumsum(counts) - counts)[order], counts[order]
    return np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
