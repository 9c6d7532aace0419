"""The stage that adds the reasoning views of each document (Cai et al. 2026, Eq. 7 and 19)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ..core.checks import check_model, positive_int
from ..core.internalizer import internalize
from ..vector_cells import unstack
from .base import RowWiseStage
from .columns import VectorColumns, view_column

if TYPE_CHECKING:
    from ..model import Xetrieval


class ReasoningInternalizer(RowWiseStage):
    """Adds the reasoning views of each document, without any language model (Eq. 7 and 19).

    ``doc_vec`` in; ``doc_vec_<aspect>`` out for each aspect of the model, float32 ``[m]``, unit norm. Documents that
    occur in many rows are computed once and share one vector.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`; ``model.with_views(aspects=["qa"])`` adds fewer views.
        batch_size: documents per forward pass.

    Raises:
        ValueError: vectors of another dimension, NaN or infinite.

    Example::

        model = Xetrieval.default()
        pipeline = model.encoder() >> model.internalizer() >> model.fold() >> FlexIndex("folded.flex")
    """

    label = "Internalizer"

    def __init__(self, model: Xetrieval, *, batch_size: int = 4096):
        check_model(model, stage="ReasoningInternalizer")
        self.model = model
        self.batch_size = positive_int(batch_size, "batch_size", stage="ReasoningInternalizer")

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        self.check(inp, ["doc_vec"])
        columns = VectorColumns(inp, stage=self, model=self.model)
        z, rows = columns["doc_vec"]
        columns.check_space("doc_vec", z)
        views = {}
        for aspect, module in self.model.internalizers.items():
            views[view_column(aspect)] = unstack(internalize(module, z, batch_size=self.batch_size), rows)
        return columns.assign(**views)
