"""Does a score depend on features in the order in which an explanation lists them? Deletion and insertion curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..core.checks import positive_ints
from ..core.edits import intervene
from ..model import Xetrieval
from .collection import EmbeddedCollection
from .dictionaries import untrained_model
from .explained_pairs import ExplainedPairs, cosines, explain_pairs
from .pairs import ranked_pairs
from .tidy_rows import TidyRows

CURVES = {"deletion": "erase", "insertion": "keep_only"}
ORDERS = {"contribution": "contribution", "activation": "activation", "random": "random"}  # name to order of its features
UNTRAINED = {"untrained": "contribution", "untrained_random": "random"}


def faithfulness_curves(
    model: Xetrieval,
    collection: EmbeddedCollection,
    *,
    num_results: int = 1,
    steps: int = 10,
    draws: int = 5,
    per_pair: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Deletion and insertion curves of explanations of ``⟨q,z⟩`` (Petsiuk et al. 2018, there of image regions).

    Of the features that an explanation lists, the first share is erased from the original document embedding
    (deletion) or alone kept in it (insertion), by the projections of Eq. 25-26, and the cosine with the query taken
    again. Not by subtracting contributions: the score would then fall by just these, whatever the order is worth.
    Embeddings get their length back, as in the paper; without that one curve would mirror the other. A faithful order
    has a small area under the deletion curve and a large one under the insertion curve.

    Orders compared: ``contribution`` (the explanation's own), ``activation`` (in the original document embedding) and
    ``random`` (``draws`` orders for each pair, averaged). ``untrained`` and ``untrained_random`` are what no training
    at all gives: the shared features of a dictionary of the same size and sparsity that has seen no data, by
    contribution and at random. Their share of 1 is all that this dictionary finds in query and document, as a rule
    fewer features.

    Args:
        model: whose dictionary. Its views do not take part: only the original embedding is edited.
        collection: queries and documents.
        num_results: best documents of each query.
        steps: the shares are ``0, 1/steps, …, 1`` of a pair's listed features, rounded up to whole ones.
        draws: random orders of each pair.
        per_pair: one row for each pair, curve, order and fraction: ``qid``, ``docno``, ``curve``, ``order``,
            ``fraction``, ``relative_score``.
        seed: of the random orders and the bootstrap.

    Returns:
        ``collection``, ``curve``, ``order``, ``fraction`` (NaN for areas), ``measure``, ``value``, ``low``, ``high``,
        ``n`` (pairs; intervals over queries). Measures: ``relative_score``, the cosine over that of the unedited
        pair; ``area`` under that curve, by trapezoids; ``area_minus_random``, pair by pair, of each dictionary by its
        own random orders. Pairs without shared features (of the dictionary) or with a cosine not above zero are left
        out.

    Raises:
        ValueError: a number of results, steps or draws that is not positive.

    Example::

        faithfulness_curves(model, embed(pydocs(), model.encoder(), cache="cache")).query("measure == 'area'")
    """
    positive_ints(stage="faithfulness_curves", num_results=num_results, steps=steps, draws=draws)
    pairs, plain = ranked_pairs(collection, num_results=num_results), model.with_views(())
    fractions, ids = np.linspace(0, 1, steps + 1), pairs.ids(collection)
    curves: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]] = {}
    for own, orders in ((plain, ORDERS), (untrained_model(plain, collection.docs, seed=seed), UNTRAINED)):
        explained = explain_pairs(own, collection, pairs, refit=True)
        before = cosines(explained.q, explained.z)
        kept = np.flatnonzero((np.diff(explained.parts.offsets) > 0) & (before > 0))
        found = explained.orders(draws=draws, seed=seed)
        for name, order in orders.items():
            for curve, mode in CURVES.items():
                runs = [_curve(explained, sets, kept, fractions, mode) for sets in found[order]]
                curves[curve, name] = kept, np.mean(runs, axis=0) / before[kept]
    if per_pair:
        frames = [
            ids.iloc[kept].assign(curve=curve, order=order, fraction=fraction, relative_score=values)
            for (curve, order), (kept, by_fraction) in curves.items()
            for fraction, values in zip(fractions, by_fraction, strict=True)
        ]
        return pd.concat(frames, ignore_index=True)
    rows = TidyRows(seed, collection=collection.name)
    for (curve, order), (kept, values) in curves.items():
        random_order = "untrained_random" if order in UNTRAINED else "random"
        area, random = (np.trapezoid(v, fractions, axis=0) for v in (values, curves[curve, random_order][1]))
        measured = [(fraction, "relative_score", value) for fraction, value in zip(fractions, values, strict=True)]
        measured.append((np.nan, "area", area))
        if order != random_order:
            measured.append((np.nan, "area_minus_random", area - random))
        for fraction, measure, value in measured:
            rows.mean(measure, value, clusters=ids["qid"].iloc[kept], curve=curve, order=order, fraction=fraction)
    return rows.frame("curve", "order", "fraction")


def _curve(
    explained: ExplainedPairs, sets: Sequence[np.ndarray], kept: np.ndarray, fractions: np.ndarray, mode: str
) -> np.ndarray:
    """Cosine after each fraction of each kept pair's features, float64 ``[len(fractions), len(kept)]``."""
    sae, q, z, out = explained.model.sae, explained.q[kept], explained.z[kept], []
    for fraction in fractions:
        # 1e-9: a fraction such as 3/10 of ten features is three, not four
        prefixes = [sets[i][: int(np.ceil(fraction * len(sets[i]) - 1e-9))] for i in kept]
        if fraction == 0 and mode == "keep_only":  # Eq. 26 with nothing to keep: the bias alone
            edited = np.broadcast_to(sae.b_dec.detach().cpu().numpy(), z.shape)
        else:
            edited = intervene(sae, z, prefixes, mode, around="origin")  # the paper's, as in erasure
        out.append(cosines(q, edited))
    return np.stack(out)
