"""The dictionaries that are compared: the explainer's, one that has seen no data, any others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from ..core.sae import SparseAutoencoder
from ..model import Xetrieval


def untrained(sae: SparseAutoencoder, *, k: int | None = None, seed: int = 0) -> SparseAutoencoder:
    """The random-SAE baseline: a TopK autoencoder of the same size that has seen no data.

    Args:
        sae: whose dimension and dictionary size to take, and whose k.
        k: active features; needed where ``sae`` is no TopK autoencoder.
        seed: of the random unit directions (:meth:`~pyterrier_xetrieval.SparseAutoencoder.reset_parameters`).

    Raises:
        ValueError: neither ``k`` nor an autoencoder that has one.
    """
    if (k or sae.k) is None:
        raise ValueError(f"untrained expects k for the rule {sae.activation!r}, which has none of its own")
    random = SparseAutoencoder(sae.dim, sae.dict_size, k or sae.k)
    random.reset_parameters(torch.Generator().manual_seed(seed))
    return random.to(sae.w_enc.device).eval().requires_grad_(False)


def with_sae(model: Xetrieval, sae: SparseAutoencoder) -> Xetrieval:
    """The same model, its views' weights among it, with another dictionary and without labels."""
    if sae is model.sae:
        return model
    return Xetrieval.from_parts(
        internalizers=model.internalizers, sae=sae, encoder=model.meta["encoder"], weights=model.meta["weights"]
    )


def baseline(model: Xetrieval, docs: np.ndarray, *, seed: int) -> SparseAutoencoder:
    """:func:`untrained` for this model: as sparse as its own dictionary, on ``docs`` (float32 ``[n, m]``) if it has no k.

    What its features share is the null of everything said about shared features: they too are selected to be active in
    query and document, and point to both for that reason alone.
    """
    k = model.sae.k or max(1, round(float(active_features(model.sae, docs[:1000]).mean())))
    return untrained(model.sae, k=k, seed=seed)


def dictionaries(model: Xetrieval, saes: Mapping[str, SparseAutoencoder] | None, docs, *, seed: int) -> dict:
    """Name to autoencoder: those given, or the model's own and a random one of the same size and sparsity."""
    if saes is None:
        saes = {"explainer": model.sae, "random": baseline(model, docs, seed=seed)}
    for name, sae in saes.items():
        if sae.dim != model.dim:
            raise ValueError(f"expected autoencoders of {model.dim} dimensions, found {sae.dim} in {name!r}")
    return dict(saes)


@torch.no_grad()
def active_features(sae: SparseAutoencoder, x: np.ndarray) -> np.ndarray:
    """How many features are active for each row of float32 ``[n, m]``, int64 ``[n]``."""
    return sae.encode(torch.from_numpy(np.asarray(x)).to(sae.w_enc.device)).active().sum(1).cpu().numpy()
