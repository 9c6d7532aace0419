"""Devices, and arrays as batches on one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch


def device_of(device: torch.device | str | int | None) -> torch.device:
    """The device that is meant, the CPU for None; 0 is the first accelerator, as everywhere in torch.

    >>> device_of(None), device_of("cpu")
    (device(type='cpu'), device(type='cpu'))
    """
    return torch.device("cpu" if device is None else device)


def on_device(x: np.ndarray, batch_size: int, device: torch.device | str) -> Iterator[torch.Tensor]:
    """The rows of an array in batches, as tensors on a device; one empty batch for an empty array.

    Example::

        >>> [batch.tolist() for batch in on_device(np.arange(3), 2, "cpu")]
        [[0, 1], [2]]
    """
    for start in range(0, max(len(x), 1), batch_size):
        yield torch.from_numpy(x[start : start + batch_size]).to(device)
