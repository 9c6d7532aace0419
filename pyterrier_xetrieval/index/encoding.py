"""From document vectors to what the index stores: views, folded vector, and the packed codes of all views."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ..explainer import ViewCodes, encode_view
from ..internalizer import internalize
from ..scorer import fold_views
from .codes import pack
from .format import Block


def encode_documents(model, docnos: list[str], z: np.ndarray, *, aspects, weights, refit: bool, batch_size: int) -> Block:
    """Internalises, folds and encodes up to ``batch_size`` documents.

    A smaller batch is filled up with its first row: matrices of one shape are multiplied in one order of summation,
    so that a document gets the same bytes whichever documents share its batch.

    Args:
        z: float32 ``[n, m]``, one vector per docno.
        aspects, weights: the views beside the original one and their weights in the folded vector.
        refit: store least-squares coefficients, not activations, as how much of each direction a view uses.
    """
    n = len(docnos)
    full = np.concatenate([z, np.repeat(z[:1], batch_size - n, axis=0)])
    views = [full, *(internalize(model.internalizers[a], full, batch_size=batch_size) for a in aspects)]
    codes = [encode_view(model.sae, view, refit=refit, batch_size=batch_size) for view in views]
    codes = [ViewCodes(c.ids[:n], c.activations[:n], c.coefficients[:n]) for c in codes]
    return Block(docnos, z, fold_views(views, weights)[:n], pack(codes))


def fingerprint(model, aspects: Sequence[str]) -> str:
    """sha256 over the weights that make an index: dictionary and the internalizers of its aspects."""
    digest = hashlib.sha256()
    for module in (model.sae, *(model.internalizers[a] for a in aspects)):
        for name, weight in module.state_dict().items():
            digest.update(f"{name}{tuple(weight.shape)}".encode())
            digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
