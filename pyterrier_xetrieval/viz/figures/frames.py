"""The tables that evaluations return, as figures read them: checked, narrowed down, by the name of a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

MOST = 8  # things to compare, which a reader can tell apart
NUMBERS = ("measure", "value", "low", "high")
# what `evaluate` calls the table of a function of another name
ASKED = {"faithfulness_curves": "curves", "score_shares": "shares", "label_scores": "labels"}


def rows_of(frame: pd.DataFrame, evaluation: str, *conditions: str, numbers: tuple[str, ...] = NUMBERS) -> pd.DataFrame:
    """The rows of one evaluation, also out of the table of several that ``evaluate`` returns.

    Args:
        frame: what the function ``evaluation`` of :mod:`pyterrier_xetrieval.evaluation` returns, for one collection.
        conditions, numbers: columns that it has.

    Raises:
        ValueError: no frame, missing columns, no rows, or several collections.
    """
    expected = f"figure expects the table of pyterrier_xetrieval.evaluation.{evaluation}(model, collection)"
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"{expected}, found {type(frame).__name__}")
    if "what" in frame:
        frame = frame[frame["what"] == ASKED.get(evaluation, evaluation)]
    if missing := [name for name in ("collection", *conditions, *numbers) if name not in frame]:
        per_pair = ", as it is without per_pair=True" if {"qid", "docno"} <= set(frame.columns) else ""
        raise ValueError(f"{expected}{per_pair}; found no columns {missing}")
    if frame.empty:
        raise ValueError(f"{expected}, found none of its rows")
    if len(names := frame["collection"].unique().tolist()) > 1:
        raise ValueError(
            f"{expected}, of one collection, found {names}; "
            "draw one at a time, side by side if need be: frame[frame.collection == name], ax=ax"
        )
    return frame


def chosen(rows: pd.DataFrame, **conditions: object) -> pd.DataFrame:
    """The rows with these values.

    Raises:
        ValueError: there are none with one of them.
    """
    for column, value in conditions.items():
        if not (rows[column] == value).any():
            raise ValueError(f"figure expects {column} among {list(rows[column].dropna().unique())}, found {value!r}")
        rows = rows[rows[column] == value]
    return rows


def by(rows: pd.DataFrame, index: str, factor: float = 1.0) -> pd.DataFrame:
    """``value``, ``low`` and ``high`` in another unit, by ``index``."""
    return factor * rows.set_index(index)[["value", "low", "high"]].astype(float)


def kinds(series: Mapping[str, Any]) -> list[str]:
    """The names of what is compared.

    Raises:
        ValueError: more than a reader could tell apart.
    """
    if len(series) > MOST:
        raise ValueError(f"figure expects at most {MOST} things to compare, found {len(series)}: {list(series)}; choose rows")
    return list(series)


def words(name: str) -> str:
    """``non_key`` as a reader wants it: ``non key``."""
    return str(name).replace("_", " ")
