"""From document vectors to what the index stores: views, folded vector, and the packed codes of all views."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ..explainer import ViewCodes, encode_view
from ..internalizer import internalize
from ..scorer import fold_views
from .format import Block, encode_gaps, encode_levels

_RANGE = np.float32(1000)  # activations below a thousandth of the document's largest are rounded up to it


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
    return pack(docnos, z, fold_views(views, weights)[:n], codes)


def pack(docnos: list[str], vectors: np.ndarray, folded: np.ndarray, codes: Sequence[ViewCodes]) -> Block:
    """The codes of ``V`` views as stored: the union of each document's features once, values only where active."""
    n = len(docnos)
    found = [np.nonzero(c.activations > 0) for c in codes]
    document = np.concatenate([row for row, _ in found])
    feature, activation, coefficient = (
        np.concatenate([getattr(c, name)[at] for c, at in zip(codes, found)]) for name in ("ids", "activations", "coefficients")
    )
    view = np.repeat(np.arange(len(codes)), [len(row) for row, _ in found])
    order = np.lexsort((view, feature, document))
    document, feature, view = document[order], feature[order], view[order]
    activation, coefficient = activation[order], coefficient[order]

    low, high = np.full(n, np.inf, np.float32), np.zeros(n, np.float32)
    np.minimum.at(low, document, activation)
    np.maximum.at(high, document, activation)
    low[high == 0] = high[high == 0] = 1
    low = np.maximum(low, high / _RANGE)
    # one entry for each (document, feature), with a bit for each view that has it
    new = np.flatnonzero(np.diff(document, prepend=-1) | np.diff(feature, prepend=-1))
    bits = np.bitwise_or.reduceat(np.uint8(1) << view.astype(np.uint8), new) if len(new) else np.empty(0, np.uint8)
    owner = document[new]
    ids, at = encode_gaps(feature[new], np.diff(owner, prepend=-1) > 0)
    masks = np.zeros(len(ids), np.uint8)
    masks[at] = bits
    bytes_each = np.diff(at, prepend=-1)
    return Block(
        docnos, vectors, folded, ids, masks, np.bincount(owner, bytes_each, minlength=n).astype(np.int64),
        (coefficient / high[document]).astype(np.float16), encode_levels(activation, low[document], high[document]),
        np.bincount(document, minlength=n).astype(np.int64), low, high,
    )  # fmt: skip


def fingerprint(model, aspects: Sequence[str]) -> str:
    """sha256 over the weights that make an index: dictionary and the internalizers of its aspects."""
    digest = hashlib.sha256()
    for module in (model.sae, *(model.internalizers[a] for a in aspects)):
        for name, weight in module.state_dict().items():
            digest.update(f"{name}{tuple(weight.shape)}".encode())
            digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
