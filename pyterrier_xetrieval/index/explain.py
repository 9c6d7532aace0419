"""Explanations from stored codes: no encoder, internalizer or dictionary runs on the document side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from ..core.attribution import QueryChange, explain_vectors
from ..core.codes import DocumentCodes
from ..core.mean_document import MeanDocument
from ..model import Xetrieval
from ..stages.cells import plain_cells
from ..stages.columns import VectorColumns
from ..stages.explain import Explainer
from .docnos import docids_of
from .packing import DamagedCodes

if TYPE_CHECKING:
    from .artifact import XetrievalIndex

_ROWS = 16_384  # of a frame at once: bounds the memory for the codes of their documents


class Explainable(Protocol):
    """What explaining needs to know of an index of stored codes."""

    @property
    def model(self) -> Xetrieval:
        """The model, with the views that are to be explained."""


class StoredExplainer(Explainer):
    """What the explainers over stored codes share; one of them says where the codes are (:meth:`_stored`).

    Args:
        index: explained are the views that its model has: all, or the original one alone.
        threshold, min_confidence, top: as in :class:`~pyterrier_xetrieval.SAEExplainer`.
    """

    remedy = ""  # what to do about damaged codes

    def __init__(self, index: Explainable, *, threshold: float = 0.0, min_confidence: float | None = None, top: int = 10):
        super().__init__(threshold=threshold, min_confidence=min_confidence, top=top)
        self.index = index

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
        model, (vectors, codes, rows) = self.index.model, self._stored(inp)
        parts = explain_vectors(
            model.sae, queries, query_rows, codes, rows, folded=vectors,
            weights=(1.0, *model.weights.values()), threshold=self.threshold, check=columns.check_space, change=change,
        )  # fmt: skip
        views = ("original", *model.aspects)
        return self.explanations(
            inp, parts, model, views=views, mean=self._mean(), queries=queries, query_rows=query_rows, change=change,
            documents=vectors, document_rows=rows,
        )  # fmt: skip

    def _mean(self) -> MeanDocument | None:
        """The mean document that scores are measured against."""
        return self.index.model.mean_document()

    def _stored(self, inp: pd.DataFrame) -> tuple[np.ndarray, DocumentCodes, np.ndarray]:
        """The stored vectors of a frame's ``u`` distinct documents, their codes, and which document each row has.

        Returns:
            float32 ``[u, m]``, the folded vectors if the model has aspects, else the original ones; codes in the views of the
            model; int64 ``[n]``.

        Raises:
            DamagedCodes: codes that do not fit together.
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

    def _stored(self, inp: pd.DataFrame) -> tuple[np.ndarray, DocumentCodes, np.ndarray]:
        docids, rows = docids_of(self.index, inp, stage=self)
        return self.index.layout.vectors(self.index.searched)[docids], self.index.codes(docids), rows

    def _mean(self) -> MeanDocument | None:
        return self.index.mean_document()
