"""The stage that loads vectors by docno: it finds every document, takes no other for it, and leaves plain cells."""

import numpy as np
import pandas as pd
import pytest
from pyterrier_dr import FlexIndex

from pyterrier_xetrieval import VectorLoader
from pyterrier_xetrieval.stages import load
from tests.helpers.builders import unit


@pytest.fixture
def index(tmp_path):
    vectors = unit(np.random.default_rng(0), 5, 4)
    index = FlexIndex(str(tmp_path / "index.flex"), verbose=False)
    index.index([{"docno": f"d{i}", "doc_vec": v} for i, v in enumerate(vectors)])
    return index


def test_loader_reads_by_docno_and_ignores_a_foreign_docid(index):
    inp = pd.DataFrame({"qid": "q", "docno": ["d3", "d1", "d3"], "docid": [0, 4, 2], "score": [3.0, 2.0, 1.0]})
    out = VectorLoader(index)(inp)
    assert out[["docno", "docid", "score"]].equals(inp[["docno", "docid", "score"]])
    np.testing.assert_array_equal(np.stack(out["doc_vec"].to_list()), index.np_vecs()[[3, 1, 3]])
    assert "doc_vec" not in inp.columns


def test_loader_refuses_an_unknown_docno(index):
    with pytest.raises(ValueError, match="no vector for 1 docno.*'nope'"):
        VectorLoader(index)(pd.DataFrame({"docno": ["d1", "nope"]}))


@pytest.mark.parametrize(
    "stored, asked, message",
    [
        ([str(i) for i in range(120)], "007", "'007'"),
        ([f"doc{i}" for i in range(120)], "doc07", "'doc07'"),
        ([f"doc{i}" for i in range(120)], "x", "'x'"),
        ([f"doc{i}" for i in range(120)], "", "first is ''"),
        (["Zürich", "Genf", "Basel"], "Zurich", "'Zurich'"),
        ([str(i) for i in range(120)], "9" * 25, "'9999"),
        ([str(i) for i in range(120)], "3\0", r"'3\\x00'"),
        (["a", "b", "c"], None, "missing docno in row 1"),
    ],
)
def test_loader_is_not_fooled_by_the_lookup(tmp_path, stored, asked, message):
    index = FlexIndex(str(tmp_path / "index.flex"), verbose=False)
    index.index([{"docno": docno, "doc_vec": np.float32([i, 1])} for i, docno in enumerate(stored)])
    loaded = VectorLoader(index)(pd.DataFrame({"docno": stored}))["doc_vec"]
    assert [int(v[0]) for v in loaded] == list(range(len(stored)))
    with pytest.raises(ValueError, match=f"VectorLoader.*{message}"):
        VectorLoader(index)(pd.DataFrame({"docno": [stored[1], asked]}))


def test_loader_wants_an_index():
    with pytest.raises(ValueError, match="VectorLoader expects a FlexIndex .*found 'index.flex'"):
        VectorLoader("index.flex")


def test_loader_accepts_an_empty_frame_without_docid(index):
    out = VectorLoader(index)(pd.DataFrame({"qid": [], "docno": []}))
    assert list(out.columns) == ["qid", "docno", "doc_vec"] and len(out) == 0


def test_loader_identity(index):
    assert VectorLoader(index) == VectorLoader(FlexIndex(str(index.index_path)))
    assert hash(VectorLoader(index)) == hash(VectorLoader(FlexIndex(str(index.index_path))))


def test_loaded_vectors_are_shared_between_rows(index):
    out = VectorLoader(index)(pd.DataFrame({"docno": ["d1"] * 100}))
    assert len({id(v) for v in out["doc_vec"]}) == 1


PADDED = {
    "from 1": [f"d{i:02d}" for i in range(1, 21)],
    "from 5": [f"MARCO_{i:08d}" for i in range(5, 2005)],
    "with a gap": [f"{i:04d}" for i in (*range(7, 500), *range(900, 1600))],
    "not padded, two runs": [f"d{i}" for i in (*range(1000, 2000), *range(5, 700))],
    "downwards": [f"d{i:03d}" for i in range(300, 0, -1)],
}


@pytest.mark.parametrize("docnos", PADDED.values(), ids=PADDED)
def test_numbered_docnos_are_all_found(tmp_path, docnos):
    index = FlexIndex(str(tmp_path / "index.flex"), verbose=False)
    index.index([{"docno": docno, "doc_vec": np.float32([i, 1])} for i, docno in enumerate(docnos)])
    asked = [docnos[-1], *docnos, docnos[0]]
    loaded = VectorLoader(index)(pd.DataFrame({"docno": asked}))["doc_vec"]
    assert [int(v[0]) for v in loaded] == [len(docnos) - 1, *range(len(docnos)), 0]
    prefix, number = docnos[0].rstrip("0123456789"), docnos[0].lstrip("d_MARCO")
    for unknown in ("d0", prefix, number[1:], f"{prefix}0", f"{docnos[-1]}0", f"{docnos[0]}\0"):
        with pytest.raises(ValueError, match="no vector for 1 docno"):
            VectorLoader(index)(pd.DataFrame({"docno": [docnos[0], unknown]}))


def test_npids_still_loses_them(tmp_path):
    """Once this fails, rows_of can ask npids alone."""
    index = FlexIndex(str(tmp_path / "index.flex"), verbose=False)
    index.index([{"docno": docno, "doc_vec": np.ones(2, np.float32)} for docno in PADDED["from 1"]])
    assert index.docnos().inv[np.array(["d20"])].tolist() == [-1]


def test_the_table_of_docnos_is_made_once_and_only_if_needed(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(load, "_DocnoTable", lambda lookup, make=load._DocnoTable: made.append(1) or make(lookup))
    for name, asked, tables in (("plain", "d7", 0), ("padded", "d20", 1)):
        index = FlexIndex(str(tmp_path / name), verbose=False)
        docnos = [f"d{i}" for i in range(20)] if name == "plain" else PADDED["from 1"]
        index.index([{"docno": docno, "doc_vec": np.float32([i, 1])} for i, docno in enumerate(docnos)])
        for _ in range(3):
            VectorLoader(index)(pd.DataFrame({"docno": ["d12", asked]}))
        assert len(made) == tables


def test_docnos_that_share_a_hash(monkeypatch, tmp_path):
    monkeypatch.setattr(load, "_hashes", lambda docnos: np.full(len(docnos), 7, np.uint64))
    index = FlexIndex(str(tmp_path / "index.flex"), verbose=False)
    index.index([{"docno": docno, "doc_vec": np.ones(2, np.float32)} for docno in PADDED["from 1"]])
    assert load.rows_of([*PADDED["from 1"], "d21"], index.docnos()).tolist() == [*range(20), -1]


def test_the_first_of_documents_with_one_docno(tmp_path):
    index = FlexIndex(str(tmp_path / "index.flex"), verbose=False)
    index.index([{"docno": docno, "doc_vec": np.float32([i, 1])} for i, docno in enumerate(["a", "b", "a", "b"])])
    assert [int(v[0]) for v in VectorLoader(index)(pd.DataFrame({"docno": ["b", "a"]}))["doc_vec"]] == [1, 0]


@pytest.mark.parametrize("queries", [1, 3])
def test_one_result_for_each_query(index, queries):
    topics = pd.DataFrame(
        {"qid": [f"q{i}" for i in range(queries)], "query_vec": list(unit(np.random.default_rng(3), queries, 4))}
    )
    for retriever in (
        index.np_retriever(num_results=1),
        index.torch_retriever(num_results=1, device="cpu"),
        index.faiss_hnsw_retriever(num_results=1, cache=False),
    ):
        assert isinstance(retriever(topics)["docno"][0], np.ndarray)  # what pyterrier_dr does
        found = (retriever >> VectorLoader(index))(topics)
        expected = (index.np_retriever(num_results=2) >> VectorLoader(index))(topics).query("rank == 0")
        for column in ("qid", "docno", "docid", "rank"):
            assert found[column].tolist() == expected[column].tolist()
        np.testing.assert_allclose(found["score"].to_numpy(float), expected["score"].to_numpy(float), rtol=1e-6)
        assert np.array_equal(np.stack(found["doc_vec"]), np.stack(expected["doc_vec"]))


@pytest.fixture
def of_any_length(tmp_path):
    """Vectors of many lengths, so that cosine and dot product order them differently."""
    vectors = unit(np.random.default_rng(3), 8, 16) * np.linspace(5, 0.5, 8, dtype=np.float32)[:, None]
    FlexIndex(str(tmp_path / "i.flex"), verbose=False).index([{"docno": f"d{i}", "doc_vec": v} for i, v in enumerate(vectors)])
    return lambda **options: FlexIndex(str(tmp_path / "i.flex"), verbose=False, **options)


def test_an_index_that_compares_by_cosine_is_scored_and_explained_by_cosine(model, of_any_length):
    index, topics = of_any_length(sim_fn="cos"), pd.DataFrame({"qid": ["1"], "query_vec": [np.arange(-8, 8, dtype=np.float32)]})
    ranked = index.np_retriever(num_results=8)(topics)
    assert ranked["docno"].tolist() != of_any_length().np_retriever(num_results=8)(topics)["docno"].tolist()
    loaded = VectorLoader(index)(ranked)
    np.testing.assert_allclose([np.linalg.norm(v) for column in ("query_vec", "doc_vec") for v in loaded[column]], 1, atol=1e-6)
    model = model.with_views(())
    np.testing.assert_allclose(model.scorer()(loaded)["score"], ranked["score"], atol=1e-5)
    explained = model.explainer()(loaded)["explanation"]
    np.testing.assert_allclose([e.score for e in explained], ranked["score"], atol=1e-5)
    assert all(e.ranking is None for e in explained)
    # a loader that does not follow the similarity: the explanation says that it is not about this ranking
    other = model.explainer()(index.vec_loader()(ranked))["explanation"]
    assert np.argsort([-e.score for e in other]).tolist() != list(range(8))
    assert all("ranked by another score" in e.sentence() for e in other)
    assert [e.ranking.place for e in other] == np.argsort(np.argsort([-e.score for e in other])).tolist()


def test_loaders_of_two_similarities_differ(of_any_length):
    assert VectorLoader(of_any_length()) == VectorLoader(of_any_length()) != VectorLoader(of_any_length(sim_fn="cos"))
    assert VectorLoader(of_any_length(sim_fn="cos"))(pd.DataFrame({"docno": ["d1"]})).columns.tolist() == ["docno", "doc_vec"]
