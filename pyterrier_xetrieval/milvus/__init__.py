"""Serving from a vector database: Milvus ranks by folded vectors and hands out what explanations are made of.

Needs ``pip install "pyterrier-xetrieval[milvus]"``; ``pymilvus`` talks to a server, or runs Milvus Lite in this process.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from .._lazy import attach

if find_spec("pymilvus") is None:
    raise ImportError(f"{__name__} needs pymilvus: pip install 'pyterrier-xetrieval[milvus]'", name="pymilvus")

if TYPE_CHECKING:  # what editors and type checkers read
    from .index import MilvusIndex
    from .stages import MilvusExplainer, MilvusRetriever, MilvusVectorLoader
    from .uploading import upload

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        ".index": ["MilvusIndex"],
        ".stages": ["MilvusExplainer", "MilvusRetriever", "MilvusVectorLoader"],
        ".uploading": ["upload"],
    },
)
