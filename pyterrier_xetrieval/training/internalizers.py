"""Training of the reasoning internalizers (Cai et al. 2026, Eq. 8 and 20, App. A)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from ..core.batches import device_of
from ..core.internalizer import Internalizer
from .vector_rows import as_array

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

    from .vector_rows import Source

KERNEL = (2.0, 0.3)  # γ and λ of the ridge regression among the distilled predictors
DISTILL_BATCH = 512


def train_internalizers(
    z: Source | Sequence[str],
    targets: Mapping[str, Source | Sequence[str]],
    *,
    encoder: BiEncoder | None = None,
    aspects: Sequence[str] | None = None,
    hidden: int = 512,
    identity_start: bool = False,
    pretrain: Source | None = None,
    ensemble: int = 5,
    distill_epochs: int = 12,
    dropout: float = 0.0,
    lr: float = 5e-4,
    batch_size: int = 128,
    epochs: int = 100,
    patience: int = 5,
    val_share: float = 0.15,
    device: str | int | None = None,
    seed: int = 0,
    verbose: bool = False,
) -> tuple[dict[str, Internalizer], dict[str, dict[str, Any]]]:
    """One :class:`Internalizer` per aspect, minimising ``E‖R_t(z) − z_t‖²`` (Eq. 8) with Adam; defaults are the paper's.

    The share ``val_share`` of the rows is held out, the same rows for all aspects; training stops after ``patience``
    epochs without a lower validation loss and the weights of the best epoch are kept.

    Few documents have a teacher text while unlabelled vectors cost nothing. With ``pretrain`` the target is first
    predicted there by ``ensemble`` such networks of different seeds and by kernel ridge regression, all fitted to the
    training rows; a last network learns their mean on the unlabelled vectors (ensemble distillation, Hinton et al.
    2015) and is then trained on the teacher texts in the same way, at a fifth of the rate, from there.

    Args:
        z: document vectors, float ``[n, m]`` or a :class:`pyterrier_dr.FlexIndex`; with ``encoder`` the documents' texts.
        targets: ``{aspect: vectors of the teacher texts}``, rows as in ``z``; with ``encoder`` the texts.
        encoder: a pyterrier_dr bi-encoder, which then encodes ``z`` and ``targets`` as documents.
        aspects: which of the targets to train; None for all.
        hidden: ``h``, width of the hidden layer.
        identity_start: start near z → z (see :func:`identity_module`) instead of random weights.
        pretrain: unlabelled document vectors, float ``[u, m]`` or an index; None trains on the teacher texts alone.
        ensemble: how many networks to distill; distill_epochs: passes over ``pretrain``.
        dropout: of the input and hidden units, in the training on teacher texts only.
        lr, batch_size, epochs, patience, val_share: of the training on teacher texts.
        device: where to train, e.g. ``"cuda"``; the modules come back on the CPU.
        seed: of the split, the weights and the order of the batches.
        verbose: print one line per aspect.

    Returns:
        the modules by aspect, in evaluation mode, and the history by aspect, a dict of ``train_loss`` and ``val_loss`` (lists),
        ``best_epoch``, ``val_mse``, ``val_cosine``, ``identity_mse``, ``identity_cosine``, and ``ensemble_mse`` if there was one.
        ``val_mse`` is ``E‖R_t(z) − z_t‖²`` on the held-out rows, ``identity_mse`` the same for ``z`` itself.

    Raises:
        ValueError: no targets, an aspect without one, shapes that do not fit, or vectors that are not finite.

    Example::

        internalizers, history = train_internalizers(texts, {"summary": summaries, "qa": questions}, encoder=encoder)
    """
    if not targets:
        raise ValueError("train_internalizers expects at least one aspect in targets, found none")
    aspects = list(targets) if aspects is None else aspects
    if missing := [aspect for aspect in aspects if aspect not in targets]:
        raise ValueError(f"train_internalizers expects aspects among {list(targets)}, found {missing}")
    if not 0 < val_share < 1:
        raise ValueError(f"train_internalizers expects 0 < val_share < 1, found {val_share}")

    def matrix(vectors: Any, name: str, rows: int | None = None, dim: int | None = None) -> torch.Tensor:
        vectors = vectors if encoder is None or vectors is pretrain else encoder.encode_docs(list(vectors))
        tensor = torch.as_tensor(np.array(as_array(vectors), np.float32)).to(device_of(device))
        if tensor.ndim != 2 or not torch.isfinite(tensor).all():
            raise ValueError(f"{name}: expected a finite 2-d array, found shape {tuple(tensor.shape)}")
        if len(tensor) != (rows or len(tensor)) or tensor.shape[1] != (dim or tensor.shape[1]):
            raise ValueError(f"{name}: expected shape ({rows or 'any'}, {dim}) as z, found {tuple(tensor.shape)}")
        return tensor

    documents = matrix(z, "z")
    n, dim = documents.shape
    goals = {aspect: matrix(targets[aspect], f"targets[{aspect!r}]", n, dim) for aspect in aspects}
    unlabelled = None if pretrain is None else matrix(pretrain, "pretrain", dim=dim)

    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).to(documents.device)
    n_val = max(1, round(val_share * n))
    val, train = order[:n_val], order[n_val:]
    start = identity_module if identity_start else _random_module
    modules: dict[str, Internalizer] = {}
    history: dict[str, dict[str, Any]] = {}
    for aspect, target in goals.items():
        split = (documents[train], target[train], documents[val], target[val])
        fit = partial(_fit_early_stopping, split=split, batch_size=batch_size, epochs=epochs, patience=patience, dropout=dropout)
        module = start(dim, hidden, seed=seed).to(documents.device)
        if unlabelled is None:
            record = fit(module, lr=lr, seed=seed)
        else:
            pool = torch.cat([unlabelled, documents[train]])
            asked = torch.cat([pool, documents[val]])
            guesses = []
            for i in range(ensemble):
                member = start(dim, hidden, seed=seed + i).to(documents.device)
                fit(member, lr=lr, seed=seed + i)
                guesses.append(_predict(member, asked))
            # counts as much as all the networks together: the two err differently
            ridge = kernel_ridge(documents[train], target[train], asked, gamma=KERNEL[0], ridge=KERNEL[1])
            mean = F.normalize(sum(guesses) + ridge * max(1, ensemble), dim=1)
            _fit(module, pool, mean[: len(pool)], lr=2 * lr, epochs=distill_epochs, seed=seed)
            record = fit(module, lr=lr / 5, seed=seed)
            record["ensemble_mse"] = _distance(mean[len(pool) :], target[val])["mse"]
        for name, guess in (("val", _predict(module, documents[val])), ("identity", documents[val])):
            record |= {f"{name}_{measure}": figure for measure, figure in _distance(guess, target[val]).items()}
        modules[aspect], history[aspect] = module.eval().cpu(), record
        if verbose:
            shown = ("val_mse", "val_cosine", "identity_mse", "ensemble_mse", "best_epoch")
            figures = ", ".join(f"{name} {record[name]:.4f}" for name in shown if name in record)
            print(f"internalizer {aspect}: {figures}", flush=True)
    return modules, history


def identity_module(dim: int, hidden: int, *, seed: int = 0) -> Internalizer:
    """An internalizer with ``R(z) ≈ z`` for unit vectors: W1 = Q, W2 = Qᵀ with orthonormal Q, where tanh is all but linear.

    Exact to the third order in the hidden units (about 1 / √h each). With fewer hidden units than dimensions it
    is the projection on a random subspace.
    """
    generator = torch.Generator().manual_seed(seed)
    module = Internalizer(dim, hidden)
    tall = torch.randn(max(dim, hidden), min(dim, hidden), generator=generator)
    basis, _ = torch.linalg.qr(tall)
    basis = basis if hidden >= dim else basis.T
    with torch.no_grad():
        module.layer1.weight.copy_(basis)
        module.layer2.weight.copy_(basis.T)
        module.layer1.bias.zero_()
        module.layer2.bias.zero_()
    return module


def kernel_ridge(z: torch.Tensor, target: torch.Tensor, asked: torch.Tensor, *, gamma: float, ridge: float) -> torch.Tensor:
    """Kernel ridge regression of the residual ``z_t − z`` with kernel ``exp(γ (⟨z, z'⟩ − 1))``; unit float32 ``[a, m]``.

    Args:
        z, target: float32 ``[n, m]``, document and teacher vectors.
        asked: float32 ``[a, m]``, where to predict.
        gamma, ridge: of the kernel and the regression.
    """
    residual = target - z
    mean = residual.mean(0)
    gram = torch.exp(gamma * (z @ z.T - 1))
    gram.diagonal().add_(ridge)
    weights = torch.cholesky_solve(residual - mean, torch.linalg.cholesky(gram))
    parts = [a + mean + torch.exp(gamma * (a @ z.T - 1)) @ weights for a in asked.split(4096)]
    return F.normalize(torch.cat(parts), dim=1)


def _random_module(dim: int, hidden: int, *, seed: int) -> Internalizer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Internalizer(dim, hidden)


@torch.no_grad()
def _predict(module: Internalizer, z: torch.Tensor) -> torch.Tensor:
    return torch.cat([module(part) for part in z.split(4096)])


def _loss(
    module: Internalizer, z: torch.Tensor, target: torch.Tensor, *, dropout: float = 0.0, generator: torch.Generator | None = None
) -> torch.Tensor:
    """``‖R_t(z) − z_t‖²``, mean over rows; with dropout on input and hidden units."""
    if not dropout:
        return (module(z) - target).pow(2).sum(1).mean()

    def drop(x: torch.Tensor) -> torch.Tensor:
        return x * (torch.rand(x.shape, generator=generator, device=x.device) >= dropout) / (1 - dropout)

    out = F.normalize(module.layer2(drop(torch.tanh(module.layer1(drop(z))))), dim=-1)
    return (out - target).pow(2).sum(1).mean()


def _pass(
    module: Internalizer, optimizer: torch.optim.Optimizer, z: torch.Tensor, target: torch.Tensor, generator: torch.Generator, *,
    batch_size: int, dropout: float = 0.0, after_step: Callable[[], None] = lambda: None,
) -> float:  # fmt: skip
    """One pass over all rows in random order; the mean loss of it."""
    total = 0.0
    for rows in torch.randperm(len(z), generator=generator, device=generator.device).split(batch_size):
        optimizer.zero_grad()
        loss = _loss(module, z[rows], target[rows], dropout=dropout, generator=generator)
        loss.backward()
        optimizer.step()
        after_step()
        total += loss.item() * len(rows)
    return total / len(z)


def _fit(module: Internalizer, z: torch.Tensor, target: torch.Tensor, *, lr: float, epochs: int, seed: int) -> None:
    """Plain training with a linearly falling rate, for the unlabelled vectors."""
    generator = torch.Generator(z.device).manual_seed(seed)
    optimizer = torch.optim.Adam(module.parameters(), lr=lr, fused=True)
    total = epochs * -(-len(z) // DISTILL_BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.02, 1 - step / total))
    for _ in range(epochs):
        _pass(module, optimizer, z, target, generator, batch_size=DISTILL_BATCH, after_step=schedule.step)


def _fit_early_stopping(
    module: Internalizer,
    *,
    split: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
    lr: float,
    batch_size: int,
    epochs: int,
    patience: int,
    dropout: float,
    seed: int,
) -> dict[str, Any]:
    """Training on the teacher texts; leaves the best epoch's weights in ``module`` and returns the record."""
    z, target, z_val, target_val = split
    generator = torch.Generator(z.device).manual_seed(seed)
    optimizer = torch.optim.Adam(module.parameters(), lr=lr, fused=True)
    best, best_weights = float("inf"), module.state_dict()
    record: dict[str, Any] = {"train_loss": [], "val_loss": [], "best_epoch": 0}
    for epoch in range(epochs + 1):
        with torch.no_grad():  # before the first step too: the start may already be the best
            val_loss = _loss(module, z_val, target_val).item()
        record["val_loss"].append(val_loss)
        if val_loss < best:
            best, best_weights, record["best_epoch"] = val_loss, copy.deepcopy(module.state_dict()), epoch
        if epoch - record["best_epoch"] >= patience or epoch == epochs:
            break
        record["train_loss"].append(_pass(module, optimizer, z, target, generator, batch_size=batch_size, dropout=dropout))
    module.load_state_dict(best_weights)
    return record


def _distance(guess: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    return {"mse": (guess - target).pow(2).sum(1).mean().item(), "cosine": F.cosine_similarity(guess, target).mean().item()}
