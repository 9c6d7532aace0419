"""The explorer page of an index with deleted documents is the page of the index without them."""

import pandas as pd

from pyterrier_xetrieval.index import merge
from pyterrier_xetrieval.viz import explore
from tests.viz.conftest import DOCUMENTS, QUERIES


def test_pages_of_what_is_left(small_index, tmp_path):
    index = merge([small_index], tmp_path / "copy").delete(["sorted", "beer"])
    assert len(index) == len(DOCUMENTS) - 2
    compact = index.compact(tmp_path / "compact")
    found, expected = (
        explore(i, QUERIES, tmp_path / f"{n}.html", documents=20).read_text(encoding="utf-8")
        for n, i in enumerate((index, compact))
    )
    assert found == expected and "hops and malt" not in found and "Merge several sorted inputs" in found
    pd.testing.assert_frame_equal(index.feature_statistics(), compact.feature_statistics())
