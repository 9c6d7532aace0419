"""Columns of vectors as float32 matrices, and back: the one way in and out of a frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from ..core.attribution import QueryChange
from ..core.checks import is_missing
from ..core.codes import ViewCodes
from ..documents import document_name, each_once, filled
from ..vector_cells import MatrixRows, known_of, rows_of_matrix, texts_by_row, unstack
from .vector_checks import ENCODED, VectorChecks, check_origin, check_texts

if TYPE_CHECKING:
    from ..core.vector_facts import VectorFacts
    from ..model import Xetrieval


ADDED = "query_added"  # what a stage added to features of the query
_LONGEST = 1e15  # of a vector: products of two and sums of their squares are far from the limit of float32


def features_added(cell: object) -> dict[int, float]:
    """What a cell of ``query_added`` says: feature to activation; empty for a missing one."""
    return {} if is_missing(cell) else {int(own["feature"]): float(own["activation"]) for own in cell}  # type: ignore[attr-defined]


def added_cell(added: Mapping[int, float], before: Mapping[int, float]) -> list[dict[str, float]]:
    """A cell of ``query_added``: plain values, which a Parquet file keeps; ``before``: what earlier stages have added."""
    total = dict(before)
    for feature, amount in added.items():
        total[feature] = total.get(feature, 0.0) + amount
    return [{"feature": feature, "activation": amount} for feature, amount in total.items()]


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
        stage: who asks; errors name it.
        model: whose encoder's ``query_vec`` and ``doc_vec`` these should be: their length is looked at when they are read, and
            :meth:`check_space` looks at the rest. Every vector is looked at once, by the first stage that reads it; what the
            model's own stages made of it (edited, folded) is not. Without a model nothing is looked at.
        dim: the expected dimension; None takes the model's, and without a model that of the first vector.

    Example::

        columns = VectorColumns(frame, stage=self, model=self.model)
        z, rows = columns["doc_vec"]                            # z[rows[i]] is the vector of row i
        return columns.assign(doc_vec_qa=unstack(view, rows))
    """

    def __init__(self, frame: pd.DataFrame, *, stage: object, model: Xetrieval | None = None, dim: int | None = None):
        self.frame, self.stage, self.model = frame, stage, model
        self.dim = model.dim if dim is None and model is not None else dim
        self._found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._own: dict[str, np.ndarray] = {}
        self._checks = VectorChecks(stage, model)

    def __getitem__(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """The distinct vectors of a column, float32 ``[u, m]``, and which of them each row holds, int64 ``[n]``.

        Raises:
            ValueError: a row that is no 1-d number array, has another dimension, holds NaN or infinity, or is longer than 1e15.
        """
        if column not in self._found:
            self._found[column] = self.queries() if column == "query_vec" else self._read(column, self._cells(column))
        return self._found[column]

    def queries(self) -> tuple[np.ndarray, np.ndarray]:
        """``query_vec``, as the columns of documents; a row without one takes that of the other rows of its query.

        Joined rankings (``bm25 + dense``) have none in the rows that only the other one found.

        Raises:
            ValueError: as for every column; the other rows of the query have different vectors.
        """
        cells = self._cells("query_vec")
        try:
            return self._read("query_vec", cells)
        except NoVector:
            if "qid" not in self.frame.columns:
                raise
            cells = filled(self._cells("qid"), cells, "query_vec", stage=self.stage)
            found = self._read("query_vec", cells)
            if "query_vec" not in self._own:  # they are rows of one matrix already, but not in this frame
                self._own["query_vec"] = np.empty(len(cells), object)
                self._own["query_vec"][:] = cells
            return found

    def _cells(self, column: str) -> list:
        each_once(self.frame, [column], stage=self.stage)
        return self.frame[column].tolist()

    def changed_queries(self) -> tuple[np.ndarray, np.ndarray, QueryChange | None]:
        """:meth:`queries`, and what they were before a stage changed them: None where the frame has no ``query_vec_0``.

        Raises:
            ValueError: as for :meth:`queries`; a ``query_vec_0`` of another text than ``query_vec``.
        """
        queries, rows = self.queries()
        if ENCODED not in self.frame.columns:
            return queries, rows, None
        check_origin(self.frame, stage=self.stage)
        encoded, encoded_rows = self._read(
            ENCODED, filled(self.frame["qid"].tolist(), self.frame[ENCODED].tolist(), ENCODED, stage=self.stage)
        )
        joint, first = _distinct([rows, encoded_rows])
        if first is None:
            first = np.unique(joint, return_index=True)[1]
        added = self.frame[ADDED].tolist() if ADDED in self.frame.columns else None
        told = [{} if added is None else features_added(added[row]) for row in first.tolist()]
        return queries[rows[first]], joint, QueryChange(encoded[encoded_rows[first]], told)

    def documents(self, aspects: Sequence[str]) -> tuple[list[np.ndarray], np.ndarray]:
        """The distinct documents of a frame: for each view a float32 ``[u, m]``, the original one first, and int64 ``[n]``.

        Rows with the same vectors in all views have the same document.
        """
        read = [self[column] for column in ("doc_vec", *map(view_column, aspects))]
        rows, first = _distinct([own for _, own in read])
        if first is None:
            return [matrix for matrix, _ in read], rows
        return [matrix[own[first]] for matrix, own in read], rows

    def check_space(self, column: str, x: np.ndarray, codes: ViewCodes | None = None) -> None:
        """Warns, or raises, if a column that was read holds vectors of another encoder; at no cost if it was looked at before.

        Args:
            column: ``"query_vec"`` or ``"doc_vec"``; any other is not looked at.
            x: float32 ``[n, m]``, its distinct vectors.
            codes: theirs; None to encode some of them.

        Raises:
            ValueError: vectors of another encoder, and a model with ``check="error"``.
        """
        self._checks.space(column, x, codes)

    def assign(self, **columns: object) -> pd.DataFrame:
        """The frame with these columns, and with the vectors that were read as rows of one matrix for each column."""
        return self.frame.assign(**{**self._own, **columns})

    def with_changed_queries(self, queries: np.ndarray, rows: np.ndarray, added: np.ndarray | None = None) -> pd.DataFrame:
        """The frame with changed query vectors; the encoder's stay in ``query_vec_0``, through however many changes.

        Args:
            queries: float32 ``[u, m]``, what its distinct query vectors became; rows: int64 ``[n]``, which of them each row has.
            added: a cell of ``query_added`` for each row.
        """
        own = {} if ENCODED in self.frame.columns else {ENCODED: self.assign()["query_vec"]}
        facts = None if self.model is None else self.model.vector_facts
        vectors = self.unstacked("query_vec", np.ascontiguousarray(queries, np.float32), rows, fits=facts)
        told = {} if added is None else {ADDED: added}
        return self.assign(**own, query_vec=vectors, **told)

    def _read(self, column: str, cells: list) -> tuple[np.ndarray, np.ndarray]:
        distinct: dict[int, int] = {}  # the list keeps every cell alive, so that no id comes twice
        slots = np.array([distinct.setdefault(id(cell), len(distinct)) for cell in cells], np.int64)
        first = np.empty(len(distinct), np.int64)
        first[slots[::-1]] = np.arange(len(cells))[::-1]
        own = [cells[row] for row in first.tolist()]
        known: MatrixRows | None
        if found := rows_of_matrix(own):
            matrix, places, known = found
            rows = places[slots]
        else:
            matrix, places = self._stacked(column, own, first)
            rows = places[slots]
            self._own[column] = self.unstacked(column, matrix, rows, cells)
            known = known_of(matrix)
        if self.dim is not None and len(matrix) and matrix.shape[1] != self.dim:
            raise _other_dimension(self.stage, column, self.dim, matrix.shape[1], document_name(self.frame, 0))
        squares = np.einsum("nm,nm->n", matrix, matrix)
        fine = squares < _LONGEST**2  # and not where they are NaN
        if not fine.all():
            row = int(np.flatnonzero(~fine[rows])[0])
            vector = matrix[rows[row]].astype(np.float64)
            if np.isfinite(vector).all():
                what = f"a length of {np.linalg.norm(vector):.1e}, which is too long for sums of float32,"
            else:
                what = "NaN or infinity"
            where = f"{column} of {document_name(self.frame, row)}"
            raise ValueError(f"{self.stage!r} found {what} in {where}; check the encoder or the index")
        self.dim = matrix.shape[1] if len(matrix) else self.dim
        self._checks.length(column, matrix, known, changed=ENCODED in self.frame.columns)
        if column == "query_vec" and "query" in self.frame.columns:
            check_texts(cells, self._cells("query"), stage=self.stage)
        return matrix, rows

    def unstacked(
        self, column: str, matrix: np.ndarray, rows: np.ndarray, cells: list | None = None, *, fits: VectorFacts | None = None
    ) -> np.ndarray:
        """A column to put in the place of this one, with ``matrix[rows[i]]`` in row ``i``; see :func:`unstack`.

        Vectors of queries stay those of the texts that they were encoded from, so that a later stage can compare them.
        """
        if column != "query_vec":
            return unstack(matrix, rows, fits=fits)
        cells = self.frame[column].tolist() if cells is None else cells
        return unstack(matrix, rows, texts=texts_by_row(cells, rows, len(matrix)), fits=fits)

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
