"""Whether a processor is slow with bfloat16: without instructions for it, torch computes it many times slower than float32."""

from __future__ import annotations

import time
import warnings
from functools import cache

import torch

_SLOW = 2.0  # times as long as float32: well above what a busy processor makes of equally fast ones
_LEAST, _MOST = 5, 50  # runs


def warn_if_slow(dtype: torch.dtype, device: torch.device | str, *, stage: str, remedy: str) -> None:
    """Warns if a model of this dtype computes on a processor that is slow with it; of accelerators nothing is asked.

    Args:
        dtype: of the model's weights; device: where they are.
        stage: who asks; remedy: what its user can write instead. Both are part of the warning.
    """
    if dtype != torch.bfloat16 or torch.device(device).type != "cpu":
        return
    times = bfloat16_slowdown()
    if times > _SLOW:
        warnings.warn(
            f"{stage} computes in bfloat16, with which this processor takes {times:.0f} times as long as with float32; {remedy}",
            stacklevel=3,
        )


@cache
def bfloat16_slowdown() -> float:
    """How many times as long as in float32 this processor needs for a product of matrices in bfloat16.

    It is measured once, in some milliseconds: what instructions a processor has is said in as many ways as there are makers.
    Each dtype counts with its shortest run, because others that use the processor can only make a run longer.
    """
    shortest = dict.fromkeys((torch.float32, torch.bfloat16), float("inf"))
    for i in range(_MOST):
        for dtype in shortest:
            shortest[dtype] = min(shortest[dtype], _seconds(dtype))
        if i >= _LEAST and shortest[torch.bfloat16] <= _SLOW * shortest[torch.float32]:
            break
    return shortest[torch.bfloat16] / shortest[torch.float32]


@torch.inference_mode()
def _seconds(dtype: torch.dtype) -> float:
    """Of one product."""
    a, b = torch.ones(128, 384, dtype=dtype), torch.ones(384, 384, dtype=dtype)
    start = time.perf_counter()
    a @ b
    return time.perf_counter() - start
