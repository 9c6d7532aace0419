"""Explanations from stored codes: no encoder, internalizer or dictionary runs on the document side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyterrier as pt

from ..core.attribution import Attribution, attribute
from ..core.checks import distinct_aspects, positive_int, threshold_of
from ..core.codes import encode_view
from ..core.views import row_dots
from ..stages.base import RowWiseStage
from ..stages.columns import as_texts, stack_queries
from ..stages.explain import explanations
from .packing import DamagedCodes, PackedCodes, unpack
from .storage import FOLDED, VECTORS

_ROWS = 16_384  # of a frame at once: bounds the memory for the codes of their documents


def attribute_stored(
    sae, queries: np.ndarray, query_rows: np.ndarray, packed: PackedCodes, doc_rows: np.ndarray, scores: np.ndarray, *,
    views: int, weights: Sequence[float], threshold: float,
) -> Attribution:  # fmt: skip
    """:func:`~pyterrier_xetrieval.core.attribution.attribute` for documents whose codes are stored.

    Args:
        sae: the dictionary; it runs on the queries alone.
        queries: float32 ``[u_q, m]``, distinct query vectors; query_rows: int64 ``[n]``, which one each pair has.
        packed: codes of ``u`` distinct documents; doc_rows: int64 ``[n]``, which one each pair has.
        scores: float ``[n]``, the scores to split.
        views: how many the codes have; weights: of the first views, those that the score uses.
        threshold: τ of Eq. 4.

    Raises:
        DamagedCodes: codes that do not fit together.
    """
    q = encode_view(sae, queries, refit=False, batch_size=512)
    documents = unpack(packed, views, sae.dict_size).first_views(len(weights))
    return attribute(sae, queries, q, query_rows, documents, doc_rows, scores, weights=weights, threshold=threshold)


def features_of(index, docno: str) -> pd.DataFrame:
    """See :meth:`XetrievalIndex.features_of`."""
    names = np.array(["original", *index.aspects])
    codes = unpack(index.layout.codes(index.docids(as_texts([docno], stage=index))), len(names), index.settings["dict_size"])
    labels = [index.model.labels[j] for j in codes.features]
    views = [",".join(names[own > 0]) for own in codes.activations]
    activation = codes.activations.max(axis=1, initial=0)
    out = pd.DataFrame({"feature": codes.features, "label": labels, "views": views, "activation": activation})
    return out.sort_values(["activation", "feature"], ascending=[False, True], ignore_index=True)


class StoredExplainer(RowWiseStage):
    """What the explainers over stored codes share; one of them says where the codes are (:meth:`_stored`).

    Args:
        index: has ``model``, ``aspects`` and ``settings``.
        aspects: all that the index has (the multi-view score), or ``()``: the plain ``⟨q,z⟩``.
        threshold, top: as in :class:`~pyterrier_xetrieval.SAEExplainer`.
    """

    remedy = ""  # what to do about damaged codes

    def __init__(self, index, *, aspects: Sequence[str] | None = None, threshold: float = 0.0, top: int = 10):
        name = type(self).__name__
        self.index = index
        self.aspects = index.aspects if aspects is None else distinct_aspects(aspects, stage=name)
        if self.aspects not in ((), index.aspects):
            raise ValueError(f"{name} expects aspects {index.aspects} or (), found {self.aspects}")
        self.threshold = threshold_of(threshold, stage=name)
        self.top = positive_int(top, "top", stage=name)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        pt.validate.result_frame(inp, extra_columns=["query_vec"], context=self)
        if not len(inp):
            return inp.assign(explanation=pd.Series([], dtype=object, index=inp.index))
        inp, queries, query_rows = stack_queries(inp, dim=self.index.model.dim, stage=self)
        try:
            if len(inp) <= _ROWS:
                parts = [self._explained(inp, queries, query_rows)]
            else:
                parts = []
                for start in range(0, len(inp), _ROWS):
                    own, rows = np.unique(query_rows[start : start + _ROWS], return_inverse=True)
                    parts.append(self._explained(inp.iloc[start : start + _ROWS], queries[own], rows))
        except DamagedCodes as error:
            raise ValueError(f"{self.index!r} is damaged: {error}; {self.remedy}") from None
        return inp.assign(explanation=np.concatenate(parts))

    def _explained(self, inp: pd.DataFrame, queries: np.ndarray, query_rows: np.ndarray) -> np.ndarray:
        model, views = self.index.model, ("original", *self.aspects)
        qids, docnos = inp["qid"].tolist(), inp["docno"].tolist()
        vectors, packed, rows = self._stored(inp, as_texts(docnos, stage=self))
        parts = attribute_stored(
            model.sae, queries, query_rows, packed, rows, row_dots(queries, query_rows, vectors, rows),
            views=1 + len(self.index.aspects), weights=(1.0, *(self.index.settings["weights"] if self.aspects else ())),
            threshold=self.threshold,
        )  # fmt: skip
        return explanations(qids, docnos, parts, views=views, labels=model.labels, top=self.top)

    def _stored(self, inp: pd.DataFrame, docnos: list[str]) -> tuple[np.ndarray, PackedCodes, np.ndarray]:
        """Of the distinct documents of a frame, whose docnos these are: float32 ``[u, m]``, folded if there are aspects,
        else original; their codes; and int64 ``[n]``, which of them each row has."""
        raise NotImplementedError


class IndexExplainer(StoredExplainer):
    """Explains each result as :class:`~pyterrier_xetrieval.SAEExplainer` does, from the codes that the index stores.

    Needs ``qid``, ``docno`` and ``query_vec`` of any retriever over the same documents; adds ``explanation``. What is
    explained is the score of the indexed vectors, looked up by ``docno``; vectors in the frame are not read. Sets of
    features are those of :class:`SAEExplainer`; stored coefficients are rounded to float16 and the part that the
    dictionary does not explain takes the difference, so that the parts add up to the score all the same. Stored
    activations are rounded to 256 levels per document, none below a thousandth of the document's largest: with a
    threshold above 0, a feature within that rounding of it may fall on the other side.

    Args:
        index: a :class:`~pyterrier_xetrieval.XetrievalIndex`.
        aspects: all that the index has (the multi-view score), or ``()``: the plain ``⟨q,z⟩``.
        threshold, top: as in :class:`~pyterrier_xetrieval.SAEExplainer`.

    Raises:
        ValueError: a docno that the index does not hold; other aspects; vectors of another dimension; a damaged index.

    Example::

        model.encoder() >> index.retriever(num_results=10) >> index.explainer()
    """

    remedy = "index.verify() says where"

    def _stored(self, inp, docnos):
        layout, distinct = self.index.layout, {}
        rows = np.array([distinct.setdefault(docno, len(distinct)) for docno in docnos])
        first = np.unique(rows, return_index=True)[1] if len(distinct) < len(rows) else slice(None)
        docids = self.index.docids(list(distinct), guess=inp["docid"].to_numpy()[first] if "docid" in inp else None)
        return layout[f"{FOLDED if self.aspects else VECTORS}/vecs.f4"][docids], layout.codes(docids), rows
