"""Training of sparse autoencoders: all variants that Cai et al. (2026, appendix B) compare, behind one function."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..core.checks import positive_int, share_of_one
from ..core.internalizer import Internalizer
from ..core.sae import SparseAutoencoder
from .dictionary_loop import TrainingLoop
from .fidelity import firing_statistics, fraction_of_variance_explained
from .k_sparse import BatchTopK, Matryoshka, TopK
from .objectives import Gated, GatedAnneal, JumpReLU, Objective, PAnneal, ReLU
from .processes import Processes
from .vector_rows import VectorRows, evenly

if TYPE_CHECKING:
    from .vector_rows import Vectors

OBJECTIVES: dict[str, type[Objective]] = {
    "relu": ReLU,
    "topk": TopK,
    "batch_topk": BatchTopK,
    "gated": Gated,
    "jumprelu": JumpReLU,
    "p_anneal": PAnneal,
    "gated_anneal": GatedAnneal,
    "matryoshka": Matryoshka,
}
NEEDS = {variant: kind.needs for variant, kind in OBJECTIVES.items()} | {"random": "k"}  # what controls each variant
DEAD_SHARE = 0.1  # more dead features than this are worth a warning


def train_sae(
    vectors: Vectors,
    *,
    variant: str = "topk",
    dict_size: int,
    k: int | None = None,
    sparsity: float | None = None,
    steps: int = 5000,
    internalizers: Iterable[Internalizer] | Mapping[str, Internalizer] = (),
    weights: np.ndarray | None = None,
    validation: np.ndarray | None = None,
    held_out: float = 0.02,
    patience: int | None = None,
    settings: dict[str, Any] | None = None,
    init: SparseAutoencoder | np.ndarray | torch.Tensor | None = None,
    batch_size: int = 1024,
    lr: float = 1e-3,
    revive_every: int = 100,
    dead_after: int = 100_000,
    eval_every: int = 200,
    checkpoint: str | os.PathLike[str] | None = None,
    device: str | int | None = None,
    seed: int = 0,
    verbose: bool = False,
) -> tuple[SparseAutoencoder, list[dict[str, Any]]]:
    """A sparse autoencoder ``x̃ = W g(x) + b`` of the named kind, trained with ``‖x − x̃‖² + λ Ω(g(x))`` (Eq. 9-10).

    ============== ============ ======================================================= =====================================
    variant        controlled   inference rule                                          source
                   by
    ============== ============ ======================================================= =====================================
    topk           k            ``"topk"``                                              Gao et al. 2024
    batch_topk     k (mean)     ``"threshold"``, one: the mean smallest active value    Bussmann et al. 2024
    matryoshka     k (mean)     ``"threshold"``, the same                               Bussmann et al. 2025
    relu           sparsity     ``"threshold"``, zero                                   Cunningham et al. 2023
    p_anneal       sparsity     ``"threshold"``, zero                                   Karvonen et al. 2024
    jumprelu       sparsity     ``"threshold"``, one learnt for each feature            Rajamanoharan et al. 2024b
    gated          sparsity     ``"gated"``                                             Rajamanoharan et al. 2024a
    gated_anneal   sparsity     ``"gated"``                                             Karvonen et al. 2024
    random         k            ``"topk"`` of random directions: the untrained baseline Cai et al. 2026, section 3
    ============== ============ ======================================================= =====================================

    Vectors are divided by the root of their variance for the training and the result is scaled back, so that λ, losses
    and thresholds mean the same for every encoder. Directions keep unit length: the gradient's radial part is
    removed before Adam's step and rows are normalised after it. The learning rate rises over the first 3% of the steps
    and falls linearly to zero over the last 60%; λ rises over the first 10%.

    Started by ``torchrun``, the processes share every batch. The k family computes with the active features alone.

    Args:
        vectors: float ``[n, m]``: an array, a memory map, a :class:`pyterrier_dr.FlexIndex`, or a list of such.
        variant: one of the above.
        dict_size: ``D``.
        k: number of active features; sparsity: λ for vectors of variance 1. For sentence vectors start with 0.1 to
            0.2 (relu, p_anneal), 0.2 to 0.3 (gated, gated_anneal) or 0.002 (jumprelu, which counts features), then
            look at ``l0``.
        steps, batch_size, lr: of Adam.
        internalizers: modules ``R_t`` (or a mapping to them) whose views of the vectors are trained on as well (the
            paper's way). None of them: the "raw SAE" baseline.
        weights: float, how often a row is drawn relative to the others; ``n`` of them, or ``n (1 + T)`` to tell the
            views apart.
        validation: float ``[v, m]`` held-out rows for the history; None holds out a share of the distinct vectors (at most
            5,000) with their views, and leaves their copies out of the training. Rows that you give are not compared with the
            vectors.
        held_out: that share.
        patience: stop after so many entries of the history in which held-out rows gained nothing, and return the weights of the
            best; the history then ends with that entry. None for all ``steps``.
        settings: arguments of the variant's class, e.g. ``{"bandwidth": 0.01}`` for :class:`.objectives.JumpReLU`.
        init: an autoencoder whose encoder, directions and biases to go on from (thresholds and gains start anew), or
            float ``[D, m]`` directions; None starts from random training rows, centred.
        revive_every: every that many steps, over the first 70% of them, dead features start again from the worst
            reconstructed rows (Bricken et al. 2023), at most one for each row of a process's share of the batch, on top of the
            k family's AuxK; 0 for never. They count as alive for the next ``dead_after`` rows.
        dead_after: a feature is dead when that many rows passed without activating it.
        eval_every: steps between two entries of the history.
        checkpoint: a file, written at every entry of the history. If it is there the training goes on from it, and ends
            with the weights of one that was never interrupted: bit for bit on the CPU with the same number of threads.
        device: e.g. ``"cuda"``; the result is on the CPU.
        seed: of start and draws.
        verbose: show a progress bar.

    Returns:
        the autoencoder in evaluation mode; a history of ``{step, loss, sparsity_loss, aux_loss, train_l0, fve, l0,
        dead_share, firing_rates, seconds}``. Losses, ``train_l0`` (mean number of active features) and ``firing_rates``
        (minimum, quartiles and maximum over the features of the share of rows that activate them) are of the rows since
        the last entry, by the training's rule; ``fve`` and ``l0`` of the held-out rows, by the inference rule;
        ``dead_share`` of the last ``dead_after`` rows. The last entry has ``train_fve``, the ``fve`` of up to 5,000 rows
        that were trained on, and ``never_active``: the share of features that no row activates, of up to 20,000 spread over
        the data. A warning says if either share is above a tenth.

    Raises:
        ValueError: an unknown variant, a k or sparsity that does not fit it, vectors that do not fit together, are
            fewer than four different ones, or are not finite, or a checkpoint of another training (vectors are compared by a sample).

    Example::

        sae, history = train_sae(FlexIndex("corpus.flex"), internalizers=model.internalizers, dict_size=6144, k=96)
    """
    counts = {"dict_size": dict_size, "steps": steps, "batch_size": batch_size, "eval_every": eval_every}
    dict_size, steps, batch_size, eval_every = (positive_int(v, name, stage="train_sae") for name, v in counts.items())
    k = None if k is None else positive_int(k, "k", stage="train_sae")
    lr, sparsity = float(lr), None if sparsity is None else float(sparsity)  # numpy's would not come back from a checkpoint
    check_variant(variant, dict_size, k, sparsity)
    try:
        rows = VectorRows(vectors, list(internalizers.values() if isinstance(internalizers, Mapping) else internalizers))
    except ValueError as error:
        raise ValueError(f"train_sae: {error}") from None
    if variant == "random":
        sae = SparseAutoencoder(rows.dim, dict_size, k)
        sae.reset_parameters(torch.Generator().manual_seed(seed))
        return sae.eval(), []
    processes = Processes(device)
    if batch_size % processes.size:
        raise ValueError(f"train_sae expects batch_size to be a multiple of {processes.size} processes, found {batch_size}")
    training, held = _split(rows, validation, seed, share_of_one(held_out, "held_out", stage="train_sae"))
    if not (held - held[:1]).any():
        raise ValueError(f"train_sae expects held-out vectors that differ, found {len(held)} equal ones")
    loop = TrainingLoop(
        rows,
        training,
        held,
        kind=OBJECTIVES[variant],
        k=k,
        sparsity=sparsity,
        dict_size=dict_size,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        weights=_weights(weights, rows, training),
        settings=settings or {},
        init=init,
        revive_every=revive_every,
        dead_after=dead_after,
        eval_every=eval_every,
        patience=None if patience is None else positive_int(patience, "patience", stage="train_sae"),
        checkpoint=None if checkpoint is None else Path(checkpoint),
        processes=processes,
        seed=seed,
    )
    sae = loop.train(verbose=verbose)
    last = loop.history[-1]
    last["train_fve"] = fraction_of_variance_explained(sae, rows.take(training[evenly(len(training), 5000)]))[0]
    last["never_active"] = float((firing_statistics(sae, rows, most=20_000)[0] == 0).mean())
    if max(last["never_active"], last["dead_share"]) > DEAD_SHARE:
        warnings.warn(
            f"train_sae({variant!r}): {last['never_active']:.0%} of {dict_size} features are active for none of the vectors "
            f"and {last['dead_share']:.0%} were for none of the last rows trained on; try fewer features, a lower lr, "
            "revive_every, or less sparsity",
            stacklevel=2,
        )
    return sae, loop.history


def wants_k(variant: str) -> bool:
    """Whether a variant is controlled by k; False for one that nobody knows."""
    return NEEDS.get(variant) == "k"


def check_variant(variant: str, dict_size: int, k: int | None, sparsity: float | None) -> None:
    """ValueError for an unknown variant, or a k or sparsity that does not fit it."""
    if variant not in NEEDS:
        raise ValueError(f"train_sae expects variant to be one of {tuple(NEEDS)}, found {variant!r}")
    wanted = NEEDS[variant]
    given = {name: value for name, value in (("k", k), ("sparsity", sparsity)) if value is not None}
    fits = k is not None and 0 < k <= dict_size if wanted == "k" else sparsity is not None and sparsity > 0
    if given.keys() != {wanted} or not fits:
        limits = f"0 < k <= dict_size={dict_size}" if wanted == "k" else "sparsity > 0"
        found = ", ".join(f"{name}={value}" for name, value in given.items()) or "neither k nor sparsity"
        raise ValueError(f"train_sae with variant {variant!r} expects {limits} and nothing else, found {found}")


def _split(rows: VectorRows, validation: np.ndarray | None, seed: int, share: float) -> tuple[np.ndarray, torch.Tensor]:
    """The rows to train on, int64, and held-out vectors; a document is held out with all its views.

    Of equal vectors either all are trained on, or one is held out and the others take no part: a dictionary that has seen a vector
    explains its copies. Where no two are equal, all documents take part.
    """
    if validation is not None:
        held = torch.as_tensor(np.ascontiguousarray(validation), dtype=torch.float32)
        if held.ndim != 2 or held.shape[1] != rows.dim or not len(held):
            raise ValueError(f"train_sae expects validation of shape [v, {rows.dim}], found {tuple(held.shape)}")
        return np.arange(len(rows)), held
    first = rows.first_equal()
    distinct = np.unique(first)
    if len(distinct) < 4:  # two to train on, two held out
        raise ValueError(f"train_sae expects at least four vectors that differ, found {len(distinct)} among {rows.documents}")
    count = min(5000, max(2, round(share * len(distinct))))  # one vector has no variance
    chosen = distinct[np.random.default_rng([seed, 1]).choice(len(distinct), count, replace=False)]
    out = (np.arange(len(rows) // rows.documents)[:, None] * rows.documents + chosen).reshape(-1)
    keep = np.tile(~np.isin(first, chosen), len(rows) // rows.documents)
    return np.flatnonzero(keep), rows.take(out)


def _weights(weights: np.ndarray | None, rows: VectorRows, training: np.ndarray) -> np.ndarray | None:
    if weights is None:
        return None
    weights = np.asarray(weights, np.float64)
    if weights.shape == (rows.documents,):
        weights = np.tile(weights, len(rows) // rows.documents)
    if weights.shape != (len(rows),) or not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        sizes = " or ".join(map(str, sorted({rows.documents, len(rows)})))
        raise ValueError(f"train_sae expects {sizes} weights >= 0, found an array of shape {weights.shape}")
    if not weights[training].any():
        raise ValueError("train_sae expects weights above 0 for rows that are not held out, found none")
    return weights[training]
