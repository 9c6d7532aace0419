"""The stage that finds the words behind each shared feature of an explanation."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt

from ..core.checks import check_model, found_type, positive_int
from ..core.codes import encode_views, join_views
from ..core.evidence import pair_evidence
from ..documents import Missing, TextCheck, checked_missing, document_name, query_texts
from ..explanation import Explanation
from ..store.surrogates import repaired
from ..token_vectors import TokenEncoder, readers_of
from ..word_evidence import WordEvidence
from .base import RowWiseStage
from .columns import VectorColumns, aspects_of
from .internalize import ReasoningInternalizer

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

    from ..model import Xetrieval


class FeatureEvidence(RowWiseStage):
    """Adds to each explanation the words of query and document that carry its features.

    Needs ``qid``, ``docno``, ``query``, the text of the documents, ``query_vec``, ``doc_vec`` and ``explanation``; gives the same
    explanations with their ``evidence`` (:class:`~pyterrier_xetrieval.word_evidence.WordEvidence`). Each distinct query and
    document is read once, in one forward pass of the encoder (a page of ten costs what encoding ten texts costs).

    For an encoder that averages its token vectors (MiniLM, E5, GTE, mpnet), the vector is a sum over tokens, and so is
    everything that is read off it by a dot product: the words' parts add up exactly to activations, contributions and
    score. Other encoders are asked again without each word in turn, which costs as many passes as there are words.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        encoder: the encoder of the vectors; None for the model's own.
        text_field: the column with the documents' text; None for that of ``encoder``, or ``"text"`` without one.
        refit: as in the explainer before (:class:`~pyterrier_xetrieval.SAEExplainer`).
        missing: what becomes of a result whose document's text is missing (None, NaN) or no string: ``"error"``, or
            ``"drop"``, which leaves the row out and warns how many were left out. The ranks of the others stay.
        batch_size: texts read at once.

    Raises:
        ValueError: an explanation that is missing, that another dictionary made, or that is of other vectors than the row has; a
            query or a document without a text.

    Example::

        explain = dense >> dataset.text_loader() >> model.explainer() >> model.evidence()
        print(explain.search("sort a list by two keys").explanation[0].to_text())
    """

    label = "Evidence"

    def __init__(
        self, model: Xetrieval, encoder: BiEncoder | None = None, *, text_field: str | None = None, refit: bool = True,
        missing: Missing = "error", batch_size: int = 32,
    ):  # fmt: skip
        check_model(model, stage="FeatureEvidence")
        self.model, self.encoder, self.refit = model, None if encoder is None else model.checked_encoder(encoder), refit
        self.text_field: str = text_field or getattr(encoder, "text_field", None) or "text"
        self.missing = checked_missing(missing, stage="FeatureEvidence")
        self.batch_size = positive_int(batch_size, "batch_size", stage="FeatureEvidence")

    def fuse_rank_cutoff(self, k: int) -> pt.Transformer | None:
        """Cutting before the stage is cutting behind it unless rows are dropped in between."""
        return super().fuse_rank_cutoff(k) if self.missing == "error" else None

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        self.check(inp, ["qid", "docno", "query", self.text_field, "query_vec", "doc_vec", "explanation"])
        inp = self._with_texts(inp)
        if not len(inp):
            return inp
        asked, explained = inp, inp["explanation"].tolist()
        for e in explained:
            if not isinstance(e, Explanation) or e.labels.dictionary != self.model.labels.dictionary:
                raise ValueError(f"{self!r} expects explanations by its model's dictionary, found {found_type(e)}")
        weights = self._weights(explained)
        if not set(weights) <= set(aspects_of(inp.columns)):  # an index explains views that its frames do not carry
            inp = ReasoningInternalizer(self.model.with_views(list(weights))).transform(inp)
        columns = VectorColumns(inp, stage=self, model=self.model)
        queries, query_rows = columns.queries()
        documents, doc_rows = columns.documents(list(weights))
        sae, modules = self.model.sae, [self.model.internalizers[aspect] for aspect in weights]
        own = encode_views(sae, documents, refit=self.refit, batch_size=512)
        columns.check_space("query_vec", queries)
        columns.check_space("doc_vec", documents[0], own[0])
        codes = join_views(own, sae.dict_size)
        queries_asked, document_texts = query_texts(inp, stage=self), [repaired(text) for text in inp[self.text_field].tolist()]
        readers = self._readers
        query_words = readers["query"].words_by_text(queries_asked)
        document_words = readers["document"].words_by_text(document_texts)
        found = np.empty(len(inp), dtype=object)
        for i, (e, query, document) in enumerate(zip(explained, queries_asked, document_texts)):
            if not np.isin(e.features, codes.features[codes.offsets[doc_rows[i]] : codes.offsets[doc_rows[i] + 1]]).all():
                what = f"the explanation of {e.docno!r} for query {e.qid!r} is of other vectors than the row has"
                raise ValueError(f"{self!r} expects explanations of the frame's vectors, but {what}; explain them again")
            tables = pair_evidence(
                sae, modules, query_words[query], queries[query_rows[i]], document_words[document],
                [view[doc_rows[i]] for view in documents], codes, int(doc_rows[i]), e.features,
                weights=(1.0, *weights.values()), refit=self.refit,
            )  # fmt: skip
            found[i] = e.with_evidence(WordEvidence(query, document, tables))
        return asked.assign(explanation=found)

    def _weights(self, explained: list[Explanation]) -> dict[str, float]:
        """The weights of the views that all the explanations are about."""
        views = {e.views[1:] for e in explained}
        strangers = set().union(*views) - set(self.model.aspects)
        if len(views) > 1 or strangers:
            raise ValueError(f"{self!r} expects explanations by one set of its model's views, found {sorted(views)}")
        return {aspect: self.model.weights[aspect] for aspect in views.pop()}

    def _with_texts(self, inp: pd.DataFrame) -> pd.DataFrame:
        """The rows whose documents have a text; ValueError for the others, unless they are to be dropped."""
        check, texts = TextCheck(self.missing, stage=repr(self)), inp[self.text_field].tolist()
        kept = [check.keeps(text, document_name(inp, row), field=self.text_field) for row, text in enumerate(texts)]
        check.tell()
        return inp if all(kept) else inp[kept]

    @cached_property
    def _readers(self) -> dict[str, TokenEncoder]:
        readers = self.model.shared_readers if self.encoder is None else readers_of(self.encoder)
        return {side: reader.in_batches_of(self.batch_size) for side, reader in readers.items()}
