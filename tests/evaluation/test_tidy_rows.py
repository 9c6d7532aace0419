"""The rows of every table."""

import numpy as np

from pyterrier_xetrieval.evaluation.tidy_rows import TidyRows


def test_rows_have_the_columns_that_are_asked_for():
    rows = TidyRows(0, collection="toy")
    rows.mean("size", [1.0, 3.0, 5.0, 5.0], clusters=["a", "a", "b", "b"], set="key")
    rows.quantiles("q", np.array([0.0, 1.0]), (0.05, 0.5), set="key")
    rows.quantiles("q", np.array([]), (0.5,), set="none")
    table = rows.frame("set", "mode")
    assert list(table) == ["collection", "set", "mode", "measure", "value", "low", "high", "n"]
    assert table["measure"].tolist() == ["size", "q05", "q50"] and table["value"].tolist() == [3.5, 0.05, 0.5]
    assert table.loc[0, ["low", "high", "n"]].tolist() == [2.0, 5.0, 4] and table["low"].isna().tolist() == [False, True, True]
    assert (table["collection"] == "toy").all() and table["mode"].isna().all()
    assert list(TidyRows(0, collection="toy").frame("set")) == ["collection", "set", "measure", "value", "low", "high", "n"]
