import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from pyterrier_xetrieval.evaluation.collection import rank
from recipes import tuning, tuning_methods
from recipes.calibration_strength import gain_of
from recipes.tuning_folds import folds, shared_groups
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
    groups = np.arange(30) // 2
    values = tuning.measured(replace(trial, groups=groups), "spy")
    assert values == pytest.approx(tuning.measured(trial, "dense"))
    assert len(seen) == 5 and sorted(np.concatenate([test for _, test in seen])) == list(range(30))
    assert all(not set(groups[train]) & set(groups[test]) and len(train) + len(test) == 30 for train, test in seen)


@pytest.mark.parametrize("name", ["adapter", "shift", "one weight per feature"])
def test_penalties_are_chosen_on_groups_that_were_not_learned_from(trial, monkeypatch, name):
    groups, train, seen = np.arange(30) // 3, np.arange(3, 30), []
    monkeypatch.setattr(tuning_methods, "_best", lambda data, maps, shown, fold: seen.append((len(data), fold)))
    tuning_methods.METHODS[name](replace(trial, groups=groups), train, np.arange(3))
    ((queries, fold),) = seen
    assert queries == len(fold) == 27 and np.bincount(fold).tolist() == [9, 9, 9]
    assert all(len(set(fold[groups[train] == group])) == 1 for group in set(groups[train]))


def test_no_relevant_document_is_in_two_folds_and_every_query_in_one():
    rng = np.random.default_rng(0)
    judged = [{int(doc): int(rng.integers(2)) for doc in rng.integers(0, 400, 3)} for _ in range(100)]
    groups = shared_groups(judged)

    def folds_of_documents(fold):
        assert fold.shape == (100,) and set(fold.tolist()) == set(range(5))
        return {doc: {int(fold[i]) for i, own in enumerate(judged) if own.get(doc, 0) > 0} for own in judged for doc in own}

    fold = folds(groups, 5, seed=3)
    assert max(map(len, folds_of_documents(fold).values())) == 1
    assert max(map(len, folds_of_documents(folds(np.arange(100), 5, seed=3)).values())) > 1
    assert np.ptp(np.bincount(fold)) <= np.bincount(groups).max()
    assert (fold == folds(groups, 5, seed=3)).all() and (fold != folds(groups, 5, seed=4)).any()


def test_groups_are_joined_by_relevant_documents_alone():
    judged = [{1: 1, 2: 1}, {3: 1}, {2: 2, 4: 1}, {5: 1, 3: 0}, {4: 1, 3: 0}, {6: 0}]
    assert shared_groups(judged).tolist() == [0, 1, 0, 2, 0, 3]
    assert shared_groups([{1: 1}, {2: 1}, {1: 1, 2: 1}]).tolist() == [0, 0, 0]  # two groups that become one


def test_where_nothing_is_shared_the_folds_are_those_by_query():
    judged = [{i: 1} for i in range(33)]
    by_query = np.random.default_rng(7).permutation(33) % 5
    assert (folds(shared_groups(judged), 5, seed=7) == by_query).all() and (folds(np.arange(33), 5, seed=7) == by_query).all()


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
        if name == "beer":  # by group the adapter gains nothing on queries that share
            values["adapter"] = (np.array(values["dense"]) + 0.2 * (np.arange(50) < 10)).tolist()
            told |= {"sharing": list(range(10)), "grouped": {"ndcg": {m: values[m] for m in ("shift", "calibrated + links")}}}
            told["grouped"]["ndcg"]["adapter"] = values["dense"]
        (tmp_path / f"{name}.json").write_text(json.dumps(told))
    curve = [{"collection": "beer", "queries": 10, "links": 3, "gain": 0.01, "error": 0.005}]
    (tmp_path / "curve.json").write_text(json.dumps({"rows": curve}))
    (tmp_path / "transfer.json").write_text(json.dumps({"rows": [{"from": "a", "to": "b", "links": 3, "gain": 0.01, "p": 0.5}]}))
    text = page(tmp_path)
    assert "**+10." in text and "every query → less *beer* (-0.20; 50 queries, helped 9, hurt 2)" in text
    assert "+1.0 ± 0.5 (3)" in text and "| a → b | 3 | +1.0 | 0.500 |" in text
    assert "adapter gains +20.0 by query and +0.0 by group; on the other 40 it gains +0.0 and +0.0." in text
    assert "So calibrated + links is the best of all columns: less adapter it is +" in text  # by query
    assert text.count("So calibrated + links is the best of all columns: less") == 2
    adapter = next(row.split(" | ") for row in text.splitlines() if row.startswith("| adapter |") and "±" in row)
    assert adapter[1:3] == ["**+4.0**", "+0.0"] and float(adapter[3]) == pytest.approx(float(adapter[4]) + 2, abs=0.011)
    assert float(adapter[5].split(" ± ")[0]) == pytest.approx(10, abs=0.1)  # links gain 10 twice, the adapter nothing
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
