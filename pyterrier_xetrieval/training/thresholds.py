"""Sparse autoencoders that learn a threshold: JumpReLU one for each feature, BatchTopK and Matryoshka one for all."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from .objectives import Objective, squared_error
from .sae import AUX_WEIGHT, _aux_loss
from .sparse import dense_reconstruction


class JumpReLU(Objective):
    """A threshold of its own for each feature (Rajamanoharan et al. 2024b).

    ``f = p ⊙ H(p − θ)`` and ``L = ‖x − x̃‖² + λ Σ_j H(p_j − θ_j)``, the number of active features itself. Both jump at
    θ, so θ learns through pseudo-derivatives with a rectangle of width ε, the ``bandwidth``:
    ``∂f/∂θ := −θ/ε · 1[|p − θ| < ε/2]`` and ``∂H/∂θ := −1/ε · 1[|p − θ| < ε/2]``. θ stays positive as the exponential
    of its parameter. Both defaults are far above the paper's 0.001, which suits trainings on billions of rows.
    """

    def __init__(self, start, *, bandwidth=0.05, threshold=0.05, **options):
        super().__init__(start, **options)
        if not (bandwidth > 0 and threshold > 0):
            raise ValueError(f"jumprelu expects bandwidth > 0 and threshold > 0, found {bandwidth} and {threshold}")
        self.bandwidth, self.first = bandwidth, float(np.log(threshold))
        self.log_threshold = nn.Parameter(torch.full((self.dict_size,), self.first))

    def codes(self, x):
        pre = self.pre_activations(x)
        return _Jump.apply(pre, self.log_threshold.exp(), self.bandwidth)[0]

    def forward(self, x, warmup, dead):
        f, step = _Jump.apply(self.pre_activations(x), self.log_threshold.exp(), self.bandwidth)
        decoded = f @ self.w_dec + self.b_dec
        terms = {"loss": squared_error(x, decoded), "sparsity_loss": warmup * self.sparsity * self.penalty(step)}
        return f.detach(), decoded.detach(), terms

    @torch.no_grad()
    def revived(self, dead):
        self.log_threshold[dead] = self.first

    def thresholds(self):
        return self.log_threshold.exp()


class BatchTopK(Objective):
    """The ``n·k`` largest activations of a batch of n rows stay (Bussmann et al. 2024), so k holds on average.

    No sparsity term; AuxK for dead features as in TopK. Inference cannot look at a batch: it compares with one
    threshold, ``θ = E[min{f_ij > 0}]`` over batches, a running mean over about ``1 / (1 − momentum)`` of them.
    """

    needs = "k"

    def __init__(self, start, *, momentum=0.98, aux_k=None, **options):
        super().__init__(start, **options)
        self.momentum, self.aux_k = momentum, max(1, self.dim // 8) if aux_k is None else aux_k
        self.total, self.mass = 0.0, 0.0

    def codes(self, x):
        f = super().codes(x)
        positive, keep = f.detach()[f.detach() > 0].numpy(), len(x) * self.k
        if keep >= len(positive):
            return f
        # the many zeros left out: they slow the selection down tenfold
        return f * (f >= float(np.partition(positive, len(positive) - keep)[len(positive) - keep]))

    def forward(self, x, warmup, dead):
        f = self.codes(x)
        kept = f.detach()[f.detach() > 0]
        if self.training and len(kept):
            self.total = self.momentum * self.total + (1 - self.momentum) * kept.min().item()
            self.mass = self.momentum * self.mass + (1 - self.momentum)
        loss, decoded = self.reconstruct(x, f)
        terms = {"loss": loss}
        if self.aux_k and len(dead):
            residual = (x - decoded).detach()
            terms["aux_loss"] = AUX_WEIGHT * _aux_loss(self, x, residual, dead, self.aux_k, dense_reconstruction)
        return f.detach(), decoded.detach(), terms

    def reconstruct(self, x, f):
        decoded = f @ self.w_dec + self.b_dec
        return squared_error(x, decoded), decoded

    def thresholds(self):
        return torch.full((self.dict_size,), self.total / self.mass if self.mass else 0.0)


class Matryoshka(BatchTopK):
    """BatchTopK whose first features must reconstruct alone: dictionaries within dictionaries (Bussmann et al. 2025).

    ``L = mean_m ‖x − (W_(1…m) f_(1…m) + b)‖²`` over the prefixes m, given as rising shares of the dictionary, the
    last of them 1. General features come first, special ones later.
    """

    def __init__(self, start, *, prefixes=(1 / 32, 3 / 32, 7 / 32, 15 / 32, 1), **options):
        super().__init__(start, **options)
        self.ends = [max(1, round(share * self.dict_size)) for share in prefixes]
        if not self.ends or self.ends[-1] != self.dict_size or sorted(self.ends) != self.ends:
            raise ValueError(f"matryoshka expects prefixes that rise to 1, found {tuple(prefixes)}")

    def reconstruct(self, x, f):
        decoded, losses = self.b_dec, []
        for begin, end in zip([0, *self.ends[:-1]], self.ends, strict=True):
            decoded = decoded + f[:, begin:end] @ self.w_dec[begin:end]
            losses.append(squared_error(x, decoded))
        return torch.stack(losses).mean(), decoded


class _Jump(torch.autograd.Function):
    """``(p H(p − θ), H(p − θ))`` with the pseudo-derivatives of :class:`JumpReLU`."""

    @staticmethod
    def forward(ctx, pre, threshold, bandwidth):
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        step = (pre > threshold).to(pre.dtype)
        return pre * step, step

    @staticmethod
    def backward(ctx, grad_f, grad_step):
        pre, threshold = ctx.saved_tensors
        near = ((pre - threshold).abs() < ctx.bandwidth / 2) / ctx.bandwidth
        grad_threshold = -((threshold * grad_f + grad_step) * near).sum(0)
        return grad_f * (pre > threshold), grad_threshold, None
