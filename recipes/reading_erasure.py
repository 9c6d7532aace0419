"""Did the rows that judges see put the document there? They are erased from it, and as much of other features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pyterrier_xetrieval.core.confidence import is_shown
from pyterrier_xetrieval.core.edits import intervene
from pyterrier_xetrieval.evaluation.collection import EmbeddedCollection
from recipes.reading_pairs import ReadingPair
from recipes.reading_rows import ModelPair
from recipes.reading_scores import resampled

NEAR = 0.1  # of the rows' summed contribution: a control of equal weight whose sum is not so near is left out
TOP = 10  # rows that an explanation prints
ROWS, WEIGHT, NUMBER = "rows", "equal_weight", "equal_number"


def erase_shown(
    pairs: Sequence[ReadingPair], explained: Sequence[ModelPair], collections: Sequence[EmbeddedCollection], *,
    min_confidence: float = 0.0, most: int = TOP,
) -> pd.DataFrame:  # fmt: skip
    """Erases the shown rows' features from each document, and as controls other shared features.

    Two controls, both of features that the pair shares too: ``equal_weight`` has the same summed contribution, within
    :data:`NEAR`, and as many features if there are any that weigh so much, else more of them, the strongest first;
    ``equal_number`` has as many features, the strongest ones. Erasing is the projection of Eq. 25, after which the
    document has its length again; the query and all other documents of the collection stay.

    Args:
        pairs: with the texts' vectors in ``explained``, as a :class:`recipes.reading_rows.ModelForm` of a model without views
            gives it.
        collections: those of the pairs.
        min_confidence: from which on a row is shown; most: how many are at most.

    Returns:
        A line for each pair and ``erased`` set (:data:`ROWS`, :data:`WEIGHT`, :data:`NUMBER`; the controls where there
        is such a set): ``pair``, ``collection``, ``erased``, ``size`` (features), ``sum`` (of their contributions),
        ``score_before``, ``score``, ``rank_before``, ``rank`` (from 1).

    Raises:
        ValueError: explanations of a model with views: a score of several views is not that of one edited vector.

    Example::

        erasure_scores(erase_shown(pairs, ModelForm(model.with_views(())).explain(pairs), collections))
    """
    by_name = {collection.name: collection for collection in collections}
    out = []
    for pair, own in zip(pairs, explained):
        if len(own.explanation.views) > 1:
            raise ValueError("erase_shown expects explanations of the original view alone; explain with model.with_views(())")
        e = own.explanation
        contributions = e.contributions.astype(np.float64)
        confidence = e.confidence
        # the order in which users see them
        order = np.argsort(-contributions * np.nan_to_num(confidence, nan=1.0), kind="stable")
        shown = order[is_shown(confidence, min_confidence)[order] & (contributions[order] > 0)][:most]
        if not len(shown):
            continue
        others = np.setdiff1d(np.flatnonzero(contributions > 0), shown)
        sets = {ROWS: shown, WEIGHT: others[equal_weight(contributions[others], len(shown), contributions[shown].sum())]}
        if abs(contributions[sets[WEIGHT]].sum() / contributions[shown].sum() - 1) > NEAR:
            del sets[WEIGHT]
        if len(others) >= len(shown):
            sets[NUMBER] = others[: len(shown)]
        erased = [e.features[s].tolist() for s in sets.values()]
        edited = intervene(own.model.sae, np.stack([own.z] * len(sets)), erased, "erase", around="origin")  # the paper's
        scores = np.array([own.z, *edited], np.float64) @ own.q.astype(np.float64)
        ranks = ranks_among(by_name[pair.collection], pair, own.q, scores)
        for (name, chosen), score, rank in zip(sets.items(), scores[1:], ranks[1:]):
            numbers = [len(chosen), contributions[chosen].sum(), scores[0], score, ranks[0], rank]
            out.append([pair.id, pair.collection, name, *numbers])
    columns = ["pair", "collection", "erased", "size", "sum", "score_before", "score", "rank_before", "rank"]
    return pd.DataFrame(out, columns=columns)


def equal_weight(contributions: np.ndarray, count: int, total: float) -> np.ndarray:
    """Which of some features weigh together about what is asked: as many as asked for, more where these are too weak.

    Args:
        contributions: float ``[n]``, above 0, largest first; count: how many; total: what their sum should be.

    Returns:
        Places, int64: of all runs of ``count`` neighbours that whose sum is nearest; or, if even the largest ``count``
        are less than asked for, the first of them until the sum is nearest.

    Example::

        >>> equal_weight(np.array([0.4, 0.3, 0.2, 0.1]), 2, 0.5)
        array([1, 2])
    """
    sums = np.concatenate([[0.0], np.cumsum(contributions)])
    count = min(count, len(contributions))
    if sums[count] < total:
        return np.arange(count + int(np.abs(sums[count:] - total).argmin()))
    first = int(np.abs(sums[count:] - sums[: len(sums) - count] - total).argmin())
    return np.arange(first, first + count)


def ranks_among(collection: EmbeddedCollection, pair: ReadingPair, query: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The rank, from 1, of the pair's document with each of these scores among all that may be retrieved."""
    others = np.delete(np.asarray(collection.docs) @ query, [pair.document_row, *collection.excluded[pair.query_row].tolist()])
    return 1 + (others[None, :] > scores[:, None]).sum(axis=1)


def erasure_scores(erased: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """What :func:`erase_shown` found: the rows and each control, on the pairs that have that control.

    Returns:
        ``control`` (which one, and so which pairs), ``measure``, ``rows``, ``rows_low``, ``rows_high``, ``others``,
        ``others_low``, ``others_high``, ``n`` (pairs). Measures: ``size``: features erased; ``sum``: their
        contributions; ``score``: by how much it falls; ``rank``: mean ``ln`` of rank after over rank before; ``out``:
        share of documents that leave the first ten; ``moves_more``: share of pairs whose rank these features move more
        than those they are compared with.
    """
    frame = erased.assign(
        score=erased["score_before"] - erased["score"],
        after=erased["rank"],
        rank=np.log(erased["rank"] / erased["rank_before"]),
        out=(erased["rank"] > TOP) & (erased["rank_before"] <= TOP),
    )
    shown, rows = frame[frame["erased"] == ROWS].set_index("pair"), []
    for control in (WEIGHT, NUMBER):
        others = frame[frame["erased"] == control].set_index("pair")
        own = shown.loc[others.index]
        own, others = (
            side.assign(moves_more=side["after"] > against["after"]) for side, against in ((own, others), (others, own))
        )
        for measure in ("size", "sum", "score", "rank", "out", "moves_more"):
            values = [side[measure].to_numpy(np.float64) for side in (own, others)]
            found = [resampled(side, np.ones(len(side)), others.index, seed=seed) for side in values]
            rows.append([control, measure, *found[0][:3], *found[1][:3], found[1][3]])
    ends = ("", "_low", "_high")
    columns = ["control", "measure", *(side + end for side in ("rows", "others") for end in ends), "n"]
    return pd.DataFrame(rows, columns=columns)
