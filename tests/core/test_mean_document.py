"""Scores measured against the mean document, where the dictionary's bias is long."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from pyterrier_xetrieval import Explanation, Xetrieval, explanation_frame
from pyterrier_xetrieval.core import mean_document
from pyterrier_xetrieval.core.attribution import Attribution
from pyterrier_xetrieval.core.codes import encode_view
from pyterrier_xetrieval.core.mean_document import MeanDocument
from pyterrier_xetrieval.training.whole_model import mean_documents
from tests.helpers.builders import long_mean_model, make_model, random_sae


def frame_of(x, docs=12):
    rows = [
        {"qid": f"q{i}", "docno": f"d{j}", "query_vec": x[i], "doc_vec": x[j], "score": 0.0, "rank": j}
        for i in range(3)
        for j in range(docs)
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    model, x = long_mean_model()
    documents = [{"docno": f"d{i}", "doc_vec": z} for i, z in enumerate(x)]
    index = model.indexer(tmp_path_factory.mktemp("mean") / "index").index(documents)
    asked = frame_of(x)[["qid", "docno", "query_vec"]]
    return index, asked, index.explainer()(asked)["explanation"].tolist()


def adds_up(e):
    return e.contributions.sum(dtype=np.float64) + e.other + e.bias + e.residual


def test_both_ways_add_up(indexed):
    _, _, explained = indexed
    for e in explained:
        above = e.above_mean
        assert adds_up(e) == pytest.approx(e.score, abs=1e-6)
        assert above.score == pytest.approx(e.score - e.baseline, abs=1e-9) and above.bias == 0
        assert adds_up(above) == pytest.approx(above.score, abs=1e-6)
        assert e.bias > 0.5 * e.score and e.baseline_documents == 60


def test_the_mean_over_all_documents_is_the_baseline(indexed):
    """Over all documents of the index the parts above the mean are 0, each feature's as well."""
    index, asked, _ = indexed
    rows = pd.DataFrame([{"qid": "q0", "docno": f"d{i}", "query_vec": asked["query_vec"][0]} for i in range(60)])
    explained = index.explainer()(rows)["explanation"].tolist()
    assert np.mean([e.score for e in explained]) == pytest.approx(explained[0].baseline, abs=1e-6)
    assert np.mean([e.above_mean.residual for e in explained]) == pytest.approx(0, abs=1e-6)
    totals = [e.above_mean.shared + e.above_mean.other for e in explained]
    assert np.mean(totals) == pytest.approx(0, abs=1e-6)


def test_a_feature_is_measured_against_its_mean(indexed):
    index, asked, explained = indexed
    model = index.model
    stored = np.stack([np.asarray(index.layout.vectors("vectors"))[i] for i in range(60)])
    coefficients = np.zeros((60, model.sae.dict_size))
    for weight, x in ((1.0, stored), (0.3, model.internalizers["summary"](torch.from_numpy(stored)).numpy())):
        codes = encode_view(model.sae, x, refit=True, batch_size=64)
        for i in range(60):
            coefficients[i, codes.ids[i][codes.activations[i] > 0]] += weight * codes.coefficients[i][codes.activations[i] > 0]
    e, q = explained[0], asked["query_vec"][0]
    expected = [
        e.contributions[i] - q @ model.sae.w_dec.detach().numpy()[j] * coefficients[:, j].mean() for i, j in enumerate(e.features)
    ]
    np.testing.assert_allclose(e.above_mean.contributions, expected, atol=2e-3)  # stored coefficients are float16


def test_the_reader_is_told_what_tells_documents_apart(indexed):
    _, _, explained = indexed
    e = next(e for e in explained if e.above_mean.score > 0 and len(e) > 2)
    assert f"of what the score ({e.score:.3f}) has above that of the mean document ({e.baseline:.3f})" in e.sentence()
    share = 100 * e.above_mean.shared / e.above_mean.score
    assert f"{share:.0f} %" in e.sentence()
    assert "above that of the mean document" in e.to_text() and f"{e.above_mean.score:+.4f}" in e.to_text()
    page = e.to_html()
    assert "above the mean document" in page and "bias +" not in page
    weights = [e.above_mean.contributions[e.features.tolist().index(row.feature)] for row in e.rows]
    assert weights == sorted(weights, reverse=True)
    table = explanation_frame(pd.DataFrame({"explanation": [e]}))
    assert table["above_mean"].sum() == pytest.approx(e.above_mean.score, abs=1e-5)
    assert table["share"].sum() == pytest.approx(1, abs=1e-5) and table["contribution"].sum() == pytest.approx(e.score, abs=1e-5)


def test_it_leaves_the_process(indexed):
    e = indexed[2][1]
    for copy in (pickle.loads(pickle.dumps(e)), Explanation.from_dict(json.loads(e.to_json()))):
        assert copy == e and copy.baseline == pytest.approx(e.baseline) and copy.sentence() == e.sentence()
        np.testing.assert_allclose(copy.above_mean.contributions, e.above_mean.contributions, atol=1e-7)


def test_without_an_index_it_is_the_models_own_mean_or_the_bias(tmp_path):
    model, x = long_mean_model()
    frame = frame_of(x)
    e = (model.internalizer() >> model.explainer())(frame)["explanation"][0]
    assert e.baseline == pytest.approx(e.bias) and e.baseline_documents == 0 and "a document without features" in e.sentence()
    means = mean_documents(model.sae, model.internalizers, x)
    own = Xetrieval.from_parts(
        internalizers=model.internalizers, sae=model.sae, encoder=model.meta["encoder"], weights=0.3, means=means
    )
    saved = own.save(tmp_path / "model")
    assert (tmp_path / "model" / "means.safetensors").is_file()
    for views in (saved, saved.with_views(())):
        explained = (views.internalizer() >> views.explainer())(frame)["explanation"]
        assert explained[0].baseline == pytest.approx(frame["query_vec"][0] @ views.mean_document().vector, abs=1e-6)
        assert explained[0].baseline_documents == 60
    plain = saved.with_views(()).mean_document().vector
    np.testing.assert_allclose(plain, x.mean(axis=0), atol=1e-6)


def test_a_short_bias_changes_nothing(results):
    model = make_model()
    e = next(e for e in (model.internalizer() >> model.explainer())(results)["explanation"] if len(e))
    assert not model.has_long_bias and model.mean_document() is None
    assert e.baseline is None and e.above_mean is None and "of the score" in e.sentence()
    assert Explanation.from_dict(e.to_dict()).baseline is None


def pairs_of(sae, queries, docs, rows):
    """Attribution of some pairs by hand: the features of the document, all of them listed."""
    codes = encode_view(sae, docs, refit=True, batch_size=64)
    listed = [np.sort(ids[activations > 0]) for ids, activations in zip(codes.ids, codes.activations)]
    offsets = np.cumsum([0, *map(len, listed)])
    features = np.concatenate(listed).astype(np.int32)
    n = len(features)
    zeros = np.zeros(len(rows))
    return Attribution(
        zeros + 5, zeros + 4, zeros + 3, zeros + 2, offsets, features, np.full(n, 7, np.float32), np.ones(n, np.float32),
        np.ones((n, 1), np.float32),
    )  # fmt: skip


def test_the_baseline_against_a_loop_over_pairs(monkeypatch):
    sae, rng = random_sae(), np.random.default_rng(2)
    with torch.no_grad():
        sae.b_dec.copy_(torch.full((16,), 0.4))
    queries, docs = rng.normal(size=(3, 16)).astype(np.float32), rng.normal(size=(7, 16)).astype(np.float32)
    rows = np.array([0, 2, 1, 2, 0, 1, 1])
    parts = pairs_of(sae, queries, docs, rows)
    coefficients = np.where(rng.random(48) < 0.7, rng.normal(size=48), 0).astype(np.float32)
    mean = MeanDocument(rng.normal(size=16).astype(np.float32), coefficients, 11)
    monkeypatch.setattr(mean_document, "_PAIRS", 5)  # several blocks
    found = mean_document.baseline(sae, queries, rows, parts, mean)
    w, bias = sae.w_dec.detach().numpy().astype(np.float64), 3.0
    for i, row in enumerate(rows.tolist()):
        q, own = queries[row].astype(np.float64), slice(parts.offsets[i], parts.offsets[i + 1])
        expected = [coefficients[j] * (q @ w[j]) for j in parts.features[own].tolist()]
        every = q @ (coefficients @ w)
        np.testing.assert_allclose(found.contribution[own], expected, atol=1e-5)
        assert found.score[i] == pytest.approx(q @ mean.vector, abs=1e-5)
        assert found.other[i] == pytest.approx(every - sum(expected), abs=1e-5)
        assert found.residual[i] == pytest.approx(q @ mean.vector - bias - every, abs=1e-5)
        alone = found.pair(i, own)
        assert [len(x) for x in (alone.score, alone.other, alone.residual)] == [1, 1, 1] and alone.documents == 11
        assert (alone.score[0], alone.other[0]) == (found.score[i], found.other[i])
        assert np.array_equal(alone.contribution, found.contribution[own])
    above = found.above(parts)
    np.testing.assert_allclose(above.contribution, 7 - found.contribution)
    np.testing.assert_allclose([above.score, above.other, above.residual], [5 - found.score, 4 - found.other, 2 - found.residual])
    assert not above.bias.any()


@pytest.mark.parametrize(
    "bias, length, is_long", [(0.5, 1, False), (0.51, 1, True), (0.9, 2, False), (1.1, 2, True), (0.3, 0.5, True)]
)
def test_a_bias_is_long_by_the_length_of_vectors(bias, length, is_long):
    sae = random_sae()
    with torch.no_grad():
        sae.b_dec.zero_()
        sae.b_dec[0] = bias
    assert mean_document.has_long_bias(sae, length) is is_long


def test_baselines_and_means_are_not_changed_afterwards():
    mean = MeanDocument(np.zeros(2, np.float32), np.zeros(3, np.float32), 1)
    with pytest.raises(AttributeError):
        mean.documents = 2
    with pytest.raises(AttributeError):
        mean_document.Baseline(*[np.zeros(1)] * 4, 1).documents = 2
