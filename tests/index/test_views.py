"""An index seen without its views: the plain score of the original vectors, from the same files."""

import pickle

import numpy as np
import pytest

from pyterrier_xetrieval import XetrievalIndex
from pyterrier_xetrieval.index import merge
from tests.helpers.builders import make_model
from tests.helpers.index import assert_same, content, corpus, topics


@pytest.fixture(scope="module", params=["float32", "float16"])
def index(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("views") / "index"
    return make_model().with_views(weights=[0.5, 2, 1]).indexer(path, shard_size=15, dtype=request.param).index(corpus())


def test_the_plain_score(index):
    plain = index.with_views(())
    results = plain.retriever(num_results=10)(topics())
    expected = index.vectors.np_retriever(num_results=10)(topics())
    assert results.docno.tolist() == expected.docno.tolist() != index.retriever(num_results=10)(topics()).docno.tolist()
    np.testing.assert_array_equal(results.score, expected.score)
    explained = plain.explainer()(results)
    for row in explained.itertuples():
        assert row.explanation.views == ("original",) and row.explanation.score == pytest.approx(row.score, abs=1e-6)
    assert_same(explained.explanation, (index.vec_loader() >> plain.model.explainer())(results).explanation)


def test_the_same_index_with_and_without(index):
    plain = index.with_views(())
    assert plain.aspects == plain.model.aspects == () and index.aspects == index.model.aspects == ("summary", "purpose", "qa")
    assert index.model.weights == {"summary": 0.5, "purpose": 2.0, "qa": 1.0}
    assert plain.with_views() == index == index.with_views(["qa", "summary", "purpose"]) != plain
    assert plain.retriever() != index.retriever() and plain.explainer() != index.explainer()
    assert repr(plain) == f"{index!r}.with_views(())" and len({plain, index, index.with_views(())}) == 2
    for seen in (plain, index):
        again = pickle.loads(pickle.dumps(seen))
        assert again == seen and again.aspects == seen.aspects
    assert plain.features_of("d3").equals(index.features_of("d3"))  # what features say of documents is said of all views
    with pytest.raises(
        ValueError, match=r"expects all of \['summary', 'purpose', 'qa'\] or \(\), found \['qa'\].*sum of all views"
    ):
        index.with_views(["qa"])
    with pytest.raises(ValueError, match="each aspect once"):
        index.with_views(["qa", "qa"])


def test_additions_and_merges_are_those_of_all_views(index, tmp_path):
    plain = merge([index.with_views(())], tmp_path / "copy").with_views(())
    assert content(plain.path) == content(index.path) and plain.with_views().model.weights == index.model.weights
    added = [{**document, "docno": f"n{i}"} for i, document in enumerate(corpus(5))]
    grown = plain.indexer().index(added)
    assert len(grown) == 45 and grown.aspects == index.aspects
    grown.verify()


def test_an_index_that_has_none(tmp_path):
    index = make_model().with_views(()).indexer(tmp_path / "index").index(corpus())
    assert index.aspects == () and index.with_views() == index.with_views(()) == index
    assert repr(index) == repr(XetrievalIndex(index.path))
    results = index.retriever(num_results=5)(topics())
    np.testing.assert_array_equal(results.score, index.vectors.np_retriever(num_results=5)(topics()).score)
    with pytest.raises(ValueError, match=r"all of \[\] or \(\)"):
        index.with_views(["qa"])
