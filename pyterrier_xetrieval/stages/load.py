"""The stage that adds the vectors of documents from an index by ``docno``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from ..core.views import unit_rows
from ..documents import as_texts
from ..store.surrogates import repaired
from ..vector_cells import unstack
from .base import RowWiseStage
from .cells import plain_cells
from .columns import VectorColumns

if TYPE_CHECKING:
    from npids import Lookup
    from pyterrier_dr import FlexIndex

_BATCH = 1 << 16  # docnos read at once


class VectorLoader(RowWiseStage):
    """Adds ``doc_vec``, float ``[m]``, from a FlexIndex by ``docno``.

    Unlike pyterrier_dr's ``FlexIndex.vec_loader()`` it looks documents up by ``docno`` alone (a ``docid`` column belongs to
    whichever retriever wrote it), finds zero-padded docnos, refuses documents that the index does not hold, and accepts an
    empty frame.

    From an index that compares by cosine, ``FlexIndex(path, sim_fn="cos")``, vectors come with length 1, and a ``query_vec``
    that the frame has is scaled to length 1 too. The dot product of both, which the stages of this package score by and
    explain, is then the index's score. The similarity is kept by the object and not by the folder: open the index with the
    ``sim_fn`` that its retriever has.

    Args:
        index: a :class:`pyterrier_dr.FlexIndex`; its ``sim_fn`` is followed.

    Raises:
        ValueError: a docno that is missing or not in the index.

    Example::

        bm25 >> VectorLoader(FlexIndex("corpus.flex")) >> model.internalizer() >> model.scorer()
    """

    def __init__(self, index: FlexIndex):
        from pyterrier_dr import FlexIndex  # late: it takes seconds to import

        if not isinstance(index, FlexIndex):
            raise ValueError(f"VectorLoader expects a FlexIndex (of a XetrievalIndex: index.vec_loader()), found {index!r}")
        self.index = index

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        self.check(inp, ["docno"])
        if not len(inp):
            return inp.assign(doc_vec=unstack(np.empty((0, 0), np.float32)))
        inp = plain_cells(inp)
        docnos, rows = distinct_docnos(inp, stage=self)
        docids = rows_of(docnos, self.index.docnos())
        missing = [docno for docno, docid in zip(docnos, docids) if docid < 0]
        if missing:
            raise ValueError(f"{self!r} has no vector for {len(missing)} docno(s), the first is {missing[0]!r}")
        vectors = np.array(self.index.np_vecs()[docids])
        if not compares_by_cosine(self.index):
            return inp.assign(doc_vec=unstack(vectors, rows))
        inp = inp.assign(doc_vec=unstack(unit_rows(vectors), rows))
        if "query_vec" not in inp.columns:
            return inp
        columns = VectorColumns(inp, stage=self)
        queries, rows = columns.queries()
        return inp.assign(query_vec=columns.unstacked("query_vec", unit_rows(queries), rows))

    def _identity(self) -> tuple:  # a FlexIndex itself compares by object
        return str(self.index.index_path.absolute()), compares_by_cosine(self.index)


def compares_by_cosine(index: FlexIndex) -> bool:
    """Whether the scores of an index are cosines and not dot products."""
    from pyterrier_dr import SimFn  # late: it takes seconds to import

    return index.sim_fn == SimFn.cos


def distinct_docnos(inp: pd.DataFrame, *, stage: object) -> tuple[list[str], np.ndarray]:
    """The ``u`` documents of a frame, each once, as texts; and which of them each row has, int64 ``[n]``.

    Raises:
        ValueError: a missing docno; the message names ``stage``.
    """
    distinct: dict[str, int] = {}
    texts = as_texts(inp["docno"].tolist(), stage=stage)
    rows = np.array([distinct.setdefault(docno, len(distinct)) for docno in texts], np.int64)
    return list(distinct), rows


def rows_of(docnos: Sequence[str], lookup: Lookup) -> np.ndarray:
    """The row of each document in an index, int64 ``[n]``; -1 for one that the index does not hold.

    npids answers at once but not always right: of zero-padded and of consecutively numbered docnos it loses the last
    ones, it takes ``"007"`` for ``"7"``, and it stumbles over a docno without a number. So each answer is compared with
    the docno that stands in that row, and a table of all docnos answers for those that npids does not find. The first of
    them has to wait for that table: some seconds for millions of documents, and 16 bytes in memory for each.

    Args:
        docnos: ``n`` strings.
        lookup: of the index, ``index.docnos()``.
    """
    # no index holds a docno with a NUL, which numpy's strings lose at the end, or with half of a character
    possible = np.array([docno == repaired(docno) and "\0" not in docno for docno in docnos], bool)
    if not possible.all():
        rows = np.full(len(docnos), -1)
        rows[possible] = rows_of([docno for docno, fine in zip(docnos, possible) if fine], lookup)
        return rows
    asked = np.array(docnos, np.str_)
    try:
        rows = np.asarray(lookup.inv[asked], np.int64)
    except (ValueError, OverflowError):
        rows = np.full(len(asked), -1)
    found = np.flatnonzero((rows >= 0) & (rows < len(lookup)))
    right = found[_docnos_at(lookup, rows[found]) == asked[found]]
    lost = np.setdiff1d(np.arange(len(asked)), right)
    if len(lost):
        if lookup not in _TABLES:
            _TABLES[lookup] = _DocnoTable(lookup)
        rows[lost] = _TABLES[lookup].rows_of(asked[lost], lookup)
    return rows


class _DocnoTable:
    """The hash of every docno of an index, ascending, and the row of each."""

    def __init__(self, lookup: Lookup):
        rows = np.arange(len(lookup))
        batches = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
        hashes = np.concatenate([_hashes(_docnos_at(lookup, batch)) for batch in batches])
        self.rows = np.argsort(hashes, kind="stable")
        self.hashes = hashes[self.rows]

    def rows_of(self, asked: np.ndarray, lookup: Lookup) -> np.ndarray:
        hashes, rows = _hashes(asked), np.full(len(asked), -1)
        at = np.searchsorted(self.hashes, hashes)  # the first row with the hash; others follow where docnos share one
        todo = np.arange(len(asked))
        while len(todo := todo[(at[todo] < len(self.hashes)) & (self.hashes.take(at[todo], mode="clip") == hashes[todo])]):
            candidates = self.rows[at[todo]]
            same = _docnos_at(lookup, candidates) == asked[todo]
            rows[todo[same]] = candidates[same]
            todo = todo[~same]
            at[todo] += 1
        return rows


_TABLES: WeakKeyDictionary[Lookup, _DocnoTable] = WeakKeyDictionary()


def _docnos_at(lookup: Lookup, rows: np.ndarray) -> np.ndarray:
    return np.asarray(lookup.fwd[rows]).astype(np.str_) if len(rows) else np.empty(0, np.str_)


def _hashes(docnos: np.ndarray) -> np.ndarray:
    return pd.util.hash_array(docnos.astype(object), categorize=False)
