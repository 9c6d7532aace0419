"""JumpReLU: a sparse autoencoder that learns a threshold for each feature."""

from __future__ import annotations

import torch
from torch import nn

from .objectives import Objective, Step, squared_error


class JumpReLU(Objective):
    """A threshold of its own for each feature (Rajamanoharan et al. 2024b).

    ``f = p ⊙ H(p − θ)`` and ``L = ‖x − x̃‖² + λ Σ_j H(p_j − θ_j)``, the number of active features itself. Both jump at
    θ, so θ learns through pseudo-derivatives with a rectangle of width ε, the ``bandwidth``:
    ``∂f/∂θ := −θ/ε · 1[|p − θ| < ε/2]`` and ``∂H/∂θ := −1/ε · 1[|p − θ| < ε/2]``. θ starts at ``threshold`` times the
    length of the encoder's rows, so that some features are active whatever that length, and is used as 0 below 0. Both
    defaults are far above the paper's 0.001, which suits trainings on billions of rows.
    """

    def __init__(self, start, *, bandwidth=0.05, threshold=0.04, **options):
        super().__init__(start, **options)
        if not (bandwidth > 0 and threshold > 0):
            raise ValueError(f"jumprelu expects bandwidth > 0 and threshold > 0, found {bandwidth} and {threshold}")
        self.bandwidth, self.first = bandwidth, threshold
        # not its logarithm: Adam would need thousands of steps to move that from the start to the end of a training
        self.threshold = nn.Parameter(torch.full((self.dict_size,), float(threshold)))

    def codes(self, x):
        pre = self.pre_activations(x)
        return _Jump.apply(pre, self.thresholds(), self.bandwidth)[0]

    def forward(self, x, warmup, dead):
        f, step = _Jump.apply(self.pre_activations(x), self.thresholds(), self.bandwidth)
        decoded = f @ self.w_dec + self.b_dec
        terms = {"loss": squared_error(x, decoded), "sparsity_loss": warmup * self.sparsity * self.penalty(step)}
        return Step(step.sum(0).long(), decoded.detach(), terms)

    @torch.no_grad()
    def started(self):
        self.threshold.copy_(self.first * self.w_enc.norm(dim=1))

    @torch.no_grad()
    def revived(self, dead):
        self.threshold[dead] = self.first * self.w_enc[dead].norm(dim=1)

    def thresholds(self):
        return self.threshold + (self.threshold.clamp_min(0) - self.threshold).detach()  # below 0 it still learns


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
