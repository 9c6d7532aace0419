"""An index of float16 vectors: half the bytes, the index of the rounded vectors, and every backend still works."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from pyterrier_xetrieval import XetrievalIndex
from pyterrier_xetrieval.core.views import fold_views
from pyterrier_xetrieval.index import merge
from tests.helpers.builders import unit
from tests.helpers.index import DIM, content, corpus, topics

OPTIONS = {"shard_size": 15, "batch_size": 4}


def rounded(x) -> np.ndarray:
    return np.asarray(x).astype(np.float16).astype(np.float32)


@pytest.fixture(scope="module")
def index(model, tmp_path_factory):
    return model.indexer(tmp_path_factory.mktemp("half") / "index", dtype="float16", **OPTIONS).index(corpus())


@pytest.fixture(scope="module")
def of_rounded(model, tmp_path_factory):
    """Float32 storage of the vectors that the other index has."""
    documents = [{**d, "doc_vec": rounded(d["doc_vec"])} for d in corpus()]
    return model.indexer(tmp_path_factory.mktemp("full") / "index", **OPTIONS).index(documents)


def test_the_same_codes_as_the_index_of_the_rounded_vectors(index, of_rounded):
    half, full = content(index.path), content(of_rounded.path)
    differ = {"shards.jsonl", "pt_meta.json"} | {f"{folder}/vecs.f2" for folder in ("vectors", "folded")}
    assert {name for name in half if half[name] != full.get(name)} == differ
    for folder in ("vectors", "folded"):
        stored = np.frombuffer(half[f"{folder}/vecs.f2"], "<f2").astype(np.float32)
        np.testing.assert_array_equal(stored, rounded(np.frombuffer(full[f"{folder}/vecs.f4"], "<f4")))
    sizes, before = index.bytes_per_document(), of_rounded.bytes_per_document()
    assert sizes["vectors/vecs.f2"] == sizes["folded/vecs.f2"] == 2 * DIM == before["vectors/vecs.f4"] / 2
    index.verify()


def test_parts_add_up_to_the_score_of_the_stored_vectors(index, model):
    results = index.retriever(num_results=10)(topics())
    found = index.explainer()(results)
    stored = dict(zip([d["docno"] for d in corpus()], rounded([d["doc_vec"] for d in corpus()])))
    for row, e in zip(found.itertuples(), found.explanation):
        views = [stored[row.docno][None]]
        views += [m(torch.from_numpy(views[0])).detach().numpy() for m in model.internalizers.values()]
        score = np.float64(row.query_vec) @ np.float64(rounded(fold_views(views, (1.0,) * (len(views) - 1)))[0])
        assert e.score == pytest.approx(score, abs=1e-5) and row.score == pytest.approx(score, abs=1e-5)
        parts = e.contributions.sum(dtype=np.float64) + e.other + e.bias + e.residual
        assert parts == pytest.approx(e.score, rel=1e-9, abs=1e-12)
    # the stages without an index, on the vectors that this one hands out: the same features, and the score before the
    # folded vector was rounded
    views = (index.vec_loader() >> model.internalizer() >> model.explainer())(results)
    for a, b in zip(found.explanation, views.explanation, strict=True):
        assert sorted(a.features) == sorted(b.features) and a.score == pytest.approx(b.score, abs=2e-3)
        np.testing.assert_allclose(np.sort(a.contributions), np.sort(b.contributions), atol=2e-3)


def test_every_stage_hands_out_float32(index):
    expected = rounded([d["doc_vec"] for d in corpus()])
    results = index.retriever(num_results=40)(topics(1))
    order = results.docid.to_numpy()
    for stage in (index.vec_loader(), index.vectors.vec_loader()):
        vectors = stage(results).doc_vec
        assert vectors[0].dtype == np.float32 and np.array_equal(np.stack(vectors), expected[order])
    vectors = index.vectors.np_vecs()
    assert vectors.shape == (40, DIM) == (len(vectors), DIM) and vectors.dtype == np.float32
    for rows in (3, slice(5, 9), slice(None, None, -7), [4, 2, 2], expected[:, 0] > 0):
        assert np.array_equal(vectors[rows], expected[rows]) and vectors[rows].dtype == np.float32
    assert np.array_equal(np.asarray(vectors), expected) and np.array_equal(list(vectors), expected)
    np.testing.assert_allclose(vectors @ expected[0], expected @ expected[0], rtol=1e-6)
    with pytest.raises(ValueError, match="a copy"):
        np.asarray(vectors, copy=False)
    assert index.with_views(()).explainer()(results).explanation[0].score == pytest.approx(
        float(results.query_vec[0] @ expected[order[0]]), abs=1e-6
    )


def test_backends(index, tmp_path):
    index = merge([index], tmp_path / "copy")  # faiss and the graph write beside the vectors
    expected = index.retriever(num_results=5)(topics())
    folded = rounded(index.folded.np_vecs())
    best = np.argsort(-np.stack(topics().query_vec) @ folded.T, axis=1)[:, :5]
    assert expected.docid.to_numpy().reshape(-1, 5).tolist() == best.tolist()
    candidates = expected.drop(columns=["score", "rank"])
    for found in (
        index.retriever(num_results=5, device="cpu")(topics()),
        index.folded.torch_retriever(num_results=5, device="cpu", fp16=True)(topics()),
        index.folded.faiss_flat_retriever()(topics()),
        index.folded.faiss_hnsw_retriever(ef_search=40, num_results=5)(topics()),
        index.folded.faiss_ivf_retriever(n_list=4, n_probe=4, num_results=5, train_sample=40)(topics()),
        index.folded.np_scorer()(candidates),
        index.folded.torch_scorer(device="cpu")(candidates),
        (index.folded.np_retriever(num_results=40) >> index.folded.gar(4))(topics()),
    ):
        found = found[found["rank"] < 5]
        assert found.docno.tolist() == expected.docno.tolist()
        np.testing.assert_allclose(found.score.astype(float), expected.score.astype(float), atol=2e-3)
    assert index.folded.torch_vecs(device="cpu").dtype == torch.float32
    assert index.folded.torch_vecs(device="cpu", fp16=True).dtype == torch.float16
    for name in ("kannolo_hnsw_retriever", "scann_retriever"):
        with pytest.raises(ValueError, match=f"{name} expects float32 vectors on disk"):
            getattr(index.folded, name)()


def test_stages_are_pickled_without_their_vectors(model, tmp_path):
    index = model.indexer(tmp_path / "i", dtype="float16").index(corpus(400))
    loader = index.vec_loader()
    results = index.retriever(num_results=3)(topics())
    expected = loader(results)  # the map is open now
    data = pickle.dumps(loader)
    assert len(data) < 2000
    pd.testing.assert_frame_equal(pickle.loads(data)(results), expected)


def test_merges_and_additions_keep_it(model, tmp_path, index):
    documents = corpus()
    parts = [
        model.indexer(tmp_path / f"part{a}", dtype="float16", **OPTIONS).index(documents[a:b])
        for a, b in ((0, 7), (7, 30), (30, 40))
    ]
    assert content(merge(parts, tmp_path / "merged").path) == content(index.path)
    stale = parts[0].path / "folded" / "stale.faiss"
    stale.write_text("over 7 documents")
    grown = parts[0].indexer(batch_size=4).index(documents[7:])
    assert grown.settings["dtype"] == "float16" and not stale.exists() and len(grown.folded.np_vecs()) == 40
    assert len(parts[0].folded.np_vecs()) == 7  # an object loaded before goes on with what it had
    assert content(merge([grown], tmp_path / "compact").path) == content(index.path)
    full = model.indexer(tmp_path / "full", **OPTIONS).index(documents[:3])
    assert full.settings["dtype"] == "float32"
    with pytest.raises(ValueError, match="differ in \\['dtype'\\]"):
        merge([index, full], tmp_path / "mixed")


def test_a_run_that_was_cut_off_goes_on_with_the_same_dtype_only(model, tmp_path, index):
    def cut_off():
        yield from corpus()[:20]
        raise RuntimeError("cut off")

    path = tmp_path / "i"
    with pytest.raises(RuntimeError):
        model.indexer(path, dtype="float16", **OPTIONS).index(cut_off())
    with pytest.raises(ValueError, match="dtype.*float16.*float32"):
        model.indexer(path, **OPTIONS).index(corpus())
    assert content(model.indexer(path, dtype="float16", **OPTIONS).index(corpus()).path) == content(index.path)
    full = tmp_path / "full"
    with pytest.raises(RuntimeError):
        model.indexer(full, **OPTIONS).index(cut_off())
    over = model.indexer(full, dtype="float16", resume=False, **OPTIONS).index(corpus())
    assert content(over.path) == content(index.path)  # nothing of the other dtype is left


def test_damage_is_found(index, tmp_path):
    copy = merge([index], tmp_path / "copy")
    for name in ("vectors/vecs.f2", "folded/vecs.f2"):
        data = (copy.path / name).read_bytes()
        (copy.path / name).write_bytes(data[:600] + bytes([data[600] ^ 16]) + data[601:])
        with pytest.raises(ValueError, match=f"{name} is damaged in shard 1"):
            XetrievalIndex(copy.path).verify()
        (copy.path / name).write_bytes(data[:-1])
        with pytest.raises(ValueError, match=f"{name} is damaged: expected {len(data)} bytes"):
            XetrievalIndex(copy.path)
        (copy.path / name).write_bytes(data)


def test_what_it_cannot_hold(model, tmp_path):
    with pytest.raises(ValueError, match="expects dtype to be one of .* found 'bfloat16'"):
        model.indexer(tmp_path / "i", dtype="bfloat16")
    large = [corpus(1)[0], {"docno": "large", "doc_vec": np.full(DIM, 7e4, np.float32)}]
    with pytest.raises(ValueError, match=r"up to 65504.* found 70000.* in doc_vec of document 'large'"):
        model.indexer(tmp_path / "i", dtype="float16").index(large)
    near = [{"docno": "near", "doc_vec": np.full(DIM, 65504, np.float32)}]
    heavy = model.with_views(weights=[9e4, 0, 0]).indexer(tmp_path / "j", dtype="float16")
    with pytest.raises(ValueError, match="in the folded vector of document 'near'"):
        heavy.index(near)
    assert len(model.indexer(tmp_path / "k", dtype="float16").index(corpus(1)).retriever()(topics(1))) == 1


def test_scores_are_close_to_those_of_float32_storage(model, tmp_path):
    # cosines of unit vectors: each of 16 products is off by 2^-11 at most, twice for the folded vector
    documents = [{"docno": f"d{i}", "doc_vec": v} for i, v in enumerate(unit(np.random.default_rng(3), 300, DIM))]
    found = [
        model.indexer(tmp_path / dtype, dtype=dtype).index(documents).vectors.np_retriever(num_results=300)(topics())
        for dtype in ("float32", "float16")
    ]
    full, half = (frame.sort_values(["qid", "docid"]).score.to_numpy(float) for frame in found)
    assert 0 < abs(full - half).max() < 2**-11
