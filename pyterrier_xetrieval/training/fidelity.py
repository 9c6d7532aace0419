"""How much of a set of vectors a dictionary reconstructs, and how often its features are active."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..core.sae import SparseAutoencoder
from .vector_rows import VectorRows

if TYPE_CHECKING:
    from .vector_rows import Vectors


def fraction_of_variance_explained(
    sae: SparseAutoencoder, x: torch.Tensor, *, refit: bool = False, batch_size: int = 1024
) -> tuple[float, float]:
    """How well a dictionary reconstructs the rows of ``x``, float32 ``[n, m]``.

    Args:
        refit: reconstruct with least-squares coefficients instead of activations.

    Returns:
        ``1 − Σ‖x − x̃‖² / Σ‖x − x̄‖²``, and the mean number of active features.
    """
    error, active = 0.0, 0
    with torch.no_grad():
        for batch in x.split(batch_size):
            batch = batch.to(sae.w_enc.device)
            codes = sae.encode(batch)
            decoded = sae.decode(codes, sae.refit(batch, codes) if refit else None)
            error += (batch - decoded).pow(2).sum().item()
            active += int(codes.active().sum())
    return 1 - error / (x - x.mean(0)).pow(2).sum().item(), active / len(x)


@torch.no_grad()
def firing_statistics(
    sae: SparseAutoencoder, vectors: Vectors | VectorRows, *, most: int | None = None, batch_size: int = 1024
) -> tuple[np.ndarray, np.ndarray]:
    """For each feature, the share of rows that activate it and its largest activation: float64 and float32 ``[D]``.

    Args:
        vectors: rows, or vectors as :class:`.vector_rows.VectorRows` takes them.
        most: look at so many rows at most, evenly spaced; None for all.
    """
    rows = vectors if isinstance(vectors, VectorRows) else VectorRows(vectors)
    chosen = np.arange(0, len(rows), -(-len(rows) // (most or len(rows))))
    device = sae.w_enc.device
    counts, largest = torch.zeros(sae.dict_size, dtype=torch.int64, device=device), torch.zeros(sae.dict_size, device=device)
    for begin in range(0, len(chosen), batch_size):
        codes = sae.encode(rows.take(chosen[begin : begin + batch_size]).to(device))
        active = codes.active()
        counts += torch.bincount(codes.ids[active], minlength=sae.dict_size)
        largest.scatter_reduce_(0, codes.ids[active], codes.values[active], "amax")
    return (counts.double() / len(chosen)).cpu().numpy(), largest.cpu().numpy()
