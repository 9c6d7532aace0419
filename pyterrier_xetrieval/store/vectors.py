"""Files of vectors."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np


def read_unit_vectors(path: str | os.PathLike[str], n: int | None = None, what: str = "texts", *, stage: str) -> np.ndarray:
    """The vectors of a file ``NAME.f16.npy``, each scaled to length 1, which rounding to float16 had changed a little.

    Args:
        path: an array ``[n, m]`` as ``np.save`` writes it.
        n: how many there must be; None for any number.
        what: whose vectors they are; named in errors.
        stage: who asks; named in errors.

    Returns:
        float32 ``[n, m]``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another number of vectors; one that is not finite or all zero.

    Example::

        docs = read_unit_vectors("embeddings/scifact.f16.npy", len(docnos), "documents", stage="read_embedded")
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{stage} expects the vectors of the {what} at {path}, found no such file")
    vectors = np.load(path).astype(np.float32)
    if vectors.ndim != 2 or n not in (None, len(vectors)):
        each = what if n is None else f"{n} {what}"
        raise ValueError(f"{stage} expects a vector for each of {each} in {path}, found an array {vectors.shape}")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(norms) & (norms > 0)).all():
        raise ValueError(f"{stage} found a vector that is zero or not finite in {path}")
    vectors /= norms
    return vectors
