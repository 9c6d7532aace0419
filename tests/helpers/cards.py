"""Explanations whose words are known, for the tests of cards."""

from __future__ import annotations

import numpy as np

from pyterrier_xetrieval import Explanation
from pyterrier_xetrieval.core.evidence import Evidence, WordTable
from pyterrier_xetrieval.word_evidence import WordEvidence
from pyterrier_xetrieval.words import spans
from tests.helpers.builders import make_model, random_sae, result_frame

QUERY, DOCUMENT = "sort a list of rivers", "Return a sorted list of all the rivers that run here"


def explained(
    query: str = QUERY, document: str = DOCUMENT, *, carry: list[set[str]] | None = None, label: str = "word{}",
    stopped_at: int | None = None, place: int = 0,
) -> Explanation:  # fmt: skip
    """An explanation of some features, with evidence.

    Args:
        carry: for each of the first features the words that carry it, in both texts; the others have none.
        label: what all are called; their ids in the place of the braces.
        place: which of the explanations with three shared features and more.
    """
    model = make_model(random_sae(k=14))
    model.labels._names = {j: label.replace("{}", str(j)) for j in range(model.labels.dict_size)}
    found = model.with_views(()).explainer()(result_frame(n_queries=1, n_docs=60).drop(columns="score"))["explanation"]
    e = [e for e in found if len(e) >= 3][place]
    carry = [{"sort", "list", "sorted"}, {"list"}, {"rivers"}] if carry is None else carry
    read = document[:stopped_at] if stopped_at is not None else document
    tables = Evidence(e.features, _table(query, carry, len(e)), _table(read, carry, len(e), stopped_at))
    return e.with_evidence(WordEvidence(query, document, tables))


def _table(text: str, carry: list[set[str]], features: int, stopped_at: int | None = None) -> WordTable:
    own = spans(text, "word")
    values = np.zeros((features + 3, len(own) + 4))
    for i, words in enumerate(carry[:features]):
        values[i, : len(own)] = [text[start:stop] in words for start, stop in own.tolist()]
    return WordTable(own, values, stopped_at=stopped_at)
