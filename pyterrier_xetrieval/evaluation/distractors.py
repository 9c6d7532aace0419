"""Distractor features: those that wrong results have more of than relevant documents that score alike."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .diagnosis_candidates import ExplainedCandidates
from .significance import holm

_FIRST, _MOST = 1_000, 100_000  # draws for all features; at most, for those that may be distractors
_COMMON = (
    0.05  # of the queries: rarer features are not tested, which would cost the correction for many tests and help few queries
)
_PROMISING = 0.02  # the p-value of the first draws up to which more are made
_NUMBERS = 4_000_000  # laid out in memory at once


def find_distractors(candidates: ExplainedCandidates, rows: np.ndarray, *, min_queries: int, seed: int) -> pd.DataFrame:
    """Which features lift wrong results over relevant documents more than chance would have it.

    Chance: in each query as many results as are relevant are drawn from the query's results to stand for the relevant ones, a
    result of a higher score more often, as it is in truth (a softmax of the scores, its temperature by maximum likelihood). Each
    is drawn from all of them, so that one result may be drawn twice: only then is the statistic 0 on average. Relevant documents
    are different ones and spread less, so that p is too large where many results are relevant. Of features without an effect
    4% have a p below .05 with one relevant result of 20, 1.4% with five of 20, and 3.8% with five of 100 (simulated). A feature's
    statistic is the mean contribution that a drawn result expects less that of the relevant documents, summed over queries: the
    slope of a listwise loss in the weight of the feature. Above 0, turning the feature down ranks the relevant documents higher.
    Relevant documents that were not retrieved take no part: they would differ from any result in every feature.

    Args:
        candidates: the pairs.
        rows: int64, the queries to look at.
        min_queries: that share a feature with results, for it to be tested; and one in twenty of those that have a relevant
            result.
        seed: of the draws.

    Returns:
        A row for each ``feature`` that was tested, those shared with results of one in twenty queries: ``lift``, by how much it
        lifts a result that was drawn by its score over a relevant document, mean over the ``queries`` that have it (how many
        these are); ``p``, how often judgements by chance give as large a lift; ``p_holm``, the same, corrected over the features.
    """
    own = np.isin(candidates.query, rows) & candidates.retrieved
    groups = [np.flatnonzero(own[pairs]) + pairs.start for _, pairs in candidates.of_queries()]
    groups = [g for g in groups if 0 < candidates.relevant[g].sum() < len(g)]
    temperature = temperature_of([(candidates.score[g], candidates.relevant[g]) for g in groups])
    size, blocks = candidates.contributions.shape[1], []
    observed, seen = np.zeros(size), np.zeros(size, np.int64)
    for g in groups:
        matrix = candidates.contributions[g]
        columns = np.unique(matrix.indices)
        values, chance = matrix[:, columns].toarray().astype(np.float64), _softmax(temperature * candidates.score[g])
        values = chance @ values - values  # what a drawn result has more than this one
        right = candidates.relevant[g]
        observed[columns] += values[right].mean(axis=0)
        seen[columns] += 1
        blocks.append((columns, np.asfortranarray(values), chance, int(right.sum())))
    features = np.flatnonzero(seen >= max(min_queries, _COMMON * len(groups)))
    p = _p_values(blocks, observed, features, seed)
    lift = np.divide(observed, seen, out=np.zeros(size), where=seen > 0)
    return pd.DataFrame({"feature": features, "lift": lift[features], "queries": seen[features], "p": p, "p_holm": holm(p)})


def _p_values(blocks: list[tuple], observed: np.ndarray, features: np.ndarray, seed: int) -> np.ndarray:
    """One-sided, ``(1 + draws that reach the observed) / (1 + draws)``; the promising features get as many as Holm needs."""
    rng = np.random.default_rng(seed)
    p = (1 + _reached(blocks, observed, features, _FIRST, rng)) / (1 + _FIRST)
    again = p <= _PROMISING
    draws = min(_MOST, max(_FIRST, 50 * len(features)))
    if again.any():
        p[again] = (1 + _reached(blocks, observed, features[again], draws, rng)) / (1 + draws)
    return p


def _reached(blocks: list[tuple], observed: np.ndarray, features: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How many draws, with replacement, have a sum of at least the observed one, int64 ``[f]``."""
    reached = np.zeros(len(features), np.int64)
    column_of = np.full(len(observed), -1)
    column_of[features] = np.arange(len(features))
    step = max(1, min(draws, _NUMBERS // max(1, len(features))))
    needed = observed[features] - 1e-9 * np.abs(observed[features])  # sums in another order
    for start in range(0, draws, step):
        sums = np.zeros((len(features), min(step, draws - start)))
        for columns, values, chance, relevant in blocks:
            drawn = np.searchsorted(np.cumsum(chance)[:-1], rng.random((relevant, sums.shape[1])))
            for column, own in zip(column_of[columns].tolist(), values.T):
                if column >= 0:
                    sums[column] += own[drawn].mean(axis=0) if relevant > 1 else own[drawn[0]]
        reached += (sums >= needed[:, None]).sum(axis=1)
    return reached


def temperature_of(queries: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """The ``t`` for which ``softmax(t · score)`` gives relevant results the largest likelihood (Newton's method).

    Args:
        queries: of each the scores, float64 ``[n]``, and which are relevant, bool ``[n]``.

    Example::

        >>> round(temperature_of([(np.array([1.0, 0.0]), np.array([True, False]))] * 3 + [(np.array([1.0, 0.0]), np.array([False, True]))]), 3)
        1.099
    """
    t = 0.0
    for _ in range(50):
        slope = curve = 0.0
        for score, relevant in queries:
            chance = _softmax(t * score)
            mean = chance @ score
            slope += score[relevant].mean() - mean
            curve += chance @ (score - mean) ** 2
        step = slope / curve if curve > 0 else 0.0
        t = float(np.clip(t + np.clip(step, -10, 10), -200, 200))
        if abs(step) < 1e-6:
            break
    return t


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()
