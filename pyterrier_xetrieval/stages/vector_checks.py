"""Whether the vectors of a frame are those that a model's encoder gives, of the texts that the frame has."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..core.codes import ViewCodes, encode_view
from ..store.surrogates import repaired
from ..vector_cells import MatrixRows, encoded_texts

if TYPE_CHECKING:
    from ..model import Xetrieval

ENCODED = "query_vec_0"  # the vector that the encoder gave, where a stage has changed ``query_vec`` since


class VectorChecks:
    """Whether vectors look like those of a model's encoder. Each is looked at once, by the first stage that reads it.

    Args:
        stage: who asks; errors and warnings name it.
        model: whose encoder's vectors they should be; None to look at nothing.
    """

    def __init__(self, stage: object, model: Xetrieval | None):
        self.stage, self.model = stage, model
        self._unsure: dict[str, MatrixRows | None] = {}  # the columns whose vectors nobody has looked at

    def length(self, column: str, matrix: np.ndarray, known: MatrixRows | None, *, changed: bool) -> None:
        """Warns, or raises, where vectors are not as long as the encoder's.

        Args:
            column: ``query_vec``, ``query_vec_0`` or ``doc_vec``; any other is not looked at.
            matrix: float32 ``[u, m]``; known: what is known of its rows.
            changed: the frame has the encoder's vectors in ``query_vec_0``, and ``query_vec`` holds whatever a stage made of them.
        """
        facts = None if self.model is None or self.model.check == "off" else self.model.vector_facts
        if column == "query_vec" and changed:
            return
        column = "query_vec" if column == ENCODED else column
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

    def space(self, column: str, x: np.ndarray, codes: ViewCodes | None) -> None:
        """See :meth:`.columns.VectorColumns.check_space`."""
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

    def _report(self, problem: str) -> None:
        message = f"{self.stage!r} {problem} (or use model.with_check('off'))"
        if self.model is not None and self.model.check == "error":
            raise ValueError(message)
        warnings.warn(message, stacklevel=2)


def check_origin(frame: pd.DataFrame, *, stage: object) -> None:
    """ValueError for a ``query_vec_0`` of another text than ``query_vec``."""
    for row, (now, before) in enumerate(zip(frame["query_vec"].tolist(), frame[ENCODED].tolist())):
        texts, earlier = encoded_texts(now), encoded_texts(before)
        if texts is not None and earlier is not None and not texts & earlier:
            raise ValueError(
                f"{stage!r} found a query_vec of {min(texts)!r} beside a {ENCODED} of {min(earlier)!r} (row {row}): the query was "
                f"encoded again; drop {ENCODED}"
            )


def check_texts(vectors: list, queries: list, *, stage: object) -> None:
    """ValueError for a vector that a stage of this package encoded from another text than the row has as its query."""
    for row, (cell, query) in enumerate(zip(vectors, queries)):
        texts = encoded_texts(cell)
        if texts is not None and isinstance(query, str) and repaired(query) not in texts:
            raise ValueError(
                f"{stage!r} found a query_vec of {min(texts)!r} where the query is {query!r} (row {row}): it was rewritten "
                "after it was encoded; encode it again (>> model.encoder().query_encoder()), or bring the text back that was "
                "encoded (>> pt.rewrite.reset())"
            )
