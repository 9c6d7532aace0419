"""Arrays as batches on a device."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch


def on_device(x: np.ndarray, batch_size: int, device: torch.device | str) -> Iterator[torch.Tensor]:
    """The rows of an array in batches, as tensors on a device; one empty batch for an empty array.

    Example::

        >>> [batch.tolist() for batch in on_device(np.arange(3), 2, "cpu")]
        [[0, 1], [2]]
    """
    for start in range(0, max(len(x), 1), batch_size):
        yield torch.from_numpy(x[start : start + batch_size]).to(device)
