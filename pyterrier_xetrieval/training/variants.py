"""Training of all the sparse autoencoders that Cai et al. (2026, appendix B) compare, behind one function."""

from __future__ import annotations

import time
import warnings
from collections import Counter

import torch

from ..sae import SparseAutoencoder
from .batches import _draws, _split
from .objectives import Gated, GatedAnneal, Objective, PAnneal, ReLU
from .sae import _project_gradient, _revive, _start, _unit_directions, fraction_of_variance_explained
from .sae import train_sae as train_topk
from .thresholds import BatchTopK, JumpReLU, Matryoshka

OBJECTIVES = {
    "relu": ReLU,
    "batch_topk": BatchTopK,
    "gated": Gated,
    "jumprelu": JumpReLU,
    "p_anneal": PAnneal,
    "gated_anneal": GatedAnneal,
    "matryoshka": Matryoshka,
}
VARIANTS = ("topk", *OBJECTIVES)
DEAD_SHARE = 0.1  # more dead features than this are worth a warning


def train_sae(
    vectors,
    *,
    variant: str = "topk",
    dict_size: int,
    steps: int,
    k: int | None = None,
    sparsity: float | None = None,
    on_eval=None,
    **options,
) -> tuple[SparseAutoencoder, list[dict]]:
    """A :class:`SparseAutoencoder` of the named kind, which activates at inference as it did in training.

    ============== ============ ===========================================================================
    variant        controlled   inference rule
                   by
    ============== ============ ===========================================================================
    topk           k            ``"topk"``
    batch_topk     k (mean)     ``"threshold"``, one for all features: the mean smallest active value
    matryoshka     k (mean)     ``"threshold"``, the same
    relu           sparsity     ``"threshold"``, zero
    p_anneal       sparsity     ``"threshold"``, zero
    jumprelu       sparsity     ``"threshold"``, one learnt for each feature
    gated          sparsity     ``"gated"``
    gated_anneal   sparsity     ``"gated"``
    ============== ============ ===========================================================================

    ``"topk"`` is :func:`.sae.train_sae` and takes all its options; for the others see :func:`train_variant`.

    Args:
        vectors: float ``[n, m]``.
        variant: one of the above.
        dict_size, steps: ``D``, and how many steps of Adam.
        k: number of active features, for the k family.
        sparsity: λ of Eq. 10 for vectors of variance 1, for the penalty family. For sentence vectors start with 0.1
            to 0.2 (relu, p_anneal), 0.2 to 0.3 (gated, gated_anneal) or 0.002 (jumprelu, which counts features), then
            look at ``l0``.
        on_eval: called as ``on_eval(sae, entry)`` after each entry of the history.
        options: see there; ``seed`` in any case.

    Returns:
        the autoencoder in evaluation mode; the history. On top of what the trainer notes, each entry has
        ``firing_rates``: minimum, quartiles and maximum over the features of the share of rows in which they are
        active, on up to 8,192 rows, by the inference rule. The last entry has ``never_active``: the share of
        features that no row activates, of up to 100,000. More than a tenth of them, or a ``dead_share`` of as much,
        is warned about.

    Raises:
        ValueError: an unknown variant, a k or sparsity that does not fit it, or vectors of a wrong shape.

    Example::

        sae, history = train_sae(vectors, variant="jumprelu", dict_size=6144, sparsity=0.002, steps=20_000)
    """
    if variant not in VARIANTS:
        raise ValueError(f"train_sae expects variant to be one of {VARIANTS}, found {variant!r}")
    wanted = "k" if variant == "topk" else OBJECTIVES[variant].needs
    given = {name: value for name, value in (("k", k), ("sparsity", sparsity)) if value is not None}
    fits = k is not None and 0 < k <= dict_size if wanted == "k" else sparsity is not None and sparsity > 0
    if given.keys() != {wanted} or not fits:
        limits = f"0 < k <= dict_size={dict_size}" if wanted == "k" else "sparsity > 0"
        found = ", ".join(f"{name}={value}" for name, value in given.items()) or "neither k nor sparsity"
        raise ValueError(f"train_sae with variant {variant!r} expects {limits} and nothing else, found {found}")

    def noting(sae, entry):
        rates = firing_rates(sae, vectors, most=8192).double()
        entry["firing_rates"] = torch.quantile(rates, torch.tensor([0, 0.25, 0.5, 0.75, 1]).double()).tolist()
        if on_eval is not None:
            on_eval(sae, entry)

    train = train_topk if variant == "topk" else train_variant
    named = given if variant == "topk" else given | {"variant": variant}
    sae, history = train(vectors, dict_size=dict_size, steps=steps, on_eval=noting, **named, **options)
    never = (firing_rates(sae, vectors, most=100_000) == 0).float().mean().item()
    history[-1]["never_active"] = never
    if max(never, history[-1]["dead_share"]) > DEAD_SHARE:
        warnings.warn(
            f"train_sae({variant!r}): {never:.0%} of {dict_size} features are active for none of the vectors and "
            f"{history[-1]['dead_share']:.0%} were for none of the last rows trained on; try fewer features, "
            "a lower lr, revive_every, or less sparsity",
            stacklevel=2,
        )
    return sae, history


def firing_rates(sae: SparseAutoencoder, vectors, *, most: int, batch_size: int = 1024) -> torch.Tensor:
    """The share of rows in which each feature is active, float32 ``[D]``, over at most ``most`` rows, evenly spaced."""
    counts = torch.zeros(sae.dict_size)
    rows = vectors[:: -(-len(vectors) // most)]
    with torch.no_grad():
        for begin in range(0, len(rows), batch_size):
            codes = sae.encode(torch.as_tensor(rows[begin : begin + batch_size], dtype=torch.float32))
            counts += torch.bincount(codes.ids[codes.active()], minlength=sae.dict_size)
    return counts / len(rows)


def train_variant(
    vectors,
    *,
    variant: str,
    dict_size: int,
    steps: int,
    k: int | None = None,
    sparsity: float | None = None,
    settings: dict | None = None,
    batch_size: int = 1024,
    lr: float = 1e-3,
    warmup_share: float = 0.03,
    decay_share: float = 0.6,
    sparsity_warmup_share: float = 0.1,
    weights=None,
    groups: int = 1,
    dead_after: int = 100_000,
    revive_every: int = 0,
    init=None,
    validation=None,
    val_share: float = 0.02,
    eval_every: int = 200,
    on_eval=None,
    seed: int = 0,
    verbose: bool = False,
) -> tuple[SparseAutoencoder, list[dict]]:
    """The variants besides TopK; dense matrices ``[batch_size, D]`` and plain autograd.

    Vectors are divided by the root of their variance first and the result is scaled back, so that ``sparsity`` and
    the settings mean the same for every encoder. Directions keep unit length as in TopK. λ rises linearly from zero
    over ``sparsity_warmup_share`` of the steps, lest features die before they mean anything.

    Args:
        settings: keyword arguments of the variant's class, e.g. ``{"bandwidth": 0.01}`` for :class:`.JumpReLU`.
        init: an autoencoder whose encoder and directions to go on from (thresholds and gains start anew), or float
            ``[D, m]`` directions; None starts from random training rows, centred.
        others: as in :func:`.sae.train_sae`.

    Returns:
        the autoencoder in evaluation mode; a history of ``{step, loss, sparsity_loss, aux_loss, train_l0, fve, l0,
        dead_share, seconds}``: the terms of the loss and train_l0, the mean number of active features, are of the
        batches since the last entry and by the training rule, fve and l0 of the held-out rows and by the inference rule.
    """
    generator = torch.Generator().manual_seed(seed)
    x, weights, validation = _split(vectors, weights, groups, batch_size, validation, val_share, generator)
    scale = (x - x.mean(0)).pow(2).sum(1).mean().sqrt().clamp_min(1e-12).item()
    x = x / scale
    objective = _objective(OBJECTIVES[variant], x, scale, dict_size, init, generator, k, sparsity, settings or {})
    optimizer = torch.optim.Adam(objective.parameters(), lr=lr, fused=True)
    warmup, decay_from = max(1, round(warmup_share * steps)), round((1 - decay_share) * steps)
    idle = torch.zeros(dict_size, dtype=torch.int64)
    draws = _draws(len(x), batch_size, weights, groups, generator)
    history, sums, started = [], Counter(), time.perf_counter()
    for step in range(1, steps + 1):
        rate = min(1, step / warmup, (steps - step + 1) / max(1, steps - decay_from))
        optimizer.param_groups[0]["lr"] = lr * rate
        objective.schedule(step / steps)
        batch, dead = x[next(draws)], (idle >= dead_after).nonzero().squeeze(1)
        codes, decoded, terms = objective(batch, min(1, step / max(1, sparsity_warmup_share * steps)), dead)
        idle = torch.where((codes > 0).any(0), 0, idle + len(batch))
        sums.update({name: term.item() for name, term in terms.items()})
        sums["train_l0"] += (codes > 0).sum().item() / len(batch)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        _project_gradient(objective)
        optimizer.step()
        _unit_directions(objective)
        if revive_every and 0 < len(dead) < dict_size and step % revive_every == 0 and 10 * step <= 7 * steps:
            _revive(objective, optimizer, dead, batch, batch - decoded)
            objective.revived(dead)
            idle[dead] = 0
        if step % eval_every == 0 or step == steps:
            since = step - history[-1]["step"] if history else step
            means = {name: sums[name] / since for name in ("loss", "sparsity_loss", "aux_loss", "train_l0")}
            sae = objective.export(scale)
            fve, l0 = fraction_of_variance_explained(sae, validation)
            dead_share = (idle >= dead_after).float().mean().item()
            entry = {"step": step, **means, "fve": fve, "l0": l0, "dead_share": dead_share}
            history.append(entry | {"seconds": time.perf_counter() - started})
            sums.clear()
            if verbose:
                print(" ".join(f"{n}={v:.5g}" for n, v in history[-1].items()), flush=True)
            if on_eval is not None:
                on_eval(sae, history[-1])
    return sae, history


@torch.no_grad()
def _objective(kind, x, scale, dict_size, init, generator, k, sparsity, settings) -> Objective:
    """The variant at its start, in the scale of ``x``."""
    given = isinstance(init, SparseAutoencoder)
    if given and (init.dim, init.dict_size) != (x.shape[1], dict_size):
        raise ValueError(f"init: expected m={x.shape[1]}, D={dict_size}, found m={init.dim}, D={init.dict_size}")
    start = _start(x, dict_size, k or 1, init.w_dec.detach() if given else init, generator)
    if given:
        start.w_enc.copy_(init.w_enc)
        start.b_enc.copy_(init.b_enc / scale)
        start.b_dec.copy_(init.b_dec / scale)
    options = settings | ({"k": k} if kind.needs == "k" else {"sparsity": sparsity})
    objective = kind(start, **options)
    if not given and kind.needs == "sparsity":
        # many features are active at first: the encoder starts at the length at which together they do not overshoot
        sample = x[:1024]
        centred, decoded = sample - start.b_dec, objective.codes(sample) @ start.w_dec
        objective.w_enc.mul_((centred * decoded).sum() / decoded.pow(2).sum().clamp_min(1e-12))
    return objective
