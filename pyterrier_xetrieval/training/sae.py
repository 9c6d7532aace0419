"""Training of the TopK sparse autoencoder (Cai et al. 2026, Eq. 9-10; TopK and AuxK as in Gao et al. 2024)."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch.nn import functional as F

from ..sae import SparseAutoencoder, SparseCodes
from .batches import _draws, _split
from .sparse import SparseReconstruction

AUX_WEIGHT = 1 / 32  # Gao et al. 2024, appendix A.2


def geometric_median(x: torch.Tensor, *, iterations: int = 50) -> torch.Tensor:
    """Weiszfeld's fixed point for ``argmin_b Σ ‖x_i − b‖``, float ``[m]``: the start of ``b_dec`` (Gao et al. 2024)."""
    median = x.mean(0)
    for _ in range(iterations):
        weights = 1 / (x - median).norm(dim=1).clamp_min(1e-6)
        median = (weights @ x) / weights.sum()
    return median


def fraction_of_variance_explained(sae: SparseAutoencoder, x: torch.Tensor, *, refit: bool = False, batch_size: int = 1024):
    """``1 − Σ‖x − x̃‖² / Σ‖x − x̄‖²`` over the rows of ``x`` (float32 ``[n, m]``), and the mean number of active features."""
    error = active = 0.0
    with torch.no_grad():
        for batch in x.split(batch_size):
            codes = sae.encode(batch)
            decoded = sae.decode(codes, sae.refit(batch, codes) if refit else None)
            error += (batch - decoded).pow(2).sum().item()
            active += codes.active().sum().item()
    return 1 - error / (x - x.mean(0)).pow(2).sum().item(), active / len(x)


def retrieval_divergence(x: torch.Tensor, decoded: torch.Tensor, temperature: float) -> torch.Tensor:
    """KL from the batch's score distributions to the reconstructed ones, each row asking all the others.

    ``KL(softmax(x_i·x_j / T) ‖ softmax(x̃_i·x̃_j / T))`` over ``j ≠ i``, mean over ``i``: the score-preserving term of
    Kang et al. (2025), with both sides reconstructed because queries and documents share the dictionary.
    """
    itself = torch.eye(len(x), dtype=torch.bool)
    wanted = (x @ x.T / temperature).masked_fill_(itself, float("-inf")).softmax(1)
    found = (decoded @ decoded.T / temperature).masked_fill(itself, -1e9).log_softmax(1)
    return F.kl_div(found, wanted, reduction="batchmean")


def train_sae(
    vectors,
    *,
    dict_size: int,
    k: int,
    steps: int,
    batch_size: int = 1024,
    lr: float = 1e-3,
    warmup_share: float = 0.03,
    decay_share: float = 0.6,
    weights=None,
    groups: int = 1,
    aux_k: int | None = None,
    dead_after: int = 100_000,
    revive_every: int = 0,
    retrieval_weight: float = 0.0,
    retrieval_temperature: float = 0.05,
    init=None,
    validation=None,
    val_share: float = 0.02,
    eval_every: int = 200,
    reconstruction=SparseReconstruction.apply,
    on_eval=None,
    seed: int = 0,
    verbose: bool = False,
) -> tuple[SparseAutoencoder, list[dict]]:
    """A :class:`SparseAutoencoder` trained on raw and internalised vectors together (section 2.3).

    The loss is ``Σ‖x − x̃‖² / Σ‖x − x̄‖²`` (Eq. 10; TopK needs no sparsity term), plus 1/32 of AuxK, plus
    ``retrieval_weight`` times :func:`retrieval_divergence`. AuxK follows dictionary_learning's form of Gao et al.
    (2024): the ``aux_k`` most activated dead features (at most as many as are dead) reconstruct the detached residual
    ``x − x̃`` without a bias, their squared error is divided by the residual's variance; it is not scaled by the
    share of dead features. Directions keep unit length: the gradient's radial part is removed before Adam's step
    and rows are normalised after it. The learning rate rises over ``warmup_share`` of the steps and falls linearly to
    zero over the last ``decay_share``. Equal arguments on the same machine with the same number of threads give equal weights.

    Args:
        vectors: float ``[n, m]``, all views stacked.
        dict_size, k: ``D`` and the number of active features.
        steps, batch_size, lr: of Adam.
        weights: float ``[n]``, how often a row is drawn relative to the others; None for equal.
        groups: rows are drawn as consecutive runs of this length of ``vectors`` (``batch_size`` must be a multiple), so
            that a caller who puts similar texts next to each other makes the retrieval term compare near neighbours.
        aux_k: default ``m // 8`` (a step of AuxK costs as much as one of k = aux_k); 0 turns AuxK off.
        dead_after: a feature is dead when that many rows passed without activating it.
        revive_every: AuxK has no gradient for a feature below zero on all rows, so every that many steps, over the first
            70% of the training, dead features start again from the worst reconstructed rows (Bricken et al. 2023); 0 for never.
        retrieval_weight, retrieval_temperature: of the score-preserving term; 0 turns it off.
        init: a trained SparseAutoencoder to go on from, or float ``[D, m]`` directions; None starts from random
            training rows, centred.
        validation: float ``[v, m]`` held-out rows for the history; None holds out ``val_share`` of ``vectors``.
        eval_every: steps between two entries of the history.
        reconstruction: :meth:`SparseReconstruction.apply` or :func:`.sparse.dense_reconstruction`.
        on_eval: called as ``on_eval(sae, entry)`` after each entry, e.g. to save a checkpoint.
        seed: of start and draws.

    Returns:
        the autoencoder in evaluation mode; a history of ``{step, loss, aux_loss, retrieval_loss, fve, l0,
        dead_share, seconds}``, where fve and l0 are of the held-out rows and dead_share of the last ``dead_after`` rows.
    """
    generator = torch.Generator().manual_seed(seed)
    x, weights, validation = _split(vectors, weights, groups, batch_size, validation, val_share, generator)
    aux_k = max(1, x.shape[1] // 8) if aux_k is None else aux_k

    sae = _start(x, dict_size, k, init, generator)
    params = [sae.w_enc, sae.b_enc, sae.w_dec, sae.b_dec]
    optimizer = torch.optim.Adam(params, lr=lr, fused=True)
    warmup, decay_from = max(1, round(warmup_share * steps)), round((1 - decay_share) * steps)
    variance = (x - x.mean(0)).pow(2).sum(1).mean()
    idle = torch.zeros(dict_size, dtype=torch.int64)
    draws = _draws(len(x), batch_size, weights, groups, generator)
    history, sums, started = [], np.zeros(3), time.perf_counter()
    for step in range(1, steps + 1):
        rate = min(1, step / warmup, (steps - step + 1) / max(1, steps - decay_from))
        optimizer.param_groups[0]["lr"] = lr * rate
        batch = x[next(draws)]
        with torch.no_grad():
            codes = _select(sae, batch)
            idle += len(batch)
            idle[codes.ids[codes.active()]] = 0
        decoded = reconstruction(batch, codes.ids, codes.values, *params)
        loss = (batch - decoded).pow(2).sum(1).mean() / variance
        sums[0] += loss.item()
        if retrieval_weight:
            divergence = retrieval_divergence(batch, decoded, retrieval_temperature)
            loss = loss + retrieval_weight * divergence
            sums[2] += divergence.item()
        dead = (idle >= dead_after).nonzero().squeeze(1)
        if aux_k and len(dead):
            aux = _aux_loss(sae, batch, (batch - decoded).detach(), dead, aux_k, reconstruction)
            loss = loss + AUX_WEIGHT * aux
            sums[1] += aux.item()
        optimizer.zero_grad()
        loss.backward()
        _project_gradient(sae)
        optimizer.step()
        _unit_directions(sae)
        if revive_every and len(dead) and step % revive_every == 0 and 10 * step <= 7 * steps:
            _revive(sae, optimizer, dead, batch, (batch - decoded).detach())
            idle[dead] = 0
        if step % eval_every == 0 or step == steps:
            since = step - history[-1]["step"] if history else step
            means = dict(zip(("loss", "aux_loss", "retrieval_loss"), (sums / since).tolist(), strict=True))
            fve, l0 = fraction_of_variance_explained(sae, validation)
            entry = {"step": step, **means, "fve": fve, "l0": l0, "dead_share": (idle >= dead_after).float().mean().item()}
            history.append(entry | {"seconds": time.perf_counter() - started})
            sums[:] = 0
            if verbose:
                print(" ".join(f"{n}={v:.5g}" for n, v in history[-1].items()), flush=True)
            if on_eval is not None:
                on_eval(sae, history[-1])
    return sae.eval(), history


def _start(x, dict_size, k, init, generator) -> SparseAutoencoder:
    """Directions from random rows, the encoder their transpose at the scale that reconstructs best."""
    sae = SparseAutoencoder(x.shape[1], dict_size, k)
    if isinstance(init, SparseAutoencoder):
        if (init.dim, init.dict_size) != (sae.dim, dict_size):
            raise ValueError(f"init: expected m={sae.dim}, D={dict_size}, found m={init.dim}, D={init.dict_size}")
        sae.load_state_dict(init.state_dict())
        return sae
    with torch.no_grad():
        sample = x[torch.randint(len(x), (min(len(x), 8192),), generator=generator)]
        sae.b_dec.copy_(geometric_median(sample))
        if init is None:
            rows = x[torch.randint(len(x), (dict_size,), generator=generator)] - sae.b_dec
            noise = torch.randn(rows.shape, generator=generator)  # keeps rows drawn twice apart
            init = F.normalize(rows, dim=1) + 0.5 * F.normalize(noise, dim=1)
        init = torch.as_tensor(init, dtype=torch.float32)
        if init.shape != sae.w_dec.shape:
            raise ValueError(f"init: expected directions of shape {tuple(sae.w_dec.shape)}, found {tuple(init.shape)}")
        sae.w_dec.copy_(F.normalize(init, dim=1))
        sae.w_enc.copy_(sae.w_dec)
        sae.b_enc.zero_()
        centred, decoded = sample[:1024] - sae.b_dec, sae.decode(_select(sae, sample[:1024])) - sae.b_dec
        sae.w_enc.mul_((centred * decoded).sum() / decoded.pow(2).sum().clamp_min(1e-12))
    return sae


def _select(sae, x) -> SparseCodes:
    """The codes of ``sae.encode``, in an order of sums and slots on which the last bits of a training depend."""
    pre = torch.addmm(sae.b_enc - sae.w_enc @ sae.b_dec, x, sae.w_enc.T)
    values, ids = pre.topk(sae.k, dim=1, sorted=False)
    return SparseCodes(ids, values.relu_())


def _aux_loss(sae, batch, residual, dead, aux_k, reconstruction):
    """What the dead features make of the residual: ``‖e − ê‖² / ‖e − ē‖²``."""
    w_enc, b_enc, w_dec = sae.w_enc[dead], sae.b_enc[dead], sae.w_dec[dead]
    b_dec = sae.b_dec.detach()
    with torch.no_grad():
        values, ids = torch.addmm(b_enc - w_enc @ b_dec, batch, w_enc.T).topk(min(aux_k, len(dead)), dim=1, sorted=False)
    estimate = reconstruction(batch, ids, values.relu_(), w_enc, b_enc, w_dec, b_dec) - b_dec
    return (residual - estimate).pow(2).sum() / (residual - residual.mean(0)).pow(2).sum().clamp_min(1e-12)


@torch.no_grad()
def _revive(sae, optimizer, dead, batch, residual):
    """Dead features point to the residuals of the worst reconstructed rows, at the living features' encoder scale."""
    dead = dead[: len(batch)]
    worst = residual.pow(2).sum(1).topk(len(dead)).indices
    living = torch.ones(sae.dict_size, dtype=torch.bool)
    living[dead] = False
    sae.w_dec[dead] = F.normalize(residual[worst], dim=1)
    sae.w_enc[dead] = sae.w_dec[dead] * sae.w_enc[living].norm(dim=1).mean()
    sae.b_enc[dead] = sae.b_enc[living].mean()
    for parameter in (sae.w_enc, sae.b_enc, sae.w_dec):
        for name in ("exp_avg", "exp_avg_sq"):
            optimizer.state[parameter][name][dead] = 0


@torch.no_grad()
def _project_gradient(sae):
    radial = torch.einsum("dm,dm->d", sae.w_dec.grad, sae.w_dec)
    sae.w_dec.grad.addcmul_(radial.unsqueeze(1), sae.w_dec, value=-1)


@torch.no_grad()
def _unit_directions(sae):
    sae.w_dec.div_(sae.w_dec.norm(dim=1, keepdim=True).clamp_min(1e-12))
