"""One training of a sparse autoencoder, step by step, from its start or from a checkpoint."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pyterrier as pt
import torch
from torch.nn import functional as F

from ..core.sae import SparseAutoencoder
from .fidelity import fraction_of_variance_explained
from .processes import Workers
from .vector_rows import Draws, Rows

WARMUP, DECAY, SPARSITY_WARMUP, REVIVE = 0.03, 0.6, 0.1, 0.7  # shares of the steps, see train_sae
SAMPLE = 16_384  # rows that tell the scale and the start
TERMS = ("loss", "sparsity_loss", "aux_loss", "train_l0")


class Run:
    """The state of :func:`.sae.train_sae`, which documents the arguments; what :meth:`save` keeps, :meth:`load` restores."""

    def __init__(
        self, rows: Rows, training: np.ndarray, held: torch.Tensor, *, kind, k, sparsity, dict_size, steps, batch_size, lr,
        weights, settings, init, revive_every, dead_after, eval_every, checkpoint, workers: Workers, seed,
    ):  # fmt: skip
        self.rows, self.held, self.workers = rows, held.to(workers.device), workers
        self.steps, self.batch_size, self.lr, self.dict_size = steps, batch_size, lr, dict_size
        self.revive_every, self.dead_after, self.eval_every = revive_every, dead_after, eval_every
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        sample = rows.take(training[np.random.default_rng([seed, 2]).permutation(len(training))[:SAMPLE]])
        self.scale = (sample - sample.mean(0)).pow(2).sum(1).mean().sqrt().clamp_min(1e-12).item()
        self.arguments = {
            "variant": kind.__name__, "k": k, "sparsity": sparsity, "dict_size": dict_size, "steps": steps, "lr": lr,
            "batch_size": batch_size, "settings": repr(sorted(settings.items())), "revive_every": revive_every,
            "dead_after": dead_after, "eval_every": eval_every, "seed": int(seed), "vectors": rows.digest(),
            "weights": _digest(weights), "rows": _digest(training), "validation": _digest(held.numpy()), "init": _digest(init),
            "scale": f"{self.scale:.4g}",
        }  # fmt: skip
        self.draws = Draws(training, batch_size, weights=weights, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        options = settings | ({"k": k} if kind.needs == "k" else {"sparsity": sparsity})
        self.objective = _objective(kind, sample / self.scale, self.scale, dict_size, init, generator, options, workers)
        self.optimizer = torch.optim.Adam(self.objective.parameters(), lr=lr, fused=True)
        self.idle = torch.zeros(dict_size, dtype=torch.int64, device=workers.device)
        self.fired = torch.zeros(dict_size, dtype=torch.int64, device=workers.device)
        self.sums = torch.zeros(len(TERMS), dtype=torch.float64)
        self.step, self.history, self.seconds = 0, [], 0.0
        if self.checkpoint is not None and self.checkpoint.exists():
            self.load()

    def train(self, *, verbose: bool) -> SparseAutoencoder:
        started = time.perf_counter() - self.seconds
        hidden = not verbose or self.workers.rank > 0
        with pt.tqdm(total=self.steps, initial=self.step, desc="train_sae", unit="step", disable=hidden) as bar:
            while self.step < self.steps:
                self.step += 1
                self._advance()
                bar.update()
                if self.step % self.eval_every == 0 or self.step == self.steps:
                    self.seconds = time.perf_counter() - started
                    self._note()
                    bar.set_postfix({name: f"{self.history[-1][name]:.4g}" for name in ("loss", "fve", "l0", "dead_share")})
                    if self.checkpoint is not None and self.workers.rank == 0:
                        self.save()
        return self.objective.export(self.scale)

    def _advance(self) -> None:
        step, steps, objective = self.step, self.steps, self.objective
        rate = min(1, step / max(1, round(WARMUP * steps)), (steps - step + 1) / max(1, round(DECAY * steps)))
        self.optimizer.param_groups[0]["lr"] = self.lr * rate
        objective.schedule(step / steps)
        batch = self.rows.take(self.workers.share(self.draws.next())).to(self.workers.device) / self.scale
        dead = (self.idle >= self.dead_after).nonzero().squeeze(1)
        counts, decoded, terms = objective(batch, min(1, step / max(1, SPARSITY_WARMUP * steps)), dead)
        if not torch.isfinite(terms["loss"]):
            raise ValueError(f"train_sae: the loss is not finite at step {step}; try a lower lr than {self.lr:g}")
        counts = self.workers.sum(counts)
        self.fired += counts
        self.idle = torch.where(counts > 0, 0, self.idle + self.batch_size)
        losses = [terms[name].item() if name in terms else 0.0 for name in TERMS[:-1]]
        self.sums += torch.tensor([*losses, counts.sum().item() / self.batch_size])
        self.optimizer.zero_grad()
        sum(terms.values()).backward()
        for parameter in objective.parameters():
            if parameter.grad is not None:
                self.workers.mean(parameter.grad)
        _remove_radial_part(objective)
        self.optimizer.step()
        _unit_directions(objective)
        if self.revive_every and step % self.revive_every == 0 and step <= REVIVE * steps and 0 < len(dead) < self.dict_size:
            residual = self.workers.from_first(batch - decoded)
            dead = dead[counts[dead] == 0][: len(residual)]  # not what has just come back by itself
            _revive(objective, self.optimizer, dead, residual)
            self.idle[dead] = 0

    def _note(self) -> None:
        since = self.step - (self.history[-1]["step"] if self.history else 0)
        means = self.workers.mean(self.sums.to(self.workers.device)) / since
        rates = self.fired.double() / (since * self.batch_size)
        sae = self.objective.export(self.scale).to(self.workers.device)
        fve, l0 = fraction_of_variance_explained(sae, self.held)
        self.history.append({
            "step": self.step, **dict(zip(TERMS, means.tolist())), "fve": fve, "l0": l0,
            "dead_share": (self.idle >= self.dead_after).float().mean().item(),
            "firing_rates": torch.quantile(rates, torch.linspace(0, 1, 5).to(rates)).tolist(), "seconds": self.seconds,
        })  # fmt: skip
        self.sums.zero_()
        self.fired.zero_()

    def save(self) -> None:
        """Replaces the checkpoint in one step."""
        state = {
            "arguments": self.arguments, "step": self.step, "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(), "idle": self.idle, "draws": self.draws.state,
            "history": self.history, "seconds": self.seconds, "scale": self.scale,
        }  # fmt: skip
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.checkpoint.with_name(self.checkpoint.name + ".unfinished")
        torch.save(state, unfinished)
        os.replace(unfinished, self.checkpoint)

    def load(self) -> None:
        """Goes on from the checkpoint, which was written after an entry of the history.

        Raises:
            ValueError: it belongs to a training with other arguments or other vectors.
        """
        try:
            state = torch.load(self.checkpoint, map_location=self.workers.device, weights_only=True)
            state["arguments"]
        except (OSError, MemoryError):
            raise
        except Exception as error:  # there is nothing else that reading a foreign file may not raise
            message = f"train_sae expects {self.checkpoint} to be a checkpoint of its own; remove it or name another file"
            raise ValueError(message) from error
        other = {
            n: (value, state["arguments"].get(n)) for n, value in self.arguments.items() if value != state["arguments"].get(n)
        }
        if other:
            told = ", ".join(f"{name} {found!r} instead of {expected!r}" for name, (expected, found) in other.items())
            raise ValueError(
                f"train_sae: {self.checkpoint} belongs to another training, with {told}; name another file or remove it"
            )
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.draws.restore(tuple(state["draws"]))
        for name in ("step", "idle", "history", "seconds", "scale"):
            setattr(self, name, state[name])


def _digest(array) -> str | None:
    """A short name of an array's or a module's content."""
    if array is None:
        return None
    weights = array.state_dict().values() if isinstance(array, SparseAutoencoder) else []
    arrays = [w.cpu().numpy() for w in weights] or [np.asarray(array)]
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()[:16]


def geometric_median(x: torch.Tensor, *, iterations: int = 50) -> torch.Tensor:
    """Weiszfeld's fixed point for ``argmin_b Σ ‖x_i − b‖``, float ``[m]``: the start of ``b_dec`` (Gao et al. 2024)."""
    median = x.mean(0)
    for _ in range(iterations):
        weights = 1 / (x - median).norm(dim=1).clamp_min(1e-6)
        median = (weights @ x) / weights.sum()
    return median


@torch.no_grad()
def _objective(kind, sample, scale, dict_size, init, generator, options, workers):
    """The variant at its start, in the scale of ``sample``: directions from random rows, the encoder their transpose."""
    start = SparseAutoencoder(sample.shape[1], dict_size, 1)
    start.b_dec.copy_(geometric_median(sample[:8192]))
    start.b_enc.zero_()
    if isinstance(init, SparseAutoencoder):
        if (init.dim, init.dict_size) != (start.dim, dict_size):
            raise ValueError(f"init: expected m={start.dim}, D={dict_size}, found m={init.dim}, D={init.dict_size}")
        lengths = init.w_dec.norm(dim=1)  # directions get length 1, the encoder theirs
        start.w_enc.copy_(init.w_enc * lengths.unsqueeze(1))
        start.w_dec.copy_(F.normalize(init.w_dec, dim=1))
        start.b_enc.copy_(init.b_enc * lengths / scale)
        start.b_dec.copy_(init.b_dec / scale)
    else:
        if init is None:
            rows = sample[torch.randint(len(sample), (dict_size,), generator=generator)] - start.b_dec
            noise = torch.randn(rows.shape, generator=generator)  # keeps rows drawn twice apart
            init = F.normalize(rows, dim=1) + 0.5 * F.normalize(noise, dim=1)
        init = torch.as_tensor(init, dtype=torch.float32)
        if init.shape != start.w_dec.shape:
            raise ValueError(f"init: expected directions of shape {tuple(start.w_dec.shape)}, found {tuple(init.shape)}")
        start.w_dec.copy_(F.normalize(init, dim=1))
        start.w_enc.copy_(start.w_dec)
    try:
        objective = kind(start, **options)
    except TypeError as error:
        raise ValueError(f"train_sae: settings of {kind.__name__}: {error}") from None
    objective.workers = workers
    if not isinstance(init, SparseAutoencoder):
        # the encoder's length is that at which all active features together do not overshoot
        decoded = objective.eval()(sample[:1024], 0.0, torch.empty(0, dtype=torch.int64)).decoded - start.b_dec
        objective.w_enc.mul_(((sample[:1024] - start.b_dec) * decoded).sum() / decoded.pow(2).sum().clamp_min(1e-12))
    objective.started()
    return objective.train().to(workers.device)


@torch.no_grad()
def _revive(objective, optimizer, dead, residual):
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
def _remove_radial_part(objective):
    radial = torch.einsum("dm,dm->d", objective.w_dec.grad, objective.w_dec)
    objective.w_dec.grad.addcmul_(radial.unsqueeze(1), objective.w_dec, value=-1)


@torch.no_grad()
def _unit_directions(objective):
    objective.w_dec.div_(objective.w_dec.norm(dim=1, keepdim=True).clamp_min(1e-12))
