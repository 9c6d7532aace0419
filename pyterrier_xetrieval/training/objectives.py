"""Sparse autoencoders with a penalty on their activations: ReLU, gated, and both with an annealed penalty."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ..core.sae import SparseAutoencoder
from .processes import Workers


class Step(NamedTuple):
    """What one batch gave: ``counts`` int64 ``[D]``, in how many rows each feature was active; ``decoded`` float32
    ``[n, m]``, detached; ``terms``, the parts of the loss by name."""

    counts: torch.Tensor
    decoded: torch.Tensor
    terms: dict[str, torch.Tensor]


class Objective(nn.Module):
    """What one variant adds to the common loop: codes, loss and the rule under which the result is used.

    All of them share ``p = W_e (x − b) + b_e``, ``x̃ = W f + b`` and unit directions; ``f = ReLU(p)`` unless a subclass
    says otherwise. Vectors arrive divided by one number so that their variance is 1: losses, penalties and thresholds
    then mean the same whatever the scale of the encoder, and :meth:`export` multiplies the scale back in.

    Args:
        start: where the weights begin.
        sparsity: λ of the penalty family; None for the k family.
        k: (mean) number of active features of the k family; None for the penalty family.

    Attributes:
        workers: the processes that share the training, for statistics of the whole batch.
    """

    rule = "threshold"  # how the exported autoencoder activates, see SparseAutoencoder
    needs = "sparsity"

    def __init__(self, start: SparseAutoencoder, *, sparsity: float | None = None, k: int | None = None):
        super().__init__()
        self.workers = Workers()
        self.dim, self.dict_size, self.sparsity, self.k = start.dim, start.dict_size, sparsity, k
        for name in ("w_enc", "b_enc", "w_dec", "b_dec"):
            setattr(self, name, nn.Parameter(getattr(start, name).detach().clone()))

    def pre_activations(self, x: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self.b_enc - self.w_enc @ self.b_dec, x, self.w_enc.T)

    def codes(self, x: torch.Tensor) -> torch.Tensor:
        """``f``, dense float32 ``[n, D]``, as training sees it."""
        return torch.relu(self.pre_activations(x))

    def schedule(self, progress: float) -> None:
        """Called before each step with the share of the training that is done."""

    def forward(self, x: torch.Tensor, warmup: float, dead: torch.Tensor) -> Step:
        """One batch; ``warmup`` is the share of λ in force, ``dead`` the features that long did nothing, int64 ``[·]``."""
        f = self.codes(x)
        decoded = f @ self.w_dec + self.b_dec
        terms = {"loss": squared_error(x, decoded), "sparsity_loss": warmup * self.sparsity * self.penalty(f)}
        return Step((f > 0).sum(0), decoded.detach(), terms)

    def penalty(self, f: torch.Tensor) -> torch.Tensor:
        """``Ω(f)`` of Eq. 10, a number; ``Σ_j f_j`` on average, directions having length 1."""
        return f.sum(1).mean()

    def started(self) -> None:
        """Called before the first step, when the weights have their first lengths."""

    def revived(self, dead: torch.Tensor) -> None:
        """Called after dead features started again, to set what else belongs to a feature."""

    def thresholds(self) -> torch.Tensor:
        return torch.zeros(self.dict_size)

    @torch.no_grad()
    def export(self, scale: float) -> SparseAutoencoder:
        """The autoencoder of the unscaled vectors, which activates at inference as this one does in training."""
        sae = SparseAutoencoder(self.dim, self.dict_size, self.k if self.rule == "topk" else None, activation=self.rule)
        sae.w_enc.copy_(self.w_enc)
        sae.w_dec.copy_(self.w_dec)
        sae.b_enc.copy_(self.b_enc * scale)
        sae.b_dec.copy_(self.b_dec * scale)
        if self.rule == "threshold":
            sae.threshold.copy_(self.thresholds() * scale)
        elif self.rule == "gated":
            sae.gain.copy_(self.log_gain.exp())
            sae.b_mag.copy_(self.b_mag * scale)
        return sae.eval().requires_grad_(False)


class ReLU(Objective):
    """``L = ‖x − x̃‖² + λ ‖f‖₁`` (Cunningham et al. 2023; Bricken et al. 2023, unit directions)."""


class PAnneal(ReLU):
    """ReLU with ``λ_s Σ_j f_j^p``, p from 1 to ``p_end`` (Karvonen et al. 2024): from ℓ1 towards a count.

    p falls in ``updates`` equal jumps between the shares ``anneal_from`` and ``anneal_to`` of the training. At each,
    ``λ_(s+1) = λ_s Σ ‖f‖_p^p / Σ ‖f‖_p'^p'`` over the last ``queue`` batches, so that a jump changes the shape of the
    penalty and not its size.
    """

    def __init__(self, start, *, p_end=0.2, anneal_from=0.2, anneal_to=0.8, updates=10, queue=10, **options):
        super().__init__(start, **options)
        if not (0 < p_end < 1 and 0 <= anneal_from < anneal_to <= 1):
            found = f"p_end={p_end}, anneal_from={anneal_from}, anneal_to={anneal_to}"
            raise ValueError(f"p-annealing expects 0 < p_end < 1 and 0 <= anneal_from < anneal_to <= 1, found {found}")
        self.powers = np.linspace(1, p_end, updates + 1).tolist()
        self.shares = np.linspace(anneal_from, anneal_to, updates).tolist()
        self.stage, self.recent = 0, deque(maxlen=queue)

    def get_extra_state(self):
        return {"stage": self.stage, "recent": list(self.recent), "sparsity": self.sparsity}

    def set_extra_state(self, state):
        self.stage, self.sparsity = state["stage"], state["sparsity"]
        self.recent.clear()
        self.recent.extend(state["recent"])

    def schedule(self, progress):
        while self.stage < len(self.shares) and progress >= self.shares[self.stage]:
            now, following = (sum(column) for column in zip(*self.recent, strict=True)) if self.recent else (1, 1)
            self.sparsity *= now / max(following, 1e-12) if now else 1
            self.stage += 1
            self.recent.clear()

    def penalty(self, f):
        sizes = [_power_sum(f, self.powers[self.stage])]
        if self.training and self.stage < len(self.shares):
            sizes.append(_power_sum(f.detach(), self.powers[self.stage + 1]))
            self.recent.append([self.workers.mean_of(size.item()) for size in sizes])
        return sizes[0]


class Gated(Objective):
    """Which features and how much of each, apart (Rajamanoharan et al. 2024a).

    With ``π = W_g (x − b) + b_g``: ``f = 1[π > 0] ⊙ ReLU(exp(r) ⊙ W_g (x − b) + b_mag)`` and
    ``L = ‖x − x̃(f)‖² + λ ‖ReLU(π)‖₁ + ‖x − x̃_frozen(ReLU(π))‖²``: the step lets no gradient through, the gate learns
    from the last two terms, of which the auxiliary one leaves the decoder alone.
    """

    rule = "gated"

    def __init__(self, start, **options):
        super().__init__(start, **options)
        self.log_gain = nn.Parameter(torch.zeros(self.dict_size))
        self.b_mag = nn.Parameter(self.b_enc.detach().clone())

    def gate_and_codes(self, x):
        gate = self.pre_activations(x)
        f = torch.relu(self.log_gain.exp() * (gate - self.b_enc) + self.b_mag) * (gate > 0)
        return torch.relu(gate), f

    def codes(self, x):
        return self.gate_and_codes(x)[1]

    def forward(self, x, warmup, dead):
        gate, f = self.gate_and_codes(x)
        decoded = f @ self.w_dec + self.b_dec
        terms = {"loss": squared_error(x, decoded), "sparsity_loss": warmup * self.sparsity * self.penalty(gate)}
        terms["aux_loss"] = squared_error(x, gate @ self.w_dec.detach() + self.b_dec.detach())
        return Step((f > 0).sum(0), decoded.detach(), terms)

    @torch.no_grad()
    def revived(self, dead):
        self.log_gain[dead] = 0
        self.b_mag[dead] = self.b_enc[dead]


class GatedAnneal(PAnneal, Gated):
    """Gated with the penalty of p-annealing on the gate: ``λ_s Σ_j ReLU(π_j)^p`` (Karvonen et al. 2024)."""


def squared_error(x, decoded):
    return (x - decoded).pow(2).sum(1).mean()


def _power_sum(f, p):
    # the slope of f^p has no bound at 0: the curve starts a ten-thousandth of the size of a vector to its left
    return f.sum(1).mean() if p == 1 else ((f + 1e-4).pow(p) * (f > 0)).sum(1).mean()
