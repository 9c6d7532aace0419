"""Edits of vectors by features: erase, keep only, scale, reconstruct (Cai et al. 2026, App. C, section 3.6.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .sae import SparseAutoencoder


def erase(sae: SparseAutoencoder, x: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``x − P_S(x − b)`` (Eq. 25), float32 ``[n, m]``; arguments as in :meth:`SparseAutoencoder.project`."""
    return x - sae.project(x, ids, mask)


def keep_only(sae: SparseAutoencoder, x: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``b + P_S(x − b)`` (Eq. 26), float32 ``[n, m]``."""
    return sae.b_dec + sae.project(x, ids, mask)


def scale(
    sae: SparseAutoencoder, x: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor, alpha: float, reconstruct: bool = False
) -> torch.Tensor:
    """Activations of the selected features times ``alpha``, decoded (section 3.6.2), float32 ``[n, m]``.

    The reconstruction error stays: ``x + decode(edited code) − decode(code)``; ``reconstruct=True`` is the plain
    ``decode(edited code)`` of the paper, which also drops what the dictionary does not explain.
    """
    codes = sae.encode(x)
    selected = (codes.ids.unsqueeze(2) == torch.where(mask, ids, -1).unsqueeze(1)).any(dim=2)
    if reconstruct:
        return sae.decode(codes, torch.where(selected, alpha * codes.values, codes.values))
    return x + sae.combine(codes.ids, torch.where(selected, (alpha - 1) * codes.values, 0.0))


@torch.no_grad()
def intervene(
    sae: SparseAutoencoder, x: np.ndarray, sets: Sequence[Sequence[int]], mode: str,
    *, alpha: float = 0.0, reconstruct: bool = False, batch_size: int = 256,
) -> np.ndarray:  # fmt: skip
    """Edits row ``i`` of ``x`` by the features ``sets[i]``; float32 ``[n, m]`` in and out.

    Erase and keep-only restore the norm the row had (for unit vectors: the paper's re-normalisation); scaling does
    not. A row whose set is empty, or whose ``alpha`` is 1, comes back bit for bit; with ``reconstruct`` every row is
    decoded, so that one ranking never mixes vectors with and without their reconstruction error.
    """
    out = np.array(x, np.float32)
    rows = np.array([i for i, s in enumerate(sets) if len(s) or reconstruct], np.int64)
    if mode == "scale" and alpha == 1 and not reconstruct:
        return out
    rows = rows[np.argsort([len(sets[i]) for i in rows], kind="stable")]  # sets of like size together: less padding
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        width = max(1, *(len(sets[i]) for i in batch))
        ids = np.zeros((len(batch), width), np.int64)
        mask = np.zeros((len(batch), width), bool)
        for at, i in enumerate(batch):
            ids[at, : len(sets[i])] = sets[i]
            mask[at, : len(sets[i])] = True
        device = sae.w_dec.device
        arguments = (
            sae,
            torch.from_numpy(out[batch]).to(device),
            torch.from_numpy(ids).to(device),
            torch.from_numpy(mask).to(device),
        )
        if mode == "scale":
            edited = scale(*arguments, alpha, reconstruct).cpu().numpy()
        else:
            edited = (erase if mode == "erase" else keep_only)(*arguments).cpu().numpy()
            before, after = (np.linalg.norm(v, axis=1, keepdims=True) for v in (out[batch], edited))
            # a vector that was nothing but these features leaves only rounding behind: zero, not noise at full length
            edited *= np.divide(before, after, out=np.zeros_like(after), where=after > 1e-4 * before)
        out[batch] = edited
    return out


@torch.no_grad()
def reconstruct(sae: SparseAutoencoder, x: np.ndarray, *, refit: bool, batch_size: int) -> np.ndarray:
    """``W c + b`` of every row of float32 ``[n, m]``; with ``refit``, ``b + P_S(x − b)`` for the active features S."""
    out = np.empty_like(x)
    for start in range(0, len(x), batch_size):
        batch = torch.from_numpy(x[start : start + batch_size]).to(sae.w_enc.device)
        codes = sae.encode(batch)
        coefficients = sae.refit(batch, codes) if refit else None
        out[start : start + batch_size] = sae.decode(codes, coefficients).cpu().numpy()
    return out
