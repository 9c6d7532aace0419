"""Test collections: the bundled one, BEIR-style folders, the benchmarks of the paper, samples and pools of them."""

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:  # read by editors, type checkers and attach
    from .base import Collection
    from .beir import beir_folder
    from .benchmarks import BRIGHT_DOMAINS, benchmark
    from .python_docs import PyDocs, pydocs
    from .sampling import pool, sample

__getattr__, __dir__, __all__ = attach(__name__)
