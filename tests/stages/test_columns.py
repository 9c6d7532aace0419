import numpy as np
import pandas as pd
import pytest
import torch
from pyterrier_dr import FlexIndex

from pyterrier_xetrieval import VectorLoader
from pyterrier_xetrieval.stages.columns import VectorColumns, unstack
from pyterrier_xetrieval.store.vectors import read_unit_vectors
from tests.helpers.builders import result_frame, unit


@pytest.fixture
def index(tmp_path):
    vectors = unit(np.random.default_rng(0), 5, 4)
    index = FlexIndex(str(tmp_path / "index.flex"), verbose=False)
    index.index([{"docno": f"d{i}", "doc_vec": v} for i, v in enumerate(vectors)])
    return index


def frame(*cells):
    column = np.empty(len(cells), dtype=object)
    for i, cell in enumerate(cells):
        column[i] = cell
    return pd.DataFrame({"docno": [f"d{i}" for i in range(len(cells))], "doc_vec": pd.Series(column, dtype=object)})


def read(inp, column, *, dim, stage):
    return VectorColumns(inp, dim=dim, stage=stage)[column]


def stack(inp, column, *, dim, stage):
    matrix, rows = read(inp, column, dim=dim, stage=stage)
    return matrix[rows]


def test_distinct_vectors_are_kept_once():
    a, b = np.float32([1, 2]), np.float32([3, 4])
    matrix, rows = read(frame(a, b, a.copy(), b, a), "doc_vec", dim=2, stage="test")
    assert matrix.tolist() == [[1, 2], [3, 4]] and rows.tolist() == [0, 1, 0, 1, 0]


def test_cells_made_on_the_fly_keep_their_own_rows():
    class OnTheFly(pd.Series):
        def tolist(self):
            return [np.float32([i, i]) for i in range(5)]

    column = OnTheFly(range(5))
    inp = type("Frame", (), {"__len__": lambda _: 5, "__getitem__": lambda _, name: column, "columns": ["doc_vec"], "index": None})()
    assert read(inp, "doc_vec", dim=2, stage="test")[1].tolist() == [0, 1, 2, 3, 4]


def test_one_document_with_two_vectors_stays_two():
    inp = frame(np.float32([1, 2]), np.float32([1, 3])).assign(docno="same")
    assert len(read(inp, "doc_vec", dim=2, stage="test")[0]) == 2


def test_unstack_shares_equal_rows():
    column = unstack(np.float32([[1, 2], [3, 4]]), np.array([1, 0, 1]))
    assert column[0] is column[2] and column[1].tolist() == [1, 2] and column.dtype == object


def pages(n=6, dim=4):
    """A frame whose vectors are rows of one matrix, as our stages leave them."""
    vectors = unit(np.random.default_rng(1), n, dim)
    inp = pd.DataFrame({"docno": [f"d{i}" for i in range(n)], "doc_vec": list(vectors.copy())})
    columns = VectorColumns(inp, dim=dim, stage="test")
    columns["doc_vec"]
    return columns.assign(), vectors


def test_what_one_stage_has_read_the_next_one_takes_as_it_is(monkeypatch):
    inp, vectors = pages()
    monkeypatch.setattr("pyterrier_xetrieval.stages.columns._as_vector", None)  # nobody looks at a vector again
    matrix, rows = read(inp, "doc_vec", dim=4, stage="test")
    assert matrix is inp["doc_vec"][0].base and rows.tolist() == list(range(6))
    np.testing.assert_array_equal(matrix, vectors)
    columns = VectorColumns(inp, dim=4, stage="test")
    columns["doc_vec"]
    assert columns.assign()["doc_vec"][3] is inp["doc_vec"][3]


def test_nothing_is_stale():
    inp, vectors = pages()
    few = inp.iloc[[5, 2, 2]]
    matrix, rows = read(few, "doc_vec", dim=4, stage="test")
    assert len(matrix) == 2
    np.testing.assert_array_equal(matrix[rows], vectors[[5, 2, 2]])
    replaced = inp.copy()
    replaced.at[1, "doc_vec"] = np.zeros(4, np.float32)
    np.testing.assert_array_equal(stack(replaced, "doc_vec", dim=4, stage="test"), [vectors[0], np.zeros(4), *vectors[2:]])
    other, more = pages(3)
    both = pd.concat([inp, other])
    np.testing.assert_array_equal(stack(both, "doc_vec", dim=4, stage="test"), np.concatenate([vectors, more]))
    inp["doc_vec"][4][:] = 7  # in place
    np.testing.assert_array_equal(stack(inp, "doc_vec", dim=4, stage="test")[4], [7] * 4)
    part = inp.assign(doc_vec=[v[:2] for v in inp["doc_vec"]])
    np.testing.assert_array_equal(stack(part, "doc_vec", dim=2, stage="test")[0], vectors[0][:2])
    backwards = inp.assign(doc_vec=[v[::-1] for v in inp["doc_vec"]])
    np.testing.assert_array_equal(stack(backwards, "doc_vec", dim=4, stage="test")[0], vectors[0][::-1])
    inp["doc_vec"][2][1] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity in doc_vec of document 'd2'"):
        read(inp, "doc_vec", dim=4, stage="test")
    with pytest.raises(ValueError, match="expects 5-dimensional doc_vec, found 4"):
        read(other, "doc_vec", dim=5, stage="test")


def test_float64_and_lists_become_float32():
    matrix = stack(frame([1, 2], np.array([3.0, 4.0])), "doc_vec", dim=None, stage="test")
    assert matrix.dtype == np.float32 and matrix.tolist() == [[1, 2], [3, 4]]


def test_tensors_half_precision_and_read_only_arrays():
    read_only = np.float32([5, 6])
    read_only.flags.writeable = False
    matrix = stack(
        frame(torch.tensor([1.0, 2.0], requires_grad=True), np.float16([3, 4]), read_only), "doc_vec", dim=2, stage="test"
    )
    assert matrix.dtype == np.float32 and matrix.tolist() == [[1, 2], [3, 4], [5, 6]]


def test_empty_column():
    matrix, rows = read(frame(), "doc_vec", dim=4, stage="test")
    assert matrix.shape == (0, 4) and len(rows) == 0


@pytest.mark.parametrize(
    "cells, message",
    [
        ([np.float32([1, np.nan])], "NaN or infinity in doc_vec of document 'd0'"),
        ([np.float32([1, 2]), np.float32([np.inf, 1])], "document 'd1'"),
        ([np.float32([1, 2, 3])], "expects 2-dimensional doc_vec, found 3"),
        ([np.float32([[1, 2]])], "expects 1-d vectors in doc_vec, found shape"),
        (["text"], "expects a vector of numbers in doc_vec, found str"),
        ([["1", "2"]], "expects a vector of numbers in doc_vec, found list"),
        ([np.complex64([1, 2])], "expects a vector of numbers"),
        ([None], "doc_vec"),
    ],
)
def test_bad_vectors(cells, message):
    with pytest.raises(ValueError, match=message) as error:
        read(frame(*cells), "doc_vec", dim=2, stage="MyStage")
    assert "MyStage" in str(error.value)


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


def test_a_stage_never_writes_into_its_input(model):
    inp = result_frame()
    before = {c: list(inp[c]) for c in inp.columns}
    vectors = [v.copy() for v in inp["doc_vec"]]
    pipeline = (
        model.internalizer() >> model.scorer() >> model.explainer() >> model.intervention(features="shared") >> model.fold()
    )
    pipeline(inp)
    assert list(inp.columns) == list(before)
    assert all(inp[c].iloc[i] is before[c][i] for c in ("doc_vec", "query_vec") for i in range(len(inp)))
    assert all((a == b).all() for a, b in zip(vectors, inp["doc_vec"]))


def test_bfloat16_tensors_are_widened():
    x = torch.randn(2, 8).bfloat16()
    matrix, rows = read(pd.DataFrame({"v": [x[0], x[1], x[0]]}), "v", dim=8, stage="stage")
    assert rows.tolist() == [0, 1, 0] and matrix.dtype == np.float32 and np.array_equal(matrix, x.float().numpy())


def test_vectors_of_a_file_are_of_length_1(tmp_path):
    path = tmp_path / "few.f16.npy"
    np.save(path, np.array([[3, 4], [0, -2]], np.float16))
    vectors = read_unit_vectors(path, stage="stage")
    assert vectors.dtype == np.float32 and np.array_equal(vectors, np.array([[0.6, 0.8], [0, -1]], np.float32))
    assert np.array_equal(read_unit_vectors(path, 2, stage="stage"), vectors)
    with pytest.raises(
        ValueError, match=r"stage expects a vector for each of 3 queries in .*few.f16.npy, found an array \(2, 2\)"
    ):
        read_unit_vectors(path, 3, "queries", stage="stage")
    with pytest.raises(FileNotFoundError, match="stage expects the vectors of the texts at .*none.f16.npy"):
        read_unit_vectors(tmp_path / "none.f16.npy", stage="stage")


@pytest.mark.parametrize(
    "vectors, said",
    [
        (np.zeros((2, 2)), "zero or not finite"),
        (np.array([[1, np.nan]]), "zero or not finite"),
        (np.ones(2), r"for each of texts in .*found an array \(2,\)"),
    ],
)
def test_vectors_of_a_file_that_have_no_length_1(tmp_path, vectors, said):
    np.save(tmp_path / "few.f16.npy", vectors.astype(np.float16))
    with pytest.raises(ValueError, match=said):
        read_unit_vectors(tmp_path / "few.f16.npy", stage="stage")
