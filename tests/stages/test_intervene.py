import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyterrier_xetrieval import FeatureIntervention, FeatureLabels, MultiViewScorer, Xetrieval
from pyterrier_xetrieval.core.edits import erase, intervene, keep_only, scale
from tests.helpers.builders import identity_sae, make_model, random_sae, result_frame, unit


def literal_projection(sae, z, features):
    """W_S (W_Sᵀ W_S + λI)⁻¹ W_Sᵀ (z − b), λ = 1e-6 (Eq. 24)."""
    w = sae.w_dec.detach().double().numpy()[features].T
    return w @ np.linalg.inv(w.T @ w + 1e-6 * np.eye(len(features))) @ w.T @ (z.astype(np.float64) - sae.b_dec.detach().numpy())


def tensors(x, sets):
    ids = torch.tensor([list(s) for s in sets])
    return torch.from_numpy(x), ids, torch.ones_like(ids, dtype=torch.bool)


def literal_edit(sae, z, features, mode, around):
    """Eq. 25 and 26, and the length of the edited vector, or its distance from the bias, as it was before."""
    b, p = sae.b_dec.detach().double().numpy(), literal_projection(sae, z, features)
    edited = z - p if mode == "erase" else b + p
    centre = b if around == "bias" else 0 * b
    return centre + (edited - centre) * np.linalg.norm(z - centre) / np.linalg.norm(edited - centre)


@pytest.mark.parametrize("around", ["bias", "origin"])
@pytest.mark.parametrize("mode", ["erase", "keep_only"])
def test_agrees_with_the_literal_equations(model, results, mode, around):
    features = [3, 7, 20]
    out = model.intervention(mode, features=features, around=around)(results)
    for z, edited in zip(results["doc_vec"], out["doc_vec"]):
        np.testing.assert_allclose(edited, literal_edit(model.sae, z, features, mode, around), atol=1e-5)


def pages_of_a_long_bias():
    """Unit vectors that share a long mean, as those of E5: a dictionary with that bias, and results."""
    rng = np.random.default_rng(3)
    sae = identity_sae(dim=64, k=8)
    with torch.no_grad():
        sae.b_dec[0] = 0.93  # all but the first feature are at right angles to it
    x = np.zeros((100, 64), np.float32)
    for row in x:
        row[1 + rng.permutation(63)[:8]] = rng.uniform(0.06, 0.18, 8)
    x[:, 0] = 0.93
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    q, docs = x[:40], x[40:]
    best = np.argsort(-q @ docs.T, axis=1)[:, 20:23]  # which share a feature or two
    frame = pd.DataFrame({"qid": np.repeat(np.arange(40), 3).astype(str), "docno": best.ravel().astype(str)})
    return make_model(sae, aspects=()), frame.assign(query_vec=list(np.repeat(q, 3, axis=0)), doc_vec=list(docs[best.ravel()]))


def test_erasing_what_a_score_rests_on_lowers_it_where_the_bias_is_long():
    model, frame = pages_of_a_long_bias()
    explained = (MultiViewScorer() >> model.explainer())(frame)
    largest = explained["explanation"].map(lambda e: [int(e.features[0])] if len(e) else [])
    changes = {}
    for name, features in {"all": "shared", "largest": lambda row: largest[row["name"]]}.items():
        for around in ("bias", "origin"):
            edit = model.intervention("erase", features=features, around=around) >> MultiViewScorer()
            changes[name, around] = (edit(explained.assign(name=explained.index)).score - explained.score)[largest.map(len) > 0]
    assert all((changes[name, "bias"] < 0).all() for name in ("all", "largest"))
    # the paper's re-normalisation gives back by the bias what it takes
    for name in ("all", "largest"):
        assert changes[name, "origin"].mean() > 0.6 * changes[name, "bias"].mean() and (changes[name, "origin"] > 0).any()


def test_keeping_next_to_nothing_is_no_advantage_where_the_bias_is_long():
    model, frame = pages_of_a_long_bias()
    scored = MultiViewScorer()(frame)
    opposed = []  # what of each document speaks most against its query
    w, b = model.sae.w_dec.detach().numpy(), model.sae.b_dec.detach().numpy()
    for q, z in zip(frame["query_vec"], frame["doc_vec"]):
        opposed.append([int(np.argmin((w @ q) * (w @ (z - b))))])
    edit = model.intervention("keep_only", features=lambda row: opposed[row["name"]])
    kept = MultiViewScorer()(edit(frame.assign(name=range(len(frame)))))
    assert (kept.score < scored.score).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sets(st.integers(0, 47), min_size=1, max_size=40))
def test_algebra_of_projection(seed, features):
    sae, x = random_sae(seed=seed), unit(np.random.default_rng(seed), 2, 16)
    t, ids, mask = tensors(x, [sorted(features)] * 2)
    with torch.no_grad():
        gone, kept = erase(sae, t, ids, mask), keep_only(sae, t, ids, mask)
        np.testing.assert_allclose(gone + kept - sae.b_dec, t, atol=1e-5)  # keep + erase = original, about b
        # What is erased is gone, but for what the ridge lets through of near-parallel directions: of P's eigenvalue
        # p = σ² / (σ² + λ), the part p (1 − p), which is a quarter where σ² is as small as λ.
        directions = torch.nn.functional.normalize(sae.w_dec[sorted(features)].double(), dim=1)
        u, sigma, _ = torch.linalg.svd(directions.T, full_matrices=False)
        p = sigma**2 / (sigma**2 + 1e-6)
        left = (t - sae.b_dec).double() @ u * (p * (1 - p)) @ u.T
        np.testing.assert_allclose(sae.project(gone, ids, mask), left, atol=1e-5)


def test_known_answers_on_the_identity_dictionary():
    sae, x = identity_sae(), np.float32([[0.6, 0.0, 0.8, 0, 0, 0]])
    np.testing.assert_allclose(intervene(sae, x, [(0,)], "erase"), [[0, 0, 1, 0, 0, 0]], atol=1e-5)
    np.testing.assert_allclose(intervene(sae, x, [(0,)], "keep_only"), [[1, 0, 0, 0, 0, 0]], atol=1e-5)
    np.testing.assert_allclose(intervene(sae, x, [(0,)], "scale", alpha=2), [[1.2, 0, 0.8, 0, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(intervene(sae, x, [(1,)], "scale", alpha=2), x)


def test_erasing_all_there_is_leaves_nothing():
    x = np.float32([[0.6, 0, 0.8, 0, 0, 0], [0.6, 0, 0.8, 0, 0, 0]])
    assert (intervene(identity_sae(), x, [(0, 2), tuple(range(6))], "erase") == 0).all()


@pytest.mark.parametrize("mode", ["erase", "keep_only"])
def test_more_features_than_dimensions(mode):
    sae, x = random_sae(), unit(np.random.default_rng(7), 3, 16)
    sets = [tuple(range(10)), tuple(range(5, 30)), tuple(range(48))]
    out, b = intervene(sae, x, sets, mode), sae.b_dec.detach().numpy()
    for z, features, edited in zip(x, sets, out):
        p = literal_projection(sae, z, list(features))
        if np.linalg.norm((z - p if mode == "erase" else b + p) - b) > 1e-3:
            np.testing.assert_allclose(edited, literal_edit(sae, z, list(features), mode, "bias"), atol=1e-4)
        else:
            assert (edited == b).all()


def test_reconstruct_decodes_every_row_alike(model):
    x = unit(np.random.default_rng(8), 2, 16)
    decoded = model.sae(torch.from_numpy(x)).numpy()
    out = intervene(model.sae, x, [(1,), ()], "scale", alpha=1, reconstruct=True)
    np.testing.assert_allclose(out, decoded, atol=1e-6)


def test_shared_wants_explanations(model, results):
    with pytest.raises(ValueError, match="an Explanation in every row, found none"):
        model.intervention(features="shared")(results.assign(explanation=None))


def test_norm_is_restored():
    x, sae = 3 * unit(np.random.default_rng(0), 5, 16), random_sae()
    b = sae.b_dec.detach().numpy()
    for mode in ("erase", "keep_only"):
        edited = intervene(sae, x, [(1, 2)] * 5, mode)
        np.testing.assert_allclose(np.linalg.norm(edited - b, axis=1), np.linalg.norm(x - b, axis=1), rtol=1e-5)
        edited = intervene(sae, x, [(1, 2)] * 5, mode, around="origin")
        np.testing.assert_allclose(np.linalg.norm(edited, axis=1), 3, rtol=1e-5)


@pytest.mark.parametrize("options", [{"mode": "erase"}, {"mode": "keep_only"}, {"mode": "scale", "alpha": 0.5}])
def test_selecting_nothing_changes_nothing(model, results, options):
    for features in ([], lambda row: []):
        out = model.intervention(**options, features=features, target="both")(results)
        for column in ("doc_vec", "query_vec"):
            assert all(a.tobytes() == b.tobytes() for a, b in zip(results[column], out[column]))


def test_scaling_by_one_changes_nothing(model, results):
    out = model.intervention("scale", alpha=1, features=range(48))(results)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(results["doc_vec"], out["doc_vec"]))


def test_scale_edits_the_code_and_keeps_the_error(model):
    x = torch.from_numpy(unit(np.random.default_rng(5), 6, 16))
    features, alpha = [1, 5, 9, 30], 1.7
    t, ids, mask = tensors(x.numpy(), [features] * 6)
    codes = model.sae.encode(x)
    edited = codes.dense(48)
    edited[:, features] *= alpha
    decoded = edited @ model.sae.w_dec + model.sae.b_dec
    np.testing.assert_allclose(scale(model.sae, t, ids, mask, alpha, reconstruct=True), decoded, atol=1e-5)
    np.testing.assert_allclose(scale(model.sae, t, ids, mask, alpha), x + decoded - model.sae.decode(codes), atol=1e-5)


def test_rows_of_different_set_sizes_do_not_disturb_each_other():
    sae, x = random_sae(), unit(np.random.default_rng(6), 4, 16)
    sets = [(1,), (), (0, 5, 9, 12, 40), (7, 8)]
    together = intervene(sae, x, sets, "erase", batch_size=3)
    alone = np.concatenate([intervene(sae, x[i : i + 1], [s], "erase") for i, s in enumerate(sets)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_shared_uses_each_rows_own_explanation(model, results):
    explained = model.explainer()(results)
    out = model.intervention("erase", features="shared")(explained)
    again = model.explainer()(out)
    for e, before, after in zip(explained["explanation"], explained["doc_vec"], out["doc_vec"]):
        if len(e):
            np.testing.assert_allclose(after, literal_edit(model.sae, before, e.features, "erase", "bias"), atol=1e-4)
        else:
            assert (before == after).all()
    assert sum(e.shared for e in again["explanation"]) < sum(e.shared for e in explained["explanation"])


def test_function_sees_the_row(model, results):
    out = model.intervention("erase", features=lambda row: [3] if row["docno"] == "d1" else [])(results)
    changed = [not (a == b).all() for a, b in zip(results["doc_vec"], out["doc_vec"])]
    assert changed == (results["docno"] == "d1").tolist()


def test_targets_and_aspects(model, results):
    views = model.internalizer()(results)
    changed = {}
    for target in ("doc", "query", "both"):
        out = model.with_views(["qa"]).intervention("erase", features=[1, 2, 3], target=target)(views)
        columns = ("query_vec", "doc_vec", "doc_vec_qa", "doc_vec_summary")
        changed[target] = {c for c in columns if not all((a == b).all() for a, b in zip(views[c], out[c]))}
    assert changed == {"doc": {"doc_vec", "doc_vec_qa"}, "query": {"query_vec"}, "both": {"query_vec", "doc_vec", "doc_vec_qa"}}


def test_query_frame(model):
    queries = pd.DataFrame({"qid": ["a"], "query": ["x"], "query_vec": list(unit(np.random.default_rng(0), 1, 16))})
    out = model.intervention("scale", alpha=0, features=range(48), target="query")(queries)
    assert (
        list(out.columns) == [*queries.columns, "query_vec_0", "query_added"]
        and not (out["query_vec"][0] == queries["query_vec"][0]).all()
    )


def test_erasing_the_explanation_of_a_copy_lowers_its_score():
    model = make_model(random_sae(k=8), aspects=())
    results = result_frame(2, 3)
    results = results.assign(doc_vec=results["query_vec"])
    explain = model.explainer() >> model.intervention("erase", features="shared") >> MultiViewScorer()
    assert (explain(results)["score"] < 0.9).all()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"mode": "delete", "features": [1]}, "mode to be one of"),
        ({"features": [1], "target": "docs"}, "target to be one of"),
        ({"features": [1], "around": "mean"}, "around to be one of"),
        ({"mode": "scale", "alpha": 2, "features": [1], "around": "origin"}, "'erase' or 'keep_only' only"),
        ({"mode": "scale", "features": [1]}, "expects alpha"),
        ({"features": [1], "alpha": 2}, "expects alpha"),
        ({"mode": "scale", "features": [1], "alpha": float("nan")}, "alpha.*finite number"),
        ({"features": [48]}, "among 0 … 47, found 48"),
        ({"features": [-1]}, "found -1"),
        ({"features": [0.5]}, "feature ids"),
        ({"features": "all"}, "no feature whose label contains 'all'"),
        ({"features": 5}, "one flat list of feature ids or labels, found 5"),
        ({"features": [[1, 2], [3, 4]]}, "one flat list"),
        ({"features": [[1], [3, 4]]}, "one flat list"),
        ({"features": [True, False]}, "one flat list"),
        ({"mode": "scale", "alpha": "2", "features": [1]}, "alpha.*finite number"),
        ({"features": [1], "batch_size": 0}, "batch_size to be a positive"),
        ({"features": [1], "reconstruct": True}, "'scale' only"),
    ],
)
def test_bad_options(model, options, message):
    with pytest.raises(ValueError, match=f"FeatureIntervention.*{message}"):
        FeatureIntervention(model, **options)


@pytest.mark.parametrize("features", [[3], range(20)])  # fewer than dimensions, and more
def test_the_length_of_directions_does_not_matter(features):
    sae, x = random_sae(), unit(np.random.default_rng(8), 5, 16)
    expected = intervene(sae, x, [tuple(features)] * 5, "erase")
    with torch.no_grad():
        sae.w_dec *= 1e-3
    np.testing.assert_allclose(intervene(sae, x, [tuple(features)] * 5, "erase"), expected, atol=1e-5)


def test_adding_a_feature_moves_along_its_direction_whether_it_is_active_or_not():
    sae = random_sae()
    table = pd.DataFrame({"feature": [3, 9], "label": ["trees", "rivers"], "method": "test", "max_activation": [2.0, 0.5]})
    parts = make_model(sae)
    model = Xetrieval.from_parts(internalizers={}, sae=sae, encoder=parts.meta["encoder"], labels=FeatureLabels(table, 48))
    inp = result_frame()
    for alpha in (1.5, -1, 0):
        out = model.intervention("add", features=["trees", 9], alpha=alpha)(inp)
        expected = alpha * (2.0 * model.sae.w_dec[3] + 0.5 * model.sae.w_dec[9])
        moved = np.stack(out["doc_vec"].to_list()) - np.stack(inp["doc_vec"].to_list())
        np.testing.assert_allclose(moved, np.tile(expected.numpy(), (len(inp), 1)), atol=1e-5)
    with pytest.raises(ValueError, match="max_activation of feature 4"):
        model.intervention("add", features=[4], alpha=1)(inp)
    with pytest.raises(ValueError, match="the strength of mode 'add'"):
        model.intervention("add", features=[4])


def test_scaling_what_is_active_nowhere_says_so(model, results):
    codes = model.sae.encode(torch.from_numpy(np.stack(results["doc_vec"].to_list())))
    absent = sorted(set(range(48)) - set(codes.ids[codes.active()].tolist()))[:2]
    with pytest.warns(UserWarning, match="changed nothing.*mode 'add'"):
        out = model.intervention("scale", features=absent, alpha=3)(results)
    assert all(np.array_equal(a, b) for a, b in zip(out["doc_vec"], results["doc_vec"]))


def test_each_feature_has_its_own_alpha(model, results):
    base = model.with_views(aspects=())
    features = {3: 0.0, 7: 2.5, 20: 1.0}
    out = base.intervention("scale", features=features)(results)
    codes = model.sae.encode(torch.from_numpy(np.stack(results["doc_vec"])))
    directions = model.sae.w_dec.detach().numpy()
    for i, (z, edited) in enumerate(zip(results["doc_vec"], out["doc_vec"])):
        own = dict(zip(codes.ids[i].tolist(), codes.values[i].tolist()))
        expected = z + sum((alpha - 1) * own.get(j, 0.0) * directions[j] for j, alpha in features.items())
        np.testing.assert_allclose(edited, expected, atol=1e-5)


def test_each_feature_is_added_with_its_own_strength():
    labels = FeatureLabels(pd.DataFrame({
        "feature": range(6), "label": list("abcdef"), "method": "by hand", "max_activation": 2.0, "clarity": 2, "detection": 1.0
    }), 6)  # fmt: skip
    model = Xetrieval.from_parts(internalizers={}, sae=identity_sae(), labels=labels, encoder={"name": "none", "dim": 6})
    frame = pd.DataFrame({"qid": ["1"], "query": ["q"], "query_vec": [np.float32([1, 0, 0, 0, 0, 0])]})
    edited = model.intervention("add", features={"b": 0.5, 3: -0.25}, target="query")(frame)["query_vec"][0]
    np.testing.assert_allclose(edited, [1, 1, 0, -0.5, 0, 0])


def test_alphas_of_their_own_are_part_of_the_identity(model):
    stage = model.intervention("scale", features={3: 0.0, 7: 2.0})
    assert stage == model.intervention("scale", features={7: 2, 3: 0}) and hash(stage) == hash(
        model.intervention("scale", features={7: 2, 3: 0})
    )
    assert stage != model.intervention("scale", features={3: 0.0, 7: 3.0}) and "{3: 0.0, 7: 2.0}" in repr(stage)


@pytest.mark.parametrize("mode, alpha, features", [
    ("erase", None, {3: 1.0}), ("scale", 2.0, {3: 1.0}), ("scale", None, {3: np.nan}), ("add", None, {3: "much"}),
])  # fmt: skip
def test_alphas_of_their_own_that_say_nothing(model, mode, alpha, features):
    with pytest.raises(ValueError, match="FeatureIntervention expects"):
        model.intervention(mode, features=features, alpha=alpha)


def test_queries_of_joined_rankings_are_those_of_their_other_rows():
    model, frame = make_model(random_sae(), aspects=()), result_frame()
    gaps = frame.assign(query_vec=[None if i % 4 == 1 else v for i, v in enumerate(frame["query_vec"])])
    edited = model.with_check("off").intervention("erase", features=[1, 3], target="query")
    assert np.array_equal(np.stack(edited(gaps)["query_vec"]), np.stack(edited(frame)["query_vec"]))
    with pytest.raises(ValueError, match="no vector in query_vec of row 1"):
        edited(gaps.drop(columns="qid"))
