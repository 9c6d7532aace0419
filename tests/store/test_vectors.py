"""Files of vectors."""

import numpy as np
import pytest

from pyterrier_xetrieval.store.vectors import read_unit_vectors


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
