"""A whole corpus that explains: vectors, folded vectors, sparse codes and postings in one artifact."""

from .explain import IndexExplainer
from .features import FeatureRetriever
from .index import XetrievalIndex
from .indexer import XetrievalIndexer
from .merge import merge
from .retrieve import IndexRetriever

__all__ = ["FeatureRetriever", "IndexExplainer", "IndexRetriever", "XetrievalIndex", "XetrievalIndexer", "merge"]
