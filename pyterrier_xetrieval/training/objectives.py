"""Sparse autoencoders in training: what all variants share, and those with a penalty (ReLU, gated, annealed, JumpReLU)."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ..core.sae import SparseAutoencoder
from .processes import Processes


class Step(NamedTuple):
    """The result of one batch.

    Attributes:
        counts: int64 ``[D]``, in how many rows each feature was active.
        decoded: float32 ``[n, m]``, detached.
        terms: the parts of the loss by name.
    """

    counts: torch.Tensor
    decoded: torch.Tensor
    terms: dict[str, torch.Tensor]


class Objective(nn.Module):
    """One variant: its codes, its loss, and the rule under which the result is used.

    All variants share ``p = W_e (x − b) + b_e``, ``x̃ = W f + b`` and unit directions; ``f = ReLU(p)`` unless a subclass
    says otherwise. Vectors arrive divided by one number so that their variance is 1: losses, penalties and thresholds
    then mean the same whatever the scale of the encoder, and :meth:`export` multiplies the scale back in.

    Args:
        start: where the weights begin.
        sparsity: λ of the variants with a penalty; None for the k family.
        k: (mean) number of active features of the k family; None for the others.

    Attributes:
        rule: the activation of the exported autoencoder, see :class:`.SparseAutoencoder`.
        needs: which of ``k`` and ``sparsity`` the variant is controlled by.
        processes: those that share the training, for statistics of the whole batch.
    """

    rule = "threshold"
    needs = "sparsity"
    w_enc: nn.Parameter
    b_enc: nn.Parameter
    w_dec: nn.Parameter
    b_dec: nn.Parameter

    def __init__(self, start: SparseAutoencoder, *, sparsity: float | None = None, k: int | None = None):
        super().__init__()
        self.processes = Processes()
        self.dim, self.dict_size, self.sparsity, self.k = start.dim, start.dict_size, sparsity or 0.0, k or 0
        for name in ("w_enc", "b_enc", "w_dec", "b_dec"):
            setattr(self, name, nn.Parameter(getattr(start, name).detach().clone()))

    def pre_activations(self, x: torch.Tensor) -> torch.Tensor:
        """``p``, float32 ``[n, D]``."""
        return torch.addmm(self.b_enc - self.w_enc @ self.b_dec, x, self.w_enc.T)

    def activate(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``f`` as training sees it, and what the penalty is on, both dense float32 ``[n, D]``."""
        f = torch.relu(self.pre_activations(x))
        return f, f

    def schedule(self, progress: float) -> None:
        """Called before each step with the share of the training that is done."""

    def forward(self, x: torch.Tensor, warmup: float, dead: torch.Tensor) -> Step:
        """One batch; ``warmup`` is the share of λ in force, ``dead`` the features that long did nothing, int64 ``[·]``."""
        f, penalised = self.activate(x)
        decoded = f @ self.w_dec + self.b_dec
        terms = {"loss": squared_error(x, decoded), "sparsity_loss": warmup * self.sparsity * self.penalty(penalised)}
        return Step((f > 0).sum(0), decoded.detach(), terms | self.more_terms(x, penalised))

    def more_terms(self, x: torch.Tensor, penalised: torch.Tensor) -> dict[str, torch.Tensor]:
        """Further parts of the loss."""
        return {}

    def penalty(self, f: torch.Tensor) -> torch.Tensor:
        """``Ω(f)`` of Eq. 10, a number; ``Σ_j f_j`` on average, directions having length 1."""
        return f.sum(1).mean()

    def started(self) -> None:
        """Called before the first step, when the weights have their first lengths."""

    def revived(self, dead: torch.Tensor) -> None:
        """Called after dead features started again, to set what else belongs to a feature."""

    def thresholds(self) -> torch.Tensor:
        """Above which value each feature is active, float32 ``[D]``."""
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
            sae.gain.copy_(self.get_parameter("log_gain").exp())
            sae.b_mag.copy_(self.get_parameter("b_mag") * scale)
        return sae.eval().requires_grad_(False)


class ReLU(Objective):
    """``L = ‖x − x̃‖² + λ ‖f‖₁`` (Cunningham et al. 2023; Bricken et al. 2023, unit directions)."""


class PAnneal(ReLU):
    """ReLU with ``λ_s Σ_j f_j^p``, p from 1 to ``p_end`` (Karvonen et al. 2024): from ℓ1 towards a count.

    p falls in ``updates`` equal jumps between the shares ``anneal_from`` and ``anneal_to`` of the training. At each,
    ``λ_(s+1) = λ_s Σ ‖f‖_p^p / Σ ‖f‖_p'^p'`` over the last ``queue`` batches, so that a jump changes the shape of the
    penalty and not its size.
    """

    def __init__(
        self,
        start: SparseAutoencoder,
        *,
        p_end: float = 0.2,
        anneal_from: float = 0.2,
        anneal_to: float = 0.8,
        updates: int = 10,
        queue: int = 10,
        **options: Any,
    ):
        super().__init__(start, **options)
        if not (0 < p_end < 1 and 0 <= anneal_from < anneal_to <= 1):
            found = f"p_end={p_end}, anneal_from={anneal_from}, anneal_to={anneal_to}"
            raise ValueError(f"p-annealing expects 0 < p_end < 1 and 0 <= anneal_from < anneal_to <= 1, found {found}")
        self.powers = np.linspace(1, p_end, updates + 1).tolist()
        self.shares = np.linspace(anneal_from, anneal_to, updates).tolist()
        self.stage = 0
        self.recent: deque[list[float]] = deque(maxlen=queue)

    def get_extra_state(self) -> dict[str, Any]:
        return {"stage": self.stage, "recent": list(self.recent), "sparsity": self.sparsity}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.stage, self.sparsity = state["stage"], state["sparsity"]
        self.recent.clear()
        self.recent.extend(state["recent"])

    def schedule(self, progress: float) -> None:
        while self.stage < len(self.shares) and progress >= self.shares[self.stage]:
            now, following = (sum(column) for column in zip(*self.recent, strict=True)) if self.recent else (1, 1)
            self.sparsity *= now / max(following, 1e-12) if now else 1
            self.stage += 1
            self.recent.clear()

    def penalty(self, f: torch.Tensor) -> torch.Tensor:
        sizes = [_power_sum(f, self.powers[self.stage])]
        if self.training and self.stage < len(self.shares):
            sizes.append(_power_sum(f.detach(), self.powers[self.stage + 1]))
            self.recent.append([self.processes.mean_of(size.item()) for size in sizes])
        return sizes[0]


class Gated(Objective):
    """Whether a feature is active and how strongly are computed apart (Rajamanoharan et al. 2024a).

    With ``π = W_g (x − b) + b_g``: ``f = 1[π > 0] ⊙ ReLU(exp(r) ⊙ W_g (x − b) + b_mag)`` and
    ``L = ‖x − x̃(f)‖² + λ ‖ReLU(π)‖₁ + ‖x − x̃_frozen(ReLU(π))‖²``. The step lets no gradient through; the gate learns
    from the last two terms, and the last one leaves the decoder alone.
    """

    rule = "gated"

    def __init__(self, start: SparseAutoencoder, **options: Any):
        super().__init__(start, **options)
        self.log_gain = nn.Parameter(torch.zeros(self.dict_size))
        self.b_mag = nn.Parameter(self.b_enc.detach().clone())

    def activate(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gate = self.pre_activations(x)
        f = torch.relu(self.log_gain.exp() * (gate - self.b_enc) + self.b_mag) * (gate > 0)
        return f, torch.relu(gate)

    def more_terms(self, x: torch.Tensor, penalised: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"aux_loss": squared_error(x, penalised @ self.w_dec.detach() + self.b_dec.detach())}

    @torch.no_grad()
    def revived(self, dead: torch.Tensor) -> None:
        self.log_gain[dead] = 0
        self.b_mag[dead] = self.b_enc[dead]


class GatedAnneal(PAnneal, Gated):
    """Gated with the penalty of p-annealing on the gate: ``λ_s Σ_j ReLU(π_j)^p`` (Karvonen et al. 2024)."""


class JumpReLU(Objective):
    """A threshold of its own for each feature (Rajamanoharan et al. 2024b).

    ``f = p ⊙ H(p − θ)`` and ``L = ‖x − x̃‖² + λ Σ_j H(p_j − θ_j)``, the number of active features itself. Both jump at
    θ, so θ learns through pseudo-derivatives with a rectangle of width ε, the ``bandwidth``:
    ``∂f/∂θ := −θ/ε · 1[|p − θ| < ε/2]`` and ``∂H/∂θ := −1/ε · 1[|p − θ| < ε/2]``. θ starts at ``threshold`` times the
    length of the encoder's rows, so that some features are active whatever that length, and is used as 0 below 0. Both
    defaults are far above the paper's 0.001, which suits trainings on billions of rows.
    """

    def __init__(self, start: SparseAutoencoder, *, bandwidth: float = 0.05, threshold: float = 0.04, **options: Any):
        super().__init__(start, **options)
        if not (bandwidth > 0 and threshold > 0):
            raise ValueError(f"jumprelu expects bandwidth > 0 and threshold > 0, found {bandwidth} and {threshold}")
        self.bandwidth, self.first = bandwidth, threshold
        # not its logarithm: Adam would need thousands of steps to move that from the start to the end of a training
        self.threshold = nn.Parameter(torch.full((self.dict_size,), float(threshold)))

    def activate(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return _Jump.apply(self.pre_activations(x), self.thresholds(), self.bandwidth)

    @torch.no_grad()
    def started(self) -> None:
        self.threshold.copy_(self.first * self.w_enc.norm(dim=1))

    @torch.no_grad()
    def revived(self, dead: torch.Tensor) -> None:
        self.threshold[dead] = self.first * self.w_enc[dead].norm(dim=1)

    def thresholds(self) -> torch.Tensor:
        return self.threshold + (self.threshold.clamp_min(0) - self.threshold).detach()  # below 0 it still learns


class _Jump(torch.autograd.Function):
    """``(p H(p − θ), H(p − θ))`` with the pseudo-derivatives of :class:`JumpReLU`."""

    @staticmethod
    def forward(ctx: Any, pre: torch.Tensor, threshold: torch.Tensor, bandwidth: float) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        step = (pre > threshold).to(pre.dtype)
        return pre * step, step

    @staticmethod
    def backward(ctx: Any, grad_f: torch.Tensor, grad_step: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        pre, threshold = ctx.saved_tensors
        near = ((pre - threshold).abs() < ctx.bandwidth / 2) / ctx.bandwidth
        grad_threshold = -((threshold * grad_f + grad_step) * near).sum(0)
        return grad_f * (pre > threshold), grad_threshold, None


def squared_error(x: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
    """``‖x − x̃‖²``, the mean over rows."""
    return (x - decoded).pow(2).sum(1).mean()


def _power_sum(f: torch.Tensor, p: float) -> torch.Tensor:
    # the slope of f^p has no bound at 0: the curve starts a ten-thousandth of the size of a vector to its left
    return f.sum(1).mean() if p == 1 else ((f + 1e-4).pow(p) * (f > 0)).sum(1).mean()
