"""Columns of vectors as float32 matrices, and back: the one way in and out of a frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from weakref import finalize, ref

import numpy as np
import pandas as pd
import torch

from ..core.checks import is_missing

# The matrices whose rows this module has put into frames, by address; an entry goes with its matrix.
_MATRICES: dict[int, _Rows] = {}


def view_column(aspect: str) -> str:
    """The column that holds a document's view of this aspect: ``doc_vec_<aspect>``."""
    return f"doc_vec_{aspect}"


def aspects_of(columns: Iterable[str]) -> tuple[str, ...]:
    """The aspects whose views are among the columns of a frame, in the order of the columns.

    Example::

        >>> aspects_of(["qid", "doc_vec", "doc_vec_qa"])
        ('qa',)
    """
    prefix = view_column("")
    return tuple(c.removeprefix(prefix) for c in columns if isinstance(c, str) and c.startswith(prefix))


class NoVector(ValueError):
    """A row without a vector: what joined rankings leave where one of them did not find a document."""


class VectorColumns:
    """The vectors of a frame, each column read once.

    A column becomes a matrix of its distinct vectors. Rows are compared by content and not by docno, so that two rows
    of one document with differently edited vectors stay two. :meth:`assign` puts the vectors that were read back as rows
    of that matrix, with the same numbers. A later stage that finds such rows takes the matrix as it is: it copies nothing
    and compares nothing. A vector that is replaced is seen by every later stage, whatever happened to the frame in
    between. Nobody changes one in place, because rows of one document share it: it is read-only.

    Args:
        frame: it is not changed.
        dim: the expected dimension; None takes that of the first vector.
        stage: who asks; errors name it.

    Example::

        columns = VectorColumns(frame, dim=384, stage=self)
        z, rows = columns["doc_vec"]                            # z[rows[i]] is the vector of row i
        return columns.assign(doc_vec_qa=unstack(view, rows))
    """

    def __init__(self, frame: pd.DataFrame, *, dim: int | None, stage: object):
        self.frame, self.dim, self.stage = frame, dim, stage
        self._own: dict[str, np.ndarray] = {}

    def __getitem__(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """The distinct vectors of a column, float32 ``[u, m]``, and which of them each row holds, int64 ``[n]``.

        Raises:
            ValueError: a row that is no 1-d number array, has another dimension, or holds NaN or infinity.
        """
        return self._read(column, self.frame[column].tolist())

    def queries(self) -> tuple[np.ndarray, np.ndarray]:
        """``query_vec``, as the columns of documents; a row without one takes that of the other rows of its query.

        Joined rankings (``bm25 + dense``) have none in the rows that only the other one found.

        Raises:
            ValueError: as for every column; the other rows of the query have different vectors.
        """
        cells = self.frame["query_vec"].tolist()
        try:
            return self._read("query_vec", cells)
        except NoVector:
            return self._read("query_vec", _filled(self.frame["qid"].tolist(), cells, "query_vec", self.stage))

    def documents(self, aspects: Sequence[str]) -> tuple[list[np.ndarray], np.ndarray]:
        """The distinct documents of a frame: for each view a float32 ``[u, m]``, the original one first, and int64 ``[n]``.

        Rows with the same vectors in all views have the same document.
        """
        read = [self[column] for column in ("doc_vec", *map(view_column, aspects))]
        rows, first = _distinct([own for _, own in read])
        if first is None:
            return [matrix for matrix, _ in read], rows
        return [matrix[own[first]] for matrix, own in read], rows

    def assign(self, **columns: object) -> pd.DataFrame:
        """The frame with these columns, and with the vectors that were read as rows of one matrix for each column."""
        return self.frame.assign(**{**self._own, **columns})

    def _read(self, column: str, cells: list) -> tuple[np.ndarray, np.ndarray]:
        distinct: dict[int, int] = {}  # the list keeps every cell alive, so that no id comes twice
        slots = np.array([distinct.setdefault(id(cell), len(distinct)) for cell in cells], np.int64)
        first = np.empty(len(distinct), np.int64)
        first[slots[::-1]] = np.arange(len(cells))[::-1]
        own = [cells[row] for row in first.tolist()]
        known = _rows_of_matrix(own)
        if known is not None:
            matrix, places = known
            rows = places[slots]
        else:
            matrix, places = self._stacked(column, own, first)
            rows = places[slots]
            self._own[column] = unstack(matrix, rows)
        if self.dim is not None and len(matrix) and matrix.shape[1] != self.dim:
            raise _other_dimension(self.stage, column, self.dim, matrix.shape[1], _row_name(self.frame, 0))
        finite = np.isfinite(matrix).all(axis=1)
        if not finite.all():
            row = int(np.flatnonzero(~finite[rows])[0])
            raise ValueError(
                f"{self.stage!r} found NaN or infinity in {column} of {_row_name(self.frame, row)}; check the encoder or the index"
            )
        self.dim = matrix.shape[1] if len(matrix) else self.dim
        return matrix, rows

    def _stacked(self, column: str, cells: list, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The distinct vectors among some cells, and which of them each cell holds; ``first``: a row of each cell."""
        dim = self.dim
        distinct: dict[bytes, int] = {}
        vectors: list[np.ndarray] = []
        places = np.empty(len(cells), np.int64)
        for i, cell in enumerate(cells):
            vector = _as_vector(cell, column, self.frame, int(first[i]), dim, self.stage)
            dim = len(vector)
            places[i] = distinct.setdefault(vector.tobytes(), len(distinct))
            if places[i] == len(vectors):
                vectors.append(vector)
        return np.stack(vectors) if vectors else np.empty((0, dim or 0), np.float32), places


class _Rows:
    """The rows of a matrix as the arrays that :func:`unstack` made of them; it keeps none of these alive."""

    def __init__(self, vectors: list[np.ndarray]):
        self.places = {id(vector): i for i, vector in enumerate(vectors)}
        self.references = [ref(vector) for vector in vectors]

    def find(self, cell: object) -> int | None:
        """Which row a cell is; None for every other object, also one that has the address of a row that is gone."""
        place = self.places.get(id(cell))
        return place if place is not None and self.references[place]() is cell else None


def _rows_of_matrix(cells: list) -> tuple[np.ndarray, np.ndarray] | None:
    """The matrix whose rows all the cells are, and which rows; None unless :func:`unstack` made them.

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
        return base, places
    used, places = np.unique(places, return_inverse=True)
    return base[used], places


def _distinct(view_rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
    """Which distinct document each row has, and a row of each document.

    The second is None where all views agree about the documents, which they do unless a view was edited alone.
    """
    if all(np.array_equal(own, view_rows[0]) for own in view_rows[1:]):
        return view_rows[0], None
    joint = view_rows[0]
    for own in view_rows[1:]:
        joint = np.unique(joint * (own.max() + 1) + own, return_inverse=True)[1]
    _, first, rows = np.unique(joint, return_index=True, return_inverse=True)
    return rows, first


def unstack(matrix: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """A column of 1-d arrays from a matrix: row ``i`` holds ``matrix[rows[i]]``; equal rows share one array.

    The arrays are read-only: what changes one in place, as ``v /= 2`` does, would change all rows that share it. The
    column is of dtype ``object``, also when empty, so that an empty frame keeps the type of its column.
    """
    vectors = list(matrix)
    for vector in vectors:
        vector.setflags(write=False)
    if matrix.dtype == np.float32 and matrix.base is None and matrix.size and id(matrix) not in _MATRICES:
        _MATRICES[id(matrix)] = _Rows(vectors)
        finalize(matrix, _MATRICES.pop, id(matrix))
    column = np.empty(len(vectors) if rows is None else len(rows), dtype=object)
    column[:] = vectors if rows is None else [vectors[i] for i in rows.tolist()]
    return column


def as_texts(docnos: list, *, stage: object) -> list[str]:
    """Docnos as an index knows them, whatever a frame has them as; ValueError for a missing one, naming ``stage``."""
    if all(isinstance(docno, str) for docno in docnos):
        return docnos
    missing = np.flatnonzero(pd.isna(pd.Series(docnos, dtype=object)))
    if len(missing):
        raise ValueError(f"{stage!r} found a missing docno in row {int(missing[0])}")
    return list(map(str, docnos))


def query_texts(frame: pd.DataFrame, *, stage: object) -> list[str]:
    """The text of each row's query; a row without one takes that of the other rows of its query, as with ``query_vec``.

    Raises:
        ValueError: a query without a text, or with several; the message names ``stage``.
    """
    texts = frame["query"].tolist()
    if any(map(is_missing, texts)):
        texts = _filled(frame["qid"].tolist(), texts, "query", stage)
    return checked_texts(texts, "query", stage=stage)


def checked_texts(texts: list, column: str, *, stage: object) -> list[str]:
    """The texts of a column; ValueError for a row without one, or with something else, naming ``stage``."""
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            found = "none" if is_missing(text) else repr(text)
            raise ValueError(f"{stage!r} expects a text in {column} of every row, found {found} in row {row}")
    return texts


def _filled(qids: list, cells: list, column: str, stage: object) -> list:
    known: dict = {}
    for row, (qid, cell) in enumerate(zip(qids, cells)):
        if not is_missing(cell) and not np.array_equal(known.setdefault(qid, cell), cell):
            raise ValueError(f"{stage!r} found rows of query {qid!r} without {column}, and another one in row {row} than before")
    return [known.get(qid, cell) if is_missing(cell) else cell for qid, cell in zip(qids, cells)]


def _as_vector(cell: object, column: str, frame: pd.DataFrame, row: int, dim: int | None, stage: object) -> np.ndarray:
    if is_missing(cell):
        raise NoVector(f"{stage!r} found no vector in {column} of row {row}; add it after rankings are joined")
    try:
        array = np.asarray(_on_cpu(cell) if isinstance(cell, torch.Tensor) else cell)
        vector = array.astype(np.float32, copy=False) if array.dtype.kind in "fiu" else None
    except (TypeError, ValueError, RuntimeError):
        vector = None
    if vector is None:
        kind = f"an array of {cell.dtype}" if isinstance(cell, np.ndarray) else type(cell).__name__
        raise ValueError(f"{stage!r} expects a vector of numbers in {column}, found {kind} in row {row}")
    if vector.ndim != 1:
        raise ValueError(f"{stage!r} expects 1-d vectors in {column}, found shape {vector.shape} in row {row}")
    if dim is not None and len(vector) != dim:
        raise _other_dimension(stage, column, dim, len(vector), f"row {row}")
    return vector


def _other_dimension(stage: object, column: str, dim: int, found: int, where: str) -> ValueError:
    return ValueError(
        f"{stage!r} expects {dim}-dimensional {column}, found {found} in {where}; "
        "encode with the encoder that the model was trained for (model.encoder())"
    )


def _on_cpu(cell: torch.Tensor) -> torch.Tensor:
    cell = cell.detach().cpu()
    return cell.float() if cell.dtype == torch.bfloat16 else cell  # numpy has no such type


def _row_name(frame: pd.DataFrame, row: int) -> str:
    return f"document {frame['docno'].iloc[row]!r}" if "docno" in frame.columns else f"row {row}"
