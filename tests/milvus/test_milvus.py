"""An index served by the embedded Milvus Lite against the index itself: the same ranking, the same explanations."""

import itertools
import json
import pickle

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_xetrieval import Xetrieval, pydocs
from pyterrier_xetrieval.index.packing import PackedCodes
from tests.helpers.builders import make_model, random_sae, unit
from tests.helpers.extras import import_without, loaded_with

pymilvus = pytest.importorskip("pymilvus")

from pyterrier_xetrieval.milvus import MilvusIndex, upload  # noqa: E402
from pyterrier_xetrieval.milvus.collection import FACTS, from_text, to_text  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
DIM = 16
# what a filter has to escape, what it must not change, and numbers that are equal only as numbers
ODD = [
    'b"c',
    "d'e",
    "f\\g",
    "\\n",
    "h\ni",
    "a\rb",
    "\t",
    "\x01",
    "x%y_",
    " sp ",
    "{ids}",
    '"] or docno != ""',
    "ü日本𝛼",
    "007",
    "7",
]
DOCNOS = [*ODD, *(f"d{i}" for i in range(600 - len(ODD)))]  # three requests


def corpus(docnos=DOCNOS, seed=0):
    return [{"docno": d, "doc_vec": v} for d, v in zip(docnos, unit(np.random.default_rng(seed), len(docnos), DIM))]


def topics(n=5, dim=DIM):
    return pd.DataFrame({"qid": [f"q{i}" for i in range(n)], "query_vec": list(unit(np.random.default_rng(9), n, dim))})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("milvus")


@pytest.fixture(scope="module")
def client(folder):
    return pymilvus.MilvusClient(str(folder / "corpus.db"))


@pytest.fixture(scope="module")
def model():
    return make_model().with_views(weights={"summary": 0.5, "purpose": -0.25, "qa": 2.0})


@pytest.fixture(scope="module")
def index(model, folder):
    return model.indexer(folder / "index").index(corpus())


@pytest.fixture(scope="module")
def served(index, folder, client):
    return upload(index, folder / "corpus.db", "corpus")


@pytest.fixture
def fresh(client):
    """The name of a collection that is there for one test."""
    yield "fresh"
    for name in ("fresh", "fresh_unfinished"):
        client.drop_collection(name)


def assert_same_ranking(found, expected, tolerance=0.0):
    """Scores within the tolerance; documents in the same order, unless their scores are that close."""
    assert found.qid.tolist() == expected.qid.tolist() and found["rank"].tolist() == expected["rank"].tolist()
    np.testing.assert_allclose(found.score, expected.score, rtol=0, atol=tolerance)
    for i in np.flatnonzero(found.docno.to_numpy() != expected.docno.to_numpy()):
        own = expected[expected.qid == found.qid[i]].set_index("docno").score
        assert found.docno[i] not in own or abs(own[found.docno[i]] - expected.score[i]) <= tolerance


def assert_identical(found, expected):
    for a, b in zip(found, expected, strict=True):
        numbers = [(e.qid, e.docno, e.views, e.score, e.other, e.bias, e.residual, len(e)) for e in (a, b)]
        assert numbers[0] == numbers[1]
        for name in ("features", "contributions", "query_activations", "document_activations"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("aspects, threshold", [(None, 0.0), ((), 0.3)])
def test_equal_to_the_index(index, served, aspects, threshold):
    questions = pd.concat([topics(), topics(2).assign(qid=["again1", "again0"])], ignore_index=True)  # of equal vectors
    served, index = served.with_views(aspects), index.with_views(aspects)
    found, expected = (stage.retriever(num_results=600)(questions) for stage in (served, index))
    assert len(found) == 7 * len(DOCNOS) == 7 * len(served)
    assert_same_ranking(found, expected, tolerance=1e-6)
    page = found.sample(200, random_state=0)
    explained, same = (stage.explainer(threshold=threshold)(page) for stage in (served, index))
    assert explained.index.equals(page.index) and any(len(e) for e in explained.explanation)
    assert_identical(explained.explanation, same.explanation)


def test_pydocs_by_the_embedded_model(folder):
    """The default collection, as far as it is encoded in a few seconds."""
    model, documents = Xetrieval.default(), list(itertools.islice(pydocs().get_corpus_iter(), 24))
    index = (model.encoder() >> model.indexer(folder / "pydocs", dtype="float16")).index(documents)
    served = upload(index, folder / "pydocs.db", "pydocs")
    questions = model.encoder()(pydocs().get_topics()[:8])
    found = (served.retriever(num_results=20) >> served.explainer())(questions)
    assert_same_ranking(found, index.folded.np_retriever(num_results=20)(questions), tolerance=1e-6)
    assert_identical(found.explanation, index.explainer()(found).explanation)
    assert found.explanation[0].score == pytest.approx(found.score[0], abs=1e-6)


def test_vectors_by_docno(index, served):
    frame = pd.DataFrame({"docno": [*ODD, "d5", ODD[0]], "docid": 0}, index=[*range(len(ODD)), 7, 7])
    found, expected = served.vec_loader()(frame), index.vec_loader()(frame)
    assert found.index.equals(frame.index) and found.docid.equals(frame.docid)
    for docno, a, b in zip(frame.docno, found.doc_vec, expected.doc_vec):
        assert a.dtype == np.float32 and np.array_equal(a, b), docno
    assert found.doc_vec.iloc[0] is found.doc_vec.iloc[-1]


def test_answers_may_come_in_any_order(served, monkeypatch):
    results, query = served.retriever(num_results=4)(topics()), pymilvus.MilvusClient.query
    stage = served.vec_loader() >> served.explainer()
    expected = stage(results)
    monkeypatch.setattr(pymilvus.MilvusClient, "query", lambda *args, **options: query(*args, **options)[::-1])
    found = stage(results)
    assert all(map(np.array_equal, found.doc_vec, expected.doc_vec))
    assert_identical(found.explanation, expected.explanation)


def test_codes_as_text(index):
    layout = index.layout
    for rows in ([0], [3, 599, 0, 3], range(600)):
        codes = layout.codes(np.array(rows))
        texts = to_text(codes)
        assert len(texts) == len(rows) and all(text.isascii() for text in texts)
        again = from_text(texts)
        for name, array in vars(codes).items():
            np.testing.assert_array_equal(getattr(again, name), array, err_msg=name)
            assert getattr(again, name).dtype == array.dtype
    for damaged in ("", texts[0][:8], texts[0][:-4], texts[0] + "AAAA", "?" + texts[0][1:]):
        with pytest.raises(ValueError):
            from_text([texts[1], damaged])
    # a document without features between two others
    counts = np.array([2, 0, 1])
    ids, values, bounds = np.arange(3, dtype=np.uint8), np.ones(3, np.float16), np.float32([1, 1, 1])
    codes = PackedCodes(ids, ids, counts, values, ids, counts, bounds, bounds)
    again = from_text(to_text(codes))
    assert again.ids_counts.tolist() == again.pairs_counts.tolist() == [2, 0, 1] and again.coefficients.tolist() == [1, 1, 1]


def test_deleted_documents_are_not_uploaded(model, folder, fresh):
    whole = model.indexer(folder / "deleted").index(corpus()[:40])
    index = whole.delete(["d3", "007"])
    served = upload(index, folder / "corpus.db", fresh)
    assert len(served) == 38
    found, expected = (i.retriever(num_results=40)(topics()) for i in (served, index))
    assert len(found) == 5 * 38 and not set(found.docno) & {"d3", "007"}
    assert_same_ranking(found, expected, tolerance=1e-6)
    assert_identical(served.explainer()(expected).explanation, index.explainer()(expected).explanation)
    with pytest.raises(FileExistsError, match="something else"):
        upload(index.delete(["d4"]), folder / "corpus.db", fresh)


def test_views_are_those_of_the_index(index, served):
    plain = served.with_views(())
    assert plain.model.aspects == () and served.model.weights == {"summary": 0.5, "purpose": -0.25, "qa": 2.0}
    assert plain.with_views() == served != plain and repr(plain).endswith("'corpus').with_views(())")
    again = pickle.loads(pickle.dumps(plain.explainer()))
    assert again == plain.explainer() and again.index.aspects == ()
    assert upload(index.with_views(()), served.uri, "corpus") == plain


def test_stages_behave(served, folder):
    results = served.retriever(num_results=3)(topics())
    for stage, inp in (
        (served.retriever(num_results=3), topics()),
        (served.explainer(), results),
        (served.vec_loader(), results),
    ):
        some, none = stage(inp), stage(inp[:0])
        assert list(none.columns) == list(some.columns) and none.dtypes.equals(some.dtypes) and not len(none)
        again = pickle.loads(pickle.dumps(stage))
        assert again == stage and hash(again) == hash(stage)
        assert again(inp).docno.tolist() == some.docno.tolist()
        assert pt.inspect.transformer_apply_attributes(stage) == stage
        assert repr(stage).startswith(f"{type(stage).__name__}(MilvusIndex(Xetrieval(") and "0x" not in repr(stage)
        assert 0 < len(stage.schematic["label"]) <= 20
        with pytest.raises(pt.validate.InputValidationError, match=type(stage).__name__):
            stage(pd.DataFrame({"qid": ["q"]}))
    assert repr(served.retriever(num_results=7)).endswith("/corpus.db', 'corpus'), num_results=7)")
    variants = [
        served.retriever(),
        served.retriever(num_results=3),
        served.explainer(),
        served.with_views(()).explainer(),
        served.explainer(top=3),
    ]
    assert len(set(variants)) == len(variants)
    compiled = ((served.retriever() >> served.vec_loader() >> served.explainer()) % 2).compile()
    assert compiled[0].num_results == 2 and compiled(topics()).docno.tolist() == results[results["rank"] < 2].docno.tolist()
    columns = pt.inspect.transformer_outputs(served.retriever() >> served.explainer(), ["qid", "query_vec"])
    assert columns == ["qid", "query_vec", "docno", "score", "rank", "explanation"]


def test_a_database_that_is_not_there_is_not_made(served, model, folder, tmp_path):
    for path in (tmp_path / "typo.db", str(tmp_path / "none" / "typo.db")):
        with pytest.raises(FileNotFoundError, match=r"no Milvus Lite database at .*typo.db; upload\(index, uri, collection\)"):
            MilvusIndex(model, path, "corpus")
    assert list(tmp_path.iterdir()) == []
    assert MilvusIndex(served.model, folder / "corpus.db", "corpus") == served


def test_what_is_refused_is_named(served, model):
    results = served.retriever(num_results=3)(topics())
    for stage in (served.explainer(), served.vec_loader()):
        for unknown in ("nobody", "00007", 77):
            with pytest.raises(ValueError, match=rf"{type(stage).__name__}\(.* does not find 1 of .* '{unknown}'"):
                stage(results.assign(docno=pd.Series(["d1"] * 14 + [unknown], dtype=object)))
        with pytest.raises(ValueError, match="missing docno in row 14"):
            stage(results.assign(docno=pd.Series(["d1"] * 14 + [None], dtype=object)))
    for stage, inp in ((served.retriever(), topics(dim=4)), (served.explainer(), topics(dim=4).assign(docno="d1"))):
        with pytest.raises(ValueError, match=f"{type(stage).__name__}.* expects 16-dimensional query_vec, found 4"):
            stage(inp)
    with pytest.raises(ValueError, match="at most 16384, found 16385"):
        served.retriever(num_results=16_385)
    with pytest.raises(ValueError, match=r"expects all of \['summary', 'purpose', 'qa'\] or \(\), found \['qa'\]"):
        served.with_views(["qa"])
    with pytest.raises(ValueError, match="threshold >= 0"):
        served.explainer(threshold=-1)
    other = make_model(random_sae(seed=5))
    with pytest.raises(ValueError, match=f"{served.settings['model_sha256']}, found .* with [0-9a-f]{{64}}"):
        MilvusIndex(other, served.uri, "corpus")
    with pytest.raises(ValueError, match="'corpus' expects a model with the aspects .*'purpose', 'summary'"):
        MilvusIndex(make_model(aspects=["qa"]), served.uri, "corpus")
    with pytest.raises(FileNotFoundError, match=r"no collection 'else' in .* \(found nothing\)"):
        MilvusIndex(model, served.uri, "else")


def test_an_upload_that_is_cut_off_is_not_there_and_goes_on(index, model, client, fresh, monkeypatch):
    sent, upsert = [], pymilvus.MilvusClient.upsert

    def cut_off(self, name, entities):
        if len(sent) == 1:
            upsert(self, name, entities[:100])  # the server got a part of it
            raise KeyboardInterrupt
        sent.append(len(entities))
        return upsert(self, name, entities)

    monkeypatch.setattr(pymilvus.MilvusClient, "upsert", cut_off)
    with pytest.raises(KeyboardInterrupt):
        upload(index, client, fresh)
    with pytest.raises(FileNotFoundError, match="cut off; start it again"):
        MilvusIndex(model, client, fresh)
    other = model.indexer(index.path.parent / "other").index(corpus(["a", "b"]))
    with pytest.raises(FileExistsError, match="'fresh_unfinished' is there already.*'documents': 2,.*'documents': 600"):
        upload(other, client, fresh)
    monkeypatch.setattr(pymilvus.MilvusClient, "upsert", lambda *args: sent.append(len(args[2])) or upsert(*args))
    served = upload(index, client, fresh)
    assert sent == [256, 256, 244]  # the whole first request, then all from the first document that may be missing
    assert not client.has_collection("fresh_unfinished")
    assert_same_ranking(served.retriever(num_results=600)(topics()), index.retriever(num_results=600)(topics()), 1e-6)
    assert repr(served).endswith("MilvusClient, 'fresh')")


def test_documents_that_a_server_has_lost_are_missed(model, client, folder, fresh, monkeypatch):
    small, upsert = model.indexer(folder / "lost").index(corpus(["a", "b", "c"])), pymilvus.MilvusClient.upsert
    monkeypatch.setattr(pymilvus.MilvusClient, "upsert", lambda self, name, entities: upsert(self, name, entities[1:]))
    with pytest.raises(RuntimeError, match="expects 3 documents in collection 'fresh_unfinished', found 2"):
        upload(small, client, fresh)
    assert not client.has_collection(fresh)


def test_a_second_upload(index, served, model, client, folder, fresh, monkeypatch):
    other = model.indexer(folder / "replacing").index(corpus(["a", "b"]))
    with pytest.raises(FileExistsError, match="'corpus' is there already.*'documents': 2,.*'documents': 600"):
        upload(other, served.uri, "corpus")
    client.create_collection(fresh, dimension=4)
    with pytest.raises(FileExistsError, match="'fresh' is there already and holds something else"):
        upload(index, client, fresh)
    with pytest.raises(ValueError, match="not one that pyterrier_xetrieval.milvus.upload has made"):
        MilvusIndex(model, client, fresh)
    with pytest.raises(ValueError, match="name .* found 'my-corpus'"):
        upload(index, client, "my-corpus")
    monkeypatch.delattr(pymilvus.MilvusClient, "upsert")  # nothing is sent
    assert upload(index, served.uri, "corpus") == served


def test_too_long_for_a_field(model, client, folder, fresh, monkeypatch):
    monkeypatch.setattr("pyterrier_xetrieval.index.docnos.MAX_BYTES", 100_000)  # of indexes made elsewhere
    long = model.indexer(folder / "long").index(corpus(["d", "ü" * 40_000]))  # 80,000 bytes
    with pytest.raises(ValueError, match="docno of at most 65535 bytes, found 80000 in document 'üü"):
        upload(long, client, fresh)
    assert not client.has_collection(fresh)


def test_changed_behind_its_back(model, client, folder, fresh):
    small = model.indexer(folder / "small").index(corpus(["a", "b"]))
    served = upload(small, client, fresh)
    results = served.retriever()(topics(2))
    client.upsert(fresh, [{"docno": "a", "folded": [0.0] * DIM, "vector": [0.0] * DIM, "codes": "AAAA"}])
    with pytest.raises(ValueError, match="'fresh'\\) is damaged"):
        served.explainer()(results)
    client.delete(fresh, ids=["a", "b"])
    nothing = served.retriever()(topics(2))
    assert not len(nothing) and list(nothing.columns) == list(results.columns)
    assert not len((served.retriever() >> served.explainer())(topics(2)))
    facts = json.loads(client.describe_collection(fresh)["properties"][FACTS])
    client.alter_collection_properties(fresh, {FACTS: json.dumps({**facts, "version": 2})})
    with pytest.raises(ValueError, match="has format 2, this version .* format 1"):
        MilvusIndex(model, client, fresh)


def test_an_address_with_a_password_is_not_shown(served):
    served = pickle.loads(pickle.dumps(served))
    served.uri = "https://root:Milvus@example.org:19530/db"
    assert "Milvus@" not in repr(served) and "https://…@example.org:19530/db" in repr(served)


def test_without_the_extra(monkeypatch):
    with pytest.raises(ImportError, match=r"milvus needs pymilvus: pip install 'pyterrier-xetrieval\[milvus\]'"):
        import_without("pymilvus", "milvus", monkeypatch)


def test_pymilvus_is_imported_only_where_it_is_used():
    loaded = loaded_with("milvus")
    assert "pyterrier_xetrieval.milvus.uploading" in loaded and not loaded & {"pymilvus", "pyterrier_dr"}
