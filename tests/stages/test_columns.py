import numpy as np
import pandas as pd
import pytest
import torch

from pyterrier_xetrieval.stages.columns import VectorColumns, unstack
from tests.helpers.builders import result_frame, unit


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
    inp = type(
        "Frame",
        (),
        {"__len__": lambda _: 5, "__getitem__": lambda _, name: column, "columns": pd.Index(["doc_vec"]), "index": None},
    )()
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
    part = inp.assign(doc_vec=[v[:2] for v in inp["doc_vec"]])
    np.testing.assert_array_equal(stack(part, "doc_vec", dim=2, stage="test")[0], vectors[0][:2])
    backwards = inp.assign(doc_vec=[v[::-1] for v in inp["doc_vec"]])
    np.testing.assert_array_equal(stack(backwards, "doc_vec", dim=4, stage="test")[0], vectors[0][::-1])
    inp.at[2, "doc_vec"] = np.float32([0, np.nan, 0, 0])
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
    cells = np.empty(3, object)  # one by one: pandas 2 asks a list of tensors for arrays, which bfloat16 has not
    for i, row in enumerate((0, 1, 0)):
        cells[i] = x[row]
    matrix, rows = read(pd.DataFrame({"v": cells}), "v", dim=8, stage="stage")
    assert rows.tolist() == [0, 1, 0] and matrix.dtype == np.float32 and np.array_equal(matrix, x.float().numpy())
