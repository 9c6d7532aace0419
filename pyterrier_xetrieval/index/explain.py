"""Explanations from stored codes: no encoder, internalizer or dictionary runs on the document side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from ..core.attribution import QueryChange, explain_vectors
from ..core.checks import positive_int, threshold_of
from ..core.mean_document import MeanDocument
from ..model import Xetrieval
from ..stages.base import RowWiseStage
from ..stages.cells import plain_cells
from ..stages.columns import VectorColumns
from ..stages.explain import checked_floor, explanations
from .docnos import docids_of
from .packing import DamagedCodes, PackedCodes, unpack
from .storage import FOLDED, VECTORS

if TYPE_CHECKING:
    from .artifact import XetrievalIndex

_ROWS = 16_384  # of a frame at once: bounds the memory for the codes of their documents


class Explainable(Protocol):
    """What explaining needs to know of an index of stored codes."""

    @property
    def model(self) -> Xetrieval:
        """The model, with the views that are to be explained."""

    @property
    def settings(self) -> dict:
        """``aspects``: all whose codes are stored, beside the original view."""


class StoredExplainer(RowWiseStage):
    """What the explainers over stored codes share; one of them says where the codes are (:meth:`_stored`).

    Args:
        index: explained are the views that its model has: all, or the original one alone.
        threshold, min_confidence, top: as in :class:`~pyterrier_xetrieval.SAEExplainer`.
    """

    remedy = ""  # what to do about damaged codes

    def __init__(self, index: Explainable, *, threshold: float = 0.0, min_confidence: float | None = None, top: int = 10):
        self.index = index
        self.min_confidence = checked_floor(min_confidence, stage=type(self).__name__)
        self.threshold = threshold_of(threshold, stage=type(self).__name__)
        self.top = positive_int(top, "top", stage=type(self).__name__)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        self.check(inp, ["qid", "docno", "query_vec"])
        if not len(inp):
            return inp.assign(explanation=np.empty(0, dtype=object))
        inp = plain_cells(inp)
        columns = VectorColumns(inp, stage=self, model=self.index.model)
        queries, query_rows, change = columns.changed_queries()
        try:
            parts = [
                self._explained(inp.iloc[start : start + _ROWS], queries, query_rows[start : start + _ROWS], change, columns)
                for start in range(0, len(inp), _ROWS)
            ]
        except DamagedCodes as error:
            raise ValueError(f"{self.index!r} is damaged: {error}; {self.remedy}") from None
        return columns.assign(explanation=np.concatenate(parts))

    def _explained(
        self, inp: pd.DataFrame, queries: np.ndarray, query_rows: np.ndarray, change: QueryChange | None, columns: VectorColumns
    ) -> np.ndarray:
        own, query_rows = np.unique(query_rows, return_inverse=True)  # the queries of this block
        queries, change = queries[own], None if change is None else change.of(own)
        model, stored = self.index.model, self.index.settings
        vectors, packed, rows = self._stored(inp)
        weights = (1.0, *model.weights.values())
        codes = unpack(packed, 1 + len(stored["aspects"]), model.sae.dict_size).first_views(len(weights))
        parts = explain_vectors(
            model.sae, queries, query_rows, codes, rows, folded=vectors,
            weights=weights, threshold=self.threshold, check=columns.check_space, change=change,
        )  # fmt: skip
        named = inp["qid"].tolist(), inp["docno"].tolist()
        return explanations(
            *named, parts, model, views=("original", *model.aspects), top=self.top, min_confidence=self.min_confidence,
            mean=self._mean(), queries=queries, query_rows=query_rows,
        )  # fmt: skip

    def _mean(self) -> MeanDocument | None:
        """The mean document that scores are measured against."""
        return self.index.model.mean_document()

    def _stored(self, inp: pd.DataFrame) -> tuple[np.ndarray, PackedCodes, np.ndarray]:
        """The stored vectors of a frame's ``u`` distinct documents, their codes, and which document each row has.

        Returns:
            float32 ``[u, m]``, the folded vectors if the model has aspects, else the original ones; codes; int64 ``[n]``.
        """
        raise NotImplementedError


class IndexExplainer(StoredExplainer):
    """Explains each result as :class:`~pyterrier_xetrieval.SAEExplainer` does, from the codes that the index stores.

    Needs ``qid``, ``docno`` and ``query_vec`` of any retriever over the same documents; adds ``explanation``. What is
    explained is the score of the indexed vectors, looked up by ``docno``; vectors in the frame are not read. It is the
    multi-view score, or ``⟨q,z⟩`` of an index that is seen without its views (``index.with_views(())``).

    Sets of features are those of :class:`SAEExplainer`. Stored coefficients are rounded to float16, and the part that the
    dictionary does not explain takes the difference, so that the parts add up to the score all the same. Stored
    activations are rounded to 256 levels per document, none below a thousandth of the document's largest: with a
    threshold above 0, a feature within that rounding of it may fall on the other side.

    Args:
        index: a :class:`~pyterrier_xetrieval.XetrievalIndex`.
        threshold, top: as in :class:`~pyterrier_xetrieval.SAEExplainer`.

    Raises:
        ValueError: a docno that the index does not hold; vectors of another dimension; a damaged index.

    Example::

        model.encoder() >> index.retriever(num_results=10) >> index.explainer()
    """

    index: XetrievalIndex
    remedy = "index.verify() says where"

    def _stored(self, inp: pd.DataFrame) -> tuple[np.ndarray, PackedCodes, np.ndarray]:
        docids, rows = docids_of(self.index, inp, stage=self)
        layout = self.index.layout
        return layout.vectors(FOLDED if self.index.aspects else VECTORS)[docids], layout.codes(docids), rows

    def _mean(self) -> MeanDocument | None:
        return self.index.mean_document()
