"""Deleting, replacing and compacting: what is left is the index of the documents that are left, and nothing else is seen."""

import gc
import os
import pickle
import signal
import weakref

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import XetrievalIndex
from pyterrier_xetrieval.index import merge
from tests.helpers.children import OPTIONS, in_child
from tests.helpers.index import assert_same, content, corpus, topics

GONE = ["d3", "d14", "d15", "d16", "d39"]


def kept(documents):
    return [d for d in documents if d["docno"] not in GONE]


@pytest.fixture(scope="module", params=["float32", "float16"])
def pair(request, model, tmp_path_factory):
    """An index with deleted documents, and one that never had them."""
    path, options = tmp_path_factory.mktemp("deletion"), {**OPTIONS, "dtype": request.param, "texts": True}
    documents = [{**d, "text": f"text of {d['docno']}"} for d in corpus()]
    whole = model.indexer(path / "whole", **options).index(documents)
    return whole.delete(GONE[:2]).delete(GONE[2:]), model.indexer(path / "fresh", **options).index(kept(documents))


def test_it_is_the_index_of_the_documents_that_are_left(pair):
    deleted, fresh = pair
    assert len(deleted) == len(fresh) == 35
    found, expected = (
        (i.retriever(num_results=40) >> i.vec_loader() >> i.text_loader() >> i.explainer())(topics()) for i in pair
    )
    pd.testing.assert_frame_equal(
        found.drop(columns=["explanation", "doc_vec"]), expected.drop(columns=["explanation", "doc_vec"])
    )
    np.testing.assert_array_equal(np.stack(found.doc_vec), np.stack(expected.doc_vec))
    assert_same(found.explanation, expected.explanation, 1e-12)
    for feature in range(48):
        pd.testing.assert_frame_equal(deleted.documents_of(feature), fresh.documents_of(feature))
    pd.testing.assert_frame_equal(deleted.feature_statistics(), fresh.feature_statistics())
    pd.testing.assert_frame_equal(deleted.features_of("d17"), fresh.features_of("d17"))
    for features in (None, {3: 1.0, 7: 0.5}):
        a, b = (i.feature_retriever(features, num_results=40)(topics()) for i in pair)
        pd.testing.assert_frame_equal(a, b)
    deleted.verify()
    assert deleted.bytes_per_document()["deleted.i8"] == 8 * 5 / 35 and "deleted.i8" not in fresh.bytes_per_document()


def test_compacting_gives_its_bytes(pair, tmp_path):
    deleted, fresh = pair
    compact = deleted.compact(tmp_path / "compact")
    assert content(compact.path) == content(fresh.path) and not (compact.path / "deleted.i8").exists()
    assert content(merge([deleted], tmp_path / "merged").path) == content(fresh.path)
    with pytest.raises(FileExistsError):
        deleted.compact(compact.path)


def test_every_backend_sees_what_is_left_alone(pair):
    deleted, fresh = pair
    candidates = fresh.retriever(num_results=40)(topics()).drop(columns=["score", "rank"])
    for make in (
        lambda i: i.folded.np_retriever(num_results=40),
        lambda i: i.folded.torch_retriever(num_results=40, device="cpu"),
        lambda i: i.folded.torch_retriever(num_results=40, device="cpu", fp16=True),
        lambda i: i.folded.faiss_flat_retriever(),
        lambda i: i.folded.faiss_hnsw_retriever(ef_search=80, num_results=40, cache=False),
        lambda i: i.folded.faiss_ivf_retriever(n_list=4, n_probe=4, num_results=40, train_sample=35, cache=False),
    ):
        found, expected = (make(i)(topics()) for i in pair)
        assert found.docno.tolist() == expected.docno.tolist() and not set(found.docno) & set(GONE) and len(found) == 5 * 35
        np.testing.assert_allclose(found.score.astype(float), expected.score.astype(float), atol=2e-3)
    for make in (lambda i: i.vectors.vec_loader(), lambda i: i.vec_loader()):
        found, expected = (np.stack(make(i)(candidates).doc_vec) for i in pair)
        np.testing.assert_array_equal(found, expected)
    for make in (lambda i: i.folded.np_scorer(), lambda i: i.folded.torch_scorer(device="cpu")):
        found, expected = (make(i)(candidates).score.astype(float) for i in pair)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    corpora = [[(d["docno"], d["doc_vec"].tolist()) for d in i.vectors.get_corpus_iter(verbose=False)] for i in pair]
    assert corpora[0] == corpora[1]
    assert deleted.folded.built() and not (deleted.path / "vectors" / "pt_meta.json").exists()  # no FlexIndex of its own


def test_backends_that_read_the_stored_file_are_refused(pair):
    deleted, _ = pair
    for name in ("kannolo_hnsw_retriever", "scann_retriever", "voyager_retriever", "flatnav_retriever", "corpus_graph", "gar",
                 "faiss_hnsw_graph", "ladr", "pre_ladr", "ladr_proactive", "ada_ladr", "ladr_adaptive"):  # fmt: skip
        with pytest.raises(
            ValueError, match=rf"{name} expects an index without deleted documents, found 5 .*index.compact\(path\)"
        ):
            getattr(deleted.folded, name)(4)


def test_results_of_before_are_looked_up_by_docno(pair, model, tmp_path):
    before = model.indexer(tmp_path / "i", **OPTIONS).index(corpus())
    results = before.retriever(num_results=10)(topics())
    after = before.delete(GONE)
    left = results[~results.docno.isin(GONE)]
    assert (left.docid > 3).any()  # these have other numbers now
    expected = before.explainer()(left)
    assert_same(after.explainer()(left).explanation, expected.explanation, 1e-12)
    np.testing.assert_array_equal(
        np.stack(after.vectors.vec_loader()(left).doc_vec), np.stack(before.vectors.vec_loader()(left).doc_vec)
    )
    for stage in (after.explainer(), after.vec_loader(), after.vectors.vec_loader(), after.folded.np_scorer()):
        with pytest.raises(ValueError, match="the first is 'd3'"):
            stage(results.assign(docno="d3"))
    with pytest.raises(ValueError, match="'d3'"):
        after.features_of("d3")
    assert after != before and after.folded.np_retriever() != before.folded.np_retriever()


def test_readers_of_before_are_unharmed(model, tmp_path):
    model.indexer(tmp_path / "i", **OPTIONS).index(corpus()).indexer().index(corpus(3, prefix="x"))
    pipeline = lambda i: i.retriever(num_results=43) >> i.vec_loader() >> i.explainer()  # noqa: E731
    used, fresh = XetrievalIndex(tmp_path / "i"), XetrievalIndex(tmp_path / "i")  # one has its files open, the other not yet
    expected = pipeline(used)(topics())
    flex = pickle.dumps(used.folded)
    now = used.delete(GONE).indexer(replace=True, batch_size=4).index(corpus(8, seed=5))
    assert len(now) == 39
    for reader in (used, fresh):
        found = pipeline(reader)(topics())
        pd.testing.assert_frame_equal(found.drop(columns="explanation"), expected.drop(columns="explanation"))
        assert_same(found.explanation, expected.explanation, 1e-12)
        assert len(reader) == 43 and reader.docids(["d3", "d7"]).tolist() == [3, 7]
    assert pickle.loads(flex).np_retriever(num_results=43)(topics()).docno.tolist() == expected.docno.tolist()
    assert len(pickle.loads(pickle.dumps(used))) == 39  # an index is opened again as it is now
    assert now == used.reopened() != used


def test_replacing(model, tmp_path):
    index = model.indexer(tmp_path / "i", **OPTIONS).index(corpus())
    new = [{"docno": "d5", "doc_vec": corpus(seed=7)[0]["doc_vec"]}, *corpus(3, prefix="n")]
    with pytest.raises(ValueError, match="each docno once, found 'd5' again"):
        index.indexer(resume=False).index(new)
    index = index.indexer(replace=True, resume=False, batch_size=4).index(new)
    index.verify()
    documents = [d for d in corpus() if d["docno"] != "d5"] + new
    expected = model.indexer(tmp_path / "fresh", **OPTIONS).index(documents)
    assert len(index) == 43 and content(index.compact(tmp_path / "compact").path) == content(expected.path)
    np.testing.assert_array_equal(index.vectors.np_vecs()[index.docids(["d5"])[0]], new[0]["doc_vec"])
    with pytest.raises(ValueError, match="each docno once, found 'n0' again"):
        index.indexer(replace=True).index(corpus(2, prefix="n") * 2)


def test_a_deleted_docno_again(model, tmp_path):
    index = model.indexer(tmp_path / "i", **OPTIONS).index(corpus())
    for round in range(3):
        index = index.delete(["d8", "d9"])
        with pytest.raises(ValueError, match="the first is 'd8'"):
            index.docids(["d8"])
        again = [
            {"docno": "d8", "doc_vec": corpus(seed=20 + round)[0]["doc_vec"]},
            {"docno": "d9", "doc_vec": corpus()[9]["doc_vec"]},
        ]
        index = index.indexer(batch_size=4).index(again)
        index.verify()
        assert len(index) == 40
        np.testing.assert_array_equal(index.vectors.np_vecs()[index.docids(["d8"])[0]], again[0]["doc_vec"])
    assert len(index.layout.deleted) == 6


def test_every_document_of_a_shard(model, tmp_path):
    index = model.indexer(tmp_path / "i", **OPTIONS).index(corpus()).delete([f"d{i}" for i in range(15, 30)])
    fresh = model.indexer(tmp_path / "fresh", **OPTIONS).index(corpus()[:15] + corpus()[30:])
    pd.testing.assert_frame_equal(index.feature_statistics(), fresh.feature_statistics())
    found = (index.feature_retriever(num_results=40) >> index.explainer())(topics())
    assert found.docno.tolist() == fresh.feature_retriever(num_results=40)(topics()).docno.tolist()


def test_a_docno_that_is_not_there_deletes_nothing(model, tmp_path):
    index = model.indexer(tmp_path / "i", **OPTIONS).index(corpus())
    before = content(index.path)
    for docnos, message in (
        (["d1", "nobody"], "does not hold 1 of the documents .* 'nobody'"),
        ("d1", r"a list of docnos, found one string; give \['d1'\]"),
        ([f"d{i}" for i in range(40)], "documents to be left, found all 40"),
        (["d1", None], "missing docno in row 1"),
    ):
        with pytest.raises(ValueError, match=message):
            index.delete(docnos)
    assert content(index.delete([]).path) == before and len(index.delete(["d1", "d1"])) == 39
    with pytest.raises(ValueError, match="'d1'"):
        index.delete(["d1"])  # an object of before, but the disk says


def killed_at(step):
    """The process kills itself at its step-th flush to the disk, rename, removal or truncation."""
    count = 0

    def watched(call):
        def wrapper(*args, **options):
            nonlocal count
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **options)

        return wrapper

    os.fsync, os.replace, os.unlink = watched(os.fsync), watched(os.replace), watched(os.unlink)


def test_killed_while_deleting_it_is_what_it_was_or_what_it_becomes(model, tmp_path):
    path = tmp_path / "i"
    model.indexer(path, **OPTIONS).index(corpus()).delete(["d0"])
    found = []
    for step in range(1, 20):
        gone = f"d{step}"

        def run(step=step, gone=gone):
            killed_at(step)
            XetrievalIndex(path).delete([gone])

        before, code = len(XetrievalIndex(path)), in_child(run)
        index = XetrievalIndex(path)
        index.verify()
        assert len(index) in (before, before - 1)
        found.append((code, before - len(index)))
        assert (gone in set(index.retriever()(topics(1)).docno)) == (len(index) == before)
        if code == 0:
            break
    assert (-signal.SIGKILL, 0) in found and found[-1] == (0, 1)


def test_killed_while_replacing_nothing_is_lost(model, tmp_path):
    new = [{"docno": "d5", "doc_vec": corpus(seed=7)[0]["doc_vec"]}, *corpus(30, prefix="n")]
    done = model.indexer(tmp_path / "done", **OPTIONS).index(corpus(20)).indexer(replace=True, batch_size=4).index(new)
    expected, old = content(done.path), corpus(20)[5]["doc_vec"]

    def run(path, step):
        killed_at(step)
        XetrievalIndex(path).indexer(replace=True, batch_size=4).index(new)

    for step in (1, 14, 27, *range(28, 60)):
        path = tmp_path / str(step)
        model.indexer(path, **OPTIONS).index(corpus(20))
        code = in_child(lambda path=path, step=step: run(path, step))
        index = XetrievalIndex(path)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        if len(index) == 20:  # not yet: the old document is there, and those that came after it are not
            found = (index.retriever(num_results=60) >> index.vec_loader() >> index.explainer())(topics(1))
            assert sorted(found.docno) == sorted(f"d{i}" for i in range(20))
            np.testing.assert_array_equal(found.set_index("docno").doc_vec["d5"], old)
            index = index.indexer(replace=True, batch_size=4).index(new)
        assert content(index.path) == expected and len(index) == 50
    assert step > 30


def test_damage_and_other_versions(model, tmp_path):
    index = model.indexer(tmp_path / "i", **OPTIONS).index(corpus()).delete(GONE)
    file = index.path / "deleted.i8"
    data = file.read_bytes()
    for damaged in (data[:8] + b"\1" + data[9:], data[:-1], None):
        file.unlink()
        if damaged is not None:
            file.write_bytes(damaged)
        with pytest.raises(ValueError, match="deleted.i8 is damaged"):
            XetrievalIndex(index.path)
        file.write_bytes(data)
    file.write_bytes(data + b"cut off")  # by a deletion that was
    assert len(index.delete(["d1"])) == 34 and XetrievalIndex(index.path).meta["version"] == 3


def test_evidence_of_what_is_left(tmp_path):
    from pyterrier_xetrieval import Xetrieval, pydocs

    model = Xetrieval.default().with_views(())
    documents = [d for d in pydocs().get_corpus_iter(verbose=False) if d["docno"].startswith("heapq.")]
    encoder = model.encoder()
    index = model.indexer(tmp_path / "i", encoder=encoder, evidence=True).index(documents)
    page = lambda i: encoder >> i.retriever(num_results=4) >> i.explainer() >> i.evidence()  # noqa: E731
    before = page(index).search("the smallest items")
    first = before.docno[0]
    index = index.delete([first])
    after = page(index).search("the smallest items")
    assert after.docno.tolist()[:3] == before.docno.tolist()[1:]
    assert [e.sentence() for e in after.explanation[:3]] == [e.sentence() for e in before.explanation[1:]]
    answer = index.model.why_not("the smallest items", before.docno[1], index, num_results=2)
    assert answer.documents == len(documents) - 1 and answer.rank == 0
    with pytest.raises(ValueError, match=first):
        index.model.why_not("the smallest items", first, index)


@pytest.mark.filterwarnings("ignore:.*encoder does not give")
def test_an_index_that_nobody_holds_is_gone_at_once(pair):
    """Who reads beside a writer opens the index again and again; a circle would keep each one's lookups until Python looks for it."""
    for index in pair:
        opened = XetrievalIndex(index.path)
        (opened.retriever(num_results=2) >> opened.vec_loader() >> opened.explainer())(topics())
        parts = [weakref.ref(part) for part in (opened, opened.vectors, opened.layout, opened.vectors.docnos())]
        gc.disable()
        try:
            del opened
            assert [part() for part in parts] == [None] * 4
        finally:
            gc.enable()
