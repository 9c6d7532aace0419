"""Reasoning internalizers: a document vector in, the vector of a text about it out (Cai et al. 2026, App. A)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .batches import in_whole_blocks, on_device

ORIGINAL = "original"  # the name of the view that a document's own vector is


class Internalizer(nn.Module):
    """``R_t(z) = Norm(W2 tanh(W1 z + b1) + b2)`` (Eq. 7, 19; the biases as in the released checkpoints).

    Args:
        dim: ``m``, dimension of the encoder's vectors.
        hidden: ``h``, width of the hidden layer (the paper's is 512).
    """

    def __init__(self, dim: int, hidden: int = 512):
        super().__init__()
        self.dim, self.hidden = dim, hidden
        self.layer1 = nn.Linear(dim, hidden)
        self.layer2 = nn.Linear(hidden, dim)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """The view of ``z`` (float32 ``[n, m]``), unit-norm float32 ``[n, m]``."""
        return F.normalize(self.layer2(torch.tanh(self.layer1(z))), dim=-1)


@torch.no_grad()
def internalize(module: Internalizer, z: np.ndarray, *, batch_size: int) -> np.ndarray:
    """``R_t`` of every row of ``z`` (float32 ``[n, m]``), in batches, on the module's own device."""
    batches = on_device(z, batch_size, module.layer1.weight.device)
    return np.concatenate([module(in_whole_blocks(batch))[: len(batch)].cpu().numpy() for batch in batches])


def all_views(modules: Mapping[str, Internalizer], z: np.ndarray, *, batch_size: int) -> dict[str, np.ndarray]:
    """Name to float32 ``[n, m]``: ``z`` itself as the original view, then what the module of each aspect makes of it."""
    made = {aspect: internalize(module, z, batch_size=batch_size) for aspect, module in modules.items()}
    return {ORIGINAL: z, **made}
