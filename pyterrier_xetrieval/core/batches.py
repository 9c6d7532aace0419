"""Devices, and arrays as batches on one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

_ROWS = 16  # processors multiply this many rows, or a fraction of them, at once


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


def in_whole_blocks(x: torch.Tensor) -> torch.Tensor:
    """The rows of ``[n, m]`` and as many of zeros as make their number a multiple of 16.

    A product of matrices sums in another order for the last rows that fill no block, and for one row alone, so that the last
    bits of a row's result depend on how many others it came with. Of two features that are equal but for these bits a TopK
    dictionary would then choose the one for a page of results and the other for the same result alone.

    Example::

        >>> in_whole_blocks(torch.ones(3, 2)).sum(1).tolist()[:4]
        [2.0, 2.0, 2.0, 0.0]
    """
    missing = -len(x) % _ROWS
    return torch.cat([x, x.new_zeros(missing, *x.shape[1:])]) if missing else x
