"""A device is the one that was meant."""

import numpy as np
import pytest
import torch

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.core.batches import device_of, in_whole_blocks, on_device


def test_none_is_the_cpu():
    assert device_of(None) == device_of("cpu") == Xetrieval.default().device == torch.device("cpu")


@pytest.mark.parametrize("make", [device_of, lambda device: Xetrieval.default(device=device).device])
def test_0_is_the_first_accelerator_and_never_the_cpu(make):
    if torch.accelerator.is_available():
        assert make(0) == torch.device(torch.accelerator.current_accelerator().type, 0)
        return
    try:  # torch refuses it here, or, with a build for accelerators, where something is moved there
        assert make(0).type != "cpu"
    except RuntimeError:
        pass


@pytest.mark.parametrize(
    "n, size, sizes", [(0, 3, [0]), (1, 1, [1]), (1, 3, [1]), (3, 3, [3]), (4, 3, [3, 1]), (7, 3, [3, 3, 1])]
)
def test_rows_come_in_batches(n, size, sizes):
    x = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    batches = list(on_device(x, size, "cpu"))
    assert [len(batch) for batch in batches] == sizes and all(batch.device.type == "cpu" for batch in batches)
    np.testing.assert_array_equal(np.concatenate(batches), x)


@pytest.mark.parametrize("n, filled", [(0, 0), (1, 16), (15, 16), (16, 16), (17, 32), (32, 32)])
def test_blocks_are_filled_up_with_zeros(n, filled):
    x = torch.rand(n, 3, 2, dtype=torch.float64) + 1
    found = in_whole_blocks(x)
    assert found.shape == (filled, 3, 2) and found.dtype == x.dtype
    assert torch.equal(found[:n], x) and (found[n:] == 0).all()
    assert (found is x) == (n == filled)
