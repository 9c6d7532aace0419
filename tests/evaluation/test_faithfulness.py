"""Deletion and insertion curves, by hand and against the equations as they are printed."""

import numpy as np
import pytest

from pyterrier_xetrieval.evaluation.dictionaries import untrained
from pyterrier_xetrieval.evaluation.explained_pairs import explain_pairs
from pyterrier_xetrieval.evaluation.faithfulness import faithfulness_curves
from pyterrier_xetrieval.evaluation.pairs import ranked_pairs
from tests.helpers.builders import identity_sae
from tests.helpers.erasure import DOCUMENT, QUERY, make_collection, random_collection, slow_change, slow_cosine
from tests.helpers.planted import plain_model


@pytest.fixture
def orthogonal():
    return plain_model(identity_sae())


@pytest.fixture
def one_pair():
    return make_collection([DOCUMENT, [0, 0, 0, 0, 0, 1]], [QUERY], [{0: 1}])


def scores(frame, curve, order):
    return frame[(frame["curve"] == curve) & (frame["order"] == order)]["relative_score"].tolist()


def test_by_hand(orthogonal, one_pair):
    frame = faithfulness_curves(orthogonal, one_pair, steps=3, draws=40, per_pair=True)
    whole = slow_cosine(QUERY, DOCUMENT)

    def relative(kept):
        return slow_cosine(QUERY, np.where(np.isin(range(6), kept), DOCUMENT, 0)) / whole

    expected = {
        ("deletion", "contribution"): [1, relative([1, 2]), relative([2]), 0],
        ("insertion", "contribution"): [0, relative([0]), relative([0, 1]), 1],
        ("deletion", "activation"): [1, relative([0, 2]), relative([2]), 0],
        ("insertion", "activation"): [0, relative([1]), relative([0, 1]), 1],
    }
    for key, values in expected.items():
        assert scores(frame, *key) == pytest.approx(values, abs=1e-4)
    random = scores(frame, "insertion", "random")
    mean = np.mean([relative([j]) for j in range(3)])
    assert random[1] == pytest.approx(mean, abs=0.12) and random[1] != pytest.approx(relative([0]), abs=0.01)


def test_areas_and_differences(orthogonal, one_pair):
    table = faithfulness_curves(orthogonal, one_pair, steps=3, draws=3)
    frame = faithfulness_curves(orthogonal, one_pair, steps=3, draws=3, per_pair=True)
    values = table.set_index(["curve", "order", "measure"])["value"].sort_index()
    for curve in ("deletion", "insertion"):
        areas = {}
        for order in ("contribution", "activation", "random"):
            y = scores(frame, curve, order)
            areas[order] = (y[0] / 2 + y[1] + y[2] + y[3] / 2) / 3
            assert values[curve, order, "area"].item() == pytest.approx(areas[order])
        difference = values[curve, "contribution", "area_minus_random"].item()
        assert difference == pytest.approx(areas["contribution"] - areas["random"])


def test_prefixes_against_the_printed_equations(model):
    collection = random_collection()
    frame = faithfulness_curves(model, collection, num_results=3, steps=4, draws=1, per_pair=True)
    frame = frame[frame["order"] == "contribution"]
    pairs = ranked_pairs(collection, num_results=3)
    explained = explain_pairs(model.with_views(()), collection, pairs, refit=True)
    sets = {(f"q{q}", f"d{d}"): s for q, d, s in zip(pairs.queries, pairs.docs, explained.sets)}
    for row in frame[frame["fraction"] > 0].itertuples():
        q, z = collection.queries[int(row.qid[1:])], collection.docs[int(row.docno[1:])]
        features = sets[row.qid, row.docno]
        features = features[: int(np.ceil(row.fraction * len(features)))]
        change = slow_change(model.sae, q, z, features, {"deletion": "erase", "insertion": "keep_only"}[row.curve])
        assert row.relative_score == pytest.approx(1 + change / slow_cosine(q, z), abs=1e-4)
    nothing = frame[(frame["curve"] == "insertion") & (frame["fraction"] == 0)].iloc[0]
    q, z = collection.queries[int(nothing.qid[1:])], collection.docs[int(nothing.docno[1:])]
    assert nothing.relative_score == pytest.approx(slow_cosine(q, model.sae.b_dec.numpy()) / slow_cosine(q, z), abs=1e-5)


def test_an_untrained_dictionary_by_the_printed_equations(model):
    """Its own shared features, by contribution; its area is compared with that of its own random orders."""
    collection = random_collection()
    null, options = untrained(model.sae), {"steps": 4, "draws": 2}
    frame = faithfulness_curves(model, collection, per_pair=True, **options)
    pairs = ranked_pairs(collection, num_results=1)
    sets = explain_pairs(plain_model(null), collection, pairs, refit=True).sets
    own = frame[(frame["order"] == "untrained") & (frame["curve"] == "deletion")].set_index(["qid", "fraction"])
    checked = 0
    for q, d, features in zip(pairs.queries, pairs.docs, sets):
        if not len(features):
            assert f"q{q}" not in own.index
            continue
        query, z = collection.queries[q], collection.docs[d]
        for fraction in (0.5, 1.0):
            change = slow_change(null, query, z, features[: int(np.ceil(fraction * len(features)))], "erase")
            expected = 1 + change / slow_cosine(query, z)
            assert own.loc[(f"q{q}", fraction), "relative_score"] == pytest.approx(expected, abs=1e-4)
            checked += 1
    assert checked > 10
    table = faithfulness_curves(model, collection, **options).set_index(["curve", "order", "measure"])["value"].sort_index()
    for curve in ("deletion", "insertion"):
        areas = [table[curve, order, "area"].item() for order in ("untrained", "untrained_random")]
        assert table[curve, "untrained", "area_minus_random"].item() == pytest.approx(areas[0] - areas[1])
        assert (curve, "untrained_random", "area_minus_random") not in table.index


def test_pairs_that_share_nothing_are_left_out(orthogonal):
    collection = make_collection([DOCUMENT, [0, 0, 0, 0, 0, 1]], [QUERY, [0, 0, 0, 1, 0, 0.0]], [{0: 1}, {1: 1}])
    frame = faithfulness_curves(orthogonal, collection, per_pair=True)
    assert set(frame["qid"]) == {"q0"}
