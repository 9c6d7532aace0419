"""A device is the one that was meant."""

import pytest
import torch

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.core.batches import device_of


def test_none_is_the_cpu():
    assert device_of(None) == device_of("cpu") == Xetrieval.default().device == torch.device("cpu")


@pytest.mark.parametrize("make", [device_of, lambda device: Xetrieval.default(device=device).device])
def test_0_is_the_first_accelerator_and_never_the_cpu(make):
    if torch.accelerator.is_available():
        assert make(0) == torch.device(torch.accelerator.current_accelerator().type, 0)
    else:
        with pytest.raises(RuntimeError):
            make(0)
