"""Features erased from documents: the rows, others of the same weight, others of the same number; labels near texts."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import FeatureLabels, Xetrieval
from pyterrier_xetrieval.core.edits import intervene
from recipes.reading_encoder import auc, label_similarity
from recipes.reading_erasure import equal_weight, erase_shown, erasure_scores, ranks_among
from recipes.reading_pairs import draw_pairs
from recipes.reading_rows import ModelForm
from tests.helpers.builders import identity_sae
from tests.helpers.planted import WORDS, planted
from tests.helpers.reading import embedded


def test_a_control_of_the_same_number_and_weight_where_there_is_one():
    c = np.array([0.5, 0.4, 0.3, 0.2, 0.1, 0.1])
    assert equal_weight(c, 2, 0.5).tolist() == [2, 3] and equal_weight(c, 1, 0.31).tolist() == [2]
    assert equal_weight(c, 1, 0.9).tolist() == [0, 1]  # one alone is too weak
    assert equal_weight(c, 2, 1.25).tolist() == [0, 1, 2] and equal_weight(c, 2, 9).tolist() == [0, 1, 2, 3, 4, 5]
    assert equal_weight(c, 2, 0.01).tolist() == [4, 5] and equal_weight(c[:1], 3, 0.7).tolist() == [0]
    assert equal_weight(np.array([]), 3, 0.7).tolist() == []


@pytest.fixture(scope="module")
def collections():
    return embedded(Xetrieval.default().encoder())


def test_the_score_and_the_rank_after_erasing(collections):
    model = Xetrieval.default().with_views(())
    pairs = draw_pairs(collections, 10)
    explained = ModelForm(model).explain(pairs)
    erased = erase_shown(pairs, explained, collections, most=3).set_index(["pair", "erased"])
    for pair, own in zip(pairs, explained):
        e, row, shown = own.explanation, erased.loc[(pair.id, "rows")], [row.feature for row in own.rows[:3]]
        parts = dict(zip(e.features.tolist(), e.contributions.tolist()))
        after = intervene(model.sae, own.z[None], [shown], "erase", around="origin")[0] @ own.q
        assert row["score"] == pytest.approx(after, abs=1e-6) and row["score_before"] == pytest.approx(e.score, abs=1e-5)
        assert (
            row["size"] == 3 and row["sum"] == pytest.approx(sum(parts[j] for j in shown)) and row["score"] < row["score_before"]
        )
        docs = next(c for c in collections if c.name == pair.collection).docs
        others = np.delete(docs @ own.q, pair.document_row)
        assert row["rank_before"] == 1 + (others > e.score).sum() and row["rank"] == 1 + (others > after).sum()
        number = erased.loc[(pair.id, "equal_number")]
        assert (
            number["sum"] == pytest.approx(sum([part for j, part in parts.items() if j not in shown][:3])) and number["size"] == 3
        )
        if (pair.id, "equal_weight") in erased.index:
            weight = erased.loc[(pair.id, "equal_weight")]
            assert abs(weight["sum"] / row["sum"] - 1) <= 0.1 and weight["size"] >= 3
    scores = erasure_scores(erased.reset_index()).set_index(["control", "measure"])
    number = scores.loc["equal_number"]
    assert number.loc["score", "rows"] > 0 < number.loc["score", "others"] and number.loc["sum", "n"] == 10
    assert number.loc["size", "rows"] == 3 == number.loc["size", "others"]


def test_nothing_shown_and_views(collections):
    model = Xetrieval.default()
    pairs = draw_pairs(collections, 2)
    with pytest.raises(ValueError, match=r"with_views\(\(\)\)"):
        erase_shown(pairs, ModelForm(model).explain(pairs), collections)


def test_moves_of_ranks_are_compared_pair_by_pair():
    rows = [
        ["a", "rows", 2, 0.5, 0.9, 0.4, 1, 20], ["a", "equal_weight", 2, 0.5, 0.9, 0.5, 1, 8], ["a", "equal_number", 2, 0.3, 0.9, 0.7, 1, 1],
        ["b", "rows", 1, 0.1, 0.8, 0.7, 2, 2], ["b", "equal_number", 1, 0.1, 0.8, 0.6, 2, 4],
    ]  # fmt: skip
    columns = ["pair", "erased", "size", "sum", "score_before", "score", "rank_before", "rank"]
    scores = erasure_scores(pd.DataFrame(rows, columns=columns)).set_index(["control", "measure"])
    assert scores.loc[("equal_weight", "out")][["rows", "others", "n"]].tolist() == [1, 0, 1]
    assert scores.loc[("equal_number", "moves_more")][["rows", "others", "n"]].tolist() == [0.5, 0.5, 2]
    assert scores.loc[("equal_number", "score")][["rows", "others"]].tolist() == pytest.approx([(0.5 + 0.1) / 2, (0.2 + 0.2) / 2])
    assert scores.loc[("equal_number", "rank")][["rows", "others"]].tolist() == pytest.approx([np.log(20) / 2, np.log(2) / 2])


def test_excluded_documents_have_no_rank(collections):
    pair = draw_pairs(collections[:1], 1)[0]
    query = collections[0].queries[pair.query_row]
    assert ranks_among(collections[0], pair, query, np.array([-2.0, 2.0])).tolist() == [5, 1]
    barred = [np.array([(pair.document_row + 1) % 5])] * 5
    assert ranks_among(dataclasses.replace(collections[0], excluded=barred), pair, query, np.array([-2.0])).tolist() == [4]


class Axes:
    """Encodes a text as the axes of the words that it holds."""

    def encode_docs(self, texts):
        return np.array([[word in text for word in WORDS] for text in texts], np.float32)


def test_labels_near_their_texts():
    model, collection = planted(120)
    right = FeatureLabels(pd.DataFrame({"feature": range(6), "label": WORDS, "method": "test"}), 6)
    wrong = FeatureLabels(pd.DataFrame({"feature": range(6), "label": [*WORDS[1:], WORDS[0]], "method": "test"}), 6)
    scores = {}
    for name, labels in {"right": right, "wrong": wrong}.items():
        named = Xetrieval.from_parts(internalizers={}, sae=identity_sae(), labels=labels, encoder={"name": "", "dim": 6})
        scores[name] = label_similarity(named, collection, encoder=Axes(), seed=1)
    assert (scores["right"]["auc"] == 1).all() and (scores["right"]["other"] < 0.5).all() and len(scores["right"]) == 6
    assert (scores["wrong"]["auc"] < 0.5).all() and (scores["right"]["texts"] == 20).all()
    with pytest.raises(ValueError, match="two labelled features"):
        label_similarity(model, collection, encoder=Axes())


def test_auc_counts_ties_as_half():
    assert auc(np.array([1.0, 1.0]), np.array([1.0])) == 0.5 and auc(np.array([2.0]), np.array([1.0, 3.0])) == 0.5
