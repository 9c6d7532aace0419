"""Vectors as the dictionary sees them: what retrieval would be if nothing but features existed (Cai et al. 2026, Fig. 3)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyterrier as pt
import torch

from .sae import SparseAutoencoder
from .stage import RowWiseStage, positive_int
from .vectors import stack_unique, unstack


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


class Reconstructor(RowWiseStage):
    """Replaces ``doc_vec`` and / or ``query_vec``, whichever the frame has, by its reconstruction from sparse features.

    ``encoder >> reconstructor >> FlexIndex(path)`` measures how much of the retrieval quality the dictionary keeps.
    Reconstructions are shorter than unit norm and are not re-normalised.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        refit: as in :class:`~pyterrier_xetrieval.SAEExplainer`.
        batch_size: vectors at once.

    Raises:
        ValueError: vectors of another dimension, NaN or infinite.

    Example::

        (model.encoder() >> model.reconstructor() >> FlexIndex("rebuilt.flex")).index(corpus)
    """

    def __init__(self, model, *, refit: bool = True, batch_size: int = 1024):
        self.model, self.refit = model, refit
        self.batch_size = positive_int(batch_size, "batch_size", stage="Reconstructor")

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        with pt.validate.any(inp, context=self) as v:
            v.columns(includes=["query_vec", "doc_vec"], mode="both")
            v.columns(includes=["doc_vec"], mode="doc")
            v.columns(includes=["query_vec"], mode="query")
        columns = {"both": ["query_vec", "doc_vec"], "doc": ["doc_vec"], "query": ["query_vec"]}[v.mode]
        for column in columns:
            x, rows = stack_unique(inp, column, dim=self.model.dim, stage=self)
            x = reconstruct(self.model.sae, x, refit=self.refit, batch_size=self.batch_size)
            inp = inp.assign(**{column: unstack(x, rows, index=inp.index)})
        return inp
