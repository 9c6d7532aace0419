"""Plain values in the cells of result frames."""

from __future__ import annotations

import numpy as np
import pandas as pd

_COLUMNS = ("docno", "docid", "score", "rank")


def plain_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with a plain value wherever a cell of ``docno``, ``docid``, ``score`` or ``rank`` is an array of one.

    pyterrier_dr's retrievers leave such arrays where a query has one result (``num_results=1``), and its own stages then
    fail. A frame without any is returned as it is.

    Example::

        >>> frame = pd.DataFrame({"docno": [np.array(["d1"])], "score": [np.array([0.5])]})
        >>> plain_cells(frame).to_dict("records")
        [{'docno': 'd1', 'score': 0.5}]
    """
    plain: dict[str, object] = {}
    names = frame.columns.tolist()
    for column in _COLUMNS:
        if names.count(column) == 1 and frame[column].dtype == object and any(map(_is_wrapped, frame[column])):
            cells = [cell.reshape(-1)[0] if _is_wrapped(cell) else cell for cell in frame[column]]
            # docnos are Python's strings, also under pandas 2; of float32 pandas would make float64
            plain[column] = list(map(str, cells)) if column == "docno" else np.array(cells)
    return frame.assign(**plain) if plain else frame


def _is_wrapped(cell: object) -> bool:
    return isinstance(cell, np.ndarray) and cell.size == 1
