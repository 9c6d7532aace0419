"""Rows of an index that are deleted, and the documents that are left, numbered one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np


class DeletedRows:
    """From rows to documents that are left, and back; memory grows with the deleted rows alone.

    A *row* is a document's place in the files of an index, for good. A *docid* counts the documents that are left, in the
    order of their rows.

    Args:
        total: how many rows there are.
        deleted: int64 ``[k]``, distinct rows in any order.

    Raises:
        ValueError: a row twice, or one that is not there.

    Example::

        >>> rows = DeletedRows(5, np.array([3, 0]))
        >>> len(rows), rows.left, rows.rows_of(np.arange(3)).tolist(), rows.docids_of(np.arange(5)).tolist()
        (2, 3, [1, 2, 4], [-1, 0, 1, -1, 2])
    """

    def __init__(self, total: int, deleted: np.ndarray):
        self.total, self.rows = total, np.unique(deleted)
        if len(self.rows) < len(deleted) or (len(self.rows) and not 0 <= self.rows[0] <= self.rows[-1] < total):
            raise ValueError(f"expected distinct rows of {total} to be deleted, found {deleted[:6].tolist()}")
        self._before = self.rows - np.arange(len(self.rows))  # documents that are left before each

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def left(self) -> int:
        """How many documents are left."""
        return self.total - len(self.rows)

    def rows_of(self, docids: np.ndarray) -> np.ndarray:
        """The rows of documents, int64 ``[n]``."""
        return docids + np.searchsorted(self._before, docids, side="right") if len(self.rows) else docids

    def docids_of(self, rows: np.ndarray) -> np.ndarray:
        """The documents in these rows, int64 ``[n]``; -1 for a row that is deleted or not there."""
        before = np.searchsorted(self.rows, rows)
        there = (rows >= 0) & (rows < self.total)
        if len(self.rows):
            there &= self.rows.take(before, mode="clip") != rows
        return np.where(there, rows - before, -1)

    def left_between(self, start: int, stop: int) -> np.ndarray | None:
        """Which of the rows ``start … stop-1`` are left, int64 counted from ``start``; None where all are."""
        low, high = np.searchsorted(self.rows, [start, stop])
        return None if low == high else np.delete(np.arange(stop - start), self.rows[low:high] - start)


class LiveVectors:
    """The rows of a matrix that are not deleted, to be read like an array: only what is indexed is copied.

    Args:
        stored: ``[rows, m]``; deleted: which of the rows to leave out.

    Example::

        >>> LiveVectors(np.eye(3), DeletedRows(3, np.array([1])))[1].tolist()
        [0.0, 0.0, 1.0]
    """

    ndim = 2

    def __init__(self, stored: np.ndarray, deleted: DeletedRows):
        self.stored, self.deleted, self.dtype = stored, deleted, stored.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.deleted.left, self.stored.shape[1]

    def __len__(self) -> int:
        return self.deleted.left

    def __getitem__(self, docids: Any) -> np.ndarray:
        if isinstance(docids, slice):
            start, stop, step = docids.indices(len(self))
            if step == 1 and start < stop:
                first, last = self.deleted.rows_of(np.array([start, stop - 1])).tolist()
                if last - first == stop - 1 - start:  # nothing is deleted in between: no copy
                    return self.stored[first : last + 1]
            return self.stored[self.deleted.rows_of(np.arange(start, stop, step))]
        asked = np.asarray(docids)
        asked = np.flatnonzero(asked) if asked.dtype == bool else np.where(asked < 0, asked + len(self), asked)
        if np.any((asked < 0) | (asked >= len(self))):
            raise IndexError(f"expected documents 0 … {len(self) - 1}, found {docids!r}")
        return self.stored[self.deleted.rows_of(asked)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("LiveVectors are some rows of a larger matrix: an array of them is always a copy")
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)
