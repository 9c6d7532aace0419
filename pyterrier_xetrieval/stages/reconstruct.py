"""Vectors as the dictionary sees them: what retrieval would be if nothing but features existed (Cai et al. 2026, Fig. 3)."""

from __future__ import annotations

import pandas as pd
import pyterrier as pt

from ..core.checks import positive_int
from ..core.edits import reconstruct
from .base import RowWiseStage
from .columns import stack_unique, unstack


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
