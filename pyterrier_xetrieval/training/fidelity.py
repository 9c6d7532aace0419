"""How much of a set of vectors a dictionary reconstructs, and how often its features fire."""

from __future__ import annotations

import numpy as np
import torch

from ..sae import SparseAutoencoder


def fraction_of_variance_explained(sae: SparseAutoencoder, x: torch.Tensor, *, refit: bool = False, batch_size: int = 1024):
    """``1 − Σ‖x − x̃‖² / Σ‖x − x̄‖²`` over the rows of ``x`` (float32 ``[n, m]``), and the mean number of active features."""
    error = active = 0.0
    with torch.no_grad():
        for batch in x.split(batch_size):
            batch = batch.to(sae.w_enc.device)
            codes = sae.encode(batch)
            decoded = sae.decode(codes, sae.refit(batch, codes) if refit else None)
            error += (batch - decoded).pow(2).sum().item()
            active += codes.active().sum().item()
    return 1 - error / (x - x.mean(0)).pow(2).sum().item(), active / len(x)


def firing_rates(sae: SparseAutoencoder, vectors, *, most: int = 20_000, batch_size: int = 1024) -> torch.Tensor:
    """The share of rows in which each feature is active, float32 ``[D]``.

    Args:
        vectors: whatever :class:`.rows.Rows` reads.
        most: over at most that many rows, evenly spaced.
    """
    from .rows import Rows

    rows = vectors if isinstance(vectors, Rows) else Rows(vectors)
    chosen = np.arange(0, len(rows), -(-len(rows) // most))
    counts = torch.zeros(sae.dict_size)
    with torch.no_grad():
        for begin in range(0, len(chosen), batch_size):
            codes = sae.encode(rows.take(chosen[begin : begin + batch_size]).to(sae.w_enc.device))
            counts += torch.bincount(codes.ids[codes.active()], minlength=sae.dict_size).cpu()
    return counts / len(chosen)
