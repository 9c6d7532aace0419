"""The stages that an index makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pyterrier as pt

from ..stages.load import VectorLoader
from .evidence import IndexEvidence
from .explain import IndexExplainer
from .retrieve import FeatureRetriever, Features, IndexRetriever
from .storage import EVIDENCE, TEXTS
from .texts import TextLoader

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

    from .artifact import XetrievalIndex
    from .indexer import XetrievalIndexer


class IndexStages:
    """What :class:`~pyterrier_xetrieval.XetrievalIndex` makes: one method for each stage, with the stage's own options."""

    @property
    def _index(self) -> XetrievalIndex:
        return cast("XetrievalIndex", self)

    def encoder(self, **options: Any) -> BiEncoder:
        """The encoder of the model: :meth:`Xetrieval.encoder`."""
        return self._index.model.encoder(**options)

    def indexer(
        self, *, encoder: pt.Transformer | None = None, replace: bool = False, resume: bool = True, batch_size: int = 256,
        verbose: bool = False,
    ) -> XetrievalIndexer:  # fmt: skip
        """Adds documents as new shards: ``index = (encoder >> index.indexer()).index(more)``.

        The index stays as it is until the addition is finished; an object that was loaded before goes on without it. Load
        the index again (:meth:`reopened`) before pyterrier_dr builds a search structure on ``vectors`` or ``folded``: such
        structures are kept in a folder that all objects of the index share. An index that keeps evidence needs ``encoder``.

        Args:
            encoder, resume, batch_size, verbose: as in :class:`XetrievalIndexer`.
            replace: a document takes the place of the one with the same docno, if the index holds one; all of them in one step
                when the addition is finished. Without it such a document is an error.
        """
        from .indexer import XetrievalIndexer  # late: it makes indexes, which offer this

        index, settings = self._index, self._index.settings
        indexer = XetrievalIndexer(
            index.with_views().model, index.path, encoder=encoder, refit=settings["refit"], dtype=settings["dtype"],
            texts=settings.get(TEXTS, False), evidence=settings.get(EVIDENCE, False), resume=resume,
            batch_size=batch_size, shard_size=settings["shard_size"], verbose=verbose,
        )  # fmt: skip
        indexer.adds, indexer.replaces = True, bool(replace)
        return indexer

    def retriever(self, *, num_results: int = 1000, device: str | None = None) -> IndexRetriever:
        """First stage, one exact dot product per document: :class:`IndexRetriever`."""
        return IndexRetriever(self._index, num_results=num_results, device=device)

    def vec_loader(self) -> VectorLoader:
        """Adds the original ``doc_vec`` by docno: :class:`~pyterrier_xetrieval.VectorLoader`."""
        return VectorLoader(self._index.vectors)

    def text_loader(self) -> TextLoader:
        """Adds ``text`` by docno, of an index made with ``texts=True``: :class:`TextLoader`."""
        return TextLoader(self._index)

    def evidence(self, encoder: BiEncoder | None = None) -> IndexEvidence:
        """Adds words to explanations, of an index made with ``evidence=True``: :class:`IndexEvidence`."""
        return IndexEvidence(self._index, encoder)

    def explainer(self, *, threshold: float = 0.0, min_confidence: float | None = None, top: int = 10) -> IndexExplainer:
        """Explains results from the stored codes: :class:`IndexExplainer`."""
        return IndexExplainer(self._index, threshold=threshold, min_confidence=min_confidence, top=top)

    def feature_retriever(self, features: Features | None = None, *, num_results: int = 1000) -> FeatureRetriever:
        """Retrieves by features instead of vectors: :class:`FeatureRetriever`."""
        return FeatureRetriever(self._index, features, num_results=num_results)
