"""Retrieval, vectors and explanations by a Milvus collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt

from ..core.checks import positive_int
from ..core.codes import DocumentCodes
from ..index.explain import StoredExplainer
from ..index.packing import unpack
from ..stages.base import RowWiseStage, Stage
from ..stages.columns import VectorColumns
from ..stages.load import distinct_docnos
from ..vector_cells import unstack
from .collection import CODES, DOCNO, FOLDED, VECTOR, from_text

if TYPE_CHECKING:
    from .index import MilvusIndex

_MAX_RESULTS = 16_384  # of one search, Milvus's limit


class MilvusRetriever(Stage):
    """Ranks documents by ``⟨q,z⟩ + Σ_t w_t ⟨q,R_t(z)⟩`` (Eq. 11): Milvus's inner product with each folded vector.

    Over an index without its views (``served.with_views(())``) it ranks by ``⟨q,z⟩``. ``qid`` and ``query_vec`` in;
    ``docno``, ``score`` and ``rank`` added. Exact with the index that the upload makes (FLAT); with another one on the
    field ``folded``, as exact as that. Folded vectors are not of unit length: no cosine.

    Args:
        index: a :class:`MilvusIndex`.
        num_results: documents per query, at most 16,384.

    Raises:
        ValueError: vectors of another dimension, NaN or infinite.

    Example::

        served = MilvusIndex(model, "http://localhost:19530", "corpus")
        model.encoder() >> served.retriever(num_results=10) >> served.explainer()
    """

    def __init__(self, index: MilvusIndex, *, num_results: int = 1000):
        self.index, self.num_results = index, positive_int(num_results, "num_results", stage="MilvusRetriever")
        if num_results > _MAX_RESULTS:
            raise ValueError(f"MilvusRetriever expects num_results of at most {_MAX_RESULTS}, found {num_results}")

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        pt.validate.query_frame(inp, extra_columns=["query_vec"], context=self)
        queries, query_rows = VectorColumns(inp, dim=self.index.settings["dim"], stage=self)["query_vec"]
        field, batch = FOLDED if self.index.aspects else VECTOR, max(1, min(64, 4 * _MAX_RESULTS // self.num_results))
        hits = []
        for start in range(0, len(queries), batch):  # bounds the size of an answer
            data, name = list(queries[start : start + batch]), self.index.collection
            hits += self.index.client.search(name, data, limit=self.num_results, output_fields=[DOCNO], anns_field=field)
        found = [[(hit["entity"][DOCNO], hit["distance"], rank) for rank, hit in enumerate(own)] for own in hits]
        rows = np.repeat(np.arange(len(inp)), [len(found[q]) for q in query_rows])
        answer = pd.DataFrame([hit for q in query_rows for hit in found[q]], columns=["docno", "score", "rank"])
        answer = answer.astype({"docno": "str", "score": np.float64, "rank": np.int64})
        return inp.iloc[rows].reset_index(drop=True).assign(**answer)

    def fuse_rank_cutoff(self, k: int) -> MilvusRetriever | None:
        """``retriever % k`` retrieves ``k`` documents (under ``.compile()``)."""
        return MilvusRetriever(self.index, num_results=k) if k < self.num_results else None


class MilvusVectorLoader(RowWiseStage):
    """Adds the original ``doc_vec`` by ``docno``, as :class:`~pyterrier_xetrieval.VectorLoader` does from a FlexIndex.

    Args:
        index: a :class:`MilvusIndex`.

    Raises:
        ValueError: a docno that the collection does not hold.

    Example::

        bm25 >> served.vec_loader() >> model.internalizer() >> model.scorer()
    """

    def __init__(self, index: MilvusIndex):
        self.index = index

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        self.check(inp, ["docno"])
        docnos, rows = distinct_docnos(inp, stage=self)
        (vectors,) = self.index.fetch(docnos, VECTOR, stage=self)
        return inp.assign(doc_vec=unstack(vectors, rows))


class MilvusExplainer(StoredExplainer):
    """Explains each result as :class:`~pyterrier_xetrieval.index.IndexExplainer` does, from the codes in the database.

    Needs ``qid``, ``docno`` and ``query_vec`` of any retriever over the same documents; adds ``explanation``. What is
    explained is the score of the stored vectors; only the query runs through the dictionary. It is the multi-view score,
    or ``⟨q,z⟩`` of an index that is seen without its views (``served.with_views(())``).

    Args:
        index: a :class:`MilvusIndex`.
        threshold, top: as in :class:`~pyterrier_xetrieval.SAEExplainer`.

    Raises:
        ValueError: a docno that the collection does not hold; vectors of another dimension.

    Example::

        model.encoder() >> served.retriever(num_results=10) >> served.explainer()
    """

    index: MilvusIndex
    remedy = "drop the collection and upload the index again"

    def _stored(self, inp: pd.DataFrame) -> tuple[np.ndarray, DocumentCodes, np.ndarray]:
        docnos, rows = distinct_docnos(inp, stage=self)
        vectors, texts = self.index.fetch(docnos, FOLDED if self.index.aspects else VECTOR, CODES, stage=self)
        codes = unpack(from_text(texts), 1 + len(self.index.settings["aspects"]), self.index.model.sae.dict_size)
        return vectors, codes.first_views(1 + len(self.index.aspects)), rows
