"""What options may be, and how an error names what it found instead."""

import re

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval.core.checks import (
    check_aspect_name,
    distinct_aspects,
    found_type,
    found_value,
    is_missing,
    positive_int,
    positive_ints,
    share_of_one,
    short_repr,
    threshold_of,
)

NAN = float("nan")


def test_long_values_are_cut():
    assert short_repr([1, 2]) == "[1, 2]" and short_repr("a" * 70) == repr("a" * 70)
    assert len(short_repr("a" * 81)) == 80 and len(short_repr(slice("a" * 99))) == 80
    assert short_repr(list(range(100))) == "[0, 1, 2, 3, 4, 5, ...]"


def test_nothing_is_none_or_not_a_number():
    missing = [None, NAN, np.float32("nan"), np.float64("nan"), pd.NA, pd.NaT]
    there = [0, 0.0, 1.5, np.float32(2), float("inf"), "", "nan", np.array([NAN]), [], False]
    assert [is_missing(value) for value in missing] == [True] * 6
    assert [is_missing(value) for value in there] == [False] * 10


def test_what_was_found_is_named():
    assert [found_value(value) for value in (None, 0, "a", NAN)] == ["none", "0", "'a'", "nan"]
    assert [found_type(value) for value in (None, NAN, pd.NA, 1.5, "a", [1])] == ["none"] * 3 + ["float", "str", "list"]


def refused(check, value, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check(value)


def test_positive_whole_numbers():
    def check(value):
        return positive_int(value, "size", stage="S")

    assert check(1) == 1 and check(7) == 7
    assert check(np.int64(3)) == 3 and type(check(np.int64(3))) is int
    for value, found in [(0, "0"), (-1, "-1"), (1.0, "1.0"), (True, "True"), (None, "none"), ("2", "'2'"), (NAN, "nan")]:
        refused(check, value, f"S expects size to be a positive whole number, found {found}")


def test_several_whole_numbers_by_name():
    assert positive_ints(stage="S", a=1, b=2) is None
    refused(lambda value: positive_ints(stage="S", a=1, b=value), 0, "S expects b to be a positive whole number, found 0")


def test_thresholds():
    def check(value):
        return threshold_of(value, stage="S")

    assert [check(value) for value in (0, 0.5, 3, np.float32(0.25))] == [0.0, 0.5, 3.0, 0.25]
    assert type(check(0)) is type(check(np.float32(1))) is float
    for value, found in [(-1e-9, "-1e-09"), (NAN, "nan"), (None, "none"), ("1", "'1'")]:
        refused(check, value, f"S expects threshold >= 0 (activations are never negative), found {found}")


def test_shares():
    def check(value):
        return share_of_one(value, "part", stage="S")

    assert [check(value) for value in (0, 0.5, 1, np.float32(0.25))] == [0.0, 0.5, 1.0, 0.25]
    assert type(check(1)) is type(check(np.float32(1))) is float
    for value, found in [(-0.01, "-0.01"), (1.01, "1.01"), (NAN, "nan"), (None, "none"), ([1], "[1]")]:
        refused(check, value, f"S expects part from 0 to 1, found {found}")


def test_aspects_are_a_list_of_different_names():
    def check(value):
        return distinct_aspects(value, stage="S")

    assert check(["b", "a"]) == ("b", "a") and check(()) == () and check(dict.fromkeys("ab")) == ("a", "b")
    refused(check, "qa", "S expects a list of aspects, found 'qa'")
    refused(check, 3, "S expects a list of aspects, found 3")
    refused(check, None, "S expects a list of aspects, found none")
    refused(check, ["a", "b", "a"], "S expects each aspect once, found ['a', 'b', 'a']")


def test_names_of_aspects_can_end_a_column():
    for good in ("qa", "summary_2", "Original"):
        check_aspect_name(good, stage="S")
    for bad, found in [("original", "'original'"), ("2a", "'2a'"), ("a b", "'a b'"), ("", "''"), (3, "3"), (None, "none")]:
        refused(
            lambda value: check_aspect_name(value, stage="S"), bad,
            f"S expects aspects that can end a column name and are not 'original', found {found}",
        )  # fmt: skip
