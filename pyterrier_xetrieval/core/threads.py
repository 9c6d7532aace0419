"""Work of numpy's on several threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def in_threads(function: Callable[..., T], items: Sequence) -> list[T]:
    """``[function(item) for item in items]``, on as many threads as torch has: numpy works outside the interpreter's lock."""
    if len(items) < 2 or torch.get_num_threads() == 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(function, items))
