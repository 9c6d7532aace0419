"""Reconstruction from sparse codes with gradients that cost ``k`` features a row and not ``D``, and the dense formulation."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F


class SparseReconstruction(torch.autograd.Function):
    """``Σ_s c_s w_(ids_s) + b_dec`` with ``c = ReLU(w_enc[ids]·(x − b_dec) + b_enc[ids])``, gradients by sparsity.

    Of the ``n·D`` activations only ``n·k`` have a gradient, so the backward pass touches those alone: the gradient of
    an activation is one gathered dot product, those of the dictionary and the encoder are sums over the rows in
    which a feature is active. The result is exact, the one dense product of a step is the encoder's forward pass.

    Call as ``apply(x, ids, values, w_enc, b_enc, w_dec, b_dec)`` with x float ``[n, m]`` (no gradient), ids int64
    ``[n, k]`` and values float ``[n, k]`` the selected activations after ReLU; returns float ``[n, m]``.
    """

    @staticmethod
    def forward(ctx, x, ids, values, w_enc, b_enc, w_dec, b_dec):
        with torch.enable_grad():  # a graph of its own, whose only leaf is the activations
            leaf = values.detach().requires_grad_()
            decoded = F.embedding_bag(ids, w_dec.detach(), per_sample_weights=leaf, mode="sum")
        ctx.leaf, ctx.decoded = leaf, decoded
        ctx.save_for_backward(x, ids, w_enc, b_dec)
        return decoded.detach() + b_dec

    @staticmethod
    def backward(ctx, grad):
        x, ids, w_enc, b_dec = ctx.saved_tensors
        values = ctx.leaf.detach()
        (grad_values,) = torch.autograd.grad(ctx.decoded, ctx.leaf, grad.contiguous())
        grad_values = grad_values * (values > 0)
        by_feature = _ByFeature(ids, len(w_enc))
        grad_w_dec = by_feature.sum(values, grad)
        grad_w_enc = by_feature.sum(grad_values, x - b_dec)
        grad_b_enc = torch.zeros(len(w_enc), dtype=x.dtype).index_add_(0, ids.reshape(-1), grad_values.reshape(-1))
        grad_b_dec = grad.sum(0) - grad_b_enc @ w_enc
        return None, None, None, grad_w_enc, grad_b_enc, grad_w_dec, grad_b_dec


class _ByFeature:
    """Weighted sums of rows, one sum per feature: ``out[j] = Σ_(i,s: ids[i,s]=j) weights[i,s] · rows[i]``."""

    def __init__(self, ids: torch.Tensor, dict_size: int):
        flat = ids.reshape(-1).numpy()
        # 16-bit keys: numpy sorts these by radix, twenty times faster than 64-bit ones
        keys = flat.astype(np.uint16) if dict_size <= 1 << 16 else flat
        self.order = torch.from_numpy(np.argsort(keys, kind="stable"))
        counts = np.bincount(flat, minlength=dict_size)
        self.offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)[:-1]]))
        self.rows = self.order // ids.shape[1]

    def sum(self, weights: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        weights = weights.reshape(-1)[self.order]
        return F.embedding_bag(self.rows, rows.contiguous(), self.offsets, per_sample_weights=weights, mode="sum")


def dense_reconstruction(x, ids, values, w_enc, b_enc, w_dec, b_dec):
    """The same function of the same arguments through dense ``[n, D]`` matrices and plain autograd, for comparison."""
    pre = torch.addmm(b_enc - w_enc @ b_dec, x, w_enc.T)
    mask = torch.zeros_like(pre).scatter_(1, ids, (values > 0).to(pre.dtype))
    return (torch.relu(pre) * mask) @ w_dec + b_dec
