"""How few features would have to go for a document to leave the top results?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd

from ..core.checks import positive_ints
from ..core.edits import intervene
from ..model import Xetrieval
from .collection import CUTOFF, EmbeddedCollection, rank
from .dictionaries import untrained_model
from .explained_pairs import ExplainedPairs, equal_sizes, explain_pairs
from .pairs import ranked_pairs
from .tidy_rows import TidyRows

QUANTILES = (0.25, 0.5, 0.75, 0.95)
MEASURES = ("possible", "greedy", "pruned", "control", "listed")
EQUAL = ("equal_listed", "equal", "equal_overlap")

Sets = Sequence[np.ndarray]
Out = Callable[[np.ndarray, Sets], np.ndarray]
"""Whether the documents of these pairs are out without these features, bool: ``(rows, sets)``, one set for each row."""


def counterfactual(
    model: Xetrieval,
    collection: EmbeddedCollection,
    *,
    cutoff: int = CUTOFF,
    num_results: int = 1,
    draws: int = 5,
    per_pair: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """The smallest set of features found whose erasure takes a document out of the query's top results.

    The document is out when ``cutoff`` others score above its edited original embedding (Eq. 25, length restored);
    theirs are unchanged. Features are erased in order until it is out (``greedy``), then each of them is put back,
    the last first, where the document stays out without it (``pruned``). This is an upper bound: the smallest set of
    all would take a search over all subsets.

    Orders compared: by ``contribution`` to the score ``⟨q,z⟩``, by ``activation`` in the original document embedding,
    ``random`` (``draws`` orders for each pair, averaged over those that succeeded). Two controls say how easily a
    document leaves anyway: ``control``, as many features of the document that it does not share with the query, drawn
    at random; and a fourth order, ``untrained``: the features that a dictionary of the same size and sparsity that has
    seen no data finds in query and document, by contribution. These are selected as the explanation's are, those of
    ``control`` are not.

    Args:
        model: whose dictionary. Its views do not take part: only the original embedding is edited.
        collection: queries and documents.
        cutoff: how many results are the top results.
        num_results: best documents of each query, at most ``cutoff``.
        draws: random orders of each pair.
        per_pair: one row for each pair, order and draw: ``qid``, ``docno``, ``order``, ``draw``, ``listed`` (features
            in the explanation), ``greedy``, ``pruned`` (sizes; NaN where not possible), ``control`` (1 where it took
            the document out, 0 where not); for ``untrained`` also ``equal_listed``, ``equal`` and ``equal_overlap``.
        seed: of the random orders and the bootstrap.

    Returns:
        ``collection``, ``order``, ``measure``, ``value``, ``low``, ``high``, ``n``. Measures are ``possible``, the share
        of pairs (and draws) in which the document ever left; ``greedy`` and ``pruned``, mean sizes where it did, and
        ``pruned_q25`` to ``pruned_q95``, quantiles without an interval; ``control``, the share of these in which as
        many features that are not shared did it too; ``pruned_minus_random``, pair by pair where both succeeded;
        ``listed``, the mean number of features shared. Of ``untrained`` also ``pruned_minus_contribution``, and, with
        the larger of its and the explanation's set cut at random to the size of the smaller (``equal_listed``): the
        share of pairs that leave when all of its set (``equal``), or of the explanation's (``equal_overlap``), are
        erased. Intervals are over queries.

    Raises:
        ValueError: ``num_results`` above ``cutoff``, or a cutoff that all documents fit in.

    Example::

        counterfactual(model, embed(pydocs(), model.encoder(), cache="cache")).query("order == 'contribution'")
    """
    positive_ints(stage="counterfactual", num_results=num_results, cutoff=cutoff, draws=draws)
    if not num_results <= cutoff < len(collection.docnos):
        raise ValueError(
            f"counterfactual expects num_results <= cutoff < number of documents, found num_results={num_results}, "
            f"cutoff={cutoff}, {len(collection.docnos)} documents"
        )
    pairs, plain = ranked_pairs(collection, num_results=num_results), model.with_views(())
    explained, of_null = (
        explain_pairs(own, collection, pairs, refit=True) for own in (plain, untrained_model(plain, collection.docs, seed=seed))
    )
    # a document of the top results is out when it falls below the one that would take the last place
    _, scores = rank(collection.queries, collection.docs, cutoff + 1, excluded=collection.excluded)
    bar = scores[pairs.queries, cutoff]

    def is_out(pages: ExplainedPairs, rows: np.ndarray, sets: Sets) -> np.ndarray:
        edited = intervene(pages.model.sae, pages.z[rows], sets, "erase", around="origin")  # the paper's, as in erasure
        return np.einsum("nm,nm->n", pages.q[rows], edited) < bar[rows]

    out, out_of_null = partial(is_out, explained), partial(is_out, of_null)
    ids, own, rng = pairs.ids(collection), explained.own_features(), np.random.default_rng(seed)
    frames = [
        ids.assign(order=order, draw=draw, **_sizes(sets, own, rng, out))
        for order, rankings in explained.orders(draws=draws, seed=seed).items()
        for draw, sets in enumerate(rankings)
    ]
    found = _sizes(of_null.sets, of_null.own_features(), rng, out_of_null)
    cut, cut_null = equal_sizes(explained.sets, of_null.sets, np.random.default_rng([seed, 1]))
    rows = np.arange(len(cut))
    found |= {"equal_listed": list(map(len, cut)), "equal": out_of_null(rows, cut_null), "equal_overlap": out(rows, cut)}
    frames.append(ids.assign(order="untrained", draw=0, **found))
    frame = pd.concat(frames, ignore_index=True)
    return frame if per_pair else _summary(frame, collection.name, seed)


def _sizes(sets: Sets, own: Sets, rng: np.random.Generator, out: Out) -> dict[str, object]:
    """Of each pair how many features are listed, ``greedy``, ``pruned`` and ``control``; ``own`` those not shared."""
    greedy = _greedy(sets, out)
    pruned = _pruned(sets, greedy, out)
    return {"listed": [len(s) for s in sets], "greedy": greedy, "pruned": pruned, "control": _control(own, pruned, rng, out)}


def _greedy(sets: Sets, out: Out) -> np.ndarray:
    """Length of the shortest prefix of each pair's set whose erasure takes the document out, float64; NaN for none."""
    lengths, found = np.array([len(s) for s in sets]), np.full(len(sets), np.nan)
    for size in range(1, lengths.max(initial=0) + 1):
        rows = np.flatnonzero((lengths >= size) & np.isnan(found))
        if len(rows):
            found[rows[out(rows, [sets[i][:size] for i in rows.tolist()])]] = size
    return found


def _pruned(sets: Sets, greedy: np.ndarray, out: Out) -> np.ndarray:
    """How many features of each greedy prefix are left when all that are not needed have been put back, float64."""
    kept = {i: sets[i][: int(size)] for i, size in enumerate(greedy.tolist()) if size == size}
    for back in range(1, max(map(len, kept.values()), default=0) + 1):
        rows = [i for i in kept if greedy[i] >= back and len(kept[i]) > 1]
        if not rows:
            break
        fewer = [kept[i][kept[i] != sets[i][int(greedy[i]) - back]] for i in rows]
        for still_out, i, features in zip(out(np.array(rows), fewer), rows, fewer, strict=True):
            if still_out:
                kept[i] = features
    return np.array([len(kept[i]) if i in kept else np.nan for i in range(len(sets))])


def _control(own: Sets, sizes: np.ndarray, rng: np.random.Generator, out: Out) -> np.ndarray:
    """Whether as many random features of ``own``, or all of fewer, take each document out; NaN without a size."""
    found, rows = np.full(len(own), np.nan), np.flatnonzero(~np.isnan(sizes))
    found[rows] = out(rows, [rng.permutation(own[i])[: int(sizes[i])] for i in rows.tolist()])
    return found


def _summary(frame: pd.DataFrame, name: str, seed: int) -> pd.DataFrame:
    """The table of :func:`counterfactual` from the rows of its pairs."""
    frame = frame.assign(possible=frame["greedy"].notna().astype(float))
    frame = frame.astype({"equal": float, "equal_overlap": float})
    pruned, rows = frame.groupby(["order", "qid", "docno"])["pruned"].mean(), TidyRows(seed, collection=name)
    for order, draws in frame.groupby("order", sort=False):
        group = draws.groupby(["qid", "docno"], sort=False)[[*MEASURES, *EQUAL]].mean()
        for other in ("random", "contribution"):
            group[f"pruned_minus_{other}"] = group["pruned"] - pruned[other].reindex(group.index)
        more = {"random": [], "untrained": ["pruned_minus_contribution", *EQUAL]}.get(order, ["pruned_minus_random"])
        for measure in (*MEASURES, *more):
            rows.mean(measure, group[measure], clusters=group.index.get_level_values("qid"), order=order)
        rows.quantiles("pruned_q", draws["pruned"].dropna().to_numpy(), QUANTILES, order=order)
    return rows.frame("order")
