"""Vectors in the cells of frames: rows of one matrix, known again as such, with the texts that they were encoded from.

Nothing is added to the frame or to the arrays: what is known of a cell is found by its identity, which every operation of
pandas keeps, and is forgotten with it. A vector that was computed, changed, or read from a file elsewhere is a new array of
which nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from weakref import finalize, ref

import numpy as np

# The matrices whose rows this module has put into frames, by address; an entry goes with its matrix.
_MATRICES: dict[int, MatrixRows] = {}


class MatrixRows:
    """The rows of a matrix as the arrays that :func:`unstack` made of them; it keeps none of these alive.

    Attributes:
        fits: the facts of the models for whose encoder's vectors they can be taken without a further look.
    """

    def __init__(self, vectors: list[np.ndarray], texts: Sequence[frozenset[str] | None] | None, fits: object):
        self.fits = {fits}
        self.places = {id(vector): i for i, vector in enumerate(vectors)}
        self.references = [ref(vector) for vector in vectors]
        self.texts = texts

    def find(self, cell: object) -> int | None:
        """Which row a cell is; None for every other object, also one that has the address of a row that is gone."""
        place = self.places.get(id(cell))
        return place if place is not None and self.references[place]() is cell else None


def unstack(
    matrix: np.ndarray, rows: np.ndarray | None = None, *, texts: Sequence[frozenset[str] | None] | None = None,
    fits: object = None,
) -> np.ndarray:  # fmt: skip
    """A column of 1-d arrays from a matrix: row ``i`` holds ``matrix[rows[i]]``; equal rows share one array.

    The arrays are read-only: what changes one in place, as ``v /= 2`` does, would change all rows that share it. The column
    is of dtype ``object``, also when empty, so that an empty frame keeps the type of its column.

    Args:
        matrix: float ``[u, m]``.
        rows: int ``[n]``; None for all in their order.
        texts: for each of the ``u`` rows, the texts that have this vector; None where nobody knows.
        fits: the facts of the model whose stage made these vectors, so that its other stages do not take them for those of
            another encoder.
    """
    vectors = list(matrix)
    for vector in vectors:
        vector.setflags(write=False)
    if matrix.dtype == np.float32 and matrix.base is None and matrix.size and id(matrix) not in _MATRICES:
        _MATRICES[id(matrix)] = MatrixRows(vectors, texts, fits)
        finalize(matrix, _MATRICES.pop, id(matrix))
    column = np.empty(len(vectors) if rows is None else len(rows), dtype=object)
    column[:] = vectors if rows is None else [vectors[i] for i in rows.tolist()]
    return column


def rows_of_matrix(cells: list) -> tuple[np.ndarray, np.ndarray, MatrixRows] | None:
    """The matrix whose rows all the cells are, which rows, and what is known of it; None unless :func:`unstack` made them.

    Only the rows that are in use count: a frame that was cut to few results does not drag the other vectors along.
    """
    base = getattr(cells[0], "base", None) if cells else None
    known = _MATRICES.get(id(base))
    if base is None or known is None:
        return None
    found = [known.find(cell) for cell in cells]
    if None in found:
        return None
    places = np.array(found, np.int64)
    if len(places) == len(base):
        return base, places, known
    used, places = np.unique(places, return_inverse=True)
    return base[used], places, known


def known_of(matrix: np.ndarray) -> MatrixRows | None:
    """What is known of a matrix that :func:`unstack` has put into a frame."""
    return _MATRICES.get(id(matrix))


def encoded_texts(cell: object) -> frozenset[str] | None:
    """The texts that a stage of this package encoded into this vector; None for any other vector.

    >>> column = unstack(np.eye(2, dtype=np.float32), texts=[frozenset({"tea"}), None])
    >>> encoded_texts(column[0]), encoded_texts(column[1]), encoded_texts(column[0].copy())
    (frozenset({'tea'}), None, None)
    """
    known = _MATRICES.get(id(getattr(cell, "base", None)))
    place = known.find(cell) if known is not None and known.texts is not None else None
    return None if known is None or known.texts is None or place is None else known.texts[place]


def texts_by_row(cells: Iterable[object], rows: np.ndarray, n: int) -> list[frozenset[str] | None] | None:
    """For each of ``n`` rows of a matrix that is made from cells, the texts of the cells that it stands for.

    Args:
        cells: ``k`` vectors; rows: int ``[k]``, which row of the matrix each of them becomes.

    Returns:
        None for a row that stands for a vector of unknown origin too; None altogether where no text is known.
    """
    known: list[frozenset[str] | None] = [frozenset()] * n
    for cell, row in zip(cells, rows.tolist()):
        texts, before = encoded_texts(cell), known[row]
        known[row] = None if texts is None or before is None else before | texts
    return known if any(known) else None
