"""Sparse autoencoders that keep the largest activations: TopK of each vector, BatchTopK and Matryoshka of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..core.sae import SparseAutoencoder
from ..core.top_k import top_k
from .objectives import Objective, Step
from .sparse_decoding import ActiveFeatures, decode_active

AUX_WEIGHT = 1 / 32  # Gao et al. 2024, appendix A.2


class TopK(Objective):
    """The ``k`` largest activations of a vector stay (Gao et al. 2024): ``L = ‖x − x̃‖² + AuxK / 32``, no sparsity term.

    AuxK follows dictionary_learning's form: the ``aux_k`` most activated dead features (at most as many as are dead)
    reconstruct the detached residual ``x − x̃`` without a bias; their squared error is divided by the residual's
    variance and not scaled by the share of dead features.

    Args:
        aux_k: default ``m // 8``, since a step of AuxK costs as much as one of ``k = aux_k``; 0 turns AuxK off.
    """

    rule = "topk"
    needs = "k"

    def __init__(self, start: SparseAutoencoder, *, aux_k: int | None = None, **options: Any):
        super().__init__(start, **options)
        self.aux_k = max(1, self.dim // 8) if aux_k is None else aux_k

    @torch.no_grad()
    def select(self, x: torch.Tensor) -> ActiveFeatures:
        """The features that stay, found without a graph: only they have a gradient."""
        values, ids = top_k(self.pre_activations(x), self.k)
        return ActiveFeatures.from_slots(ids, values.relu_())

    def forward(self, x: torch.Tensor, warmup: float, dead: torch.Tensor) -> Step:
        active = self.select(x)
        decoded, loss = self.reconstruction(x, active)
        terms = {"loss": loss}
        if self.aux_k and len(dead):
            terms["aux_loss"] = AUX_WEIGHT * self.auxiliary(x, (x - decoded).detach(), dead)
        return Step(active.counts(self.dict_size), decoded.detach(), terms)

    def reconstruction(self, x: torch.Tensor, active: ActiveFeatures) -> tuple[torch.Tensor, torch.Tensor]:
        """``x̃`` and its loss."""
        decoded = decode_active(x, active, self.w_enc, self.b_enc, self.w_dec, self.b_dec) + self.b_dec
        return decoded, (x - decoded).pow(2).sum(1).mean()

    def auxiliary(self, x: torch.Tensor, residual: torch.Tensor, dead: torch.Tensor) -> torch.Tensor:
        """How badly the dead features reconstruct the residual: ``‖e − ê‖² / ‖e − ē‖²``."""
        w_enc, b_enc, w_dec, b_dec = self.w_enc[dead], self.b_enc[dead], self.w_dec[dead], self.b_dec.detach()
        with torch.no_grad():
            pre = torch.addmm(b_enc - w_enc @ b_dec, x, w_enc.T)
            values, ids = pre.topk(min(self.aux_k, len(dead)), dim=1, sorted=False)
        estimate = decode_active(x, ActiveFeatures.from_slots(ids, values.relu_()), w_enc, b_enc, w_dec, b_dec)
        return (residual - estimate).pow(2).sum() / (residual - residual.mean(0)).pow(2).sum().clamp_min(1e-12)


class BatchTopK(TopK):
    """The ``n·k`` largest activations of a batch of n rows stay (Bussmann et al. 2024), so k holds on average.

    AuxK as in TopK. Inference cannot look at a batch: it compares with one threshold, ``θ = E[min{f_ij > 0}]`` over
    batches, a running mean over about ``1 / (1 − momentum)`` of them. Under several processes a batch is one
    process's share of it.
    """

    rule = "threshold"

    def __init__(self, start: SparseAutoencoder, *, momentum: float = 0.98, **options: Any):
        super().__init__(start, **options)
        self.momentum = momentum
        self.total: torch.Tensor
        self.mass: torch.Tensor
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("mass", torch.zeros(()))

    @torch.no_grad()
    def select(self, x: torch.Tensor) -> ActiveFeatures:
        pre = self.pre_activations(x)
        least = _nth_largest(pre, len(x) * self.k, guess=0.8 * self._least())
        keep = pre >= least if least > 0 else pre > 0
        rows, ids = keep.nonzero(as_tuple=True)
        values = pre[rows, ids]
        if self.training:
            # every process takes part, also one without a positive activation
            found = values.new_tensor([values.min() if len(values) else 0.0, len(values) > 0])
            smallest, processes = self.processes.sum(found)
            if processes:
                self.total.mul_(self.momentum).add_((1 - self.momentum) * smallest / processes)
                self.mass.mul_(self.momentum).add_(1 - self.momentum)
        return ActiveFeatures(ids, values, rows)

    def _least(self) -> float:
        return (self.total / self.mass).item() if self.mass else 0.0

    def thresholds(self) -> torch.Tensor:
        return torch.full((self.dict_size,), self._least())


class Matryoshka(BatchTopK):
    """BatchTopK whose first features must reconstruct alone: dictionaries within dictionaries (Bussmann et al. 2025).

    ``L = mean_m ‖x − (W_(1…m) f_(1…m) + b)‖²`` over the prefixes m, given as rising shares of the dictionary, the
    last of them 1. General features come first, special ones later.
    """

    def __init__(
        self, start: SparseAutoencoder, *, prefixes: Sequence[float] = (1 / 32, 3 / 32, 7 / 32, 15 / 32, 1), **options: Any
    ):
        super().__init__(start, **options)
        ends = [max(1, round(share * self.dict_size)) for share in prefixes]
        if not ends or ends[-1] != self.dict_size or sorted(set(ends)) != ends:
            raise ValueError(
                f"matryoshka expects prefixes that rise to 1, each by a feature or more of {self.dict_size}, found {tuple(prefixes)}"
            )
        self.ends: torch.Tensor
        self.register_buffer("ends", torch.tensor(ends), persistent=False)

    def select(self, x: torch.Tensor) -> ActiveFeatures:
        active = super().select(x)
        part = torch.bucketize(active.ids, self.ends, right=True)
        return ActiveFeatures(active.ids, active.values, active.rows, len(self.ends), part)

    def reconstruction(self, x: torch.Tensor, active: ActiveFeatures) -> tuple[torch.Tensor, torch.Tensor]:
        parts = decode_active(x, active, self.w_enc, self.b_enc, self.w_dec, self.b_dec)
        decoded = parts.view(len(x), len(self.ends), self.dim).cumsum(1) + self.b_dec
        return decoded[:, -1], (x.unsqueeze(1) - decoded).pow(2).sum(2).mean()


def _nth_largest(x: torch.Tensor, n: int, *, guess: float) -> float:
    """The n-th largest positive value, or 0 if there are not so many.

    ``guess`` only saves time: values below it are looked at if too few are above.
    """
    for bound in (guess, 0.0):
        above = x[x > bound]
        if len(above) >= n:
            if x.device.type != "cpu":
                return above.topk(n).values[-1].item()
            return float(np.partition(above.numpy(), len(above) - n)[len(above) - n])
    return 0.0
