import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyterrier_xetrieval import SAEExplainer
from tests.helpers.builders import identity_sae, make_model, random_sae, result_frame
from tests.helpers.literal import literal_code


def literal_explanation(sae, row, views, weights, threshold):
    """Eq. 12-16 and the attribution, one feature at a time, with the encoder's own activations."""
    q = row["query_vec"].astype(np.float64)
    code_q = literal_code(sae, q.tolist())
    codes = {v: literal_code(sae, row[c].astype(np.float64).tolist()) for v, c in views.items()}
    per_view = {v: {j for j in range(sae.dict_size) if code_q[j] > threshold and codes[v][j] > threshold} for v in views}
    shared = set().union(*per_view.values())
    w, b = sae.w_dec.detach().double().numpy(), sae.b_dec.detach().double().numpy()
    contribution = {j: sum(weights[v] * codes[v][j] * (q @ w[j]) for v in views) for j in range(sae.dict_size)}
    residual = 0.0
    for v, c in views.items():
        error = row[c].astype(np.float64) - sum(codes[v][j] * w[j] for j in range(sae.dict_size)) - b
        residual += weights[v] * (q @ error)
    return {
        "per_view": per_view,
        "shared": {j: contribution[j] for j in shared},
        "other": sum(value for j, value in contribution.items() if j not in shared),
        "bias": sum(weights.values()) * (q @ b),
        "residual": residual,
    }


@pytest.mark.parametrize("threshold", [0.0, 0.15])
@pytest.mark.parametrize("weights", [None, [0.5, 0.25, 2.0]])
def test_agrees_with_the_literal_equations(threshold, weights):
    model, results = make_model(random_sae(k=9)), result_frame(5, 7)
    out = (model.internalizer() >> model.with_views(weights=weights).explainer(threshold=threshold, refit=False))(results)
    views = {"original": "doc_vec", **{a: f"doc_vec_{a}" for a in model.aspects}}
    weight = dict(zip(views, [1, *(weights or [1, 1, 1])]))
    found = 0
    for _, row in out.iterrows():
        e, expected = row["explanation"], literal_explanation(model.sae, row, views, weight, threshold)
        assert {v: set(ids) for v, ids in e.per_view.items()} == expected["per_view"]
        assert dict(zip(e.features.tolist(), e.contributions.tolist())) == pytest.approx(expected["shared"], abs=1e-5)
        for part in ("other", "bias", "residual"):
            assert getattr(e, part) == pytest.approx(expected[part], abs=1e-5)
        found += len(e)
    assert found > 20


@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("aspects", [None, (), ("qa",)])
def test_parts_add_up_to_the_score(model, results, refit, aspects):
    chosen = model.with_views(aspects)
    out = (model.internalizer() >> chosen.scorer() >> chosen.explainer(refit=refit))(results)
    for score, e in zip(out["score"], out["explanation"]):
        assert e.score == pytest.approx(score, abs=1e-6)
        assert e.shared + e.other + e.bias + e.residual == pytest.approx(score, abs=1e-4)
        assert list(e.contributions) == sorted(e.contributions, reverse=True)


def test_residual_is_what_the_reconstruction_misses(model, results):
    out = model.explainer()(results)
    x = torch.from_numpy(np.stack(results["doc_vec"].to_list()))
    codes = model.sae.encode(x)
    error = (x - model.sae.decode(codes, model.sae.refit(x, codes))).numpy()
    for q, e_v, e in zip(results["query_vec"], error, out["explanation"]):
        assert e.residual == pytest.approx(float(q @ e_v), abs=1e-5)


def test_refit_changes_no_feature_set_and_explains_more(model, results):
    plain = model.explainer(refit=False)(results)["explanation"]
    refit = model.explainer()(results)["explanation"]
    assert [e.per_view for e in plain] == [e.per_view for e in refit]
    assert sum(abs(e.residual) for e in refit) < sum(abs(e.residual) for e in plain)


def test_known_answer_on_the_identity_dictionary():
    model = make_model(identity_sae(k=2), aspects=())
    row = {
        "qid": "q",
        "docno": "d",
        "query_vec": np.float32([0.6, 0.8, 0, 0, 0, 0.1]),
        "doc_vec": np.float32([0, 0.5, 0.7, 0.1, 0, 0]),
    }
    e = model.explainer()(pd.DataFrame([row]))["explanation"][0]
    assert e.features.tolist() == [1]  # query: 0 and 1; document: 1 and 2
    assert e.contributions.tolist() == pytest.approx([0.4], abs=1e-5) and e.score == pytest.approx(0.4)
    assert (e.other, e.bias, e.residual) == pytest.approx((0, 0, 0), abs=1e-5)
    assert e.per_view == {"original": [1]} and e.document_activations.tolist() == [[0.5]]


def test_many_pairs_are_joined_in_blocks(monkeypatch, model):
    results = model.internalizer()(result_frame(9, 11))
    whole = model.explainer()(results)["explanation"]
    monkeypatch.setattr("pyterrier_xetrieval.core.attribution._PAIRS", 7)
    monkeypatch.setattr("pyterrier_xetrieval.core.attribution._QUERIES", 2)
    monkeypatch.setattr("pyterrier_xetrieval.core.codes._DOCUMENTS", 5)
    shuffled = results.sample(frac=1, random_state=0)
    parts = model.explainer(batch_size=3)(shuffled)["explanation"]
    for i, e in parts.items():
        assert e.per_view == whole[i].per_view and (e.qid, e.docno) == (whole[i].qid, whole[i].docno)
        np.testing.assert_allclose(e.contributions, whole[i].contributions, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.floats(0, 0.4))
def test_identities_hold_for_any_dictionary(seed, k, threshold):
    model = make_model(random_sae(k=k, seed=seed))
    results = model.internalizer()(result_frame(2, 3, seed=seed))
    for e in model.explainer(threshold=threshold)(results)["explanation"]:
        assert e.shared + e.other + e.bias + e.residual == pytest.approx(e.score, abs=1e-4)
        assert set(e.features.tolist()) == {j for ids in e.per_view.values() for j in ids}
        assert (e.query_activations > threshold).all()
        assert (e.document_activations.max(axis=1, initial=0) > threshold).all() or not len(e)
        assert len(e) <= k


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_residual_of_all_views_is_what_their_reconstructions_miss(seed, weights):
    model = make_model(random_sae(seed=seed))
    results = model.internalizer()(result_frame(2, 3, seed=seed))
    missed = np.zeros(len(results))
    for column, weight in zip(["doc_vec", *(f"doc_vec_{a}" for a in model.aspects)], [1.0, *weights]):
        x = torch.from_numpy(np.stack(results[column].to_list()))
        codes = model.sae.encode(x)
        error = (x - model.sae.decode(codes, model.sae.refit(x, codes))).numpy()
        missed += weight * np.einsum("nm,nm->n", np.stack(results["query_vec"].to_list()), error)
    explained = model.with_views(weights=weights).explainer()(results)["explanation"]
    # batches of other rows round otherwise, and the refit may stop a step earlier
    np.testing.assert_allclose([e.residual for e in explained], missed, atol=2e-4)
    b = model.sae.b_dec.numpy()
    for q, e in zip(results["query_vec"], explained):
        assert e.bias == pytest.approx((1 + sum(weights)) * float(q @ b), abs=1e-5)


def test_frame_score_is_left_alone(model, results):
    out = model.explainer()(results.assign(score=99.0))
    assert (out["score"] == 99).all()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"threshold": -1}, "threshold >= 0"),
        ({"top": -1}, "top to be"),
        ({"batch_size": -1}, "batch_size to be"),
    ],
)
def test_bad_options(model, options, message):
    with pytest.raises(ValueError, match=f"SAEExplainer.*{message}"):
        SAEExplainer(model, **options)


def test_missing_vectors_are_named(model, results):
    with pytest.raises(Exception, match="SAEExplainer.*doc_vec"):
        model.explainer()(results.drop(columns="doc_vec"))
