"""What is read of whatever holds a corpus' vectors: the vectors themselves, their statistics, and what searches and explains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyterrier as pt

from ..core.calibration import CorpusStatistics
from ..core.views import unit_rows
from ..model import Xetrieval
from ..stages.load import VectorLoader, compares_by_cosine
from .artifact import XetrievalIndex

if TYPE_CHECKING:
    from npids import Lookup
    from pyterrier_dr import FlexIndex

_ROWS = 16_384  # read at once


def corpus_statistics(index: XetrievalIndex | FlexIndex | np.ndarray) -> CorpusStatistics:
    """Count, mean and covariance of the vectors that a retriever over this index compares queries with.

    Args:
        index: a :class:`~pyterrier_xetrieval.XetrievalIndex`: its folded vectors if it has views in use, else the original
            ones; a FlexIndex; or the vectors, float ``[n, m]``.

    Raises:
        ValueError: something else, or fewer than two vectors.
    """
    vectors, cosine = vectors_of(index)
    return CorpusStatistics.from_vectors(_blocks(vectors, cosine))


def vectors_of(index: XetrievalIndex | FlexIndex | np.ndarray) -> tuple[Any, bool]:
    """The vectors that a retriever over an index compares queries with, to be read in slices, and whether by cosine."""
    if isinstance(index, XetrievalIndex):
        return index.layout.vectors(index.searched), False
    if isinstance(index, np.ndarray) and index.ndim == 2:
        return index, False
    if hasattr(index, "np_vecs"):
        return index.np_vecs(), compares_by_cosine(index)
    raise ValueError(f"expected an XetrievalIndex, a FlexIndex, or vectors of shape [n, m], found {type(index).__name__}")


def docnos_of(index: XetrievalIndex | FlexIndex) -> Lookup:
    """The docno of each row of :func:`vectors_of`."""
    return index.vectors.docnos() if isinstance(index, XetrievalIndex) else index.docnos()


def search_parts(index: XetrievalIndex | FlexIndex, model: Xetrieval | None) -> tuple[FlexIndex, Xetrieval, pt.Transformer]:
    """The vectors that queries are compared with, the model with the views that are explained, and what explains documents.

    Args:
        index: a FlexIndex holds the original view alone.
        model: of a FlexIndex; an XetrievalIndex has its own.
    """
    if isinstance(index, XetrievalIndex):
        return index.folded if index.aspects else index.vectors, index.model, index.explainer()
    assert model is not None, "a FlexIndex comes with a model"
    plain = model.with_views(())
    return index, plain, VectorLoader(index) >> plain.explainer()


def _blocks(vectors: Any, cosine: bool) -> Iterator[np.ndarray]:
    for start in range(0, len(vectors), _ROWS):
        block = np.asarray(vectors[start : start + _ROWS], np.float32)
        yield unit_rows(block) if cosine else block
