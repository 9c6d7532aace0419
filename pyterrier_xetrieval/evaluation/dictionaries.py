"""The dictionaries that are compared: the explainer's, one that has seen no data, any others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from ..core.codes import encode_view
from ..core.sae import SparseAutoencoder
from ..model import Xetrieval


def untrained(sae: SparseAutoencoder, *, k: int | None = None, with_bias: bool = False, seed: int = 0) -> SparseAutoencoder:
    """The random-SAE baseline: a TopK autoencoder of the same size that has seen no data.

    Args:
        sae: whose dimension and dictionary size to take, and whose k.
        k: active features; needed where ``sae`` is no TopK autoencoder.
        with_bias: whether it has the bias of ``sae``. Where vectors share a long mean, random directions without it decode that
            mean: every pair then shares the same few, and erasing them erases what all documents have in common.
        seed: of the random unit directions (:meth:`~pyterrier_xetrieval.SparseAutoencoder.reset_parameters`).

    Raises:
        ValueError: neither ``k`` nor an autoencoder that has one.

    Example::

        >>> untrained(SparseAutoencoder(4, 8, 2)).k
        2
    """
    k = sae.k if k is None else k
    if k is None:
        raise ValueError(f"untrained expects k for the rule {sae.activation!r}, which has none of its own")
    random = SparseAutoencoder(sae.dim, sae.dict_size, k)
    random.reset_parameters(torch.Generator().manual_seed(seed))
    if with_bias:
        with torch.no_grad():
            random.b_dec.copy_(sae.b_dec)
    return random.to(sae.w_enc.device).eval().requires_grad_(False)


def with_sae(model: Xetrieval, sae: SparseAutoencoder) -> Xetrieval:
    """The same model, its views' weights among it, with another dictionary and without labels."""
    if sae is model.sae:
        return model
    return Xetrieval.from_parts(internalizers=model.internalizers, sae=sae, encoder=model.meta["encoder"], weights=model.weights)


def untrained_model(model: Xetrieval, docs: np.ndarray, *, seed: int) -> Xetrieval:
    """The model with an :func:`untrained` dictionary as sparse as its own, and with its bias where that is long.

    A dictionary without k is as sparse as it is on ``docs``, float32 ``[n, m]``.

    What its features share is the null of everything said about shared features: they too are selected to be active in
    query and document, and point to both for that reason alone.
    """
    k = model.sae.k
    if k is None:
        codes = encode_view(model.sae, docs[:1000], refit=False, batch_size=1000)
        k = max(1, round((codes.activations > 0).sum(axis=1).mean()))
    return with_sae(model, untrained(model.sae, k=k, with_bias=model.has_long_bias, seed=seed))


def compared_dictionaries(
    model: Xetrieval,
    saes: Mapping[str, SparseAutoencoder] | None,
    docs: np.ndarray,
    *,
    raw: SparseAutoencoder | None = None,
    seed: int,
) -> dict[str, SparseAutoencoder]:
    """Name to autoencoder: those given, or the model's own, ``raw`` if given, and a random one of the model's size and sparsity.

    Raises:
        ValueError: an autoencoder of another dimension than the model's.
    """
    if saes is None:
        own = {"explainer": model.sae} if raw is None else {"explainer": model.sae, "raw": raw}
        saes = {**own, "random": untrained_model(model, docs, seed=seed).sae}
    for name, sae in saes.items():
        if sae.dim != model.dim:
            raise ValueError(f"expected autoencoders of {model.dim} dimensions, found {sae.dim} in {name!r}")
    return dict(saes)
