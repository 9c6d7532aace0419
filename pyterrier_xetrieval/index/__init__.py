"""A whole corpus that explains: vectors, folded vectors, sparse codes and postings in one artifact."""

from .artifact import XetrievalIndex
from .explain import IndexExplainer
from .features import FeatureRetriever
from .indexer import XetrievalIndexer
from .merging import merge
from .retrieve import IndexRetriever

__all__ = ["FeatureRetriever", "IndexExplainer", "IndexRetriever", "XetrievalIndex", "XetrievalIndexer", "merge"]
