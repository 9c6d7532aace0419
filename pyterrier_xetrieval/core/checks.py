"""Checks of options that stages, artifacts and tools share."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from reprlib import Repr

import numpy as np

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 80

_LARGEST = sys.float_info.max


def short_repr(value: object) -> str:
    """``repr(value)``, cut where it is long: errors and system names show lists of features."""
    return _SHORT.repr(value)


def is_missing(value: object) -> bool:
    """Whether a cell or an option holds nothing: NaN where pandas joined rankings, None where Parquet gives that back.

    Example::

        >>> [is_missing(value) for value in (None, float("nan"), 0.0, "", np.array([np.nan]))]
        [True, True, False, False, False]
    """
    number = isinstance(value, (float, np.floating))
    return value is None or (number and value != value) or type(value).__name__ in ("NAType", "NaTType")  # pandas' own


def found_value(value: object) -> str:
    """How an error names what it found: ``none`` for what was not given, else the ``repr``."""
    return "none" if value is None else repr(value)


def found_type(value: object) -> str:
    """How an error names the type of what it found in a cell: ``none`` where nothing is."""
    return "none" if is_missing(value) else type(value).__name__


def positive_int(value: object, name: str, *, stage: str) -> int:
    """``value``, if it is a whole number above 0; else a ValueError that names the stage."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{stage} expects {name} to be a positive whole number, found {found_value(value)}")
    return int(value)


def positive_ints(*, stage: str, **options: object) -> None:
    """:func:`positive_int` of several options by name.

    >>> positive_ints(stage="steering", draws=3, steps=0)
    Traceback (most recent call last):
    ValueError: steering expects steps to be a positive whole number, found 0
    """
    for name, value in options.items():
        positive_int(value, name, stage=stage)


def is_finite(value: object) -> bool:
    """Whether it is a number that a float holds, and finite; whole numbers of Python may be beyond any float.

    >>> [is_finite(value) for value in (1, 0.5, float("nan"), 10**400, "1")]
    [True, True, False, False, False]
    """
    if isinstance(value, (np.integer, np.floating)):  # numpy would round the limit to the value's type
        value = float(value)
    return isinstance(value, (int, float)) and abs(value) <= _LARGEST


def threshold_of(value: object, *, stage: str) -> float:
    """τ of Eq. 4, if it is a number from 0 up; else a ValueError that names the stage."""
    if not isinstance(value, (int, float, np.number)) or not value >= 0 or (isinstance(value, int) and value > _LARGEST):
        raise ValueError(f"{stage} expects threshold >= 0 (activations are never negative), found {found_value(value)}")
    return float(value)


def share_of_one(value: object, name: str, *, stage: str) -> float:
    """``value``, if it is a number from 0 to 1; else a ValueError that names the stage."""
    if not isinstance(value, (int, float, np.number)) or not 0 <= value <= 1:
        raise ValueError(f"{stage} expects {name} from 0 to 1, found {found_value(value)}")
    return float(value)


def distinct_aspects(aspects: object, *, stage: str) -> tuple[str, ...]:
    """``aspects`` as a tuple; ValueError for a single string, no sequence, or a name given twice."""
    if isinstance(aspects, str) or not isinstance(aspects, Iterable):
        raise ValueError(f"{stage} expects a list of aspects, found {found_value(aspects)}")
    aspects = tuple(aspects)
    if strangers := [aspect for aspect in aspects if not isinstance(aspect, str)]:
        raise ValueError(f"{stage} expects names of aspects, found {found_value(strangers[0])}")
    if len(set(aspects)) < len(aspects):
        raise ValueError(f"{stage} expects each aspect once, found {list(aspects)}")
    return aspects


def check_model(model: object, *, stage: str) -> None:
    """ValueError, which names the stage, for what is no :class:`~pyterrier_xetrieval.Xetrieval`; none of its parts is read."""
    if not hasattr(type(model), "vector_facts"):
        raise ValueError(f"{stage} expects a model, an Xetrieval, found {type(model).__name__}")


def check_aspect_name(aspect: object, *, stage: str) -> None:
    """ValueError unless ``aspect`` can end the name of a column and is not that of the original view."""
    if not isinstance(aspect, str) or not aspect.isidentifier() or aspect == "original":
        raise ValueError(
            f"{stage} expects aspects that can end a column name and are not 'original', found {found_value(aspect)}"
        )
