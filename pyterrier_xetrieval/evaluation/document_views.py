"""The views of a whole collection's documents."""

from __future__ import annotations

import numpy as np

from ..core.internalizer import all_views
from ..model import Xetrieval


def document_views(model: Xetrieval, docs: np.ndarray) -> dict[str, np.ndarray]:
    """Name to float32 ``[n, m]``: the original view, and what the model's internalizers make of it.

    Args:
        model: whose views, see :meth:`~pyterrier_xetrieval.Xetrieval.with_views`.
        docs: float32 ``[n, m]``.
    """
    return all_views(model.internalizers, np.asarray(docs), batch_size=4096)
