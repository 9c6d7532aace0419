"""Reconstruction from sparse codes whose gradients cost as much as there are active features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class ActiveFeatures:
    """The active features of ``n`` rows as a flat list, row after row.

    Attributes:
        ids: int64 ``[s]``, features; values: float ``[s]``, activations after ReLU, 0 for an empty slot.
        rows: int64 ``[s]``, ascending, the row of each.
        parts: into how many parts the dictionary is cut; part: int64 ``[s]``, ascending within a row, or None for 1.
    """

    ids: torch.Tensor
    values: torch.Tensor
    rows: torch.Tensor
    parts: int = 1
    part: torch.Tensor | None = None

    @property
    def bags(self) -> torch.Tensor:
        """Which sum each feature belongs to: one for every row and part, int64 ``[s]``."""
        return self.rows if self.part is None else self.rows * self.parts + self.part

    def counts(self, dict_size: int) -> torch.Tensor:
        """In how many rows each feature is active, int64 ``[D]``."""
        return torch.bincount(self.ids[self.values > 0], minlength=dict_size)

    @classmethod
    def from_slots(cls, ids: torch.Tensor, values: torch.Tensor) -> ActiveFeatures:
        """From ids and values ``[n, k]``."""
        rows = torch.arange(len(ids), device=ids.device).repeat_interleave(ids.shape[1])
        return cls(ids.reshape(-1), values.reshape(-1), rows)


def decode_active(
    x: torch.Tensor, active: ActiveFeatures, w_enc: torch.Tensor, b_enc: torch.Tensor, w_dec: torch.Tensor, b_dec: torch.Tensor
) -> torch.Tensor:
    """``Σ_s c_s w_(ids_s)`` for every row and part, float ``[n · parts, m]``, without the bias; see :class:`_Reconstruction`."""
    bags = active.bags
    starts = torch.searchsorted(bags, torch.arange(len(x) * active.parts, device=bags.device))
    return _Reconstruction.apply(x, active, bags, starts, w_enc, b_enc, w_dec, b_dec)


class _Reconstruction(torch.autograd.Function):
    """``Σ_s c_s w_(ids_s)`` with ``c = ReLU(w_enc[ids]·(x − b_dec) + b_enc[ids])``, gradients by sparsity.

    Of the ``n·D`` activations only the active ones have a gradient, so the backward pass touches those alone: the
    gradient of an activation is one gathered dot product, those of the dictionary and the encoder are sums over the
    rows in which a feature is active. The result is exact; the one dense product of a step is the encoder's.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        active: ActiveFeatures,
        bags: torch.Tensor,
        starts: torch.Tensor,
        w_enc: torch.Tensor,
        b_enc: torch.Tensor,
        w_dec: torch.Tensor,
        b_dec: torch.Tensor,
    ) -> torch.Tensor:
        with torch.enable_grad():  # a graph of its own, whose only leaf is the activations
            leaf = active.values.detach().requires_grad_()
            decoded = F.embedding_bag(active.ids, w_dec.detach(), starts, per_sample_weights=leaf, mode="sum")
        ctx.active, ctx.bags, ctx.leaf, ctx.decoded = active, bags, leaf, decoded
        ctx.save_for_backward(x, w_enc, b_dec)
        return decoded.detach()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x, w_enc, b_dec), active = ctx.saved_tensors, ctx.active
        (grad_values,) = torch.autograd.grad(ctx.decoded, ctx.leaf, grad.contiguous())
        grad_values = grad_values * (active.values > 0)
        by_feature = _ByFeature(active.ids, len(w_enc))
        grad_w_dec = by_feature.sum(active.values, grad, ctx.bags)
        grad_w_enc = by_feature.sum(grad_values, x - b_dec, active.rows)
        grad_b_enc = torch.zeros(len(w_enc), dtype=x.dtype, device=x.device).index_add_(0, active.ids, grad_values)
        return None, None, None, None, grad_w_enc, grad_b_enc, grad_w_dec, -(grad_b_enc @ w_enc)


class _ByFeature:
    """Weighted sums of rows, a sum for each feature: ``out[j] = Σ_(s: ids_s=j) weights_s · matrix[index_s]``."""

    def __init__(self, ids: torch.Tensor, dict_size: int):
        if ids.device.type == "cpu" and dict_size <= 1 << 16:
            # numpy sorts 16-bit keys by radix, twenty times faster than 64-bit ones
            self.order = torch.from_numpy(np.argsort(ids.numpy().astype(np.uint16), kind="stable"))
        else:
            self.order = ids.argsort(stable=True)
        ends = torch.bincount(ids, minlength=dict_size).cumsum(0)
        self.starts = F.pad(ends[:-1], (1, 0))

    def sum(self, weights: torch.Tensor, matrix: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return F.embedding_bag(
            index[self.order], matrix.contiguous(), self.starts, per_sample_weights=weights[self.order], mode="sum"
        )
