"""Exact attribution of a retrieval score to sparse features (Cai et al. 2026, Eq. 12-16)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyterrier as pt
import torch

from .explanation import Explanation
from .sae import SparseAutoencoder
from .scorer import fold_distinct, row_dots
from .stage import RowWiseStage, positive_int
from .vectors import stack_unique, view_column

_PAIRS = 2048  # pairs joined at once: bounds the working memory at a few tens of megabytes


@dataclass(frozen=True)
class ViewCodes:
    """Sparse codes of one view of ``u`` distinct documents, as the attribution reads them.

    Attributes:
        ids: int64 ``[u, k]``, features.
        activations: float32 ``[u, k]``, what the encoder says; above the threshold means active.
        coefficients: float32 ``[u, k]``, how much of each direction the decomposition of the view uses; the
            activations themselves, or their least-squares refit.
    """

    ids: np.ndarray
    activations: np.ndarray
    coefficients: np.ndarray


@dataclass(frozen=True)
class Attribution:
    """The parts of ``n`` scores; pair ``i`` owns the features ``offsets[i]:offsets[i+1]``.

    ``score = Σ contribution + other + bias + residual`` holds for every pair. Shapes: ``score``, ``other``, ``bias``,
    ``residual`` float64 ``[n]``; ``offsets`` int64 ``[n+1]``; ``features`` int32 ``[t]``; ``contribution``,
    ``query_activation`` float32 ``[t]``; ``document_activation`` float32 ``[t, V]``, 0 where not active.
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


@torch.no_grad()
def encode_view(sae: SparseAutoencoder, x: np.ndarray, *, refit: bool, batch_size: int) -> ViewCodes:
    """Sparse codes of float32 ``[u, m]`` vectors, in batches on the dictionary's own device."""
    ids, activations, coefficients = [], [], []
    for start in range(0, max(len(x), 1), batch_size):
        batch = torch.from_numpy(x[start : start + batch_size]).to(sae.w_enc.device)
        codes = sae.encode(batch)
        ids.append(codes.ids.cpu().numpy())
        activations.append(codes.values.cpu().numpy())
        coefficients.append(sae.refit(batch, codes).cpu().numpy() if refit else activations[-1])
    width = max(part.shape[1] for part in ids)  # rules other than TopK fill as many slots as a batch needs
    return ViewCodes(*(_joined(parts, width) for parts in (ids, activations, coefficients)))


def _joined(parts: list[np.ndarray], width: int) -> np.ndarray:
    return np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts])


def encode_views(sae: SparseAutoencoder, views: Sequence[np.ndarray], *, refit: bool, batch_size: int) -> list[ViewCodes]:
    """:func:`encode_view` of each view; together if they fit one batch.

    A page of results then reads the dictionary once, and not once for each view.
    """
    ends = np.cumsum([len(view) for view in views])
    if ends[-1] > batch_size:
        return [encode_view(sae, view, refit=refit, batch_size=batch_size) for view in views]
    joint = encode_view(sae, np.concatenate(views), refit=refit, batch_size=batch_size)
    split = [np.split(part, ends[:-1]) for part in (joint.ids, joint.activations, joint.coefficients)]
    return [ViewCodes(*parts) for parts in zip(*split)]


@torch.no_grad()
def attribute(
    sae: SparseAutoencoder,
    queries: np.ndarray,
    q: ViewCodes,
    query_rows: np.ndarray,
    codes: Sequence[ViewCodes],
    doc_rows: Sequence[np.ndarray],
    scores: np.ndarray,
    *,
    weights: Sequence[float],
    threshold: float,
) -> Attribution:
    """Splits each pair's score into contributions of shared features, other features, bias and residual.

    With every view written as ``v = Σ_j c_v,j w_j + b + e_v``, the score ``Σ_v w_v ⟨q,v⟩`` is
    ``Σ_j [Σ_v w_v c_v,j ⟨q,w_j⟩] + Σ_v w_v ⟨q,b⟩ + Σ_v w_v ⟨q,e_v⟩``. ``O(q,d)`` (Eq. 15) decides which ``j`` are
    listed one by one.

    Args:
        queries: float32 ``[u_q, m]``, distinct query vectors; q: their codes; query_rows: int64 ``[n]``, which one
            each pair has.
        codes: codes of the distinct vectors of each of the ``V`` views.
        doc_rows: int64 ``[n]`` for each view, which of its vectors each pair has.
        scores: float ``[n]``, the scores to split.
        weights: ``V`` numbers, the original view's first.
        threshold: τ of Eq. 4.
    """
    n, k, views = len(query_rows), q.ids.shape[1], len(codes)
    device = sae.w_dec.device
    bias = float(np.sum(weights)) * (queries @ sae.b_dec.cpu().numpy())
    explained = np.zeros(n)
    order = np.argsort(query_rows, kind="stable")  # pairs of one query together: few rows in the tables below

    @torch.no_grad()  # which holds for the thread that says it
    def join(start: int):
        pairs = order[start : start + _PAIRS]
        distinct, local = np.unique(query_rows[pairs], return_inverse=True)
        # tables over the whole dictionary for the few queries at hand: ⟨q, w_j⟩, and the slot of j in the query's code
        dots = (torch.from_numpy(queries[distinct]).to(device) @ sae.w_dec.T).cpu().numpy()
        slots = np.full((len(distinct), sae.dict_size), -1, np.int16)
        own, slot = np.nonzero(q.activations[distinct] > threshold)
        slots[own, q.ids[distinct][own, slot]] = slot

        contribution = np.zeros((len(pairs), k), np.float32)
        document = np.zeros((len(pairs), k, views), np.float32)
        for v, view in enumerate(codes):
            rows = doc_rows[v][pairs]
            ids = view.ids.take(rows, axis=0)
            flat = ids + (local * sae.dict_size)[:, None]
            parts = np.float32(weights[v]) * view.coefficients.take(rows, axis=0) * dots.take(flat)
            explained[pairs] += parts.sum(axis=1, dtype=np.float64)
            where = slots.take(flat)
            pair, at = np.nonzero(where >= 0)  # the features that the query has too
            where, part, activation = where[pair, at], parts[pair, at], view.activations[rows[pair], at]
            # a feature's part counts for every view that uses its direction, also below the threshold
            used = part != 0  # empty slots may repeat an id
            contribution[pair[used], where[used]] += part[used]
            active = activation > threshold
            document[pair[active], where[active], v] = activation[active]
        return _listed(pairs, contribution, document, q.ids[distinct][local], q.activations[distinct][local])

    starts = range(0, max(n, 1), _PAIRS)
    if len(starts) == 1:
        chunks = [join(0)]
    else:  # blocks own their pairs, and numpy works outside the interpreter's lock
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            chunks = list(pool.map(join, starts))
    pair, features, contribution, query_activation, document = map(np.concatenate, zip(*chunks))
    # back to the order of the pairs, each pair's largest contribution first
    final = np.lexsort((-contribution, pair))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(pair, minlength=n))]).astype(np.int64)
    listed = np.bincount(pair, weights=contribution, minlength=n)
    scores = scores.astype(np.float64)
    bias = bias[query_rows].astype(np.float64)
    return Attribution(
        scores, explained - listed, bias, scores - bias - explained, offsets,
        features[final].astype(np.int32), contribution[final], query_activation[final], document[final],
    )  # fmt: skip


def _listed(pairs, contribution, document, ids, activations):
    """The shared features of a block of pairs, flat: pair, feature, contribution, query and document activations."""
    at = np.nonzero((document > 0).any(axis=2))
    return pairs[at[0]], ids[at], contribution[at], activations[at], document[at]


class SAEExplainer(RowWiseStage):
    """Explains each result: which hidden features query and document share, and how they add up to the score.

    Needs ``qid``, ``docno``, ``query_vec``, ``doc_vec`` and ``doc_vec_<aspect>`` for each aspect; adds the column
    ``explanation`` (:class:`~pyterrier_xetrieval.Explanation`). What is explained is the score of the views used
    (Eq. 11); ``aspects=()`` explains a plain dense retriever's ``⟨q,z⟩``. The frame's own ``score`` is left as it is.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        aspects: the views beside the original one (default: all that the model has).
        weights: as in :class:`~pyterrier_xetrieval.MultiViewScorer`; None for the model's own.
        threshold: τ, a feature is active when its activation is above it (Eq. 4).
        top: how many features the printed form of an explanation spells out; the object holds all.
        refit: write each view as the least-squares combination of its active features' directions instead of the
            encoder's own activations. Which features are active does not change; the part of the score that the
            dictionary does not explain becomes smaller.
        batch_size: vectors encoded at once.

    Raises:
        ValueError: an aspect that the model does not have, weights that do not fit, vectors of another dimension.

    Example::

        pipeline = retriever >> VectorLoader(index) >> model.internalizer() >> model.explainer()
        pipeline.search("sort a list by two keys").iloc[0].explanation
    """

    label = "SAEExplainer"

    def __init__(self, model, *, aspects=None, weights=None, threshold=0.0, top=10, refit=True, batch_size=512):
        self.model = model
        self.aspects = model.check_aspects(aspects, stage="SAEExplainer")
        self.weights = model.check_weights(weights, self.aspects, stage="SAEExplainer")
        if not float(threshold) >= 0:
            raise ValueError(f"SAEExplainer expects threshold >= 0 (activations are never negative), found {threshold}")
        self.threshold, self.top = float(threshold), positive_int(top, "top", stage="SAEExplainer")
        self.refit, self.batch_size = refit, positive_int(batch_size, "batch_size", stage="SAEExplainer")

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        columns = ["doc_vec", *map(view_column, self.aspects)]
        pt.validate.result_frame(inp, extra_columns=["query_vec", *columns], context=self)
        if not len(inp):
            return inp.assign(explanation=pd.Series([], dtype=object, index=inp.index))
        sae, weights = self.model.sae, (1.0, *self.weights)
        queries, query_rows = stack_unique(inp, "query_vec", dim=self.model.dim, stage=self)
        views, doc_rows = zip(*(stack_unique(inp, column, dim=self.model.dim, stage=self) for column in columns))
        scores = row_dots(queries, query_rows, *fold_distinct(views, doc_rows, self.weights))
        q, *codes = encode_views(sae, [queries, *views], refit=self.refit, batch_size=self.batch_size)
        parts = attribute(sae, queries, q, query_rows, codes, doc_rows, scores, weights=weights, threshold=self.threshold)
        return inp.assign(explanation=self._explanations(inp, parts))

    def _explanations(self, inp: pd.DataFrame, parts: Attribution) -> pd.Series:
        views, labels = ("original", *self.aspects), self.model.labels
        column = np.empty(len(inp), dtype=object)
        numbers = (parts.score, parts.other, parts.bias, parts.residual, parts.offsets[:-1], parts.offsets[1:])
        rows = zip(inp["qid"].tolist(), inp["docno"].tolist(), *(a.tolist() for a in numbers))  # plain numbers: faster
        for i, (qid, docno, score, other, bias, residual, start, end) in enumerate(rows):
            column[i] = Explanation(
                qid, docno, score, parts.features[start:end], parts.contribution[start:end],
                parts.query_activation[start:end], parts.document_activation[start:end],
                other, bias, residual, views, labels, self.top,
            )  # fmt: skip
        return pd.Series(column, index=inp.index, dtype=object)
