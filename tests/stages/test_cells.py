"""Plain values in the cells of result frames."""

import numpy as np
import pandas as pd

from pyterrier_xetrieval.stages.cells import plain_cells


def test_a_frame_of_plain_cells_is_returned_as_it_is():
    frame = pd.DataFrame({"docno": ["d1", "d2"], "score": [1.0, 0.5], "doc_vec": [np.ones(1), np.ones(1)]})
    assert plain_cells(frame) is frame
    assert plain_cells(frame.iloc[:0]).empty


def test_arrays_of_one_become_what_they_hold():
    frame = pd.DataFrame(
        {
            "qid": ["1", "2", "2"],
            "docno": [np.array(["d1"]), np.array(["d3"]), "d2"],  # a query with one result beside one with two
            "docid": [np.array([4]), 2, 3],
            "score": [np.array([0.5], np.float32), np.float32(0.25), float("nan")],
            "rank": [np.array([0]), 0, 1],
            "doc_vec": [np.ones(1), np.ones(1), np.ones(1)],
        },
        index=[7, 7, 9],
    )
    plain = plain_cells(frame)
    assert plain["docno"].tolist() == ["d1", "d3", "d2"] and plain["docid"].tolist() == [4, 2, 3]
    assert plain["docno"].dtype == pd.Series(["d1"]).dtype and plain["docid"].dtype == np.int64
    assert plain["score"].tolist()[:2] == [0.5, 0.25] and np.isnan(plain["score"].iloc[2]) and plain["score"].dtype == np.float64
    assert plain["doc_vec"].iloc[0] is frame["doc_vec"].iloc[0] and plain.index.equals(frame.index)
    assert isinstance(frame["docno"].iloc[0], np.ndarray)  # the input stays as it was


def test_other_arrays_are_not_touched():
    frame = pd.DataFrame({"docno": [np.array(["d1", "d2"]), "d3"]})
    assert plain_cells(frame) is frame
