"""Weights of views, the folded vector and its dot products, against sums in float64."""

import numpy as np
import pytest

from pyterrier_xetrieval.core.views import fold_views, row_dots, unit_rows, view_weights
from tests.helpers.builders import unit


@pytest.mark.parametrize(
    "weights, expected",
    [
        (None, (1.0, 1.0)), (0.5, (0.5, 0.5)), (np.float32(2), (2.0, 2.0)), ([3, 4], (3.0, 4.0)), (np.array([3, 4]), (3.0, 4.0)),
        ({"qa": 4, "summary": 3}, (3.0, 4.0)),  # by name, not by place
    ],
)  # fmt: skip
def test_weights_are_in_the_order_of_the_aspects(weights, expected):
    found = view_weights(("summary", "qa"), weights, stage="S")
    assert found == expected and all(type(number) is float for number in found)


@pytest.mark.parametrize(
    "weights, message",
    [
        ({"qa": 1}, r"S expects weights for \['summary', 'qa'\], found \['qa'\]"),
        ({"qa": 1, "summary": 1, "more": 1}, r"S expects weights for .*, found .*'more'"),
        ([1, 2, 3], r"S expects 2 weights, one for each of \['summary', 'qa'\], found 3"),
        ("12", "S expects numbers as weights, found '12'"),
        ([1, float("nan")], r"S expects finite weights, found \[1.0, nan\]"),
        (float("inf"), "S expects finite weights"),
        ([None, 1], r"S expects numbers as weights, found \[None, 1\]"),
        (print, "S expects numbers as weights, found <built-in"),
    ],
)
def test_other_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        view_weights(("summary", "qa"), weights, stage="S")


def test_no_views_have_no_weights():
    assert view_weights((), None, stage="S") == view_weights((), 2.0, stage="S") == view_weights((), [], stage="S") == ()


def test_folding_is_a_weighted_sum_and_leaves_the_views():
    views = [unit(np.random.default_rng(i), 4, 6) for i in range(3)]
    first = views[0].copy()
    found = fold_views(views, (0.5, -2.0))
    expected = views[0].astype(np.float64) + 0.5 * views[1] - 2.0 * views[2]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(views[0], first)


def test_the_original_view_alone_comes_back_as_a_copy():
    view = np.ones((2, 3), np.float32)
    found = fold_views([view], ())
    np.testing.assert_array_equal(found, view)
    assert not np.shares_memory(found, view)


@pytest.mark.parametrize("n", [0, 1, 127, 128, 129, 300])
def test_dot_products_of_rows(n):
    rng = np.random.default_rng(n)
    left, right = unit(rng, 5, 8), unit(rng, 7, 8)
    i, j = rng.integers(0, 5, n), rng.integers(0, 7, n)
    found = row_dots(left, i, right, j)
    assert found.dtype == np.float32 and found.shape == (n,)
    expected = [sum(float(a) * float(b) for a, b in zip(left[x], right[y])) for x, y in zip(i, j)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_vectors_of_length_1_and_zeros_stay_bit_by_bit():
    vectors = np.float32([[3, 4, 0], [0, 0, 0], [1 + 5e-7, 0, 0], [1 + 1e-5, 0, 0], [1 - 1e-5, 0, 0], [-0.5, 0, 0]])
    before = vectors.copy()
    found = unit_rows(vectors)
    assert found.dtype == np.float32 and found[1:3].tobytes() == vectors[1:3].tobytes()
    np.testing.assert_allclose(found, [[0.6, 0.8, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0], [-1, 0, 0]], atol=6e-7)
    assert (found[3:, 0] == [1, 1, -1]).all()
    np.testing.assert_array_equal(vectors, before)
