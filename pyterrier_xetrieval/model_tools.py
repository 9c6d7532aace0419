"""What a model answers and makes by itself: explanations of texts, tools that look into an index or learn from one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
import pandas as pd
import pyterrier as pt

from .documents import Missing
from .query_tuning import QueryTuning
from .stages.calibrate import QueryCalibration
from .stages.factory import StageFactory
from .stages.link import FeatureLinks
from .store.surrogates import repaired

if TYPE_CHECKING:
    from pyterrier_dr import FlexIndex

    from .explanation import Explanation
    from .index import XetrievalIndex, XetrievalIndexer
    from .model import Xetrieval
    from .training.tuner import FeatureTuner
    from .why_not import WhyNot


class ModelTools(StageFactory):
    """What :class:`~pyterrier_xetrieval.Xetrieval` offers beside its parts: its stages, and tools.

    Most tools lie above the model's layer (an index holds a model, a tuner reads an index), and are imported only when they are
    used.
    """

    def why_not(self, query: str, docno: str, index: XetrievalIndex | FlexIndex, *, num_results: int = 10) -> WhyNot:
        """Says why a document is not on the first page: its rank, the gap, and which features of the query it lacks.

        Args:
            query: the text of the query; docno: the document.
            index: the collection, an :class:`~pyterrier_xetrieval.XetrievalIndex` or a pyterrier_dr ``FlexIndex`` of
                vectors by this model's encoder.
            num_results: how many documents the page has.

        Returns:
            A :class:`~pyterrier_xetrieval.why_not.WhyNot`, which prints as a sentence.

        Raises:
            ValueError: a docno that the index does not hold.

        Example::

            print(model.why_not("sort a list of words", "heapq.merge", index))
        """
        from .why_not import why_not  # late: it looks into an index, which holds a model

        return why_not(self._model, query, docno, index, num_results=num_results)

    @overload
    def explain(self, query: str, text: str) -> Explanation: ...

    @overload
    def explain(self, query: str, *, texts: Sequence[str]) -> list[Explanation]: ...

    def explain(
        self, query: str, text: str | None = None, *, texts: Sequence[str] | None = None
    ) -> Explanation | list[Explanation]:
        """Explains the score of a text, or of several texts, for a query, from strings alone, without an index and a frame.

        The encoder is loaded once and kept. The score is that of all views of the model (Eq. 11); ``model.with_views(())``
        explains ``⟨q,z⟩``.

        Args:
            query: the query's text.
            text: the document's text.
            texts: the texts of several documents, instead of ``text``.

        Returns:
            The :class:`~pyterrier_xetrieval.Explanation` of ``text`` with its evidence; or a list of those of ``texts``,
            in their order.

        Raises:
            ValueError: neither or both of ``text`` and ``texts``; something that is no text.

        Example::

            print(Xetrieval.default().explain("sort a list of words", "Return a new sorted list.").sentence())
        """
        if (text is None) == (texts is None):
            raise ValueError("Xetrieval.explain expects one text or a list of texts, found neither or both")
        if isinstance(texts, str):
            raise ValueError(
                "Xetrieval.explain expects texts to be a list of texts, found one text; give it as the second argument"
            )
        documents = [text] if texts is None else list(texts)
        strangers = [type(t).__name__ for t in (query, *documents) if not isinstance(t, str)]
        if strangers:
            raise ValueError(f"Xetrieval.explain expects a query and texts as strings, found {strangers[0]}")
        model, query = self._model, repaired(query)  # pandas' strings cannot hold half of a character
        encoder = model.shared_encoder
        frame = pd.DataFrame({"qid": "1", "query": query, "docno": [str(i) for i in range(len(documents))]})
        frame[encoder.text_field] = pd.Series(documents, dtype=object)
        frame["query_vec"] = list(encoder.encode_queries([query])) * len(documents)
        frame["doc_vec"] = list(encoder.encode_docs(documents))
        explained = (
            (model.internalizer() >> model.explainer() >> model.evidence(text_field=encoder.text_field))
            .transform(frame)["explanation"]
            .tolist()
        )
        return explained if text is None else explained[0]

    def indexer(
        self, path: str | os.PathLike[str], *, encoder: pt.Transformer | None = None, refit: bool = True,
        dtype: Literal["float32", "float16"] = "float32", texts: bool = False, evidence: bool = False,
        missing: Missing = "error", resume: bool = True, batch_size: int = 256, shard_size: int = 10_000,
        verbose: bool = False,
    ) -> XetrievalIndexer:  # fmt: skip
        """Makes an index of a whole corpus: :class:`~pyterrier_xetrieval.index.XetrievalIndexer`."""
        from .index import XetrievalIndexer  # an index holds a model, and so imports this module

        return XetrievalIndexer(
            self._model, path, encoder=encoder, refit=refit, dtype=dtype, texts=texts, evidence=evidence, missing=missing,
            resume=resume, batch_size=batch_size, shard_size=shard_size, verbose=verbose,
        )  # fmt: skip

    def calibrated(self, index: XetrievalIndex | FlexIndex | np.ndarray, *, strength: float | None = None) -> QueryCalibration:
        """Turns down in every query what the documents of a corpus share: :class:`~pyterrier_xetrieval.QueryCalibration`.

        Reads all vectors of the corpus once, and no judgements.

        Args:
            index: the corpus, a :class:`~pyterrier_xetrieval.XetrievalIndex` (with the views that are in use), a pyterrier_dr
                ``FlexIndex``, or its vectors, float ``[n, m]``.
            strength: ``p``; None for what the corpus's statistics advise.

        Raises:
            ValueError: fewer than two vectors, or vectors of another dimension.

        Example::

            model.encoder() >> model.calibrated(index) >> index.retriever()
        """
        from .index import corpus_statistics  # an index holds a model, which offers this

        self._model.check_index(index)
        return QueryCalibration(self._model, corpus_statistics(index), strength=strength)

    def tuned(self, tuning: QueryTuning) -> pt.Transformer:
        """A stage that changes ``query_vec`` as a tuner learned to: the tuning's calibration, if it has one, then its links.

        Args:
            tuning: what a tuner learned, or somebody wrote.

        Raises:
            ValueError: links between features of another dictionary, or a corpus of another dimension.

        Example::

            model.encoder() >> model.tuned(QueryTuning("beer.tuning")) >> index.retriever()
        """
        links = FeatureLinks(self._model, tuning)
        return links if tuning.corpus is None else QueryCalibration(self._model, tuning.corpus, strength=tuning.strength) >> links

    def tuner(
        self, index: XetrievalIndex | FlexIndex, *, max_links: int = 200, calibrate: bool = True, folds: int = 3, seed: int = 0
    ) -> FeatureTuner:
        """A stage that learns from judged queries how to change them: :class:`~pyterrier_xetrieval.FeatureTuner`."""
        from .training.tuner import FeatureTuner  # a tool above this layer, offered here

        self._model.check_index(index)
        return FeatureTuner(self._model, index, max_links=max_links, calibrate=calibrate, folds=folds, seed=seed)

    def relabel(
        self, corpus: Iterable[dict | str] | pd.DataFrame, *, sample: int = 2000, min_detection: float = 0.6, seed: int = 0,
        verbose: bool = False,
    ) -> Xetrieval:  # fmt: skip
        """The same model with features renamed for a corpus about which their labels say little.

        A feature with a label of a low detection score is called by the words that carry it in the corpus, if the lower bound of
        their own detection score on held-out texts of the corpus is at least ``min_detection``. By chance .11% of the features
        that are tested pass .6. A feature without a label is called by its words in any case. Where no label was ever judged, as
        in a dictionary of another library, these get the confidence of labels that nobody judged, as in
        :func:`~.training.train_model`. Costs what encoding the sample costs.

        Args:
            corpus: texts, or dicts (or a data frame) with ``text`` and perhaps ``title``, or a file or folder of a corpus; read
                once.
            sample: how many of them are looked at; a larger one renames rarer features too.
            min_detection: the detection score (0.5 to 1) from which on a label stays.
            seed: of the draw of the sample.
            verbose: show a progress bar.

        Returns:
            A model whose ``labels.table`` has the method ``"words by evidence"``, and their held-out scores, for the new ones.

        Raises:
            ValueError: fewer than 20 texts, or an encoder that does not average its token vectors.
        """
        from .labelling.evidence_words import UNJUDGED_FACTS, relabelled  # a tool above this layer, offered here

        model = self._model
        labels = relabelled(
            model.sae, model.labels, corpus, model.shared_encoder, sample=sample, min_detection=min_detection, seed=seed,
            verbose=verbose,
        )  # fmt: skip
        facts = {k: v for k, v in model.meta.items() if k not in ("sha256", "dtype")}
        if labels.confidence is not model.labels.confidence:
            facts |= UNJUDGED_FACTS
        named = type(model).from_parts(
            internalizers=model.internalizers, sae=model.sae, labels=labels, encoder=model.meta["encoder"], weights=model.weights,
            facts=facts, means=model.means,
        ).with_check(model.check)  # fmt: skip
        given = model._parts.get("given encoder")
        return named if given is None else named.with_encoder(given)
