"""Sparse codes of document views: encoded view by view, then joined document by document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .batches import on_device
from .sae import SparseAutoencoder

_DOCUMENTS = 64  # joined at once: their tables over the dictionary stay in the processor's cache


@dataclass(frozen=True)
class ViewCodes:
    """Sparse codes of ``u`` vectors, as the attribution reads them.

    Attributes:
        ids: int64 ``[u, k]``, features.
        activations: float32 ``[u, k]``, what the encoder says; above the threshold means active.
        coefficients: float32 ``[u, k]``, how much of each direction the decomposition of the vector uses; the
            activations themselves, or their least-squares refit.
    """

    ids: np.ndarray
    activations: np.ndarray
    coefficients: np.ndarray

    def __getitem__(self, rows: slice | np.ndarray) -> ViewCodes:
        return ViewCodes(self.ids[rows], self.activations[rows], self.coefficients[rows])


@dataclass(frozen=True)
class DocumentCodes:
    """Sparse codes of all ``V`` views of ``u`` documents: each feature of a document once.

    Attributes:
        offsets: int64 ``[u+1]``; document ``i`` owns the rows ``offsets[i]:offsets[i+1]`` of what follows.
        features: int64 ``[t]``, ascending within a document.
        activations: float32 ``[t, V]``, 0 in views where the feature is not active; above 0 in one at least.
        coefficients: float32 ``[t, V]``, 0 there too.
    """

    offsets: np.ndarray
    features: np.ndarray
    activations: np.ndarray
    coefficients: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def first_views(self, n: int) -> DocumentCodes:
        """The same documents with the first ``n`` views alone."""
        if n == self.activations.shape[1]:
            return self
        kept = (self.activations[:, :n] > 0).any(axis=1)
        offsets = np.concatenate([[0], np.cumsum(kept)])[self.offsets]
        return DocumentCodes(offsets, self.features[kept], self.activations[kept, :n], self.coefficients[kept, :n])


def active_features(ids: np.ndarray, activations: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The filled slots of codes ``[u, k]``, row by row: their rows, int64 ``[a]``, features and activations.

    Example::

        >>> [part.tolist() for part in active_features(np.array([[7, 3], [5, 0]]), np.array([[0.5, 0.25], [1.0, 0.0]]))]
        [[0, 0, 1], [7, 3, 5], [0.5, 0.25, 1.0]]
    """
    rows, slots = np.nonzero(activations > 0)
    return rows, ids[rows, slots], activations[rows, slots]


@torch.no_grad()
def encode_view(sae: SparseAutoencoder, x: np.ndarray, *, refit: bool, batch_size: int) -> ViewCodes:
    """Sparse codes of float32 ``[u, m]`` vectors, in batches on the dictionary's own device."""
    ids, activations, coefficients = [], [], []
    for batch in on_device(x, batch_size, sae.w_enc.device):
        codes = sae.encode(batch)
        ids.append(codes.ids.cpu().numpy())
        activations.append(codes.values.cpu().numpy())
        coefficients.append(sae.refit(batch, codes).cpu().numpy() if refit else activations[-1])
    width = max(part.shape[1] for part in ids)  # rules other than TopK fill as many slots as a batch needs
    return ViewCodes(*(_joined(parts, width) for parts in (ids, activations, coefficients)))


def _joined(parts: list[np.ndarray], width: int) -> np.ndarray:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts])


def encode_views(sae: SparseAutoencoder, views: Sequence[np.ndarray], *, refit: bool, batch_size: int) -> list[ViewCodes]:
    """:func:`encode_view` of each view; together if they fit one batch.

    A page of results then reads the dictionary once, and not once for each view.
    """
    ends = np.cumsum([len(view) for view in views])
    if ends[-1] > batch_size:
        return [encode_view(sae, view, refit=refit, batch_size=batch_size) for view in views]
    joint = encode_view(sae, np.concatenate(views), refit=refit, batch_size=batch_size)
    split = [np.split(part, ends[:-1]) for part in (joint.ids, joint.activations, joint.coefficients)]
    return [ViewCodes(*parts) for parts in zip(*split)]


def join_views(codes: Sequence[ViewCodes], dict_size: int) -> DocumentCodes:
    """The codes of ``u`` documents from those of their views.

    Args:
        codes: for each of the ``V`` views, the codes of the documents' vectors, ``u`` rows each.
        dict_size: ``D``.
    """
    blocks = range(0, max(len(codes[0].ids), 1), _DOCUMENTS)
    parts = [_join_block(codes, slice(start, start + _DOCUMENTS), dict_size) for start in blocks]
    counts, features, activations, coefficients = (np.concatenate(part) for part in zip(*parts))
    return DocumentCodes(np.concatenate([[0], np.cumsum(counts)]), features, activations, coefficients)


def _join_block(codes: Sequence[ViewCodes], rows: slice, dict_size: int) -> tuple[np.ndarray, ...]:
    """For some documents: how many features each has, then all features, their activations and their coefficients."""
    n = len(codes[0].ids[rows])
    first = dict_size * np.arange(n)[:, None]
    found, there = [], np.zeros(dict_size * n, bool)
    for code in codes:
        activations = code.activations[rows].ravel()
        active = np.flatnonzero(activations > 0)
        key = (code.ids[rows] + first).ravel().take(active)
        there[key] = True
        found.append((key, activations.take(active), code.coefficients[rows].ravel().take(active)))
    keys = np.flatnonzero(there)
    place = np.empty(len(there), np.int32)
    place[keys] = np.arange(len(keys))
    values = np.zeros((2, len(keys), len(codes)), np.float32)
    for v, (key, activations, coefficients) in enumerate(found):
        row = place.take(key)
        values[0, row, v], values[1, row, v] = activations, coefficients
    document, features = np.divmod(keys, dict_size)
    return np.bincount(document, minlength=n), features, values[0], values[1]
