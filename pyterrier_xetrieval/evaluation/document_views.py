"""The views of a whole collection's documents."""

from __future__ import annotations

import numpy as np

from ..core.internalizer import internalize
from ..model import Xetrieval

ORIGINAL = "original"


def document_views(model: Xetrieval, docs: np.ndarray) -> dict[str, np.ndarray]:
    """Name to float32 ``[n, m]``: the original view, and what the model's internalizers make of it.

    Args:
        model: whose views, see :meth:`~pyterrier_xetrieval.Xetrieval.with_views`.
        docs: float32 ``[n, m]``.
    """
    docs = np.asarray(docs)
    made = {aspect: internalize(module, docs, batch_size=4096) for aspect, module in model.internalizers.items()}
    return {ORIGINAL: docs, **made}
