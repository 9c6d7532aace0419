import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from pyterrier_dr import FlexIndex

from pyterrier_xetrieval import FoldViews, MultiViewScorer
from pyterrier_xetrieval.stages.score import ranks
from tests.helpers.builders import make_model, random_sae, result_frame, unit


def literal_score(row, aspects, weights):
    """⟨q,z⟩ + Σ_t w_t ⟨q,R_t(z)⟩ (Eq. 11)."""
    q = row["query_vec"].astype(np.float64)
    return q @ row["doc_vec"] + sum(w * (q @ row[f"doc_vec_{a}"]) for a, w in zip(aspects, weights))


@pytest.mark.parametrize("weights", [None, 0.3, [0.5, 0.0, -2.0], {"qa": 3, "purpose": 2, "summary": 1}])
def test_agrees_with_the_literal_equation(model, results, weights):
    inp = model.internalizer()(results)
    out = model.with_views(weights=weights).scorer()(inp)
    plain = {None: [1, 1, 1], 0.3: [0.3] * 3}[weights] if weights is None or weights == 0.3 else weights
    plain = [plain[a] for a in model.aspects] if isinstance(plain, dict) else plain
    expected = [literal_score(row, model.aspects, plain) for _, row in inp.iterrows()]
    np.testing.assert_allclose(out["score"], expected, atol=1e-6)
    assert out["docno"].tolist() == inp["docno"].tolist()
    for _, group in out.groupby("qid"):
        assert group.sort_values("rank")["score"].is_monotonic_decreasing
        assert sorted(group["rank"]) == list(range(len(group)))


def test_no_views_is_the_dot_product(results):
    out = MultiViewScorer()(results)
    np.testing.assert_allclose(out["score"], [q @ d for q, d in zip(results["query_vec"], results["doc_vec"])], atol=1e-6)


def test_fold_is_the_sum_of_views(model, results):
    views = model.internalizer()(results)
    weighted = model.with_views(weights=[1, 2, 3])
    folded = FoldViews(weighted)(views)
    expected = views["doc_vec"] + views["doc_vec_summary"] + 2 * views["doc_vec_purpose"] + 3 * views["doc_vec_qa"]
    np.testing.assert_allclose(np.stack(folded["doc_vec"].to_list()), np.stack(expected.to_list()), atol=1e-6)
    assert not [c for c in folded.columns if c.startswith("doc_vec_")]
    scores = (MultiViewScorer(weighted)(views)["score"], MultiViewScorer()(folded)["score"])
    np.testing.assert_allclose(*scores, atol=1e-6)


def test_views_edited_per_row_are_folded_per_row(model, results):
    views = model.internalizer()(results)
    edited = views.assign(doc_vec_qa=[v * i for i, v in enumerate(views["doc_vec_qa"])])
    scores = model.scorer()(edited)["score"]
    expected = [literal_score(row, model.aspects, [1, 1, 1]) for _, row in edited.iterrows()]
    np.testing.assert_allclose(scores, expected, atol=1e-5)


@pytest.mark.parametrize("retriever", ["faiss_hnsw_retriever", "faiss_ivf_retriever"])
def test_what_faiss_built_is_opened_again(tmp_path, retriever):
    """As in a later process, where none of it is in memory any more."""
    vectors, path = unit(np.random.default_rng(0), 200, 16), str(tmp_path / "i.flex")
    FlexIndex(path, verbose=False).index({"docno": f"d{i}", "doc_vec": v} for i, v in enumerate(vectors))
    topics = pd.DataFrame({"qid": ["q"], "query_vec": [vectors[7]]})
    options = {"n_list": 4} if "ivf" in retriever else {}
    built, opened = (
        getattr(FlexIndex(path, verbose=False), retriever)(num_results=5, **options)(topics) for _ in ("once", "again")
    )
    assert opened.docno.tolist() == built.docno.tolist() and built.docno[0] == "d7"


RETRIEVERS = ["np_retriever", "torch_retriever", "faiss_flat_retriever", "faiss_hnsw_retriever", "faiss_ivf_retriever"]


@pytest.mark.parametrize("retriever", RETRIEVERS)
def test_folded_index_gives_multi_view_scores_through_every_retriever(tmp_path, retriever):
    model = make_model()
    docs = [{"docno": f"d{i}", "doc_vec": v} for i, v in enumerate(unit(np.random.default_rng(3), 60, 16))]
    index = FlexIndex(str(tmp_path / "folded.flex"), verbose=False)
    (model.internalizer() >> model.fold() >> index).index(docs)
    queries = pd.DataFrame({"qid": ["a", "b"], "query": ["", ""], "query_vec": list(unit(np.random.default_rng(4), 2, 16))})
    options = {} if retriever == "faiss_flat_retriever" else {"num_results": 10}
    options |= {"ef_search": 64} if "hnsw" in retriever else {"n_probe": 60, "train_sample": 60} if "ivf" in retriever else {}
    found = getattr(index, retriever)(**options)(queries)
    vectors = {d["docno"]: d["doc_vec"] for d in docs}
    again = (model.internalizer() >> model.scorer())(found.assign(doc_vec=found["docno"].map(vectors)))
    assert len(found) >= 20
    np.testing.assert_allclose(found["score"].astype(float), again["score"], atol=1e-5)


@pytest.mark.parametrize(
    "weights, message",
    [
        ([1, 2], "expects 3 weights"),
        ({"qa": 1}, "expects weights for"),
        ([1, 2, float("nan")], "finite weights"),
        (float("inf"), "finite weights"),
        ([None, 1, 2], "numbers as weights"),
        ("123", "numbers as weights"),
    ],
)
def test_bad_weights(model, weights, message):
    with pytest.raises(ValueError, match=f"with_views.*{message}"):
        model.with_views(weights=weights)


@pytest.mark.parametrize("aspects", ["qa", ["qa", "qa"], ["tone"], 3])
def test_bad_aspects(model, aspects):
    with pytest.raises(ValueError, match="with_views expects .*aspect"):
        model.with_views(aspects=aspects)


def test_the_frame_says_which_views_and_the_model_their_weights(model, results):
    views = model.internalizer()(results)
    weighted = model.with_views(weights={"summary": 1, "purpose": 2, "qa": 3})
    for there in ((), ("qa",), ("purpose", "summary"), model.aspects):
        frame = views[[*results.columns, *(f"doc_vec_{a}" for a in there)]]
        expected = [literal_score(row, there, [weighted.weights[a] for a in there]) for _, row in frame.iterrows()]
        np.testing.assert_allclose(weighted.scorer()(frame)["score"], expected, atol=1e-5)
        explained = weighted.explainer()(frame)["explanation"]
        assert all(set(e.views) == {"original", *there} for e in explained)
        np.testing.assert_allclose([e.score for e in explained], expected, atol=1e-5)


def test_alone_it_weighs_every_view_with_1_whoever_made_it(model, results):
    views = model.with_views(weights=0.1).internalizer()(results)
    views["doc_vec_tone"] = views["doc_vec"]
    expected = [literal_score(row, [*model.aspects, "tone"], [1] * 4) for _, row in views.iterrows()]
    np.testing.assert_allclose(MultiViewScorer()(views)["score"], expected, atol=1e-5)
    assert "doc_vec_tone" in model.fold()(views) and "doc_vec_tone" not in FoldViews()(views)


def test_queries_and_documents_of_different_dimensions(model, results):
    other = results.assign(query_vec=result_frame(dim=8)["query_vec"])
    with pytest.raises(ValueError, match="MultiViewScorer.*expects 16-dimensional query_vec, found 8"):
        MultiViewScorer()(other)


def test_a_missing_qid_is_named(results):
    results["qid"] = [None, *results["qid"][1:]]
    with pytest.raises(ValueError, match="MultiViewScorer.*missing qid in row 0"):
        MultiViewScorer()(results)


def test_ranks_are_those_of_pyterrier():
    rng = np.random.default_rng(0)
    for qids in (rng.integers(0, 9, 200), rng.integers(0, 9, 200).astype(str), ["q"], []):
        frame = pd.DataFrame({"qid": qids, "score": rng.integers(0, 5, len(qids)) / 3})  # many equal scores
        assert ranks(frame["qid"], frame["score"].to_numpy(), stage="").tolist() == pt.model.add_ranks(frame)["rank"].tolist()


@pytest.mark.parametrize("stage", ["scorer", "fold"])
def test_vectors_of_another_dimension_than_the_models_are_refused(stage):
    model, frame = make_model(random_sae(), aspects=()), result_frame(dim=15)
    with pytest.raises(ValueError, match="expects 16-dimensional .*_vec, found 15"):
        getattr(model, stage)()(frame)
