"""The one door between columns or files of vectors and float32 matrices, and the loader that fills such a column."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch


def view_column(aspect: str) -> str:
    """The column that holds a document's view of this aspect: ``doc_vec_<aspect>``."""
    return f"doc_vec_{aspect}"


def stack_unique(inp: pd.DataFrame, column: str, *, dim: int | None, stage) -> tuple[np.ndarray, np.ndarray]:
    """The distinct vectors of a column, and which of them each row holds.

    Rows are compared by content (all bytes of the vector), not by docno, so that two rows of one document with
    differently edited vectors stay two.

    Args:
        inp: a frame with ``column`` of 1-d number arrays of one length.
        column: its name.
        dim: the expected dimension; None takes that of the first row.
        stage: who asks; named in errors.

    Returns:
        float32 ``[u, m]`` of the ``u`` distinct vectors in order of first appearance, and int64 ``[n]`` with
        ``matrix[rows[i]]`` the vector of row ``i``.

    Raises:
        ValueError: a row that is no 1-d number array, has another dimension, or holds NaN or infinity.
    """
    distinct: dict[bytes, int] = {}
    known: dict[int, int] = {}  # by object: rows that share one array need no second look at its content
    vectors = []
    slots = []
    for i, cell in enumerate(inp[column].tolist()):  # the list keeps every cell alive, so that no id comes twice
        slot = known.get(id(cell))
        if slot is None:
            vector = _as_vector(cell, column, i, dim, stage)
            dim = len(vector)
            slot = distinct.setdefault(vector.tobytes(), len(distinct))
            if slot == len(vectors):
                vectors.append(vector)
            known[id(cell)] = slot
        slots.append(slot)
    rows = np.array(slots, np.int64)
    matrix = np.stack(vectors) if vectors else np.empty((0, dim or 0), np.float32)
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(rows == np.flatnonzero(~finite)[0])[0])
        raise ValueError(f"{stage!r} found NaN or infinity in {column} of {_row_name(inp, row)}; check the encoder or the index")
    return matrix, rows


class NoVector(ValueError):
    """A row without a vector: what joined rankings leave where one of them did not find a document."""


def stack_queries(inp: pd.DataFrame, *, dim: int | None, stage) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """:func:`stack_unique` of ``query_vec``; a row without one takes that of the other rows of its query.

    Joined rankings (``bm25 + dense``) have none in the rows that only the other one found.

    Returns:
        the frame, with a vector in every row that can have one, and what :func:`stack_unique` returns.

    Raises:
        ValueError: as there; the other rows of the query have different ones.
    """
    try:
        return inp, *stack_unique(inp, "query_vec", dim=dim, stage=stage)
    except NoVector:
        inp = inp.assign(query_vec=_filled(inp["qid"].tolist(), inp["query_vec"].tolist(), stage))
        return inp, *stack_unique(inp, "query_vec", dim=dim, stage=stage)


def _filled(qids: list, cells: list, stage) -> np.ndarray:
    known: dict = {}
    for row, (qid, cell) in enumerate(zip(qids, cells)):
        if type(cell) is not float and not np.array_equal(known.setdefault(qid, cell), cell):
            raise ValueError(f"{stage!r} found rows of query {qid!r} without query_vec, and another one in row {row} than before")
    column = np.empty(len(cells), dtype=object)
    column[:] = [known.get(qid, cell) if type(cell) is float else cell for qid, cell in zip(qids, cells)]
    return column


def unstack(matrix: np.ndarray, rows: np.ndarray | None = None, *, index: pd.Index | None = None) -> pd.Series:
    """A column of 1-d arrays from a matrix: row ``i`` holds ``matrix[rows[i]]``; equal rows share one array.

    Always of dtype ``object``, also when empty, so that an empty frame keeps the type of its column.
    """
    vectors = list(matrix)
    column = np.empty(len(vectors) if rows is None else len(rows), dtype=object)
    column[:] = vectors if rows is None else [vectors[i] for i in rows]
    return pd.Series(column, index=index, dtype=object)


def as_texts(docnos: list, *, stage) -> list[str]:
    """Docnos as an index knows them, whatever a frame has them as; ValueError for a missing one, naming ``stage``."""
    if all(isinstance(docno, str) for docno in docnos):
        return docnos
    missing = np.flatnonzero(pd.isna(docnos))
    if len(missing):
        raise ValueError(f"{stage!r} found a missing docno in row {int(missing[0])}")
    return list(map(str, docnos))


def _as_vector(cell, column, row, dim, stage) -> np.ndarray:
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
        raise ValueError(
            f"{stage!r} expects {dim}-dimensional {column}, found {len(vector)} in row {row}; "
            "encode with the encoder that the model was trained for (model.encoder())"
        )
    return vector


def _on_cpu(cell: torch.Tensor) -> torch.Tensor:
    cell = cell.detach().cpu()
    return cell.float() if cell.dtype == torch.bfloat16 else cell  # numpy has no such type


def _row_name(inp: pd.DataFrame, row: int) -> str:
    return f"document {inp['docno'].iloc[row]!r}" if "docno" in inp.columns else f"row {row}"
