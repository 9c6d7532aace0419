"""Is the order of an explanation's features the order in which the score depends on them? Deletion, insertion, shares."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..intervention import intervene
from ..stage import positive_int
from .bootstrap import estimate
from .collection import EmbeddedCollection
from .pairs import ExplainedPairs, cosines, explain_pairs, ranked_pairs, split, view_modules

CURVES = {"deletion": "erase", "insertion": "keep_only"}
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def faithfulness_curves(
    model, collection: EmbeddedCollection, *, aspects=(), num_results: int = 1, steps: int = 10, draws: int = 5,
    per_pair: bool = False, seed: int = 0, batch_size: int = 256,
) -> pd.DataFrame:  # fmt: skip
    """Deletion and insertion curves of explanations (Petsiuk et al. 2018, there of image regions).

    Of the features that an explanation lists, the first share is erased from the original document embedding
    (deletion) or alone kept in it (insertion), by the projections of Eq. 25-26, and the cosine with the query taken
    again. Not by subtracting contributions: the score would then fall by just these, whatever the order is worth.
    Embeddings get their length back, as in the paper; without that one curve would mirror the other. A faithful order
    has a small area under the deletion curve and a large one under the insertion curve.

    Orders compared: ``contribution`` (the explanation's own), ``activation`` (in the original document embedding) and
    ``random`` (``draws`` orders for each pair, averaged).

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        aspects: the views explained beside the original one; none, so that what is explained is the score ``⟨q,z⟩``
            that is measured.
        num_results: best documents of each query.
        steps: the shares are ``0, 1/steps, …, 1`` of a pair's listed features, rounded up to whole ones.
        per_pair: one row for each pair, curve, order and fraction: ``qid``, ``docno``, ``curve``, ``order``,
            ``fraction``, ``relative_score``.

    Returns:
        ``collection``, ``curve``, ``order``, ``fraction`` (NaN for areas), ``measure``, ``value``, ``low``, ``high``,
        ``n`` (pairs; intervals over queries). Measures: ``relative_score``, the cosine over that of the unedited
        pair; ``area`` under that curve, by trapezoids; ``area_minus_random``, pair by pair. Pairs without shared
        features or with a cosine not above zero are left out.

    Example::

        faithfulness_curves(model, embed(pydocs(), model.encoder(), cache="cache")).query("measure == 'area'")
    """
    for name, value in (("num_results", num_results), ("steps", steps), ("draws", draws)):
        positive_int(value, name, stage="faithfulness_curves")
    pairs = ranked_pairs(collection, num_results=num_results)
    views = view_modules(model, aspects, stage="faithfulness_curves")
    weights = model.check_weights(None, tuple(views), stage="faithfulness_curves")
    explained = explain_pairs(
        model.sae, collection, pairs, internalizers=views, weights=weights, refit=True, batch_size=batch_size
    )
    before = cosines(explained.q, explained.z)
    kept = np.flatnonzero((np.diff(explained.parts.offsets) > 0) & (before > 0))
    fractions = np.linspace(0, 1, steps + 1)
    curves = {}
    for order, rankings in feature_orders(explained, draws=draws, seed=seed).items():
        for curve, mode in CURVES.items():
            runs = [_curve(model.sae, explained, sets, kept, fractions, mode, batch_size) for sets in rankings]
            curves[curve, order] = np.mean(runs, axis=0) / before[kept]
    qids = np.asarray(collection.qids)[pairs.queries[kept]]
    if per_pair:
        docnos = np.asarray(collection.docnos)[pairs.docs[kept]]
        parts = [
            pd.DataFrame({"qid": qids, "docno": docnos, "curve": c, "order": o, "fraction": f, "relative_score": value})
            for (c, o), values in curves.items() for f, value in zip(fractions, values, strict=True)
        ]  # fmt: skip
        return pd.concat(parts, ignore_index=True)
    rows = []
    for (curve, order), values in curves.items():
        area, random = (np.trapezoid(v, fractions, axis=0) for v in (values, curves[curve, "random"]))
        numbers = [(f, "relative_score", value) for f, value in zip(fractions, values, strict=True)] + [(np.nan, "area", area)]
        if order != "random":
            numbers.append((np.nan, "area_minus_random", area - random))
        for fraction, measure, value in numbers:
            condition = {"collection": collection.name, "curve": curve, "order": order, "fraction": fraction}
            rows.append({**condition, "measure": measure, **estimate(value, clusters=qids.astype(str), seed=seed)})
    return pd.DataFrame(rows)


def score_shares(
    model, collection: EmbeddedCollection, *, aspects=(), num_results: int = 1, refit: bool = True, per_pair: bool = False,
    seed: int = 0, batch_size: int = 512,
) -> pd.DataFrame:  # fmt: skip
    """Which share of a score the listed features, other features, the bias and the unexplained rest make up.

    Args:
        aspects, refit: what is explained, as in :class:`~pyterrier_xetrieval.SAEExplainer`, but for aspects, of which
            there are none unless given.
        num_results: best documents of each query.
        per_pair: one row for each pair: ``qid``, ``docno``, ``score`` and the four shares.

    Returns:
        ``collection``, ``part`` (``shared``, ``other``, ``bias``, ``residual``), ``measure``, ``value``, ``low``,
        ``high``, ``n`` (pairs). Measures: ``mean`` with its interval over queries, and the quantiles ``q05`` to
        ``q95`` over pairs, without one. The four shares of a pair add up to 1; pairs with a score not above zero
        are left out.

    Example::

        score_shares(model, embed(pydocs(), model.encoder(), cache="cache")).query("measure == 'mean'")
    """
    pairs = ranked_pairs(collection, num_results=num_results)
    views = view_modules(model, aspects, stage="score_shares")
    weights = model.check_weights(None, tuple(views), stage="score_shares")
    explained = explain_pairs(
        model.sae, collection, pairs, internalizers=views, weights=weights, refit=refit, batch_size=batch_size
    )
    parts, kept = explained.parts, explained.parts.score > 0
    shared = np.bincount(explained.owner, weights=parts.contribution, minlength=len(pairs))
    values = {"shared": shared, "other": parts.other, "bias": parts.bias, "residual": parts.residual}
    shares = {name: value[kept] / parts.score[kept] for name, value in values.items()}
    qids = np.asarray(collection.qids)[pairs.queries[kept]]
    if per_pair:
        docnos = np.asarray(collection.docnos)[pairs.docs[kept]]
        return pd.DataFrame({"qid": qids, "docno": docnos, "score": parts.score[kept], **shares})
    rows = []
    for part, share in shares.items():
        condition = {"collection": collection.name, "part": part}
        rows.append({**condition, "measure": "mean", **estimate(share, clusters=qids.astype(str), seed=seed)})
        for level in QUANTILES if len(share) else ():
            numbers = {"value": float(np.quantile(share, level)), "low": np.nan, "high": np.nan, "n": len(share)}
            rows.append({**condition, "measure": f"q{100 * level:02.0f}", **numbers})
    return pd.DataFrame(rows)


def feature_orders(explained: ExplainedPairs, *, draws: int, seed: int) -> dict[str, list[list[np.ndarray]]]:
    """Each pair's listed features by contribution, by activation in the original embedding, and in random orders."""
    parts, rng = explained.parts, np.random.default_rng(seed)
    owner = explained.owner
    ties = rng.random(len(owner))  # features of other views alone
    by_activation = np.lexsort((ties, -parts.document_activation[:, 0], owner))
    random = [np.lexsort((rng.random(len(owner)), owner)) for _ in range(draws)]
    return {
        "contribution": [explained.sets],
        "activation": [split(parts.features[by_activation], parts.offsets)],
        "random": [split(parts.features[order], parts.offsets) for order in random],
    }


def _curve(sae, explained, sets, kept, fractions, mode, batch_size) -> np.ndarray:
    """Cosine after each fraction of each kept pair's features, float64 ``[len(fractions), len(kept)]``."""
    q, z, out = explained.q[kept], explained.z[kept], []
    for fraction in fractions:
        # 1e-9: a fraction such as 3/10 of ten features is three, not four
        prefixes = [sets[i][: int(np.ceil(fraction * len(sets[i]) - 1e-9))] for i in kept]
        if fraction == 0 and mode == "keep_only":  # Eq. 26 with nothing to keep: the bias alone
            edited = np.broadcast_to(sae.b_dec.detach().cpu().numpy(), z.shape)
        else:
            edited = intervene(sae, z, prefixes, mode, batch_size=batch_size)
        out.append(cosines(q, edited))
    return np.stack(out)
