"""The stage that gives vectors the length 1 that the model's encoder gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..core.checks import check_model
from ..core.views import row_lengths
from ..vector_cells import unstack
from .base import RowWiseStage
from .columns import VectorColumns

if TYPE_CHECKING:
    from ..model import Xetrieval


class Normalizer(RowWiseStage):
    """Scales ``query_vec`` and ``doc_vec``, whichever the frame has, to length 1, as the model's encoder does.

    For vectors of the right encoder that were stored before they were normalised, or as whole numbers (int8). Scores are not
    touched: put ``model.scorer()`` behind it. A vector of zeros stays as it is.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval` whose encoder normalises.

    Raises:
        ValueError: an encoder whose vectors have other lengths; a frame without vectors; NaN or infinite ones.

    Example::

        dense >> model.normalizer() >> model.scorer() >> model.explainer()
    """

    def __init__(self, model: Xetrieval):
        check_model(model, stage="Normalizer")
        facts = model.vector_facts
        if facts is not None and not facts.unit:
            raise ValueError(
                f"Normalizer expects a model whose encoder gives vectors of length 1, found lengths of about {facts.length:.3g}"
            )
        self.model = model

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        found = [column for column in ("query_vec", "doc_vec") if column in inp.columns]
        self.check(inp, found or ["doc_vec"])
        columns, scaled = VectorColumns(inp, dim=self.model.dim, stage=self), {}
        for column in found:
            x, rows = columns[column]
            lengths = row_lengths(x)[:, None]
            scaled[column] = unstack((x / np.where(lengths > 0, lengths, 1)).astype(np.float32), rows)
        return inp.assign(**scaled)
