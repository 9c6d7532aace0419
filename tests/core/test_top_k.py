"""The k largest of each row, also where the quick way does not apply, against sorting."""

import numpy as np
import pytest
import torch

from pyterrier_xetrieval.core import top_k as module
from pyterrier_xetrieval.core.top_k import top_k


def largest(x, k):
    return np.sort(x.numpy(), axis=1)[:, ::-1][:, :k]


def assert_largest(x, k):
    values, ids = top_k(x, k)
    assert values.shape == ids.shape == (len(x), k) and values.dtype == x.dtype and ids.dtype == torch.int64
    assert torch.equal(values, x.gather(1, ids))
    assert all(len(set(row)) == k for row in ids.tolist())
    np.testing.assert_array_equal(np.sort(values.numpy(), axis=1)[:, ::-1], largest(x, k))


def numbers(n, width, dtype=torch.float32, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64])
@pytest.mark.parametrize("n, width, k", [(3, 100, 7), (3, 8, 8), (2, 9, 1), (0, 9, 2), (600, 40, 3), (257, 33, 8), (4, 32, 8)])
def test_the_largest_of_any_dtype_and_shape(n, width, k, dtype):
    assert_largest((100 * numbers(n, width)).to(dtype), k)


@pytest.mark.parametrize("k", range(1, 13))
@pytest.mark.parametrize("width", [16, 47, 48, 49, 50])
def test_every_k_and_width_around_whole_groups(k, width):
    for seed in range(5):
        assert_largest(numbers(9, width, seed=seed), k)
        assert_largest(numbers(9, width, seed=seed).sort(dim=1).values, k)  # all large ones in the last groups
        assert_largest(numbers(9, width, seed=seed).mul(2).round(), k)  # equal values


def test_none_at_all_and_more_than_there_are():
    assert top_k(numbers(2, 9), 0)[0].shape == (2, 0)
    with pytest.raises(RuntimeError):
        top_k(numbers(2, 9), 10)


def test_places_are_ascending_and_gradients_flow():
    x = numbers(5, 200).requires_grad_()
    values, ids = top_k(x, 6)
    assert (ids.diff(dim=1) > 0).all()
    values.sum().backward()
    np.testing.assert_array_equal(x.grad.nonzero()[:, 1].reshape(5, 6), ids)
    assert not top_k(x.detach(), 6)[0].requires_grad


def test_rows_are_looked_at_in_blocks(monkeypatch):
    seen = []
    quick = module._largest
    monkeypatch.setattr(module, "_largest", lambda rows, k: seen.append(len(rows)) or quick(rows, k))
    assert_largest(numbers(513, 40), 3)
    assert sorted(seen) == [1, 256, 256]


def test_the_quick_way_is_taken_where_it_can_be(monkeypatch):
    def never(rows, k):
        raise AssertionError("partitioned whole rows")

    monkeypatch.setattr(module, "_partitioned", never)
    assert_largest(numbers(3, 32), 8)  # 16 groups of two columns: the fewest that say anything
    assert_largest(numbers(300, 3001), 96)
    with pytest.raises(AssertionError):
        top_k(numbers(3, 31), 8)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 16, 100])
def test_places_of_a_mask(length):
    rng = np.random.default_rng(length)
    for share in (0.0, 0.05, 0.5, 1.0):
        mask = rng.random((1, length)) < share
        np.testing.assert_array_equal(module._places(mask), np.flatnonzero(mask))
