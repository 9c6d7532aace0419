"""The training loop of a dictionary: step by step, from its start or from a checkpoint."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyterrier as pt
import torch
from torch.nn import functional as F

from ..core.sae import SparseAutoencoder
from ..store.files import replacing
from .fidelity import fraction_of_variance_explained
from .objectives import Objective
from .processes import Processes
from .vector_rows import BatchSampler, VectorRows

WARMUP, DECAY, SPARSITY_WARMUP, REVIVE = 0.03, 0.6, 0.1, 0.7  # shares of the steps, see train_sae
SAMPLE = 16_384  # rows that tell the scale and the start
TERMS = ("loss", "sparsity_loss", "aux_loss", "train_l0")
KEPT = ("step", "idle", "history", "seconds", "scale", "best")  # in a checkpoint, beside the weights


@dataclass
class TrainingLoop:
    """The state of :func:`.dictionary.train_sae`, which documents the arguments.

    Args:
        rows: all vectors and their views.
        training: int64 ``[t]``, the rows to train on.
        held: float32 ``[v, m]``, the held-out vectors.
        kind: the class of the variant.
        weights: float64 ``[t]``, how often each of the training rows is drawn; None for equally often.
    """

    rows: VectorRows
    training: np.ndarray
    held: torch.Tensor
    kind: type[Objective]
    k: int | None
    sparsity: float | None
    dict_size: int
    steps: int
    batch_size: int
    lr: float
    weights: np.ndarray | None
    settings: dict[str, Any]
    init: SparseAutoencoder | np.ndarray | torch.Tensor | None
    revive_every: int
    dead_after: int
    eval_every: int
    patience: int | None
    checkpoint: Path | None
    processes: Processes
    seed: int

    def __post_init__(self) -> None:
        device = self.processes.device
        sample = self.rows.take(self.training[np.random.default_rng([self.seed, 2]).permutation(len(self.training))[:SAMPLE]])
        self.scale = (sample - sample.mean(0)).pow(2).sum(1).mean().sqrt().clamp_min(1e-12).item()
        same = ("k", "sparsity", "dict_size", "steps", "lr", "batch_size", "revive_every", "dead_after", "eval_every", "patience")
        self.arguments = {name: getattr(self, name) for name in same} | {
            "variant": self.kind.__name__,
            "settings": repr(sorted(self.settings.items())),
            "seed": int(self.seed),
            "vectors": self.rows.digest(),
            "weights": _digest(self.weights),
            "rows": _digest(self.training),
            "validation": _digest(self.held.numpy()),
            "init": _digest(self.init),
            "scale": f"{self.scale:.4g}",
        }
        self.held = self.held.to(device)
        self.batches = BatchSampler(self.training, self.batch_size, weights=self.weights, seed=self.seed)
        self.objective = self._start(sample / self.scale).train().to(device)
        self.optimizer = torch.optim.Adam(self.objective.parameters(), lr=self.lr, fused=True)
        self.idle = torch.zeros(self.dict_size, dtype=torch.int64, device=device)
        self.fired = torch.zeros(self.dict_size, dtype=torch.int64, device=device)
        self.sums = torch.zeros(len(TERMS), dtype=torch.float64)
        self.step, self.seconds = 0, 0.0
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}  # where the training stops by itself: the step, fve and weights of the best look so far
        if self.checkpoint is not None and self.checkpoint.exists():
            self.load(self.checkpoint)

    @torch.no_grad()
    def _start(self, sample: torch.Tensor) -> Objective:
        """The variant at its start, in the scale of ``sample``: directions from random rows, the encoder their transpose."""
        start, init = SparseAutoencoder(sample.shape[1], self.dict_size, 1), self.init
        generator = torch.Generator().manual_seed(self.seed)
        start.b_dec.copy_(geometric_median(sample[:8192]))
        start.b_enc.zero_()
        if isinstance(init, SparseAutoencoder):
            if (init.dim, init.dict_size) != (start.dim, self.dict_size):
                raise ValueError(f"init: expected m={start.dim}, D={self.dict_size}, found m={init.dim}, D={init.dict_size}")
            lengths = init.w_dec.norm(dim=1)  # directions get length 1, the encoder theirs
            start.w_enc.copy_(init.w_enc * lengths.unsqueeze(1))
            start.w_dec.copy_(F.normalize(init.w_dec, dim=1))
            start.b_enc.copy_(init.b_enc * lengths / self.scale)
            start.b_dec.copy_(init.b_dec / self.scale)
        else:
            if init is None:
                rows = sample[torch.randint(len(sample), (self.dict_size,), generator=generator)] - start.b_dec
                noise = torch.randn(rows.shape, generator=generator)  # keeps rows drawn twice apart
                init = F.normalize(rows, dim=1) + 0.5 * F.normalize(noise, dim=1)
            init = torch.as_tensor(init, dtype=torch.float32)
            if init.shape != start.w_dec.shape:
                raise ValueError(f"init: expected directions of shape {tuple(start.w_dec.shape)}, found {tuple(init.shape)}")
            start.w_dec.copy_(F.normalize(init, dim=1))
            start.w_enc.copy_(start.w_dec)
        control = {self.kind.needs: getattr(self, self.kind.needs)}
        try:
            objective = self.kind(start, **self.settings, **control)
        except TypeError as error:
            raise ValueError(f"train_sae: settings of {self.kind.__name__}: {error}") from None
        objective.processes = self.processes
        if not isinstance(init, SparseAutoencoder):
            # the encoder's length is that at which all active features together do not overshoot
            decoded = objective.eval()(sample[:1024], 0.0, torch.empty(0, dtype=torch.int64)).decoded - start.b_dec
            objective.w_enc.mul_(((sample[:1024] - start.b_dec) * decoded).sum() / decoded.pow(2).sum().clamp_min(1e-12))
        objective.started()
        return objective

    def train(self, *, verbose: bool) -> SparseAutoencoder:
        started = time.perf_counter() - self.seconds
        hidden = not verbose or self.processes.rank > 0
        with pt.tqdm(total=self.steps, initial=self.step, desc="train_sae", unit="step", disable=hidden) as bar:
            while self.step < self.steps and not self._without_gain():
                self.step += 1
                self._advance()
                bar.update()
                if self.step % self.eval_every == 0 or self.step == self.steps:
                    self.seconds = time.perf_counter() - started
                    self._note()
                    bar.set_postfix({name: f"{self.history[-1][name]:.4g}" for name in ("loss", "fve", "l0", "dead_share")})
                    if self.checkpoint is not None and self.processes.rank == 0:
                        self.save(self.checkpoint)
        if self.patience is not None:
            self.objective.load_state_dict(self.best["weights"])
            self.history = [entry for entry in self.history if entry["step"] <= self.best["step"]]
        return self.objective.export(self.scale)

    def _without_gain(self) -> bool:
        """Whether the last looks at held-out vectors found no more of them explained."""
        return self.patience is not None and bool(self.best) and self.step >= self.best["step"] + self.patience * self.eval_every

    def _advance(self) -> None:
        step, steps, objective = self.step, self.steps, self.objective
        rate = min(1, step / max(1, round(WARMUP * steps)), (steps - step + 1) / max(1, round(DECAY * steps)))
        self.optimizer.param_groups[0]["lr"] = self.lr * rate
        objective.schedule(step / steps)
        batch = self.rows.take(self.processes.share(self.batches.next())).to(self.processes.device) / self.scale
        dead = (self.idle >= self.dead_after).nonzero().squeeze(1)
        counts, decoded, terms = objective(batch, min(1, step / max(1, SPARSITY_WARMUP * steps)), dead)
        if not torch.isfinite(terms["loss"]):
            raise ValueError(f"train_sae: the loss is not finite at step {step}; try a lower lr than {self.lr:g}")
        counts = self.processes.sum(counts)
        self.fired += counts
        self.idle = torch.where(counts > 0, 0, self.idle + self.batch_size)
        losses = [terms[name].item() if name in terms else 0.0 for name in TERMS[:-1]]
        self.sums += torch.tensor([*losses, counts.sum().item() / self.batch_size])
        self.optimizer.zero_grad()
        sum(terms.values()).backward()
        for parameter in objective.parameters():
            if parameter.grad is not None:
                self.processes.mean(parameter.grad)
        _remove_radial_part(objective)
        self.optimizer.step()
        _unit_directions(objective)
        if self.revive_every and step % self.revive_every == 0 and step <= REVIVE * steps and 0 < len(dead) < self.dict_size:
            residual = self.processes.from_first(batch - decoded)
            dead = dead[counts[dead] == 0][: len(residual)]  # not what has just come back by itself
            _revive(objective, self.optimizer, dead, residual)
            self.idle[dead] = 0

    def _note(self) -> None:
        since = self.step - (self.history[-1]["step"] if self.history else 0)
        means = self.processes.mean(self.sums.to(self.processes.device)) / since
        rates = self.fired.double() / (since * self.batch_size)
        sae = self.objective.export(self.scale).to(self.processes.device)
        fve, l0 = fraction_of_variance_explained(sae, self.held)
        self.history.append(
            {"step": self.step, **dict(zip(TERMS, means.tolist())), "fve": fve, "l0": l0}
            | {"dead_share": (self.idle >= self.dead_after).float().mean().item()}
            | {"firing_rates": torch.quantile(rates, torch.linspace(0, 1, 5).to(rates)).tolist(), "seconds": self.seconds}
        )
        if self.patience is not None and fve > self.best.get("fve", -np.inf):
            weights = {name: value.clone() for name, value in self.objective.state_dict().items()}
            self.best = {"step": self.step, "fve": fve, "weights": weights}
        self.sums.zero_()
        self.fired.zero_()

    def save(self, checkpoint: Path) -> None:
        """Replaces the checkpoint."""
        state = {name: getattr(self, name) for name in ("arguments", *KEPT)}
        state |= {name: getattr(self, name).state_dict() for name in ("objective", "optimizer")}
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        with replacing(checkpoint, "wb") as file:
            torch.save(state | {"draws": self.batches.state}, file)

    def load(self, checkpoint: Path) -> None:
        """Continues from a checkpoint, which was written after an entry of the history.

        Raises:
            ValueError: it belongs to a training with other arguments or other vectors.
        """
        try:
            state = torch.load(checkpoint, map_location=self.processes.device, weights_only=True)
            found = state["arguments"]
        except (OSError, MemoryError):
            raise
        except Exception as error:  # reading a foreign file may raise anything
            message = f"train_sae expects {checkpoint} to be a checkpoint of its own; remove it or name another file"
            raise ValueError(message) from error
        if told := [f"{n} {found.get(n)!r} instead of {v!r}" for n, v in self.arguments.items() if v != found.get(n)]:
            raise ValueError(
                f"train_sae: {checkpoint} belongs to another training, with {', '.join(told)}; name another file or remove it"
            )
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.batches.restore(tuple(state["draws"]))
        for name in KEPT:
            setattr(self, name, state[name])


def _digest(array: np.ndarray | torch.Tensor | SparseAutoencoder | None) -> str | None:
    """A short name of the content of an array or an autoencoder."""
    if array is None:
        return None
    if isinstance(array, SparseAutoencoder):
        arrays = [weight.cpu().numpy() for weight in array.state_dict().values()]
    else:
        arrays = [np.asarray(array)]
    return hashlib.sha256(b"".join(part.tobytes() for part in arrays)).hexdigest()[:16]


def geometric_median(x: torch.Tensor) -> torch.Tensor:
    """Weiszfeld's fixed point for ``argmin_b Σ ‖x_i − b‖``, float ``[m]``: the start of ``b_dec`` (Gao et al. 2024).

    Example::

        >>> round(geometric_median(torch.tensor([[0.0], [1.0], [99.0]])).item(), 3)
        1.0
    """
    median = x.mean(0)
    for _ in range(50):
        weights = 1 / (x - median).norm(dim=1).clamp_min(1e-6)
        median = (weights @ x) / weights.sum()
    return median


@torch.no_grad()
def _revive(objective: Objective, optimizer: torch.optim.Optimizer, dead: torch.Tensor, residual: torch.Tensor) -> None:
    """Dead features point to the residuals of the worst reconstructed rows, at the living features' encoder scale."""
    worst = residual.pow(2).sum(1).topk(len(dead)).indices
    living = torch.ones(objective.dict_size, dtype=torch.bool, device=dead.device)
    living[dead] = False
    objective.w_dec[dead] = F.normalize(residual[worst], dim=1)
    objective.w_enc[dead] = objective.w_dec[dead] * objective.w_enc[living].norm(dim=1).mean()
    objective.b_enc[dead] = objective.b_enc[living].mean()
    for parameter in optimizer.state:
        if parameter.shape[:1] != (objective.dict_size,):  # the decoder's bias belongs to all
            continue
        for name in ("exp_avg", "exp_avg_sq"):
            optimizer.state[parameter][name][dead] = 0
    objective.revived(dead)


@torch.no_grad()
def _remove_radial_part(objective: Objective) -> None:
    """Takes from the directions' gradient what would only change their lengths."""
    gradient = objective.w_dec.grad
    assert gradient is not None, "every loss depends on the directions"
    radial = torch.einsum("dm,dm->d", gradient, objective.w_dec)
    gradient.addcmul_(radial.unsqueeze(1), objective.w_dec, value=-1)


@torch.no_grad()
def _unit_directions(objective: Objective) -> None:
    objective.w_dec.div_(objective.w_dec.norm(dim=1, keepdim=True).clamp_min(1e-12))
