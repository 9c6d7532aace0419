"""The same answers whatever the batch: how many rows come at once, and in which order, changes no feature and no score."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from pyterrier_xetrieval import Xetrieval, pydocs
from pyterrier_xetrieval.core.internalizer import internalize
from tests.helpers.builders import make_model, random_sae, result_frame, sae_of_rule, unit

pytestmark = pytest.mark.usefixtures("one_thread")
FEW = settings(max_examples=8, deadline=None, derandomize=True)
ATOL = 1e-6
ALIKE = ("topk", "thresholds", "gated")


@pytest.fixture(scope="module", params=ALIKE)
def any_model(request):
    sae = random_sae() if request.param == "topk" else sae_of_rule(request.param, 16, 48, 5)
    return make_model(sae)


@pytest.fixture(scope="module")
def bundled():
    """The bundled model over real texts, whose page is queries × documents."""
    model = Xetrieval.default()
    encoder, documents = model.encoder(), list(pydocs().get_corpus_iter(verbose=False))[:400:40]
    queries = pd.DataFrame({"qid": ["1", "2"], "query": ["sort a list by two keys", "read the lines of a file"]})
    frame = encoder(queries).merge(encoder(pd.DataFrame(documents)), how="cross")
    return model, frame.assign(score=0.0, rank=0)


def explanation_numbers(e):
    order = np.argsort(e.features)
    rest = [e.score, e.other, e.bias, e.residual]
    return e.features[order], np.concatenate([rest, e.contributions[order]]), e.document_activations[order]


def assert_equal_answers(found, expected, contributions=ATOL):
    """Equal sets and scores; contributions too, but for what ``refit`` leaves open: of more features than dimensions, as rules
    without a k choose them, only the sum is determined, and it stops within a thousandth of its goal."""
    for a, b in zip(found, expected, strict=True):
        assert (a.qid, a.docno, a.views) == (b.qid, b.docno, b.views)
        (features, numbers, activations), (same, expected_numbers, expected_activations) = map(explanation_numbers, (a, b))
        assert features.tolist() == same.tolist()
        assert abs(a.score - b.score) < ATOL
        np.testing.assert_allclose(numbers, expected_numbers, rtol=0, atol=contributions)
        assert ((activations > 0) == (expected_activations > 0)).all()


def cuts(frame, at):
    """The frame in consecutive pieces, cut at these places."""
    ends = sorted({min(i, len(frame)) for i in at} | {0, len(frame)})
    return [frame.iloc[a:b] for a, b in zip(ends, ends[1:])]


@seed(1)
@FEW
@given(rows=st.lists(st.integers(0, 40), min_size=1, max_size=40), batch=st.integers(1, 64))
def test_codes_and_views_do_not_depend_on_the_rows_beside(any_model, rows, batch):
    x = unit(np.random.default_rng(3), 41, 16)
    whole, (module, *_) = any_model.sae.encode(torch.from_numpy(x)), any_model.internalizers.values()
    some = any_model.sae.encode(torch.from_numpy(x[rows]))
    np.testing.assert_array_equal(some.dense(48).detach(), whole.dense(48).detach()[rows])
    np.testing.assert_array_equal(internalize(module, x[rows], batch_size=batch), internalize(module, x, batch_size=512)[rows])


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 15, 17])
def test_codes_of_the_bundled_dictionary_bit_for_bit(n):
    model = Xetrieval.default()
    x = unit(np.random.default_rng(0), 64, 384)
    whole = model.sae.encode(torch.from_numpy(x))
    for start in range(0, 64 - n, n):
        part = model.sae.encode(torch.from_numpy(x[start : start + n]))
        torch.testing.assert_close(part.values, whole.values[start : start + n], rtol=0, atol=0)
        assert torch.equal(part.ids, whole.ids[start : start + n])


@seed(2)
@FEW
@given(at=st.lists(st.integers(0, 24), max_size=6), order=st.permutations(range(24)))
def test_the_explainer_and_the_scorer(any_model, at, order):
    views = any_model.internalizer()(result_frame(n_queries=4, n_docs=6))
    explain, score = any_model.explainer(), any_model.scorer()
    whole, scores = explain(views).explanation, score(views).set_index(["qid", "docno"]).score
    shuffled = views.iloc[list(order)]
    pieces = [explain(any_model.internalizer()(piece.drop(columns=views.columns[views.columns.str.startswith("doc_vec_")])))
              for piece in cuts(shuffled, at)]  # fmt: skip
    assert_equal_answers(pd.concat(pieces).sort_index().explanation, whole, ATOL if any_model.sae.k else 1e-3)
    for piece in cuts(shuffled, at):
        found = score(piece).set_index(["qid", "docno"]).score
        np.testing.assert_allclose(found, scores.loc[found.index], rtol=0, atol=ATOL)


@pytest.fixture(scope="module")
def any_index(any_model, tmp_path_factory):
    documents = [{"docno": f"d{i}", "doc_vec": v} for i, v in enumerate(unit(np.random.default_rng(0), 40, 16))]
    return any_model.indexer(tmp_path_factory.mktemp("batches") / "index", shard_size=15, batch_size=4).index(documents)


@seed(3)
@FEW
@given(at=st.lists(st.integers(0, 60), max_size=6), order=st.permutations(range(60)))
def test_the_explainer_of_an_index(any_model, any_index, at, order):
    queries = unit(np.random.default_rng(8), 6, 16)
    topics = pd.DataFrame({"qid": [f"q{i}" for i in range(6)], "query_vec": list(queries)})
    page = any_index.retriever(num_results=10)(topics)
    explain = any_index.explainer()
    whole = explain(page).explanation
    pieces = [explain(piece) for piece in cuts(page.iloc[list(order)], at)]
    assert_equal_answers(pd.concat(pieces).sort_index().explanation, whole, ATOL if any_model.sae.k else 1e-3)
    one_by_one = pd.concat([any_index.retriever(num_results=10)(topics.iloc[i : i + 1]) for i in range(6)], ignore_index=True)
    assert one_by_one.docno.tolist() == page.docno.tolist()
    np.testing.assert_allclose(one_by_one.score.astype(float), page.score.astype(float), rtol=0, atol=ATOL)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_index_made_in_other_batches(any_model, any_index, tmp_path, dtype):
    documents = list(any_index.vectors.get_corpus_iter(verbose=False))
    one, many = (
        any_model.indexer(tmp_path / str(size), dtype=dtype, batch_size=size, shard_size=40).index(documents) for size in (1, 40)
    )
    for name in ("vectors", "folded"):
        np.testing.assert_array_equal(np.asarray(getattr(one, name).np_vecs()), np.asarray(getattr(many, name).np_vecs()))
    for feature in range(48):
        a, b = one.documents_of(feature), many.documents_of(feature)
        assert sorted(a.docno) == sorted(b.docno)


def test_a_page_query_by_query_is_the_page_at_once(bundled):
    model, frame = bundled
    explain = model.internalizer() >> model.explainer() >> model.evidence()
    whole = explain(frame)
    for pieces in ([own for _, own in frame.groupby("qid")], [frame.iloc[i : i + 1] for i in range(0, len(frame), 3)]):
        found = pd.concat([explain(piece) for piece in pieces])
        assert_equal_answers(found.explanation, whole.explanation[found.index])
        for a, b in zip(found.explanation, whole.explanation[found.index]):
            assert [row.feature for row in a.rows] == [row.feature for row in b.rows]
            for side in ("query", "document"):
                x, y = a.evidence.table(side), b.evidence.table(side)
                assert list(x.columns) == list(y.columns) and len(x) == len(y)
                numbers = x.select_dtypes("number").columns
                np.testing.assert_allclose(x[numbers], y[numbers], rtol=0, atol=2e-6)


def test_an_index_with_evidence_query_by_query(bundled, tmp_path):
    model, frame = bundled
    documents = frame.drop_duplicates("docno")[["docno", "text"]].to_dict(orient="records")
    indexes = [
        model.indexer(tmp_path / str(size), encoder=model.encoder(), evidence=True, batch_size=size).index(documents)
        for size in (3, 10)
    ]
    pages = [(i.retriever(num_results=5) >> i.explainer() >> i.evidence()) for i in indexes]
    topics = frame.drop_duplicates("qid")[["qid", "query", "query_vec"]]
    whole = pages[0](topics)
    for found in (pages[1](topics), pd.concat([pages[0](own) for _, own in topics.groupby("qid")], ignore_index=True)):
        assert found.docno.tolist() == whole.docno.tolist()
        for a, b in zip(found.explanation, whole.explanation):
            assert sorted(a.features) == sorted(b.features) and abs(a.score - b.score) < ATOL
            assert a.sentence() == b.sentence()
