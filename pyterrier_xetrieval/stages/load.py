"""The stage that adds the vectors of documents from an index by ``docno``."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyterrier as pt
from pyterrier_dr import FlexIndex

from .base import RowWiseStage
from .columns import as_texts, unstack


class VectorLoader(RowWiseStage):
    """Adds ``doc_vec`` from a FlexIndex by ``docno``.

    Unlike ``index.vec_loader()`` it looks documents up by ``docno`` alone (a ``docid`` column belongs to whichever
    retriever wrote it), refuses documents that the index does not hold, and accepts an empty frame.

    Args:
        index: a :class:`pyterrier_dr.FlexIndex`.

    Raises:
        ValueError: a docno that is missing or not in the index.

    Example::

        bm25 >> VectorLoader(FlexIndex("corpus.flex")) >> model.internalizer() >> model.scorer()
    """

    def __init__(self, index: FlexIndex):
        if not isinstance(index, FlexIndex):
            raise ValueError(f"VectorLoader expects a FlexIndex (of a XetrievalIndex: index.vec_loader()), found {index!r}")
        self.index = index

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        pt.validate.columns(inp, includes=["docno"], context=self)
        if not len(inp):
            return inp.assign(doc_vec=unstack(np.empty((0, 0), np.float32)))
        asked = as_texts(inp["docno"].tolist(), stage=self)
        if "\0" in "".join(asked):  # numpy's strings lose one at the end, and "7\0" would be "7"
            raise ValueError(f"{self!r} has no vector for {next(docno for docno in asked if chr(0) in docno)!r}")
        docnos, rows = np.unique(np.asarray(asked, dtype=np.str_), return_inverse=True)
        docids = self._docids(docnos)
        if (docids < 0).any():
            missing = docnos[docids < 0]
            raise ValueError(f"{self!r} has no vector for {len(missing)} docno(s), the first is {str(missing[0])!r}")
        return inp.assign(doc_vec=unstack(np.array(self.index.np_vecs()[docids]), rows))

    def _docids(self, docnos: np.ndarray) -> np.ndarray:
        """The row of each document, -1 if the index does not hold it."""
        lookup = self.index.docnos()
        try:
            docids = np.asarray(lookup.inv[docnos], np.int64)
        except (ValueError, OverflowError):  # a lookup of numbered docnos stumbles over a docno without a number, or a huge one
            docids = np.array([self._docids(docnos[i : i + 1])[0] if len(docnos) > 1 else -1 for i in range(len(docnos))])
        # ... and takes "007" for "7": what it found must be what was asked for
        known = np.flatnonzero(docids >= 0)
        wrong = np.asarray(lookup.fwd[docids[known]]).astype(np.str_) != docnos[known] if len(known) else []
        docids[known[np.flatnonzero(wrong)]] = -1
        return docids

    def _identity(self) -> tuple:  # a FlexIndex itself compares by object
        return (str(self.index.index_path.absolute()),)
