"""Table 1: every number against loops that are too slow for anything but a test."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import stats

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.core.internalizer import Internalizer
from pyterrier_xetrieval.evaluation.collection import EmbeddedCollection, ndcg, rank
from pyterrier_xetrieval.evaluation.multi_view_retrieval import ablation, retrieval
from pyterrier_xetrieval.evaluation.view_weights import choose_weights
from tests.helpers.builders import DIM, identity_sae, make_model, unit
from tests.helpers.retrieval import make_collection, slow_ndcg, slow_views

ASPECTS = ("summary", "purpose", "qa")


def cell(table, measure, **conditions) -> float:
    for column, value in conditions.items():
        table = table[table[column] == value]
    (value,) = table[table["measure"] == measure]["value"]
    return value


@pytest.fixture(scope="module")
def given():
    model, collection = make_model(), make_collection()
    explicit = {a: unit(np.random.default_rng(i), 40, 16) for i, a in enumerate(ASPECTS)}
    return model, collection, explicit


def test_the_table_is_that_of_slow_loops(given):
    model, collection, explicit = given
    weights = {"summary": 0.5, "purpose": 0.0, "qa": 0.25}
    table = retrieval(model.with_views(weights=weights), collection, explicit=explicit)
    each = retrieval(model.with_views(weights=weights), collection, explicit=explicit, per_query=True)
    views, dense = slow_views(model, collection.docs), slow_ndcg(collection, collection.docs)
    expected = {("none", "1"): dense}
    for kind, own in (("internalizer", views), ("CoT reasoner", explicit)):
        for text, w in (("1 + 1 + 1 + 1", (1, 1, 1)), ("1 + 0.5 + 0 + 0.25", (0.5, 0, 0.25))):
            folded = collection.docs + sum(x * own[a] for a, x in zip(ASPECTS, w))
            expected[kind, text] = slow_ndcg(collection, folded)
    assert list(map(tuple, table[["enhancement", "weights"]].drop_duplicates().to_numpy())) == list(expected)
    for (kind, text), values in expected.items():
        known = {"enhancement": kind, "weights": text}
        assert cell(table, "nDCG@10", **known) == pytest.approx(values.mean(), abs=1e-6)
        own = each[(each["enhancement"] == kind) & (each["weights"] == text)]
        assert own["qid"].tolist() == collection.qids.tolist()
        np.testing.assert_allclose(own["value"], values, atol=1e-6)
        if kind != "none":
            assert cell(table, "nDCG@10_minus_dense", **known) == pytest.approx((values - dense).mean(), abs=1e-6)
            assert cell(table, "improved", **known) == (values - dense > 1e-9).sum()
            assert cell(table, "degraded", **known) == (values - dense < -1e-9).sum()
            assert cell(table, "p", **known) == pytest.approx(stats.ttest_rel(values, dense).pvalue, rel=1e-3)
    intervals = table[table["measure"].str.startswith("nDCG")]
    assert ((intervals["low"] < intervals["value"]) & (intervals["value"] < intervals["high"])).all()
    assert (table["n"] == 12).all() and (table["collection"] == "tiny").all()


def test_holm_multiplies_the_smallest_p_by_the_number_of_systems():
    collection = make_collection(n=60, q=80)
    noise = {a: unit(np.random.default_rng(i), 60, 16) for i, a in enumerate(ASPECTS)}
    table = retrieval(make_model().with_views(weights=[0.02, 0.01, 0.03]), collection, explicit=noise)
    p, corrected = (table[table["measure"] == m]["value"].to_numpy() for m in ("p", "p_holm"))
    order, running = np.argsort(p), 0.0
    for place, i in enumerate(order):
        running = min(1.0, max(running, (4 - place) * p[i]))
        assert corrected[i] == pytest.approx(running)
    assert len(p) == 4 and (corrected[order[1:]] < 4 * p[order[1:]]).any() and corrected[order[1]] < 0.5  # not Bonferroni


def test_the_ablation_has_every_subset_of_views_once(given):
    model, collection, explicit = given
    table = ablation(model, collection, explicit=explicit)
    views = slow_views(model, collection.docs)
    named = table[table["measure"] == "nDCG@10"].set_index(["enhancement", "views"])["value"]
    assert named.index[0] == ("none", "original") and len(named) == 1 + 2 * 14 and named.index.is_unique
    for kind, own in (("internalizer", views), ("CoT reasoner", explicit)):
        own = {"original": collection.docs, **own}
        for names in [c for size in range(1, 5) for c in combinations(own, size)]:
            expected = slow_ndcg(collection, sum(own[name] for name in names)).mean()
            assert named["none" if names == ("original",) else kind, " + ".join(names)] == pytest.approx(expected, abs=1e-6)


def test_weights_of_zero_change_nothing_and_spoil_no_other_p(given):
    model, collection, _ = given
    table = retrieval(model.with_views(weights=0), collection)
    assert cell(table, "nDCG@10_minus_dense", weights="1 + 0 + 0 + 0") == 0
    assert cell(table, "p", weights="1 + 0 + 0 + 0") == 1
    p = cell(table, "p", weights="1 + 1 + 1 + 1")
    assert 0 < p < 1 and cell(table, "p_holm", weights="1 + 1 + 1 + 1") == pytest.approx(min(1, 2 * p))


def test_the_table_agrees_with_rank_and_ndcg_where_documents_tie(given):
    model, collection, _ = given
    docs = np.repeat(collection.docs[:10], 4, axis=0)  # every score four times
    tied = replace(collection, docs=docs)
    rows, _ = rank(tied.queries, tied.docs, 10, excluded=tied.excluded)
    each = retrieval(model, tied, per_query=True)
    np.testing.assert_array_equal(each[each["enhancement"] == "none"]["value"], ndcg(tied, rows))


def test_few_queries_few_documents_no_views():
    model = Xetrieval.from_parts(internalizers={}, sae=identity_sae(), encoder={"name": "", "dim": DIM})
    collection = make_collection(n=7, q=1, dim=DIM)
    for table in (retrieval(model, collection), ablation(model, collection)):
        assert table["measure"].tolist() == ["nDCG@10"] and np.isnan(table["low"][0])
        assert table["value"][0] == pytest.approx(slow_ndcg(collection, collection.docs)[0], abs=1e-6)
    several = retrieval(make_model(), make_collection(q=1))  # one query: differences, but no test
    assert not several["measure"].str.startswith("p").any()


def test_what_does_not_fit_is_refused(given):
    model, collection, explicit = given
    with pytest.raises(ValueError, match="weights"):
        retrieval(model.with_views(weights=[1, 2]), collection)
    with pytest.raises(ValueError, match="'mood'"):
        retrieval(model, collection, explicit={"mood": explicit["qa"]})
    with pytest.raises(ValueError, match=r"shape \(39, 16\)"):
        ablation(model, collection, explicit={"qa": explicit["qa"][1:]})


def permuting(order) -> Internalizer:
    """``R(e_i) = e_order[i]``: tanh is linear near zero."""
    module = Internalizer(DIM, DIM)
    with torch.no_grad():
        module.layer1.weight.copy_(1e-3 * torch.eye(DIM))
        module.layer2.weight.copy_(torch.eye(DIM)[order].T)
        module.layer1.bias.zero_(), module.layer2.bias.zero_()
    return module


def test_weights_are_chosen_where_the_answer_is_known():
    """Query i is the direction after document i's: ``turn`` moves document i there, ``same`` leaves the wrong one first."""
    axes = np.eye(DIM, dtype=np.float32)
    turned = [(i + 1) % DIM for i in range(DIM)]
    internalizers = {"turn": permuting(turned), "same": permuting(list(range(DIM)))}
    model = Xetrieval.from_parts(internalizers=internalizers, sae=identity_sae(), encoder={"name": "", "dim": DIM})
    names = np.array([str(i) for i in range(DIM)], object)
    none = [np.empty(0, np.int64)] * DIM
    training = EmbeddedCollection("train", names, axes, names, axes[turned], [{i: 1} for i in range(DIM)], none)
    # document i scores turn, the wrong one 1 + same: a common weight cannot bring i first, 2 against 1.5 can
    weights, table = choose_weights(model, training, grid=(0.0, 0.5, 2.0), num_results=2)
    assert weights == {"turn": 2.0, "same": 0.5}
    value = table.set_index(["weight_turn", "weight_same"])["value"]
    assert value[2.0, 0.5] == 1 and value[0.5, 0.5] == pytest.approx(1 / np.log2(3)) == pytest.approx(value[2.0, 2.0])
    assert table["chosen"].sum() == 1 and table[table["chosen"]]["step"].item() == "turn"
    assert table["step"].tolist()[:3] == ["common"] * 3 and not table.duplicated(["weight_turn", "weight_same"]).any()


def test_every_set_of_weights_tried_has_its_own_value_and_none_beats_the_chosen(given):
    model, collection, _ = given
    weights, table = choose_weights(model, collection, grid=(0.0, 0.3, 1.0))
    views = slow_views(model, collection.docs)
    for row in table.to_dict("records"):
        folded = collection.docs + sum(np.float32(row[f"weight_{a}"]) * views[a] for a in ASPECTS)
        assert row["value"] == pytest.approx(slow_ndcg(collection, folded).mean(), abs=1e-6)
    chosen = table[table["chosen"]].iloc[0]
    assert {a: chosen[f"weight_{a}"] for a in ASPECTS} == weights and chosen["value"] == table["value"].max()
    with pytest.raises(ValueError, match="grid of finite numbers"):
        choose_weights(model, collection, grid=())
