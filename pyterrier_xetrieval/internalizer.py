"""Reasoning internalizers: a document vector in, the vector of a text about it out (Cai et al. 2026, App. A)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyterrier as pt
import torch
from torch import nn
from torch.nn import functional as F

from .stage import RowWiseStage, positive_int
from .vectors import stack_unique, unstack, view_column


class Internalizer(nn.Module):
    """``R_t(z) = Norm(W2 tanh(W1 z + b1) + b2)`` (Eq. 7, 19; the biases as in the released checkpoints).

    Args:
        dim: ``m``, dimension of the encoder's vectors.
        hidden: ``h``, width of the hidden layer (the paper's is 512).
    """

    def __init__(self, dim: int, hidden: int = 512):
        super().__init__()
        self.dim, self.hidden = dim, hidden
        self.layer1 = nn.Linear(dim, hidden)
        self.layer2 = nn.Linear(hidden, dim)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """The view of ``z`` (float32 ``[n, m]``), unit-norm float32 ``[n, m]``."""
        return F.normalize(self.layer2(torch.tanh(self.layer1(z))), dim=-1)


@torch.no_grad()
def internalize(module: Internalizer, z: np.ndarray, *, batch_size: int) -> np.ndarray:
    """``R_t`` of every row of ``z`` (float32 ``[n, m]``), in batches, on the module's own device."""
    device = module.layer1.weight.device
    out = np.empty_like(z)
    for start in range(0, len(z), batch_size):
        batch = torch.from_numpy(z[start : start + batch_size]).to(device)
        out[start : start + batch_size] = module(batch).cpu().numpy()
    return out


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
