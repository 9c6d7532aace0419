"""A stage that each worker makes for itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pyterrier as pt


class OnWorker(pt.Transformer):
    """A stage that is made by the process that uses it, when it is used first.

    For encoders that belong on a GPU that the starting machine lacks, or that cannot be pickled. When a job goes on, its
    stages are compared by the function's name and the names and constants in its code, not by variables around it.

    Args:
        make: a function without arguments that returns the stage; called once in each process.
        batch_size: of the stage, where it has one: an indexing pipeline reads it before the stage is made.

    Example::

        encoder = OnWorker(lambda: MiniLM(device="cuda"), batch_size=32)
        index_corpus(encoder >> model.indexer("/shared/corpus.xetrieval"), "/shared/corpus", num_gpus=1)
    """

    def __init__(self, make: Callable[[], pt.Transformer], *, batch_size: int | None = None):
        self.make, self.batch_size = make, batch_size
        self._stage: pt.Transformer | None = None

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        if self._stage is None:
            self._stage = self.make()
        return self._stage(inp)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_stage": None}

    def __repr__(self) -> str:
        # the function's own repr holds an address, which would be another one when the job goes on
        shown = [getattr(self.make, "__qualname__", type(self.make).__qualname__)]
        if code := getattr(self.make, "__code__", None):
            constants = [c for c in code.co_consts if isinstance(c, (str, int, float, tuple))]
            shown += [*code.co_names, *map(repr, constants)]
        return f"OnWorker({', '.join(shown)})"
