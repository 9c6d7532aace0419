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
    wrapped = [c for c in _COLUMNS if c in frame and frame[c].dtype == object and any(map(_is_wrapped, frame[c]))]
    cells = {c: [cell.item() if _is_wrapped(cell) else cell for cell in frame[c]] for c in wrapped}
    return frame.assign(**cells) if wrapped else frame


def _is_wrapped(cell: object) -> bool:
    return isinstance(cell, np.ndarray) and cell.size == 1
