"""Is the order of an explanation's features the order in which the score depends on them? Deletion, insertion, shares."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..core.checks import positive_int
from ..core.edits import intervene
from .bootstrap import estimate
from .collection import EmbeddedCollection
from .dictionaries import baseline
from .explained_pairs import ExplainedPairs, cosines, explain_pairs, ranked_pairs, split, view_modules

CURVES = {"deletion": "erase", "insertion": "keep_only"}
ORDERS = {"contribution": "contribution", "activation": "activation", "random": "random"}  # name to order of its features
UNTRAINED = {"untrained": "contribution", "untrained_random": "random"}
PARTS = ("shared", "other", "bias", "residual")
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
    ``random`` (``draws`` orders for each pair, averaged). What no training at all gives say ``untrained`` and
    ``untrained_random``: a dictionary of the same size and sparsity that has seen no data, its shared features by
    contribution and at random. Their share of 1 is all that it finds in query and document, as a rule fewer features.

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
        pair; ``area`` under that curve, by trapezoids; ``area_minus_random``, pair by pair, of each dictionary by its own
        random orders. Pairs without shared features (of the dictionary) or with a cosine not above zero are left out.

    Example::

        faithfulness_curves(model, embed(pydocs(), model.encoder(), cache="cache")).query("measure == 'area'")
    """
    for name, value in (("num_results", num_results), ("steps", steps), ("draws", draws)):
        positive_int(value, name, stage="faithfulness_curves")
    pairs = ranked_pairs(collection, num_results=num_results)
    views = view_modules(model, aspects, stage="faithfulness_curves")
    weights = model.check_weights(None, tuple(views), stage="faithfulness_curves")
    options = {"internalizers": views, "weights": weights, "refit": True, "batch_size": batch_size}
    fractions, curves = np.linspace(0, 1, steps + 1), {}
    for sae, orders in ((model.sae, ORDERS), (baseline(model, collection.docs, seed=seed), UNTRAINED)):
        explained = explain_pairs(sae, collection, pairs, **options)
        before = cosines(explained.q, explained.z)
        kept = np.flatnonzero((np.diff(explained.parts.offsets) > 0) & (before > 0))
        found = feature_orders(explained, draws=draws, seed=seed)
        for name, order in orders.items():
            for curve, mode in CURVES.items():
                runs = [_curve(sae, explained, sets, kept, fractions, mode, batch_size) for sets in found[order]]
                curves[curve, name] = kept, np.mean(runs, axis=0) / before[kept]
    qids, docnos = np.asarray(collection.qids)[pairs.queries], np.asarray(collection.docnos)[pairs.docs]
    if per_pair:
        parts = [
            pd.DataFrame({"qid": qids[kept], "docno": docnos[kept], "curve": c, "order": o, "fraction": f, "relative_score": value})
            for (c, o), (kept, values) in curves.items() for f, value in zip(fractions, values, strict=True)
        ]  # fmt: skip
        return pd.concat(parts, ignore_index=True)
    rows = []
    for (curve, order), (kept, values) in curves.items():
        own = "untrained_random" if order in UNTRAINED else "random"
        area, random = (np.trapezoid(v, fractions, axis=0) for v in (values, curves[curve, own][1]))
        numbers = [(f, "relative_score", value) for f, value in zip(fractions, values, strict=True)] + [(np.nan, "area", area)]
        if order != own:
            numbers.append((np.nan, "area_minus_random", area - random))
        for fraction, measure, value in numbers:
            condition = {"collection": collection.name, "curve": curve, "order": order, "fraction": fraction}
            rows.append({**condition, "measure": measure, **estimate(value, clusters=qids[kept].astype(str), seed=seed)})
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
        ``q95`` over pairs, without one; ``untrained``, the mean by a dictionary of the same size and sparsity that has
        seen no data. The four shares of a pair add up to 1; pairs with a score not above zero are left out. Of
        ``shared`` also, for the explanation of the multi-view score with all views of the model: ``listed``, how many
        features it has; ``view_only``, how many of these are inactive in the original embedding, and
        ``view_only_share``, what share of that score they carry.

    Example::

        score_shares(model, embed(pydocs(), model.encoder(), cache="cache")).query("measure == 'mean'")
    """
    pairs = ranked_pairs(collection, num_results=num_results)
    views = view_modules(model, aspects, stage="score_shares")
    weights = model.check_weights(None, tuple(views), stage="score_shares")
    options = {"internalizers": views, "weights": weights, "refit": refit, "batch_size": batch_size}
    shares = _shares(explain_pairs(model.sae, collection, pairs, **options))
    kept = shares["score"] > 0
    shares = {name: value[kept] for name, value in shares.items()}
    qids = np.asarray(collection.qids)[pairs.queries[kept]]
    if per_pair:
        docnos = np.asarray(collection.docnos)[pairs.docs[kept]]
        return pd.DataFrame({"qid": qids, "docno": docnos, **shares})
    null = _shares(explain_pairs(baseline(model, collection.docs, seed=seed), collection, pairs, **options))
    all_views = view_modules(model, None, stage="score_shares")
    options |= {"internalizers": all_views, "weights": model.check_weights(None, tuple(all_views), stage="score_shares")}
    of_views = _view_only(explain_pairs(model.sae, collection, pairs, **options))
    rows = []
    for part in PARTS:
        condition, share = {"collection": collection.name, "part": part}, shares[part]
        for measure, values in {"mean": share, "untrained": null[part][kept]}.items():
            rows.append({**condition, "measure": measure, **estimate(values, clusters=qids.astype(str), seed=seed)})
        for level in QUANTILES if len(share) else ():
            numbers = {"value": float(np.quantile(share, level)), "low": np.nan, "high": np.nan, "n": len(share)}
            rows.append({**condition, "measure": f"q{100 * level:02.0f}", **numbers})
    clusters = np.asarray(collection.qids)[pairs.queries].astype(str)
    for measure, values in of_views.items():
        numbers = estimate(values, clusters=clusters, seed=seed)
        rows.append({"collection": collection.name, "part": "shared", "measure": measure, **numbers})
    return pd.DataFrame(rows)


def _shares(explained: ExplainedPairs) -> dict[str, np.ndarray]:
    """``score`` and the share of it of each of :data:`PARTS`, float64 ``[n]`` each; NaN where the score is 0."""
    parts = explained.parts
    shared = np.bincount(explained.owner, weights=parts.contribution, minlength=len(parts.score))
    values = {"shared": shared, "other": parts.other, "bias": parts.bias, "residual": parts.residual}
    with np.errstate(divide="ignore", invalid="ignore"):
        return {"score": parts.score, **{name: values[name] / parts.score for name in PARTS}}


def _view_only(explained: ExplainedPairs) -> dict[str, np.ndarray]:
    """How many features are listed, how many of them internalised views alone have, and these' share of the score.

    float64 ``[n]`` each, NaN where the score is not above zero.
    """
    parts, only = explained.parts, explained.parts.document_activation[:, 0] == 0
    listed, count, carried = (
        np.bincount(explained.owner, weights=w, minlength=len(parts.score)) for w in (None, only, only * parts.contribution)
    )
    score = np.where(parts.score > 0, parts.score, np.nan)
    found = {"listed": listed, "view_only": count, "view_only_share": carried / score}
    return {measure: np.where(parts.score > 0, values, np.nan) for measure, values in found.items()}


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
