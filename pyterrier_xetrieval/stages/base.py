"""What every stage of this package shares: identity, representation, cut-off fusion."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence

import pandas as pd
import pyterrier as pt

from ..core.checks import short_repr
from ..documents import each_once


class Stage(pt.Transformer):
    """A transformer whose identity is its constructor arguments.

    A subclass stores every constructor argument under its own name; ``repr``, ``==`` and ``hash`` follow from these,
    so that ``pt.Experiment(plan="tree")`` shares equal prefixes, and ``pt.GridScan`` can set any of them.

    Two equal stages are therefore one key of a dictionary. The grid ``{first: {…}, second: {…}}`` of a pipeline with two
    equal stages has one entry, the second one: give the two different arguments (another ``batch_size`` will do) to set
    parameters of both.
    """

    help_url = "https://arxiv.org/abs/2605.29507"
    label = ""

    @property
    def schematic(self) -> dict:
        return {"label": self.label or type(self).__name__, "help_url": self.help_url}

    def subtransformers(self) -> dict:
        return {}  # the artifacts a stage reads are not stages to draw inside it

    def check(self, frame: pd.DataFrame, columns: Sequence[str]) -> None:
        """An error of PyTerrier's, which ``pt.inspect`` understands, unless the frame has these columns, and each once."""
        if not set(columns).issubset(frame.columns):  # quicker than the validation proper, which every page would pay for
            pt.validate.columns(frame, includes=list(columns), context=self)
        each_once(frame, columns, stage=self)

    def _arguments(self) -> list[tuple[inspect.Parameter, object]]:
        parameters = inspect.signature(type(self).__init__).parameters.values()
        return [(p, getattr(self, p.name)) for p in parameters if p.name != "self"]

    def set_parameter(self, name: str, value: object) -> None:
        """From now on as if made with this argument; ValueError, and no change, where the constructor refuses it."""
        arguments = {parameter.name: current for parameter, current in self._arguments()}
        if name not in arguments:
            raise ValueError(f"{self!r} has no parameter {name!r}, it has {list(arguments)}")
        self.__dict__.update(type(self)(**{**arguments, name: value}).__dict__)

    def __repr__(self) -> str:
        shown = []
        for parameter, value in self._arguments():
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
                shown.append(short_repr(value) if isinstance(value, (Mapping, Sequence)) else repr(value))
            elif value != parameter.default:
                # a function by its name: its repr holds an address, and system names would change with every run
                text = value.__qualname__ if inspect.isroutine(value) else short_repr(value)
                shown.append(f"{parameter.name}={text}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((type(self), self._identity()))

    def _identity(self) -> tuple:
        return tuple(value for _, value in self._arguments())


class RowWiseStage(Stage):
    """A stage whose answer for a row depends on that row alone."""

    def fuse_rank_cutoff(self, k: int) -> pt.Transformer | None:
        """``(… >> stage) % k`` may cut before the stage (under ``.compile()``)."""
        return pt.RankCutoff(k) >> self
