"""Serving from a vector database: Milvus ranks by folded vectors and hands out what explanations are made of.

Needs ``pip install "pyterrier-xetrieval[milvus]"``; ``pymilvus`` talks to a server, or runs Milvus Lite in this process.

A collection has two vector fields, folded and original, so that a server has to be of version 2.4 or newer: 2.3 allows one
vector field a collection and refuses :func:`upload`. The tests run on Milvus Lite alone, which shows that what is stored
comes back and ranks as the index does. It does not show what a server adds: other clients that write at the same time,
consistency between replicas, approximate search structures, and how long a request takes over a network.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from .._lazy import attach

if find_spec("pymilvus") is None:
    raise ImportError(f"{__name__} needs pymilvus: pip install 'pyterrier-xetrieval[milvus]'", name="pymilvus")

if TYPE_CHECKING:  # read by editors, type checkers and attach
    from .index import MilvusIndex
    from .stages import MilvusExplainer, MilvusRetriever, MilvusVectorLoader
    from .uploading import upload

__getattr__, __dir__, __all__ = attach(__name__)
