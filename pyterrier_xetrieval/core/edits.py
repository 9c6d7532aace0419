"""Edits of vectors by features: erase, keep only, scale, reconstruct (Cai et al. 2026, App. C, section 3.6.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .batches import on_device
from .checks import found_value
from .sae import SparseAutoencoder
from .views import row_lengths

MODES = ("erase", "keep_only", "scale", "add")
CENTRES = ("bias", "origin")  # around which erasing and keeping only restore a vector's length


def erase(sae: SparseAutoencoder, x: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``x − P_S(x − b)`` (Eq. 25), float32 ``[n, m]``; arguments as in :meth:`SparseAutoencoder.project`."""
    return x - sae.project(x, ids, mask)


def keep_only(sae: SparseAutoencoder, x: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``b + P_S(x − b)`` (Eq. 26), float32 ``[n, m]``."""
    return sae.b_dec + sae.project(x, ids, mask)


def scale(
    sae: SparseAutoencoder, x: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor, alpha: float | torch.Tensor,
    reconstruct: bool = False,
) -> torch.Tensor:  # fmt: skip
    """Multiplies the activations of the selected features by ``alpha`` and decodes (section 3.6.2); float32 ``[n, m]``.

    ``alpha`` is one number for all features, or float ``[D]``. The reconstruction error stays: ``x + decode(edited code) −
    decode(code)``; ``reconstruct=True`` is the plain ``decode(edited code)`` of the paper, which also drops what the dictionary
    does not explain.
    """
    codes = sae.encode(x)
    selected = (codes.ids.unsqueeze(2) == torch.where(mask, ids, -1).unsqueeze(1)).any(dim=2)
    factors = alpha[codes.ids] if isinstance(alpha, torch.Tensor) else alpha
    if reconstruct:
        return sae.decode(codes, torch.where(selected, factors * codes.values, codes.values))
    return x + sae.combine(codes.ids, torch.where(selected, (factors - 1) * codes.values, 0.0))


@torch.no_grad()
def intervene(
    sae: SparseAutoencoder, x: np.ndarray, sets: Sequence[Sequence[int] | np.ndarray], mode: str,
    *, alpha: float | np.ndarray = 0.0, maxima: np.ndarray | None = None, reconstruct: bool = False, around: str = "bias",
    batch_size: int = 256,
) -> np.ndarray:  # fmt: skip
    """Edits row ``i`` of ``x`` by the features ``sets[i]``; float32 ``[n, m]`` in and out.

    Erase and keep-only restore a length that the row had; scaling does not. By default it is the distance from the bias
    ``b`` of the dictionary, which every vector shares: ``b + (y − b) ‖x − b‖ / ‖y − b‖`` for the edited ``y``. With
    ``around="origin"`` it is the length of the vector, ``y ‖x‖ / ‖y‖``, which for unit vectors is the re-normalisation that
    the paper puts behind Eq. 25 and 26. Both are one where ``b`` is 0, and near each other where it is short. Where it is
    long, as with encoders whose vectors share a long mean, the second stretches the bias over what was taken out: every
    vector comes nearer to the common mean, and scores rise although what they rest on is gone.

    A row whose set is empty, or whose ``alpha`` is 1, comes back bit for bit; with ``reconstruct`` every row is
    decoded, so that one ranking never mixes vectors with and without their reconstruction error.

    Args:
        sae: the dictionary; sets: feature ids for each row.
        mode: ``"erase"``, ``"keep_only"``, ``"scale"`` (by ``alpha``), or ``"add"``: ``alpha · maxima[j]`` times the
            direction of each feature j, whether it is active or not.
        alpha: one for all features, or float32 ``[D]``, one for each.
        maxima: float32 ``[D]``, the largest known activation of each feature; for ``"add"``.
        reconstruct: with ``"scale"``, decode every row; batch_size: vectors edited at once.
        around: ``"bias"`` or ``"origin"``, for ``"erase"`` and ``"keep_only"``.

    Raises:
        ValueError: another mode or ``around``; ``"add"`` without ``maxima`` of all features.

    Example::

        >>> sae = SparseAutoencoder(dim=2, dict_size=2, k=2)
        >>> _ = sae.w_enc.data.copy_(torch.eye(2)), sae.w_dec.data.copy_(torch.eye(2))
        >>> intervene(sae, np.float32([[3, 4]]), [[0]], "scale", alpha=2)
        array([[6., 4.]], dtype=float32)
    """
    if mode not in MODES:
        raise ValueError(f"intervene expects mode to be one of {MODES}, found {found_value(mode)}")
    if around not in CENTRES:
        raise ValueError(f"intervene expects around to be one of {CENTRES}, found {found_value(around)}")
    if mode == "add" and (maxima is None or maxima.shape != (sae.dict_size,)):
        found = "none" if maxima is None else f"shape {maxima.shape}"
        raise ValueError(f"intervene with mode 'add' expects maxima of shape ({sae.dict_size},), found {found}")
    out = np.array(x, np.float32)
    if mode == "scale" and np.all(alpha == 1) and not reconstruct:
        return out
    strengths = torch.from_numpy(alpha).to(sae.w_dec.device) if isinstance(alpha, np.ndarray) else alpha
    rows = np.array([i for i, s in enumerate(sets) if len(s) or reconstruct], np.int64)
    rows = rows[np.argsort([len(sets[i]) for i in rows], kind="stable")]  # sets of like size together: less padding
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        ids, mask = (torch.from_numpy(part).to(sae.w_dec.device) for part in _padded([sets[i] for i in batch]))
        vectors = torch.from_numpy(out[batch]).to(sae.w_dec.device)
        if mode == "add":
            largest = torch.from_numpy(np.asarray(maxima))
            by = strengths[ids] if isinstance(strengths, torch.Tensor) else strengths
            edited = (vectors + sae.combine(ids, by * largest.to(ids.device)[ids] * mask)).cpu().numpy()
        elif mode == "scale":
            edited = scale(sae, vectors, ids, mask, strengths, reconstruct).cpu().numpy()
        else:
            edited = (erase if mode == "erase" else keep_only)(sae, vectors, ids, mask).cpu().numpy()
            centre = sae.bias if around == "bias" else np.float32(0)
            apart = edited - centre
            before, after = (row_lengths(v)[:, None] for v in (out[batch] - centre, apart))
            # a vector that was nothing but these features leaves only rounding behind: the centre, not noise at full length
            factors = np.divide(before, after, out=np.zeros_like(after), where=after > 1e-4 * before)
            edited = (centre + apart * factors).astype(np.float32)
        out[batch] = edited
    return out


def _padded(sets: Sequence[Sequence[int] | np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Sets as int64 ``[n, s]``, filled up with 0, and bool ``[n, s]``: which of the numbers are members."""
    width = max(1, *(len(s) for s in sets))
    ids = np.array([[*s, *[0] * (width - len(s))] for s in sets], np.int64)
    return ids, np.arange(width) < np.array([len(s) for s in sets])[:, None]


@torch.no_grad()
def reconstruct(sae: SparseAutoencoder, x: np.ndarray, *, refit: bool, batch_size: int) -> np.ndarray:
    """``W c + b`` of every row of float32 ``[n, m]``; with ``refit``, ``b + P_S(x − b)`` for the active features S."""
    out = []
    for batch in on_device(x, batch_size, sae.w_enc.device):
        codes = sae.encode(batch)
        out.append(sae.decode(codes, sae.refit(batch, codes) if refit else None).cpu().numpy())
    return np.concatenate(out)
