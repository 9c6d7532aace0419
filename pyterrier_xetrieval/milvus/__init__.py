"""Serving from a vector database: Milvus ranks by folded vectors and hands out what explanations are made of.

Needs ``pip install "pyterrier-xetrieval[milvus]"``; ``pymilvus`` talks to a server, or runs the embedded Milvus Lite.
"""

from .index import MilvusIndex
from .stages import MilvusExplainer, MilvusRetriever, MilvusVectorLoader
from .upload import upload

__all__ = ["MilvusExplainer", "MilvusIndex", "MilvusRetriever", "MilvusVectorLoader", "upload"]
