"""Vectors as the dictionary sees them: what retrieval would be if only features existed (Cai et al. 2026, Fig. 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pyterrier as pt

from ..core.checks import check_model, positive_int
from ..core.edits import reconstruct
from .base import RowWiseStage
from .columns import VectorColumns

if TYPE_CHECKING:
    from ..model import Xetrieval


class Reconstructor(RowWiseStage):
    """Replaces ``doc_vec`` and / or ``query_vec``, whichever the frame has, by its reconstruction from sparse features.

    ``encoder >> reconstructor >> FlexIndex(path)`` measures how much of the retrieval quality the dictionary keeps.
    Reconstructions are shorter than unit norm and are not normalised again.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        refit: as in :class:`~pyterrier_xetrieval.SAEExplainer`.
        batch_size: vectors at once.

    Raises:
        ValueError: vectors of another dimension, NaN or infinite.

    Example::

        (model.encoder() >> model.reconstructor() >> FlexIndex("rebuilt.flex")).index(corpus)
    """

    def __init__(self, model: Xetrieval, *, refit: bool = True, batch_size: int = 1024):
        check_model(model, stage="Reconstructor")
        self.model, self.refit = model, refit
        self.batch_size = positive_int(batch_size, "batch_size", stage="Reconstructor")

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        with pt.validate.any(inp, context=self) as v:
            v.columns(includes=["query_vec", "doc_vec"], mode="both")
            v.columns(includes=["doc_vec"], mode="doc")
            v.columns(includes=["query_vec"], mode="query")
        columns = VectorColumns(inp, stage=self, model=self.model)
        edited = {}
        for column in {"both": ["query_vec", "doc_vec"], "doc": ["doc_vec"], "query": ["query_vec"]}[v.mode]:
            x, rows = columns[column]
            columns.check_space(column, x)
            x = reconstruct(self.model.sae, x, refit=self.refit, batch_size=self.batch_size)
            edited[column] = columns.unstacked(column, x, rows, fits=self.model.vector_facts)
        return inp.assign(**edited)
