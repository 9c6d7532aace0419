"""The stage that adds words to the explanations of an index, from what the index keeps."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..core.checks import found_type
from ..core.codes import DocumentCodes
from ..core.evidence import Evidence, WordTable, WordVectors, vector_columns
from ..documents import query_texts
from ..explanation import Explanation
from ..stages.base import RowWiseStage
from ..stages.cells import plain_cells
from ..stages.columns import VectorColumns
from ..store.surrogates import repaired
from ..token_vectors import TokenEncoder
from ..word_evidence import WordEvidence
from .docnos import docids_of
from .storage import EVIDENCE
from .strongest_words import document_table, unpack_words
from .texts import stored_texts

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

    from .artifact import XetrievalIndex


class IndexEvidence(RowWiseStage):
    """Adds to each explanation of an index the words of query and document that carry its features.

    Needs ``qid``, ``docno``, ``query``, ``query_vec`` and the ``explanation`` of ``index.explainer()``; neither the texts of
    the documents nor their vectors. Each distinct query is read once by the encoder, and no document.

    The query's words are exact: they add up to the parts of the score. Of each document the index keeps the strongest words
    of each feature, over all views, with their part of it: these are shown, and do not add up. A feature whose words were not
    kept shows none.

    Args:
        index: a :class:`~pyterrier_xetrieval.XetrievalIndex` made with ``model.indexer(path, encoder=…, evidence=True)``.
        encoder: of the queries; None for the model's own.

    Raises:
        ValueError: an index without evidence; an explanation that is missing, or that another index or stage made; a query
            that is no text; a docno that the index does not hold; a damaged index.

    Example::

        page = model.encoder() >> index.retriever(num_results=10) >> index.explainer() >> index.evidence()
        print(page.search("sort a list by two keys").explanation[0])
    """

    label = "Evidence"

    def __init__(self, index: XetrievalIndex, encoder: BiEncoder | None = None):
        if not index.settings.get(EVIDENCE):
            raise ValueError(
                f"IndexEvidence expects an index that keeps the words of its documents, found {index!r} without; index the corpus "
                "with model.indexer(path, encoder=encoder, evidence=True), or look for words with model.evidence()"
            )
        self.index, self.encoder = index, None if encoder is None else index.model.checked_encoder(encoder)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        self.check(inp, ["qid", "docno", "query", "query_vec", "explanation"])
        if not len(inp):
            return inp
        plain = plain_cells(inp)
        model, explained, asked = self.index.model, plain["explanation"].tolist(), query_texts(plain, stage=self)
        self._check(explained)
        queries, query_rows = VectorColumns(plain, dim=model.dim, stage=self).queries()
        docids, doc_rows = docids_of(self.index, plain, stage=self)
        documents = _Documents(self.index, docids)
        words = self._reader.words_by_text(asked)
        projected: dict[tuple[str, int], np.ndarray] = {}
        found = np.empty(len(plain), dtype=object)
        for i, (e, query, q, d) in enumerate(zip(explained, asked, query_rows.tolist(), doc_rows.tolist())):
            columns = vector_columns(words[query], queries[q]).astype(np.float32)
            if (query, q) not in projected:
                projected[query, q] = documents.directions @ columns.T
            tables = documents.evidence(d, e, words[query], columns, projected[query, q])
            found[i] = e.with_evidence(WordEvidence(query, documents.texts[d], tables, strongest_only=True))
        return inp.assign(explanation=found)

    def _check(self, explained: list[object]) -> None:
        model = self.index.model
        views, dictionary = ("original", *model.aspects), model.labels.dictionary
        for e in explained:
            if not isinstance(e, Explanation) or e.labels.dictionary != dictionary or e.views != views:
                found = f"one of {e.views}" if isinstance(e, Explanation) else found_type(e)
                raise ValueError(f"{self!r} expects explanations by index.explainer(), of views {views}, found {found}")

    @cached_property
    def _reader(self) -> TokenEncoder:
        return self.index.model.shared_readers["query"] if self.encoder is None else TokenEncoder(self.encoder, "query")


class _Documents:
    """What an index keeps of the distinct documents of a frame.

    Attributes:
        directions: float32 ``[f + 1, m]``, of the features of all of them, and the bias of the dictionary.
    """

    def __init__(self, index: XetrievalIndex, docids: np.ndarray):
        model, layout = index.model, index.layout
        sae, self.weights = model.sae, np.array([1.0, *model.weights.values()])
        self.all_views = index.with_views().codes(docids)
        self.codes = self.all_views.first_views(len(self.weights))
        self.vectors = layout.vectors(index.searched)[docids]
        self.texts = [repaired(text) for text in stored_texts(index, docids)]
        self.packed = layout.records(EVIDENCE, docids)
        self.damaged = f"{index!r} is damaged: {{}}; index.verify() says where"
        features, self.places = np.unique(self.codes.features, return_inverse=True)
        self.directions = np.concatenate([sae.directions(features), sae.bias[None]])

    def evidence(self, d: int, e: Explanation, query: WordVectors, columns: np.ndarray, projected: np.ndarray) -> Evidence:
        """Both sides of one pair; projected: float ``[f + 1, w + 4]``, the directions times the columns of the query."""
        own = _features(self.codes, d)
        listed = np.searchsorted(self.codes.features[own], e.features)
        if not np.array_equal(self.codes.features[own].take(listed, mode="clip"), e.features):
            raise ValueError(f"index.evidence() expects explanations by index.explainer(), found other features of {e.docno!r}")
        carried = (self.codes.coefficients[own] @ self.weights)[:, None] * projected[self.places[own]]
        values = np.empty((len(listed) + 3, len(columns)))
        values[:-3] = carried[listed]
        values[-3] = carried.sum(axis=0) - values[:-3].sum(axis=0)
        values[-2] = self.weights.sum() * projected[-1]
        values[-1] = columns @ self.vectors[d] - values[:-1].sum(axis=0)
        whole = _features(self.all_views, d)
        places = np.searchsorted(self.all_views.features[whole], e.features)
        try:
            kept = unpack_words(self.packed[d], whole.stop - whole.start)
            document = document_table(self.texts[d], kept, places, e.contributions)
        except (ValueError, IndexError) as error:
            raise ValueError(self.damaged.format(error)) from None
        return Evidence(e.features, WordTable(query.spans, values, query.exact, query.stopped_at), document)


def _features(codes: DocumentCodes, row: int) -> slice:
    return slice(int(codes.offsets[row]), int(codes.offsets[row + 1]))
