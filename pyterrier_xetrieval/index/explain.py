"""Explanations from stored codes: no encoder, internalizer or dictionary runs on the document side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyterrier as pt
import torch

from ..explainer import SAEExplainer, ViewCodes, attribute, encode_view
from ..scorer import row_dots
from ..stage import distinct_aspects, positive_int
from ..vectors import stack_unique
from .format import FOLDED, VECTORS, Layout, decode_gaps, decode_levels


def read_pairs(layout: Layout, docids: np.ndarray) -> tuple[np.ndarray, ...]:
    """Everything active in these documents, one item for each document, feature and view, in this order.

    Returns:
        int64 row in ``docids``, int64 feature, int64 view (0 the original), float32 activation, float32 coefficient.
    """
    begins, ends = layout.bounds("ids_end", docids)
    ids, views = (_gather(layout[name], begins, ends) for name in ("ids.u1", "views.u1"))
    feature, row, at = decode_gaps(ids, ends - begins)
    entry, view = np.nonzero((views[at][:, None] >> np.arange(1 + len(layout.settings["aspects"]))) & 1)
    begins, ends = layout.bounds("pairs_end", docids)
    levels, relative = (_gather(layout[name], begins, ends) for name in ("activations.u1", "coefficients.f2"))
    if len(entry) != len(levels) or (len(feature) and feature.max() >= layout.settings["dict_size"]):
        raise ValueError(f"{layout.path} is damaged: the codes of a document do not fit together; index.verify() says where")
    row, feature = row[entry], feature[entry]
    records = layout["documents.bin"][docids]
    activation = decode_levels(levels, records["low"][row], records["high"][row])
    return row, feature, view, activation, relative.astype(np.float32) * records["high"][row]


def read_codes(layout: Layout, docids: np.ndarray, views: int) -> list[ViewCodes]:
    """The codes of the first ``views`` views of these documents, as the attribution reads them."""
    row, feature, view, activation, coefficient = read_pairs(layout, docids)
    codes = []
    for v in range(views):
        own = np.flatnonzero(view == v)
        counts = np.bincount(row[own], minlength=len(docids))
        slot = np.arange(len(own)) - np.repeat(np.cumsum(counts) - counts, counts)
        shape = (len(docids), max(1, int(counts.max(initial=0))))
        arrays = np.zeros(shape, np.int64), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        for array, values in zip(arrays, (feature, activation, coefficient)):
            array[row[own], slot] = values[own]
        codes.append(ViewCodes(*arrays))
    return codes


@dataclass(frozen=True)
class _Directions:
    """As much of a dictionary as the attribution reads."""

    w_dec: torch.Tensor
    b_dec: torch.Tensor
    dict_size: int


def _restricted(sae, codes: list[ViewCodes]) -> tuple[_Directions, np.ndarray, list[ViewCodes]]:
    """The dictionary with the features of these codes alone, which are few on a page; their ids in it, int32; the codes."""
    used = np.zeros(sae.dict_size, bool)
    for code in codes:
        used[code.ids] = True
    features = np.flatnonzero(used)
    place = np.cumsum(used) - 1
    rows = torch.from_numpy(features).to(sae.w_dec.device)
    codes = [replace(code, ids=place[code.ids]) for code in codes]
    return _Directions(sae.w_dec[rows], sae.b_dec, len(features)), features.astype(np.int32), codes


def _gather(data: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    pieces = [data[a:b] for a, b in zip(begins.tolist(), ends.tolist())]
    return np.concatenate(pieces) if pieces else data[:0]


def features_of(index, docno: str) -> pd.DataFrame:
    """See :meth:`XetrievalIndex.features_of`."""
    _, feature, view, activation, _ = read_pairs(index.layout, index.docids([docno]))
    names = np.array(["original", *index.aspects])
    grouped = pd.DataFrame({"feature": feature, "views": names[view], "activation": activation}).groupby("feature")
    out = grouped.agg(views=("views", ",".join), activation=("activation", "max")).reset_index()
    out.insert(1, "label", [index.model.labels[j] for j in out["feature"]])
    return out.sort_values(["activation", "feature"], ascending=[False, True], ignore_index=True)


class IndexExplainer(SAEExplainer):
    """Explains each result as :class:`~pyterrier_xetrieval.SAEExplainer` does, from the codes that the index stores.

    Needs ``qid``, ``docno`` and ``query_vec`` of any retriever over the same documents; adds ``explanation``. What is
    explained is the score of the indexed vectors, looked up by ``docno``; vectors in the frame are not read. Sets of
    features are those of :class:`SAEExplainer`; stored coefficients are rounded to float16 and the part that the
    dictionary does not explain takes the difference, so that the parts add up to the score all the same. Stored
    activations are rounded to 256 levels per document: with a threshold above 0, a feature within that rounding of it
    may fall on the other side.

    Args:
        index: a :class:`~pyterrier_xetrieval.XetrievalIndex`.
        aspects: all that the index has (the multi-view score), or ``()``: the plain ``⟨q,z⟩``.
        threshold, top: as in :class:`~pyterrier_xetrieval.SAEExplainer`.

    Raises:
        ValueError: a docno that the index does not hold; other aspects; vectors of another dimension.

    Example::

        model.encoder() >> index.retriever(num_results=10) >> index.explainer()
    """

    label = "IndexExplainer"

    def __init__(self, index, *, aspects: Sequence[str] | None = None, threshold: float = 0.0, top: int = 10):
        self.index = index
        self.aspects = index.aspects if aspects is None else distinct_aspects(aspects, stage="IndexExplainer")
        if self.aspects not in ((), index.aspects):
            raise ValueError(f"IndexExplainer expects aspects {index.aspects} or (), found {self.aspects}")
        if not float(threshold) >= 0:
            raise ValueError(f"IndexExplainer expects threshold >= 0 (activations are never negative), found {threshold}")
        self.threshold, self.top = float(threshold), positive_int(top, "top", stage="IndexExplainer")

    @property
    def model(self):
        return self.index.model

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        pt.validate.result_frame(inp, extra_columns=["query_vec"], context=self)
        if not len(inp):
            return inp.assign(explanation=pd.Series([], dtype=object, index=inp.index))
        sae, layout = self.model.sae, self.index.layout
        queries, query_rows = stack_unique(inp, "query_vec", dim=self.model.dim, stage=self)
        docnos = inp["docno"].tolist()
        distinct = {docno: i for i, docno in enumerate(dict.fromkeys(docnos))}
        rows, docids = np.array([distinct[docno] for docno in docnos]), self.index.docids(list(distinct))
        vectors = layout[f"{FOLDED if self.aspects else VECTORS}/vecs.f4"][docids]
        scores = row_dots(queries, query_rows, vectors, rows)
        q = encode_view(sae, queries, refit=False, batch_size=512)
        codes = read_codes(layout, docids, 1 + len(self.aspects))
        weights = (1.0, *(self.index.settings["weights"] if self.aspects else ()))
        dictionary, features, (q, *codes) = _restricted(sae, [q, *codes])
        parts = attribute(
            dictionary, queries, q, query_rows, codes, [rows] * len(codes), scores, weights=weights, threshold=self.threshold
        )
        parts = replace(parts, features=features[parts.features])
        return inp.assign(explanation=self._explanations(inp, parts))
