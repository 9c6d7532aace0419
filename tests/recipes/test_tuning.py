import json

import numpy as np
import pytest
import torch

from pyterrier_xetrieval.evaluation.collection import rank
from recipes import tuning, tuning_methods
from recipes.calibration_strength import gain_of
from recipes.tuning_report import page
from tests.helpers.builders import make_model, random_sae, toy


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    model = make_model(random_sae(), aspects=()).with_check("off")
    return tuning_methods.Trial.of(model, toy(queries=30), tmp_path_factory.mktemp("trial") / "x.flex")


@pytest.mark.parametrize("name", tuning_methods.METHODS)
def test_every_method_changes_queries_and_nothing_else(trial, name):
    rows = np.arange(30)
    moved = tuning_methods.METHODS[name](trial, rows[:20], rows[20:])
    assert moved.shape == (10, 16) and np.isfinite(moved).all()
    if name == "dense":
        assert (moved == trial.collection.queries[20:]).all()
    assert tuning_methods.METHODS[name](trial, rows[:20], rows[20:]) == pytest.approx(moved, abs=1e-6)


def test_feedback_methods_move_queries_towards_what_their_first_documents_have(trial):
    q, rows = trial.collection.queries, np.arange(30)
    docs, w = np.asarray(trial.collection.docs), trial.model.sae.w_dec.detach().numpy()
    first, _ = rank(q, docs, 3)
    moved = tuning_methods.METHODS["VectorPrf"](trial, rows[:0], rows)
    apart = moved - moved @ np.linalg.pinv(np.stack([q[0], docs[first[0]].mean(axis=0)])) @ np.stack(
        [q[0], docs[first[0]].mean(axis=0)]
    )
    assert np.abs(apart[0]).max() < 1e-5  # α q + β mean
    codes = [trial.model.sae.encode(torch.from_numpy(docs[own])).dense(48).detach().numpy().mean(axis=0) for own in first]
    moved = tuning_methods.METHODS["feature PRF"](trial, rows[:0], rows)
    for before, after, mean in zip(q, moved, codes):
        kept = np.where(mean >= np.sort(mean)[-20], mean, 0)
        np.testing.assert_allclose(after, before + 0.3 * kept @ w, atol=1e-5)


def test_centring_ranks_as_centred_vectors_do(trial):
    rows, docs = np.arange(30), np.asarray(trial.collection.docs)
    moved = tuning_methods.METHODS["centred"](trial, rows[:0], rows)
    centred = docs - docs.mean(axis=0)
    assert (rank(moved, docs, 20)[0] == rank(moved, centred, 20)[0]).all()


def test_shuffled_judgements_are_those_of_other_queries(trial):
    rows = np.arange(30)
    own, others = trial.qrels(rows), trial.qrels(rows, shuffled=True)
    assert sorted(own["docno"]) == sorted(others["docno"]) and own["qid"].tolist() == others["qid"].tolist()
    assert not (own["docno"].to_numpy() == others["docno"].to_numpy()).any()


def test_queries_are_scored_by_what_was_learned_without_them(trial, monkeypatch):
    seen = []
    monkeypatch.setitem(
        tuning_methods.METHODS, "spy", lambda _, train, test: seen.append((train, test)) or trial.collection.queries[test]
    )
    values = tuning.measured(trial, "spy")
    assert values == pytest.approx(tuning.measured(trial, "dense"))
    assert len(seen) == 5 and sorted(np.concatenate([test for _, test in seen])) == list(range(30))
    assert all(not set(train) & set(test) and len(train) + len(test) == 30 for train, test in seen)


def test_gains_lie_between_the_strengths_that_were_measured():
    gains = np.array([[0.0, 0.0], [1.0, 10.0], [3.0, 30.0], *[[0.0, 0.0]] * 4])
    assert gain_of(gains, 0.5, 0.1, 0.3, 0.1).tolist() == pytest.approx([3, 30])  # all of the strength .1
    assert gain_of(gains, 0.375, 0.1, 0.3, 0.1).tolist() == pytest.approx([2, 20])  # .075
    assert gain_of(gains, 0.2, 0.1, 0.3, 0.1).tolist() == [0, 0]


def test_page_of_two_collections(tmp_path):
    rng = np.random.default_rng(0)
    base = rng.random(50)
    for name, topicality in (("beer", 0.5), ("all sorts", 0.3)):
        values = {
            m: (base + (0.1 if m == "calibrated + links" else 0) + 0.001 * rng.random(50)).tolist()
            for m in tuning_methods.METHODS
        }
        link = {"source_label": "every query", "target_label": "beer", "weight": -0.2, "queries": 50, "helped": 9, "hurt": 2}
        told = {"collection": name, "queries": 50, "topicality": topicality, "strength": 0.2, "ndcg": values, "links": [link]}
        (tmp_path / f"{name}.json").write_text(json.dumps(told))
    curve = [{"collection": "beer", "queries": 10, "links": 3, "gain": 0.01, "error": 0.005}]
    (tmp_path / "curve.json").write_text(json.dumps({"rows": curve}))
    (tmp_path / "transfer.json").write_text(json.dumps({"rows": [{"from": "a", "to": "b", "links": 3, "gain": 0.01, "p": 0.5}]}))
    text = page(tmp_path)
    assert "**+10." in text and "every query → less *beer* (-0.20; 50 queries, helped 9, hurt 2)" in text
    assert "+1.0 ± 0.5 (3)" in text and "| a → b | 3 | +1.0 | 0.500 |" in text
    assert text.index("| beer |") < text.index("| all sorts |")


def test_how_the_strength_was_chosen_is_told_from_what_was_measured(tmp_path):
    ndcg = {m: [0.5, 0.4, 0.3] for m in tuning_methods.METHODS} | {"calibrated": [0.48, 0.39, 0.28]}
    (tmp_path / "pydocs.json").write_text(json.dumps({"queries": 3, "topicality": 0.44, "strength": 0.2, "ndcg": ndcg}))
    assert "it loses 1.7 points (p = .04 before" in page(tmp_path) and "maps of" not in page(tmp_path)
    rows = [("beer", 0.5, 1.5, 0.01), ("tea", 0.45, -0.5, 0.2), ("facts", 0.3, 0.0, 1.0), ("edge", 0.35, -0.8, 0.227)]
    rows = [dict(zip(("collection", "topicality", "gain", "p"), row)) for row in rows]
    (tmp_path / "strength.json").write_text(json.dumps({"rows": rows}))
    maps = [{"map": "one", "topical": 1.05, "general": 0.1}, {"map": "other", "topical": -2.0, "general": 0.3}]
    (tmp_path / "query_maps.json").write_text(json.dumps({"rows": maps}))
    text = page(tmp_path).replace("\n", " ")
    assert "mean gain of +0.5 on the topical ones, no significant loss, and -0.8 (p = .23) on edge, which lies" in text
    assert "Of the 2 maps" in text and "the best has +1.05 on the topical" in text
    rows[1]["p"] = 0.03
    (tmp_path / "strength.json").write_text(json.dumps({"rows": rows}))
    assert "a significant loss on tea, and" in page(tmp_path)
