"""The vectors of an index as pyterrier_dr sees them: its own documents only, plain cells, and small pickles."""

import pickle

import numpy as np
import pandas as pd
import pyterrier_dr
import pytest

from pyterrier_xetrieval import XetrievalIndex
from tests.helpers.builders import make_model
from tests.helpers.index import assert_same, corpus, topics


@pytest.fixture(scope="module", params=["float32", "float16"])
def index(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("flex") / "index"
    return make_model().indexer(path, shard_size=15, dtype=request.param).index(corpus())


def test_a_pyterrier_dr_that_reads_in_another_way(index, monkeypatch):
    monkeypatch.setattr(pyterrier_dr.FlexIndex, "payload", lambda self, columns=(): None)
    with pytest.raises(RuntimeError, match="installed pyterrier-dr .* in another way .* install pyterrier-dr 0.8.1"):
        XetrievalIndex(index.path).vectors  # noqa: B018


def test_facts_and_lengths(index):
    for flex in (index.vectors, index.folded):
        docnos, vectors, facts = flex.payload()
        assert facts["doc_count"] == len(flex) == len(vectors) == len(docnos) == 40 and facts["vec_size"] == vectors.shape[1]
        assert flex.payload(return_dvecs=False, return_docnos=False) == [facts]
        assert flex.built() and repr(flex) == f"FlexIndex({str(flex.index_path)!r})"


def test_a_pickle_holds_no_vectors(index):
    results = index.retriever(num_results=3)(topics())
    index.vectors.torch_vecs(device="cpu")
    for stage in (index.vec_loader(), index.vectors.np_scorer()):
        expected = stage(results)
        data = pickle.dumps(stage)
        assert len(data) < 2000
        pd.testing.assert_frame_equal(pickle.loads(data)(results), expected)


def test_a_pickle_keeps_to_its_documents(tmp_path):
    index = make_model().indexer(tmp_path / "index", shard_size=15).index(corpus()[:20])
    data = pickle.dumps(index.vectors)
    index.indexer().index(corpus()[20:])
    assert len(pickle.loads(data)) == 20 and len(XetrievalIndex(index.path).vectors) == 40


def test_copies_for_torch_and_faiss_are_made_once(index):
    for make in (lambda: index.folded.torch_vecs(device="cpu"), lambda: index.folded.faiss_flat_retriever().faiss_index):
        assert make() is make()


@pytest.mark.parametrize("queries", [1, 3])
def test_one_result_for_each_query(index, queries):
    few = topics(queries)
    expected = index.retriever(num_results=2)(few).query("rank == 0")
    explained = index.explainer()(expected).explanation
    for device in (None, "cpu"):
        found = index.retriever(num_results=1, device=device)(few)
        for column in ("qid", "docno", "docid", "rank"):
            assert found[column].tolist() == expected[column].tolist()
        np.testing.assert_allclose(found["score"].to_numpy(float), expected["score"].to_numpy(float), rtol=1e-5)
        assert [type(v) for v in found.iloc[0][["docno", "score"]]] == [type(v) for v in expected.iloc[0][["docno", "score"]]]
        assert_same((index.vec_loader() >> index.explainer())(found).explanation, explained, 1e-9)
    found = index.explainer()(index.folded.np_retriever(num_results=1)(few))  # pyterrier_dr's own: arrays in the cells
    assert_same(found.explanation, explained, 1e-9)
    assert found["docno"].tolist() == expected["docno"].tolist() and found["docid"].tolist() == expected["docid"].tolist()
