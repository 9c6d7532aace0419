"""The collections under their names in PyTerrier: ``pt.get_dataset("xetrieval:pydocs")``."""

from __future__ import annotations

from collections.abc import Iterable

import pyterrier as pt

from .base import Collection
from .benchmarks import NAMES, benchmark
from .python_docs import pydocs


class Provider(pt.datasets.DatasetProvider):
    """``pydocs``, and whatever :func:`~pyterrier_xetrieval.datasets.benchmark` knows.

    Example::

        pt.get_dataset("xetrieval:pydocs"), pt.get_dataset("xetrieval:bright/biology")
    """

    def get_dataset(self, name: str) -> Collection:
        try:
            return pydocs() if name == "pydocs" else benchmark(name)
        except ValueError as error:
            raise KeyError(str(error)) from None

    def list_dataset_names(self) -> Iterable[str]:
        return ["pydocs", *NAMES]
