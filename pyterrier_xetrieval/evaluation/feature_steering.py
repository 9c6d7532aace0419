"""Features turned up and down, and retrieval again: which carry relevance? (Cai et al. 2026, Fig. 8, Eq. 17-18)"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..core.checks import positive_ints
from ..core.codes import ViewCodes, encode_view
from ..core.sae import SparseAutoencoder
from ..model import Xetrieval
from .collection import CUTOFF, EmbeddedCollection, best, ndcg
from .explained_pairs import explain_pairs
from .pairs import NUM_RESULTS, Pairs, contrast_pairs
from .tidy_rows import TidyRows

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
SIDES = ("docs", "queries")
READINGS = {"": False, "_at_length": True}  # suffix of the measures: whether edited documents get their length back


def steering(
    model: Xetrieval,
    collection: EmbeddedCollection,
    *,
    num_features: int = 256,
    alphas: Sequence[float] = ALPHAS,
    sides: Sequence[str] = ("docs",),
    num_results: int = NUM_RESULTS,
    draws: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """nDCG@10 when the activations of a feature set are multiplied by ``alpha`` in every document, nothing re-encoded.

    The queries are halved at random. Key features are chosen on one half, steering is measured on that half
    (``split="same"``, the paper's setting) and on the other (``"unseen"``); then the halves change places, so that both
    splits hold every query once. Three kinds of sets:

    - ``key``: the ``num_features`` of largest RUS (:func:`relevance_utility`), or fewer if fewer have one above 0;
    - ``non_key``: as many at random from the others that are active in at least one document, ``draws`` times, the
      queries' nDCG averaged over the draws;
    - ``non_key_as_active``: for each key feature the other one whose number of documents is nearest. Features of
      large RUS are active often, so that scaling random ones moves the vectors less whatever they mean.

    The reconstruction error stays in the vectors: ``d' = d + (α−1) Σ_{j∈S} c_j w_j``. A score is then a polynomial in
    α, and all of them come from one or two matrix products. Two readings: ``nDCG@10`` ranks by these scores as they
    are, and so by length as well, which the edit changes, by more for documents with more of the set's features;
    ``nDCG@10_at_length`` gives every edited document its length back, as Fig. 7 does.

    Args:
        model: whose dictionary; its views do not take part.
        collection: queries and documents.
        num_features: the paper takes 256 on BRIGHT and 1,024 on ArguAna and NQ.
        alphas: factors; 1 is the unedited retrieval, bit for bit.
        sides: which vectors are edited, among ``"docs"`` and ``"queries"``. The paper says "the edited embeddings";
            documents alone is the default because an index can be edited once for all queries.
        num_results: non-relevant documents come from so many best results of each query.
        draws: random sets of ``non_key``.
        seed: of the halves, the sets and the bootstrap.

    Returns:
        ``collection``, ``set``, ``split``, ``alpha``, ``active`` (how many of the set's features are active on a
        document, on average), ``measure``, ``value``, ``low``, ``high``, ``n`` (queries). Measures: ``nDCG@10``, and
        ``change``, its difference from the unedited retrieval, query by query; ``nDCG@10_at_length`` and
        ``change_at_length``.

    Raises:
        ValueError: fewer than two queries; sides unknown or none; no feature of positive RUS on a half of the queries;
            too few active features for two sets.

    Example::

        steering(model, embed(pydocs(), model.encoder(), cache="cache"), alphas=(0.5, 1, 2))
    """
    sae, sides = model.sae, tuple(sides)
    if not sides or not set(sides) <= set(SIDES):
        raise ValueError(f"steering expects sides among {list(SIDES)}, found {list(sides)}")
    if len(collection.qids) < 2:
        raise ValueError(f"steering expects two queries or more to halve, found {len(collection.qids)}")
    positive_ints(stage="steering", num_features=num_features, num_results=num_results, draws=draws)
    if not len(alphas):
        raise ValueError("steering expects one alpha or more, found none")
    rng = np.random.default_rng(seed)
    codes = {side: _codes(sae, getattr(collection, side)) for side in {*sides, "docs"}}
    counts = _document_counts(codes["docs"], sae.dict_size)
    half = rng.permutation(len(collection.qids)) % 2
    values: dict[tuple[str, str, str], np.ndarray] = {}
    active: dict[str, list[float]] = defaultdict(list)
    pairs = contrast_pairs(collection, num_results=num_results, seed=seed)
    for fold in (0, 1):
        rus = relevance_utility(model, collection, pairs[half[pairs.queries] == fold])
        for name, sets in _feature_sets(rus, counts, num_features, draws, rng).items():
            active[name].append(float(np.mean([counts[s].sum() for s in sets])) / len(collection.docnos))
            by_set = []
            for features in sets:
                edit = {side: _edit(sae, codes[side], features) for side in sides}
                by_set.append([steered_ndcg(collection, edit, [1.0, *alphas], at_length=a) for a in READINGS.values()])
            for split, chosen in (("same", half == fold), ("unseen", half != fold)):
                for reading, own in zip(READINGS, np.mean(by_set, axis=0)):
                    values.setdefault((name, split, reading), np.empty_like(own))[:, chosen] = own[:, chosen]
    rows = TidyRows(seed, collection=collection.name)
    for (name, split, reading), (plain, *steered) in values.items():
        for alpha, value in zip(alphas, steered, strict=True):
            condition: dict[str, Any] = {"set": name, "split": split, "alpha": float(alpha), "active": np.mean(active[name])}
            rows.mean(f"nDCG@{CUTOFF}{reading}", value, **condition)
            rows.mean(f"change{reading}", value - plain, **condition)
    return rows.frame("set", "split", "alpha", "active")


def relevance_utility(model: Xetrieval, collection: EmbeddedCollection, pairs: Pairs) -> np.ndarray:
    """``RUS(f_j)``: in how many relevant pairs the feature is shared, less in how many others (Eq. 17-18).

    ``pairs`` hold ``D_pos`` and ``D_neg`` by their ``relevant``; int64 ``[D]``.
    """
    explained = explain_pairs(model.with_views(()), collection, pairs)
    signs = np.where(pairs.relevant, 1, -1)[explained.owner]
    return np.bincount(explained.parts.features, weights=signs, minlength=model.sae.dict_size).astype(np.int64)


def steered_ndcg(
    collection: EmbeddedCollection,
    edits: Mapping[str, np.ndarray],
    alphas: Sequence[float],
    *,
    at_length: bool = False,
    batch_size: int = 256,
) -> np.ndarray:
    """nDCG@10 of each query for each ``alpha``, float64 ``[len(alphas), q]``.

    Args:
        collection: queries and documents.
        edits: ``Σ_{j∈S} c_j w_j`` of every row, float32, for ``"docs"`` ``[n, m]`` and / or ``"queries"`` ``[q, m]``.
        alphas: factors; see :func:`steered_scores`.
        at_length: give every edited document its original length back; a query's own does not change its ranking.
        batch_size: queries scored at once.
    """
    docs = torch.from_numpy(np.ascontiguousarray(collection.docs, np.float32))
    rows = np.empty((len(alphas), len(collection.qids), min(CUTOFF, len(docs))), np.int64)
    shift = {side: torch.from_numpy(edit) for side, edit in edits.items()}
    factors = length_factors(docs, shift["docs"], alphas) if at_length and "docs" in shift else None
    for start in range(0, len(collection.qids), batch_size):
        batch = slice(start, start + batch_size)
        queries = torch.from_numpy(np.array(collection.queries[batch], np.float32))
        query_shift = shift["queries"][batch] if "queries" in shift else None
        for at, scores in enumerate(steered_scores(queries, docs, query_shift, shift.get("docs"), alphas)):
            if factors is not None:
                scores = scores * factors[at]
            rows[at, batch], _ = best(scores, rows.shape[2], collection.excluded[batch])
    return np.stack([ndcg(collection, ranked) for ranked in rows])


def steered_scores(
    queries: torch.Tensor,
    docs: torch.Tensor,
    query_shift: torch.Tensor | None,
    doc_shift: torch.Tensor | None,
    alphas: Sequence[float],
) -> Iterator[torch.Tensor]:
    """For each ``alpha``, with ``a = α − 1``: ``⟨q,d⟩ + a (⟨q,Δd⟩ + ⟨Δq,d⟩) + a² ⟨Δq,Δd⟩``, float32 ``[q, n]``.

    ``query_shift`` and ``doc_shift`` are ``Σ_{j∈S} c_j w_j`` of the vectors; None where that side is not edited.
    """
    base, linear, square = queries @ docs.T, torch.zeros(1), torch.zeros(1)
    if doc_shift is not None:
        linear = queries @ doc_shift.T
    if query_shift is not None:
        linear = linear + query_shift @ docs.T
    if query_shift is not None and doc_shift is not None:
        square = query_shift @ doc_shift.T
    for alpha in alphas:
        yield base + (alpha - 1) * linear + (alpha - 1) ** 2 * square


def length_factors(docs: torch.Tensor, shift: torch.Tensor, alphas: Sequence[float]) -> list[torch.Tensor]:
    """For each ``alpha`` ``‖d‖ / ‖d + (α−1) Δd‖``, float32 ``[n]``, exactly 1 at α = 1.

    ``docs`` and ``shift`` are float32 ``[n, m]``. ``‖d + aΔd‖² = ‖d‖² + 2a ⟨d,Δd⟩ + a² ‖Δd‖²``, whose dot products do not
    depend on α.
    """
    base, cross, square = (torch.linalg.vecdot(x.double(), y.double()) for x, y in ((docs, docs), (docs, shift), (shift, shift)))
    squares = (base + 2 * (alpha - 1) * cross + (alpha - 1) ** 2 * square for alpha in alphas)
    return [(base / of_edited.clamp_min(1e-12)).sqrt().float() for of_edited in squares]


def _codes(sae: SparseAutoencoder, vectors: np.ndarray) -> ViewCodes:
    return encode_view(sae, np.ascontiguousarray(vectors, np.float32), refit=False, batch_size=1024)


def _document_counts(codes: ViewCodes, dict_size: int) -> np.ndarray:
    """In how many documents each feature is active, int64 ``[D]``."""
    return np.bincount(codes.ids[codes.activations > 0], minlength=dict_size)


@torch.no_grad()
def _edit(sae: SparseAutoencoder, codes: ViewCodes, features: np.ndarray) -> np.ndarray:
    """``Σ_{j∈S} c_j w_j`` of every row, float32 ``[n, m]``."""
    selected, device = np.zeros(sae.dict_size, bool), sae.w_dec.device
    selected[features] = True
    out = np.empty((len(codes.ids), sae.dim), np.float32)
    for start in range(0, len(out), 4096):
        block = slice(start, start + 4096)
        ids, values = codes.ids[block], codes.activations[block]
        values = np.where(selected[ids], values, np.float32(0))
        out[block] = sae.combine(torch.from_numpy(ids).to(device), torch.from_numpy(values).to(device)).cpu().numpy()
    return out


def _feature_sets(
    rus: np.ndarray, counts: np.ndarray, size: int, draws: int, rng: np.random.Generator
) -> dict[str, list[np.ndarray]]:
    """The sets of each kind; ties in RUS and in the number of documents go to the smaller id.

    Features that are shared no more often in relevant pairs are no key features, whatever the size.
    """
    key = np.argsort(-rus, kind="stable")[:size]
    key = key[rus[key] > 0]
    if not len(key):
        raise ValueError(
            "steering expects features that relevant pairs share more often than others do, found none of positive RUS on a half "
            "of the queries; give it more queries with relevant documents"
        )
    size, others = len(key), np.setdiff1d(np.flatnonzero(counts), key)
    if size > len(others):
        raise ValueError(
            f"steering expects as many other active features as key features, found {size} key features and "
            f"{len(others)} others; give it a smaller num_features"
        )
    alike, free = [], others[np.argsort(counts[others], kind="stable")]
    for feature in key[np.argsort(-counts[key], kind="stable")]:  # the frequent first: they have the fewest alike
        nearest = np.abs(counts[free] - counts[feature]).argmin()
        alike.append(free[nearest])
        free = np.delete(free, nearest)
    return {
        "key": [key],
        "non_key": [rng.choice(others, size, replace=False) for _ in range(draws)],
        "non_key_as_active": [np.array(alike)],
    }
