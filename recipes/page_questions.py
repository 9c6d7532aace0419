"""What the results page asks: the questions of the package with the options and limits of the page."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.evaluation import QUESTIONS, EmbeddedCollection
from pyterrier_xetrieval.evaluation.bootstrap import estimate
from pyterrier_xetrieval.evaluation.questions import ask

MAX_QUERIES = 200  # of the questions that look at pairs one by one
PAIRWISE = ("erasure", "curves", "shares", "stability", "counterfactual")
LATENCY_SIZES = (10_000, 20_000, 30_000, 40_000, 50_000, 60_000)
BINS = 50  # of the histogram of label scores


def measure_one(
    question: str, model: Xetrieval, collection: EmbeddedCollection, options: Mapping, given: Mapping
) -> pd.DataFrame:
    """The table of a question for the page.

    ``options`` are the question's own, and two more: ``max_queries``, and ``weights`` of the model's views. Scores of
    labels become a histogram.
    """
    limit, n = options.get("max_queries", math.inf), len(collection.qids)
    if n > limit:
        collection = collection.select(np.sort(np.random.default_rng(given["seed"]).permutation(n)[:limit]))
    model = model.with_views(weights=options.get("weights"))
    table = ask(question, model, collection, {**given, **options})
    return histograms(table, seed=given["seed"]) if question == "labels" else table


def histograms(scores: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """:func:`~pyterrier_xetrieval.evaluation.label_scores` without single features.

    Columns sae, labels, measure, ``value``, ``low``, ``high``, ``n`` (features) and ``counts``, the histogram over [0,
    1].
    """
    rows = []
    for condition, group in scores.groupby(["sae", "labels", "measure"], sort=False):
        counts, _ = np.histogram(group["value"], bins=BINS, range=(0, 1))
        numbers = {**estimate(group["value"], seed=seed), "counts": counts.tolist()}
        rows.append({**dict(zip(("sae", "labels", "measure"), condition)), **numbers})
    return pd.DataFrame(rows)


def question_options(question: str, weights: Sequence[float]) -> dict:
    """What is set for the page."""
    of_views = {"weights": list(weights)}
    options = {
        "retrieval": of_views, "latency": {**of_views, "sizes": list(LATENCY_SIZES)}, "stability": {"other_rank": 2}
    }.get(question, {})  # fmt: skip
    return {**options, "max_queries": MAX_QUERIES} if question in PAIRWISE else options


def compares_dictionaries(question: str) -> bool:
    """Whether a dictionary trained on raw vectors would be part of the answer."""
    return bool({"raw_sae", "saes"} & set(inspect.signature(QUESTIONS[question]).parameters))
