"""The index against the stages that need no index: the same ranking, the same features, parts that add up."""

import pickle
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
import torch

from pyterrier_xetrieval import explanation_frame
from tests.helpers.builders import identity_sae, make_model
from tests.helpers.index import DIM, assert_same, corpus, topics


@pytest.fixture
def index(model, tmp_path):
    return model.indexer(tmp_path / "index", shard_size=15, batch_size=4).index(corpus())


@pytest.mark.parametrize(
    "weights, refit, aspects", [(None, True, None), ([0.5, 2.0, -1.0], False, None), (None, True, ["qa"]), (None, True, [])]
)
def test_equal_to_the_stages_without_an_index(model, tmp_path, weights, refit, aspects):
    model = model.with_views(aspects, weights)
    index = model.indexer(tmp_path / "i", shard_size=15, refit=refit).index(corpus())
    found = (index.retriever(num_results=10) >> index.explainer())(topics())
    views = index.vec_loader() >> model.internalizer() >> model.scorer()
    explain = model.explainer(refit=refit)
    everything = topics().merge(pd.DataFrame({"docno": [d["docno"] for d in corpus()]}), how="cross")
    expected = ((views >> explain)(everything.assign(score=0.0, rank=0))).query("rank < 10").sort_values(["qid", "rank"])
    assert found.docno.tolist() == expected.docno.tolist()
    np.testing.assert_allclose(found.score, expected.score, atol=1e-5)
    assert_same(found.explanation, expected.explanation)


def test_the_weights_of_the_model(model, tmp_path):
    model = model.with_views(weights={"summary": 0.5, "purpose": 0.25, "qa": 2.0})
    index = model.indexer(tmp_path / "i").index(corpus())
    assert index.settings["weights"] == [0.5, 0.25, 2.0]
    found = (index.retriever(num_results=10) >> index.explainer())(topics())
    assert_same(found.explanation, (index.vec_loader() >> model.internalizer() >> model.explainer())(found).explanation)


def test_the_plain_score_and_a_threshold(index, model):
    results = index.retriever(num_results=10)(topics())
    found = index.with_views(()).explainer(threshold=0.3)(results)
    expected = (index.vec_loader() >> model.explainer(threshold=0.3))(results)  # the frame has no views
    assert any(len(e) for e in found.explanation)
    assert_same(found.explanation, expected.explanation)


def test_known_codes_of_an_identity_dictionary(tmp_path):
    model = make_model(identity_sae(), aspects=())
    vectors = np.float32([[0.9, 0.3, 0, 0.1, 0, 0], [0, 0, 0, 0, 0, 0.5], [-1, 0, 0, 0, 0, 0]])
    documents = [{"docno": d, "doc_vec": v} for d, v in zip("abc", vectors)]
    index = model.indexer(tmp_path / "i", shard_size=2).index(documents)
    assert index.features_of("a").feature.tolist() == [0, 1, 3]
    np.testing.assert_allclose(index.features_of("a").activation, [0.9, 0.3, 0.1], rtol=0.005)
    assert index.features_of("a").activation[[0, 2]].tolist() == [np.float32(0.9), np.float32(0.1)]  # extremes are exact
    assert index.features_of("c").empty  # no positive coordinate: no feature
    assert index.documents_of(5).docno.tolist() == ["b"] and index.documents_of(4).empty
    statistics = index.feature_statistics()
    assert statistics.documents.tolist() == [1, 1, 0, 1, 0, 1]
    np.testing.assert_allclose(statistics.max_activation, [0.9, 0.3, 0, 0.1, 0, 0.5], rtol=0.005)
    np.testing.assert_allclose(statistics.mean_activation, statistics.max_activation, rtol=1e-6)
    query = pd.DataFrame({"qid": ["q"], "query_vec": [np.float32([1, 2, 0, 0, 0, 0])]})
    explained = index.explainer()(query.assign(docno="a", score=0.0, rank=0)).explanation[0]
    assert explained.features.tolist() == [0, 1] and explained.score == pytest.approx(1.5)
    np.testing.assert_allclose(explained.contributions, [0.9, 0.6], atol=1e-3)
    found = index.feature_retriever()(query)
    assert found.docno.tolist() == ["a"]
    np.testing.assert_allclose(found.score, [1 * 0.9 + 2 * 0.3], rtol=0.005)


def dense_activations(index, model) -> np.ndarray:
    """[n, D], the largest over the views, by the model itself."""
    frame = model.internalizer()(pd.DataFrame(corpus()))
    views = ["doc_vec", *(f"doc_vec_{a}" for a in model.aspects)]
    codes = [model.sae.encode(torch.from_numpy(np.stack(frame[v]))).dense(model.sae.dict_size).numpy() for v in views]
    return np.max(codes, axis=0)


def test_features_to_documents_and_back(index, model):
    dense = dense_activations(index, model)
    for row in (0, 14, 15, 39):
        found = index.features_of(f"d{row}")
        assert sorted(found.feature) == np.flatnonzero(dense[row]).tolist()
        np.testing.assert_allclose(found.activation, dense[row][found.feature], rtol=0.02)
        assert found.activation.is_monotonic_decreasing and found.label[0] == f"word{found.feature[0]}"
    for feature in range(model.sae.dict_size):
        found = index.documents_of(feature)
        rows = [int(d[1:]) for d in found.docno]
        assert sorted(rows) == np.flatnonzero(dense[:, feature]).tolist()
        np.testing.assert_allclose(found.activation, dense[rows, feature], rtol=0.02)
    statistics = index.feature_statistics()
    assert statistics.documents.tolist() == (dense > 0).sum(0).tolist()
    np.testing.assert_allclose(statistics.max_activation, dense.max(0), rtol=0.02)
    np.testing.assert_allclose(statistics.mean_activation * statistics.documents, dense.sum(0), rtol=0.02, atol=1e-6)


def test_retrieval_by_features(index, model):
    dense = dense_activations(index, model)
    found = index.feature_retriever({3: 1.0, 7: -0.5, 1: 2.0}, num_results=8)(topics(2))
    scores = dense[:, [3, 7, 1]] @ [1.0, -0.5, 2.0]
    rows = [int(d[1:]) for d in found[found.qid == "q0"].docno]
    np.testing.assert_allclose(found[found.qid == "q0"].score, np.sort(scores[scores > 0])[::-1][:8], rtol=0.03)
    np.testing.assert_allclose(scores[rows], found[found.qid == "q1"].score, rtol=0.03)
    assert found["rank"].tolist() == [*range(len(rows)), *range(len(rows))] and found.docid.tolist()[: len(rows)] == rows
    by_query = index.feature_retriever(num_results=5)(topics(3))
    codes = model.sae.encode(torch.from_numpy(np.stack(topics(3).query_vec))).dense(model.sae.dict_size).numpy()
    np.testing.assert_allclose(by_query.score.to_numpy().reshape(3, 5), -np.sort(-(codes @ dense.T), axis=1)[:, :5], rtol=0.03)


def test_stages_behave(index):
    for stage in (index.retriever(num_results=3), index.feature_retriever([1]), index.feature_retriever()):
        assert list(stage(topics()[:0]).columns) == list(stage(topics()).columns)
        again = pickle.loads(pickle.dumps(stage))
        assert again == stage and hash(again) == hash(stage) and again != type(stage)(index, num_results=7)
    results = index.retriever(num_results=3)(topics())
    explain = index.explainer()
    assert list(explain(results[:0]).columns) == list(explain(results).columns)
    again = pickle.loads(pickle.dumps(explain))
    assert again == explain and hash(again) == hash(explain) and again != index.explainer(threshold=0.5)
    assert len(pickle.dumps(explain)) < 2000
    assert ((index.retriever() >> explain) % 2).compile()(topics()).docno.tolist() == results[results["rank"] < 2].docno.tolist()
    foreign = results.assign(docid=0)  # some other retriever's
    assert explain(foreign).explanation[1].score == pytest.approx(explain(results).explanation[1].score)
    with pytest.raises(ValueError, match="'nobody'"):
        explain(results.assign(docno="nobody"))
    with pytest.raises(ValueError, match="index the corpus again with model.with_views"):
        index.with_views(["qa"])
    with pytest.raises(ValueError, match="16-dimensional"):
        index.retriever()(topics(dim=4))
    with pytest.raises(ValueError, match="NaN"):
        index.retriever()(topics(1).assign(query_vec=[np.full(DIM, np.nan, np.float32)]))
    with pytest.raises(pt.validate.InputValidationError):
        explain(results.drop(columns="query_vec"))
    for features in ([], [48], [-1], [0.5], {1: float("nan")}):
        with pytest.raises(ValueError, match="FeatureRetriever expects"):
            index.feature_retriever(features)


def test_rankers_are_rebuilt_with_a_cut_off(index):
    for stage in (index.retriever(), index.feature_retriever(), index.feature_retriever({3: 1.0, 1: 2.0})):
        again = pt.inspect.transformer_apply_attributes(stage, num_results=2)
        assert again == (stage % 2).compile() == stage.fuse_rank_cutoff(2) and len(again(topics(1))) == 2


def test_features_counted_in_explanations(index, model):
    explained = explanation_frame((index.retriever(num_results=4) >> index.explainer())(topics())).dropna(subset="feature")
    counts = explained["feature"].value_counts()
    assert index.feature_retriever(counts) == index.feature_retriever({int(j): int(n) for j, n in counts.items()})
    assert model.intervention(features=counts) == model.intervention(features=counts.index.tolist())
    assert model.intervention(features=pd.Series([1, 2])) == model.intervention(features=[1, 2])
    by_words = index.feature_retriever({"word3": 2.0, 7: 1})
    assert by_words == index.feature_retriever({3: 2.0, 7: 1.0}) and index.feature_retriever("word3") == index.feature_retriever(
        [3]
    )
    with pytest.raises(ValueError, match="documents_of expects num_results"):
        index.documents_of(3, num_results=-5)


def test_docnos_that_are_numbers(model, tmp_path):
    index = model.indexer(tmp_path / "i").index([{**d, "docno": d["docno"][1:]} for d in corpus()])
    results = index.retriever(num_results=3)(topics())
    numbers = results.assign(docno=results.docno.astype(int)).drop(columns="docid")
    found = (index.vec_loader() >> index.explainer())(numbers)
    assert [e.score for e in found.explanation] == [e.score for e in index.explainer()(results).explanation]
    with pytest.raises(ValueError, match="missing docno in row 1"):
        index.explainer()(results.assign(docno=[results.docno[0], None, *results.docno[2:]]))


def test_rankings_joined_by_addition(index):
    joined = index.retriever(num_results=2) + index.feature_retriever([3], num_results=9)
    found = (joined >> index.explainer())(topics())
    assert joined(topics())["query_vec"].isna().any() and len(found) > 8
    alone = index.explainer()(found.drop(columns="query_vec").merge(topics()[["qid", "query_vec"]], on="qid"))
    assert_same(found.explanation, alone.explanation)
    assert all(isinstance(v, np.ndarray) for v in found["query_vec"])
    with pytest.raises(ValueError, match=r"no vector in query_vec of row 0; add it after rankings are joined"):
        index.explainer()(found.assign(query_vec=float("nan")))
    edited = [v + i if i else float("nan") for i, v in enumerate(found["query_vec"])]
    with pytest.raises(ValueError, match="rows of query .* without query_vec, and another one in row"):
        index.explainer()(found.assign(query_vec=edited))


def test_every_vector_backend_works_on_both(index):
    expected = index.retriever(num_results=5)(topics())
    torch_found = index.retriever(num_results=5, device="cpu")(topics())
    assert torch_found.docno.tolist() == expected.docno.tolist()
    flat = index.folded.faiss_flat_retriever()(topics())
    assert flat[flat["rank"] < 5].docno.tolist() == expected.docno.tolist()
    assert index.vectors.np_retriever(num_results=5)(topics()).docno.tolist() != expected.docno.tolist()
    assert [d["docno"] for d in index.vectors.get_corpus_iter(verbose=False)] == [d["docno"] for d in corpus()]


def test_one_document(model, tmp_path):
    index = model.indexer(tmp_path / "i").index(corpus(1))
    found = (index.retriever() >> index.vec_loader() >> index.explainer())(topics(2))
    assert found.docno.tolist() == ["d0", "d0"] and found["rank"].tolist() == [0, 0]
    assert_same(found.explanation, (model.internalizer() >> model.explainer())(found).explanation)
    assert index.feature_retriever(num_results=1)(topics(1)).docno.tolist() == ["d0"]


def test_the_entry_point_names_the_class(index):
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    points = project["project"]["entry-points"]["pyterrier.artifact"]
    assert points[f"{index.ARTIFACT_TYPE}.{index.ARTIFACT_FORMAT}"] == "pyterrier_xetrieval:XetrievalIndex"


def test_large_frames_are_explained_in_blocks(index, monkeypatch):
    results = index.retriever(num_results=7)(topics())
    whole = index.explainer()(results)["explanation"]
    monkeypatch.setattr("pyterrier_xetrieval.index.explain._ROWS", 5)
    assert_same(whole, index.explainer()(results)["explanation"])
    with pytest.raises(ValueError, match="in query_vec, found str in row 17"):
        index.explainer()(results.assign(query_vec=[v if i != 17 else "?" for i, v in enumerate(results["query_vec"])]))


def test_progress_is_shown_if_asked_for(model, tmp_path, capsys):
    model.indexer(tmp_path / "quiet").index(corpus())
    assert capsys.readouterr().err == ""
    index = model.indexer(tmp_path / "told", verbose=True).index(corpus())
    assert "index: 100%" in capsys.readouterr().err
    index.indexer(verbose=True).index(corpus(prefix="e"))
    assert "index: 100%" in capsys.readouterr().err
    index.compact(tmp_path / "compact", verbose=True).verify(verbose=True)
    told = capsys.readouterr().err
    assert "merge: 100%" in told and "verify: 100%" in told
    index.compact(tmp_path / "again").verify()
    assert capsys.readouterr().err == ""
