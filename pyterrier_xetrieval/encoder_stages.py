"""The stages of an encoder: they name a document or a query without a text, and remember what they encoded.

Importing this module takes seconds, because pyterrier_dr does.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyterrier as pt
from pyterrier_dr.biencoder import BiDocEncoder, BiQueryEncoder

from .documents import document_name, each_once, no_text, query_texts
from .store.surrogates import repaired
from .vector_cells import unstack

_LEAVE_OUT = "give it one, or leave such documents out of an index (model.indexer(path, encoder=encoder, missing='drop'))"


class QueryEncoder(BiQueryEncoder):
    """Adds ``query_vec``, float32 ``[m]``; each distinct query is encoded once.

    A row without a query takes that of the other rows of its ``qid``. Stages of this package know for as long as the
    process lives which text a vector is of, and refuse it where the query has been rewritten since.

    Raises:
        ValueError: a query without a text.

    Example::

        bm25 >> MiniLM().query_encoder() >> VectorLoader(index)
    """

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        with pt.validate.any(inp, context=self) as v:
            v.query_frame(extra_columns=["query"])
            v.columns(includes=["query"])
        each_once(inp, ["qid", "query"], stage=self)
        vectors, rows, texts = _encoded(self, query_texts(inp, stage=self), "Encoding Queries", "query")
        return inp.assign(query_vec=unstack(vectors, rows, texts=[frozenset({text}) for text in texts]))


class DocEncoder(BiDocEncoder):
    """Adds ``doc_vec``, float32 ``[m]``; each distinct text is encoded once.

    Raises:
        ValueError: a document without a text.

    Example::

        MiniLM().doc_encoder() >> model.internalizer()
    """

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        with pt.validate.any(inp, context=self) as v:
            v.document_frame(extra_columns=[self.text_field])
            v.columns(includes=[self.text_field])
        each_once(inp, ["docno", self.text_field], stage=self)
        texts = inp[self.text_field].tolist()
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise no_text(self, document_name(inp, row), text, field=self.text_field, cure=_LEAVE_OUT)
        vectors, rows, _ = _encoded(self, list(map(repaired, texts)), "Encoding Docs", "doc")
        return inp.assign(doc_vec=unstack(vectors, rows))


def _encoded(
    stage: BiQueryEncoder | BiDocEncoder, texts: list[str], told: str, unit: str
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The vectors of the distinct texts, float32 ``[u, m]``; which of them each text has, int64 ``[n]``; and these texts."""
    distinct: dict[str, int] = {}
    rows = np.array([distinct.setdefault(text, len(distinct)) for text in texts], np.int64)
    asked = pt.tqdm(list(distinct), desc=told, unit=unit) if stage.verbose else list(distinct)
    vectors = np.asarray(stage.encode(asked), np.float32)
    return (vectors if vectors.base is None else vectors.copy()), rows, list(distinct)
