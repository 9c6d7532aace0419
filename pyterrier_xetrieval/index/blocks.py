"""From document vectors to what the index stores: views, folded vector, and the packed codes of all views."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ..core.codes import encode_view, join_views
from ..core.evidence import WordVectors
from ..core.internalizer import all_views
from ..core.views import fold_views
from ..model import Xetrieval
from .packing import pack
from .storage import EVIDENCE, TEXTS, Block
from .strongest_words import pack_words
from .texts import pack_text


def encode_documents(
    model: Xetrieval, docnos: list[str], z: np.ndarray, *, refit: bool, dtype: str, batch_size: int,
    texts: Sequence[str] | None = None, words: Sequence[WordVectors] | None = None,
) -> Block:  # fmt: skip
    """Internalises, folds and encodes up to ``batch_size`` documents.

    A smaller batch is filled up with its first row: matrices of one shape are multiplied in one order of summation,
    so that a document gets the same bytes whichever documents share its batch (see :func:`.merging.merge` for the
    exception).

    With ``dtype="float16"`` the vectors are rounded before anything is computed from them: the index is that of the
    rounded vectors, and its codes are those of the vectors that it hands out.

    Args:
        model: its aspects are the views beside the original one, its weights theirs in the folded vector.
        docnos: ``n`` of them; z: float32 ``[n, m]``, a vector each.
        refit: store least-squares coefficients, not activations, as how much of each direction a view uses.
        dtype: of the block's vectors and folded vectors.
        texts: of the documents, if the index is to keep them.
        words: their vectors' parts by word, if the index is to keep the strongest ones; needs ``texts``.

    Raises:
        ValueError: a vector that ``dtype`` cannot hold.
    """
    n = len(docnos)
    stored = _rounded(z, dtype, "doc_vec", docnos)
    full = stored.astype(np.float32, copy=False)
    full = np.concatenate([full, np.repeat(full[:1], batch_size - n, axis=0)])
    views = [*all_views(model.internalizers, full, batch_size=batch_size).values()]
    codes = [encode_view(model.sae, view, refit=refit, batch_size=batch_size)[:n] for view in views]
    folded = _rounded(fold_views(views, [*model.weights.values()])[:n], dtype, "the folded vector", docnos)
    joined, records = join_views(codes, model.sae.dict_size), {}
    if texts is not None:
        records[TEXTS] = [pack_text(text) for text in texts]
    if texts is not None and words is not None:
        own = enumerate(zip(texts, words))
        records[EVIDENCE] = [
            pack_words(model, text, of_text, [view[i] for view in views], joined, i, refit) for i, (text, of_text) in own
        ]
    return Block(docnos, stored, folded, pack(joined), records)


def _rounded(x: np.ndarray, dtype: str, what: str, docnos: list[str]) -> np.ndarray:
    with np.errstate(over="ignore"):
        out = x.astype(dtype, copy=False)
    beyond = np.flatnonzero(~np.isfinite(out).all(axis=1))
    if len(beyond):
        raise ValueError(
            f"XetrievalIndexer expects numbers up to {np.finfo(dtype).max} with dtype {dtype!r}, found "
            f"{np.abs(x[beyond[0]]).max()} in {what} of document {docnos[beyond[0]]!r}"
        )
    return out


def fingerprint(model: Xetrieval) -> str:
    """sha256 over the weights that make an index: those of the dictionary and of the internalizers."""
    digest = hashlib.sha256()
    for module in (model.sae, *model.internalizers.values()):
        for name, weight in module.state_dict().items():
            digest.update(f"{name}{tuple(weight.shape)}".encode())
            digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
