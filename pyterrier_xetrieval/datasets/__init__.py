"""Test collections: the embedded one, BEIR-style folders, the benchmarks of the paper, samples and pools of them."""

from .base import Collection
from .beir import beir_folder
from .benchmarks import BRIGHT_DOMAINS, benchmark
from .pydocs import PyDocs, pydocs
from .sampling import pool, sample

__all__ = ["BRIGHT_DOMAINS", "Collection", "PyDocs", "beir_folder", "benchmark", "pool", "pydocs", "sample"]
