"""How few features would have to go for a document to leave the top results?"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from ..core.checks import positive_int
from ..core.edits import intervene
from .bootstrap import estimate
from .collection import CUTOFF, EmbeddedCollection, rank
from .dictionaries import baseline
from .explained_pairs import equal_sizes, explain_pairs, ranked_pairs, view_modules
from .faithfulness import feature_orders

QUANTILES = (0.25, 0.5, 0.75, 0.95)
MEASURES = ("possible", "greedy", "pruned", "control", "listed")
EQUAL = ("equal_listed", "equal", "equal_overlap")


def counterfactual(
    model, collection: EmbeddedCollection, *, aspects=(), cutoff: int = CUTOFF, num_results: int = 1, draws: int = 5,
    per_pair: bool = False, seed: int = 0, batch_size: int = 256,
) -> pd.DataFrame:  # fmt: skip
    """The smallest set of an explanation's features found whose erasure takes a document out of the query's top results.

    The document is out when ``cutoff`` others score above its edited original embedding (Eq. 25, length restored);
    theirs are unchanged. Features are erased in order until it is out (``greedy``), then each of them is put back,
    the last first, where the document stays out without it (``pruned``). This is an upper bound: the smallest set of
    all would take a search over all subsets.

    Orders compared: by ``contribution``, by ``activation`` in the original document embedding, ``random`` (``draws``
    orders for each pair, averaged over those that succeeded). How easily a document leaves anyway say two controls:
    ``control``, as many features of the document that it does not share with the query, drawn at random; and a fourth
    order, ``untrained``: the features that a dictionary of the same size and sparsity that has seen no data finds in query
    and document, by contribution. These are selected as the explanation's are, those of ``control`` are not.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        aspects: the views explained beside the original one; scores are those of the original embedding.
        cutoff: how many results are the top results.
        num_results: best documents of each query, at most ``cutoff``.
        per_pair: one row for each pair, order and draw: ``qid``, ``docno``, ``order``, ``draw``, ``listed`` (features in
            the explanation), ``greedy``, ``pruned`` (sizes; NaN where not possible), ``control`` (1 where it took the
            document out, 0 where not); for ``untrained`` also ``equal_listed``, ``equal`` and ``equal_overlap``.

    Returns:
        ``collection``, ``order``, ``measure``, ``value``, ``low``, ``high``, ``n``. Measures: ``possible``, the share of
        pairs (and draws) in which the document ever left; ``greedy`` and ``pruned``, mean sizes where it did, and
        ``pruned_q25`` to ``pruned_q95``, quantiles without an interval; ``control``, the share of these in which as many
        features that are not shared did it too; ``pruned_minus_random``, pair by pair where both succeeded; ``listed``,
        the mean number of features shared. Of ``untrained`` also ``pruned_minus_contribution``, and, with the larger of its
        and the explanation's set cut at random to the size of the smaller (``equal_listed``): the share of pairs that
        leave when all of its set (``equal``), or of the explanation's (``equal_overlap``), are erased. Intervals are
        over queries.

    Raises:
        ValueError: ``num_results`` above ``cutoff``, or a cutoff that all documents fit in.

    Example::

        counterfactual(model, embed(pydocs(), model.encoder(), cache="cache")).query("order == 'contribution'")
    """
    if not 0 < num_results <= cutoff < len(collection.docnos):
        raise ValueError(f"counterfactual expects 0 < num_results <= cutoff < number of documents, found num_results="
                         f"{num_results}, cutoff={cutoff}, {len(collection.docnos)} documents")  # fmt: skip
    pairs = ranked_pairs(collection, num_results=num_results)
    for name, value in (("num_results", num_results), ("cutoff", cutoff), ("draws", draws)):
        positive_int(value, name, stage="counterfactual")
    views = view_modules(model, aspects, stage="counterfactual")
    weights = model.check_weights(None, tuple(views), stage="counterfactual")
    options = {"internalizers": views, "weights": weights, "refit": True, "batch_size": batch_size}
    null = baseline(model, collection.docs, seed=seed)
    explained, of_null = (explain_pairs(sae, collection, pairs, **options) for sae in (model.sae, null))
    # a document of the top results is out when it falls below the one that would take the last place
    _, scores = rank(collection.queries, collection.docs, cutoff + 1, excluded=collection.excluded)
    bar = scores[pairs.queries, cutoff]

    def out(rows: np.ndarray, sets: list, sae=model.sae) -> np.ndarray:
        edited = intervene(sae, explained.z[rows], sets, "erase", batch_size=batch_size)
        return np.einsum("nm,nm->n", explained.q[rows], edited) < bar[rows]

    names = {"qid": np.asarray(collection.qids)[pairs.queries], "docno": np.asarray(collection.docnos)[pairs.docs]}
    own, rng = explained.own_features(model.sae.dict_size), np.random.default_rng(seed)
    frames = []
    for order, rankings in feature_orders(explained, draws=draws, seed=seed).items():
        for draw, sets in enumerate(rankings):
            found = _sizes(sets, own, rng, out)
            frames.append(pd.DataFrame({**names, "order": order, "draw": draw, **found}))
    of_untrained = partial(out, sae=null)
    found = _sizes(of_null.sets, of_null.own_features(null.dict_size), rng, of_untrained)
    cut, cut_null = equal_sizes(explained.sets, of_null.sets, np.random.default_rng([seed, 1]))
    rows = np.arange(len(cut))
    found |= {"equal_listed": list(map(len, cut)), "equal": of_untrained(rows, cut_null), "equal_overlap": out(rows, cut)}
    frames.append(pd.DataFrame({**names, "order": "untrained", "draw": 0, **found}))
    frame = pd.concat(frames, ignore_index=True)
    return frame if per_pair else _summary(frame, collection.name, seed)


def _sizes(sets, own, rng, out) -> dict:
    """Of each pair how many features are listed, ``greedy``, ``pruned`` and ``control``; ``own`` those not shared."""
    greedy = _greedy(sets, out)
    pruned = _pruned(sets, greedy, out)
    return {"listed": [len(s) for s in sets], "greedy": greedy, "pruned": pruned, "control": _control(own, pruned, rng, out)}


def _greedy(sets, out) -> np.ndarray:
    """Length of the shortest prefix of each pair's set whose erasure takes the document out, float64; NaN for none."""
    lengths, found = np.array([len(s) for s in sets]), np.full(len(sets), np.nan)
    for size in range(1, lengths.max(initial=0) + 1):
        rows = np.flatnonzero((lengths >= size) & np.isnan(found))
        if len(rows):
            found[rows[out(rows, [sets[i][:size] for i in rows])]] = size
    return found


def _pruned(sets, greedy, out) -> np.ndarray:
    """How many features of each greedy prefix are left when all that are not needed have been put back."""
    kept = {i: list(sets[i][: int(greedy[i])]) for i in np.flatnonzero(~np.isnan(greedy))}
    for back in range(1, max(map(len, kept.values()), default=0) + 1):
        rows = np.array([i for i in kept if greedy[i] >= back and len(kept[i]) > 1], np.int64)
        if not len(rows):
            break
        fewer = [[f for f in kept[i] if f != sets[i][int(greedy[i]) - back]] for i in rows]
        for still_out, i, features in zip(out(rows, fewer), rows, fewer, strict=True):
            if still_out:
                kept[i] = features
    return np.array([len(kept[i]) if i in kept else np.nan for i in range(len(sets))])


def _control(own, sizes, rng, out) -> np.ndarray:
    """Whether as many random features of ``own`` (or all, if there are fewer) take each document out; NaN without a size."""
    found, rows = np.full(len(own), np.nan), np.flatnonzero(~np.isnan(sizes))
    found[rows] = out(rows, [rng.permutation(own[i])[: int(sizes[i])] for i in rows])
    return found


def _summary(frame: pd.DataFrame, name: str, seed: int) -> pd.DataFrame:
    pair = ["qid", "docno"]
    frame = frame.assign(possible=frame["greedy"].notna().astype(float))
    frame = frame.astype({"equal": float, "equal_overlap": float})
    pruned = frame.groupby(["order", *pair])["pruned"].mean()
    rows = []
    for order, draws in frame.groupby("order", sort=False):
        group = draws.groupby(pair, sort=False)[[*MEASURES, *EQUAL]].mean()
        for other in ("random", "contribution"):
            group[f"pruned_minus_{other}"] = group["pruned"] - pruned[other].reindex(group.index)
        more = {"random": [], "untrained": ["pruned_minus_contribution", *EQUAL]}.get(order, ["pruned_minus_random"])
        group = group.reset_index()
        for measure in (*MEASURES, *more):
            numbers = estimate(group[measure], clusters=group["qid"].astype(str), seed=seed)
            rows.append({"collection": name, "order": order, "measure": measure, **numbers})
        sizes = draws["pruned"].dropna()
        for level in QUANTILES if len(sizes) else ():
            numbers = {"value": sizes.quantile(level), "low": np.nan, "high": np.nan, "n": len(sizes)}
            rows.append({"collection": name, "order": order, "measure": f"pruned_q{100 * level:02.0f}", **numbers})
    return pd.DataFrame(rows)
