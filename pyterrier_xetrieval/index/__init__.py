"""A whole corpus that explains: vectors, folded vectors, sparse codes and postings in one artifact."""

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:  # read by editors, type checkers and attach
    from .artifact import XetrievalIndex
    from .evidence import IndexEvidence
    from .explain import IndexExplainer
    from .indexer import XetrievalIndexer
    from .merging import merge
    from .retrieve import FeatureRetriever, IndexRetriever
    from .statistics import corpus_statistics
    from .texts import TextLoader

__getattr__, __dir__, __all__ = attach(__name__)
