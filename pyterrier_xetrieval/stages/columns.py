"""Columns of vectors as float32 matrices, and back: the one way in and out of a frame."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from weakref import finalize, ref

import numpy as np
import pandas as pd
import torch

from ..core.codes import ViewCodes, encode_view
from ..core.vector_facts import VectorFacts

if TYPE_CHECKING:
    from ..model import Xetrieval

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
    and compares nothing. Because the rows are views of the matrix, a vector that is replaced or changed in place is
    seen by every later stage, whatever happened to the frame in between.

    Args:
        frame: it is not changed.
        dim: the expected dimension; None takes that of the first vector.
        stage: who asks; errors name it.
        model: whose encoder's ``query_vec`` and ``doc_vec`` these should be: their length is looked at when they are read, and
            :meth:`check_space` looks at the rest. Every vector is looked at once, by the first stage that reads it; what the
            model's own stages made of it (edited, folded) is not. Without a model nothing is looked at.

    Example::

        columns = VectorColumns(frame, dim=384, stage=self)
        z, rows = columns["doc_vec"]                            # z[rows[i]] is the vector of row i
        return columns.assign(doc_vec_qa=unstack(view, rows))
    """

    def __init__(self, frame: pd.DataFrame, *, dim: int | None, stage: object, model: Xetrieval | None = None):
        self.frame, self.dim, self.stage, self.model = frame, dim, stage, model
        self._own: dict[str, np.ndarray] = {}
        self._unsure: dict[str, _Rows | None] = {}  # the columns whose vectors nobody has looked at

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

    def check_space(self, column: str, x: np.ndarray, codes: ViewCodes | None = None) -> None:
        """Warns, or raises, if a column that was read holds vectors of another encoder; at no cost if it was looked at before.

        Args:
            column: ``"query_vec"`` or ``"doc_vec"``; any other is not looked at.
            x: float32 ``[n, m]``, its distinct vectors.
            codes: theirs; None to encode some of them.

        Raises:
            ValueError: vectors of another encoder, and a model with ``check="error"``.
        """
        if self.model is None or column not in self._unsure or not len(x):
            return
        if codes is None:
            x = x[np.linspace(0, len(x) - 1, min(len(x), max(4, min(len(x) // 8, 64)))).astype(np.int64)]
            codes = encode_view(self.model.sae, x, refit=False, batch_size=len(x))
        facts, known = self.model.vector_facts, self._unsure.pop(column)
        problem = facts and facts.wrong_space(self.model.sae, x, codes)
        if problem:
            self._report(
                f"found {column} that the model's encoder does not give: {problem}; use model.encoder() for queries and documents"
            )
        if known is not None and facts is not None:
            known.fits.add(facts)

    def _check_length(self, column: str, matrix: np.ndarray, known: _Rows | None) -> None:
        facts = None if self.model is None or self.model.check == "off" else self.model.vector_facts
        if facts is None or column not in ("query_vec", "doc_vec") or (known is not None and facts in known.fits):
            return
        problem = facts.wrong_length(matrix)
        if not problem:
            self._unsure[column] = known
            return
        remedy = "put model.normalizer() before this stage" if facts.unit else "encode with model.encoder()"
        self._report(f"expects {column} {problem}; {remedy}")
        if known is not None:
            known.fits.add(facts)

    def _report(self, problem: str) -> None:
        message = f"{self.stage!r} {problem} (or use model.with_check('off'))"
        if self.model is not None and self.model.check == "error":
            raise ValueError(message)
        warnings.warn(message, stacklevel=2)

    def assign(self, **columns: object) -> pd.DataFrame:
        """The frame with these columns, and with the vectors that were read as rows of one matrix for each column."""
        return self.frame.assign(**{**self._own, **columns})

    def _read(self, column: str, cells: list) -> tuple[np.ndarray, np.ndarray]:
        distinct: dict[int, int] = {}  # the list keeps every cell alive, so that no id comes twice
        slots = np.array([distinct.setdefault(id(cell), len(distinct)) for cell in cells], np.int64)
        first = np.empty(len(distinct), np.int64)
        first[slots[::-1]] = np.arange(len(cells))[::-1]
        own = [cells[row] for row in first.tolist()]
        known: _Rows | None
        if found := _rows_of_matrix(own):
            matrix, places, known = found
            rows = places[slots]
        else:
            matrix, places = self._stacked(column, own, first)
            rows = places[slots]
            self._own[column] = unstack(matrix, rows)
            known = _MATRICES.get(id(matrix))
        if self.dim is not None and len(matrix) and matrix.shape[1] != self.dim:
            raise _other_dimension(self.stage, column, self.dim, matrix.shape[1], _row_name(self.frame, 0))
        finite = np.isfinite(matrix).all(axis=1)
        if not finite.all():
            row = int(np.flatnonzero(~finite[rows])[0])
            raise ValueError(
                f"{self.stage!r} found NaN or infinity in {column} of {_row_name(self.frame, row)}; check the encoder or the index"
            )
        self.dim = matrix.shape[1] if len(matrix) else self.dim
        self._check_length(column, matrix, known)
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

    def __init__(self, vectors: list[np.ndarray], fits: VectorFacts | None):
        self.fits = {fits}  # of the models for which they need no further look
        self.places = {id(vector): i for i, vector in enumerate(vectors)}
        self.references = [ref(vector) for vector in vectors]

    def find(self, cell: object) -> int | None:
        """Which row a cell is; None for every other object, also one that has the address of a row that is gone."""
        place = self.places.get(id(cell))
        return place if place is not None and self.references[place]() is cell else None


def _rows_of_matrix(cells: list) -> tuple[np.ndarray, np.ndarray, _Rows] | None:
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


def unstack(matrix: np.ndarray, rows: np.ndarray | None = None, *, fits: VectorFacts | None = None) -> np.ndarray:
    """A column of 1-d arrays from a matrix: row ``i`` holds ``matrix[rows[i]]``; equal rows share one array.

    The array is of dtype ``object``, also when empty, so that an empty frame keeps the type of its column. ``fits``: the
    facts of the model whose stage made these vectors, so that its other stages do not take them for those of another encoder.
    """
    vectors = list(matrix)
    if matrix.dtype == np.float32 and matrix.base is None and matrix.size and id(matrix) not in _MATRICES:
        _MATRICES[id(matrix)] = _Rows(vectors, fits)
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
    if float in map(type, texts):
        texts = _filled(frame["qid"].tolist(), texts, "query", stage)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"{stage!r} expects a text in query of every row, found {text!r} in row {row}")
    return texts


def _filled(qids: list, cells: list, column: str, stage: object) -> list:
    known: dict = {}
    for row, (qid, cell) in enumerate(zip(qids, cells)):
        if type(cell) is not float and not np.array_equal(known.setdefault(qid, cell), cell):
            raise ValueError(f"{stage!r} found rows of query {qid!r} without {column}, and another one in row {row} than before")
    return [known.get(qid, cell) if type(cell) is float else cell for qid, cell in zip(qids, cells)]


def _as_vector(cell: object, column: str, frame: pd.DataFrame, row: int, dim: int | None, stage: object) -> np.ndarray:
    try:
        array = np.asarray(_on_cpu(cell) if isinstance(cell, torch.Tensor) else cell)
        vector = array.astype(np.float32, copy=False) if array.dtype.kind in "fiu" else None
    except (TypeError, ValueError, RuntimeError):
        vector = None
    if vector is not None and vector.ndim == 0 and np.isnan(vector):
        raise NoVector(f"{stage!r} found no vector (NaN) in {column} of row {row}; add it after rankings are joined")
    if vector is None:
        found = f"an array of {cell.dtype}" if isinstance(cell, np.ndarray) else type(cell).__name__
        raise ValueError(f"{stage!r} expects a vector of numbers in {column}, found {found} in row {row}")
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
