"""The stage that adds the reasoning views of each document (Cai et al. 2026, Eq. 7 and 19)."""

from __future__ import annotations

import pandas as pd
import pyterrier as pt

from ..core.checks import positive_int
from ..core.internalizer import internalize
from .base import RowWiseStage
from .columns import stack_unique, unstack, view_column


class ReasoningInternalizer(RowWiseStage):
    """Adds the reasoning views of each document, without any language model: Eq. 7 and 19.

    ``doc_vec`` in; ``doc_vec_<aspect>`` out for each aspect, float32 ``[m]``, unit norm. Documents that occur in many
    rows are computed once and share one vector.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        aspects: which views to add (default: all that the model has).
        batch_size: documents per forward pass.

    Raises:
        ValueError: an aspect that the model does not have; vectors of another dimension, NaN or infinite.

    Example::

        model = Xetrieval.default()
        pipeline = model.encoder() >> model.internalizer() >> model.fold() >> FlexIndex("folded.flex")
    """

    label = "Internalizer"

    def __init__(self, model, *, aspects=None, batch_size: int = 4096):
        self.model = model
        self.aspects = model.check_aspects(aspects, stage="ReasoningInternalizer")
        self.batch_size = positive_int(batch_size, "batch_size", stage="ReasoningInternalizer")

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        pt.validate.columns(inp, includes=["doc_vec"], context=self)
        z, rows = stack_unique(inp, "doc_vec", dim=self.model.dim, stage=self)
        views = {}
        for aspect in self.aspects:
            view = internalize(self.model.internalizers[aspect], z, batch_size=self.batch_size)
            views[view_column(aspect)] = unstack(view, rows, index=inp.index)
        return inp.assign(**views)
