"""Files of judgements: BEIR's table with a header, the same without one, and TREC's qrels."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pandas as pd

HEADER = ["query-id", "corpus-id", "score"]


def read_qrels(path: Path) -> pd.DataFrame:
    """The judgements of a file: columns ``qid``, ``docno`` (strings) and ``label`` (int).

    Three forms are told apart by the first line, and every line must have the form of the first:

    - the header ``query-id  corpus-id  score`` and lines of three columns, BEIR's own;
    - such lines without a header;
    - TREC's four columns, ``q1 0 d1 2``, without a header; the second is a whole number or ``Q0``, and is not used.

    Columns are separated by tabs, or by spaces where the first line has no tab. Labels are whole numbers (``1.0`` too), and
    no id is empty.

    Args:
        path: a text file in UTF-8.

    Raises:
        ValueError: an empty file, or a line of another form; file and line are named.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "qrels.txt")
        >>> _ = path.write_text("q1 0 d1 2\\nq1 0 d7 0\\n")
        >>> read_qrels(path)
          qid docno  label
        0  q1    d1      2
        1  q1    d7      0
    """
    judged: list[tuple[str, str, int]] = []
    separator, size = None, 0
    for number, line in _lines(path):
        first = not size
        if first and "\t" in line:
            separator = "\t"
        cells = [cell.strip() for cell in line.split(separator)]
        size = size or len(cells)
        if not first or cells != HEADER:
            judged.append(_judged(cells, size, f"line {number} of {path}"))
    if not size:
        raise ValueError(f"{path} expects judgements, found an empty file")
    return pd.DataFrame(judged, columns=["qid", "docno", "label"]).astype({"qid": "str", "docno": "str", "label": "int64"})


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers."""
    number = 0
    with open(path, encoding="utf-8-sig", newline=None) as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line.rstrip("\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} expects text in UTF-8, found other bytes after line {number}: {error}") from None


def _judged(cells: list[str], size: int, where: str) -> tuple[str, str, int]:
    """Query, document and label of a line that is to have as many columns as the first; ValueError for any other."""
    if len(cells) != size:
        raise ValueError(f"{where} expects {size} columns like the first line, found {len(cells)}: {cells}")
    if size not in (3, 4) or (size == 4 and not (cells[1] == "Q0" or cells[1].isdecimal())):
        raise ValueError(f"{where} expects the header {HEADER}, judgements 'q1 d1 2', or TREC's 'q1 0 d1 2', found {cells}")
    if not cells[0] or not cells[-2]:
        raise ValueError(f"{where} expects the ids of a query and a document, found none in {cells}")
    try:
        label = Decimal(cells[-1])  # a float holds no whole number beyond 2**53 exactly
        whole = "_" not in cells[-1] and label.is_finite() and abs(label) < 2**63 and label == label.to_integral_value()
    except ArithmeticError:  # no number, or one beyond any decimal
        whole = False
    if not whole:
        raise ValueError(f"{where} expects a whole number as the label, found {cells[-1]!r}; a header would be {HEADER}")
    return cells[0], cells[-2], int(label)
