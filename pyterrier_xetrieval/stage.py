"""What every stage of this package shares: identity, representation, cut-off fusion."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from reprlib import Repr

import numpy as np
import pandas as pd
import pyterrier as pt

_SHORT = Repr()  # long feature lists are cut
_SHORT.maxstring = _SHORT.maxother = 80


def positive_int(value, name: str, *, stage: str) -> int:
    """``value``, if it is a whole number above 0; else a ValueError that names the stage."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{stage} expects {name} to be a positive whole number, found {value!r}")
    return int(value)


def threshold_of(value, *, stage: str) -> float:
    """τ of Eq. 4, if it is a number from 0 up; else a ValueError that names the stage."""
    if not isinstance(value, (int, float, np.number)) or not value >= 0:
        raise ValueError(f"{stage} expects threshold >= 0 (activations are never negative), found {value!r}")
    return float(value)


def distinct_aspects(aspects, *, stage: str) -> tuple[str, ...]:
    """``aspects`` as a tuple; ValueError for a single string, no sequence, or a name given twice."""
    if isinstance(aspects, str) or not isinstance(aspects, Iterable):
        raise ValueError(f"{stage} expects a list of aspects, found {aspects!r}")
    aspects = tuple(aspects)
    if len(set(aspects)) < len(aspects):
        raise ValueError(f"{stage} expects each aspect once, found {list(aspects)}")
    return aspects


def check_aspect_name(aspect, *, stage: str) -> None:
    """ValueError unless ``aspect`` can end the name of a column and is not that of the original view."""
    if not isinstance(aspect, str) or not aspect.isidentifier() or aspect == "original":
        raise ValueError(f"{stage} expects aspects that can end a column name and are not 'original', found {aspect!r}")


def feature_ids(features, dict_size: int, *, stage: str) -> np.ndarray:
    """The features that a user has chosen, int64, each once, in the order given.

    Args:
        features: ids; or the index of a Series, if it is named ``feature`` (what grouping an ``explanation_frame`` gives);
            or the column ``feature`` of a frame (what ``labels.find`` gives).
        dict_size: ``D``.
        stage: who asks; named in errors.

    Raises:
        ValueError: no flat list of whole numbers, or one outside ``0 … D-1``.
    """
    if isinstance(features, pd.Series) and features.index.name == "feature":
        features = features.index
    elif isinstance(features, pd.DataFrame) and "feature" in features.columns:
        features = features["feature"]
    listed = isinstance(features, Iterable) and not isinstance(features, str)
    try:
        ids = features if isinstance(features, np.ndarray) else np.asarray(list(features) if listed else features)
    except ValueError:  # lists of different lengths
        ids = None
    if ids is None or ids.ndim != 1 or (len(ids) and ids.dtype.kind not in "iu"):
        raise ValueError(f"{stage} expects one flat list of feature ids, found {_SHORT.repr(features)}")
    if len(ids) and not 0 <= ids.min() <= ids.max() < dict_size:
        raise ValueError(f"{stage} expects features among 0 … {dict_size - 1}, found {ids.min()} … {ids.max()}")
    return pd.unique(ids).astype(np.int64)


class Stage(pt.Transformer):
    """A transformer whose identity is its constructor arguments.

    A subclass stores every constructor argument under its own name; ``repr``, ``==`` and ``hash`` follow from these,
    so that ``pt.Experiment(plan="tree")`` shares equal prefixes, and ``pt.GridScan`` can set any of them.
    """

    help_url = "https://arxiv.org/abs/2605.29507"
    label = ""

    @property
    def schematic(self) -> dict:
        return {"label": self.label or type(self).__name__, "help_url": self.help_url}

    def subtransformers(self) -> dict:
        return {}  # the artifacts a stage reads are not stages to draw inside it

    def _arguments(self) -> list[tuple[inspect.Parameter, object]]:
        parameters = inspect.signature(type(self).__init__).parameters.values()
        return [(p, getattr(self, p.name)) for p in parameters if p.name != "self"]

    def set_parameter(self, name: str, value) -> None:
        """From now on as if made with this argument; ValueError, and no change, where the constructor refuses it."""
        arguments = {parameter.name: current for parameter, current in self._arguments()}
        if name not in arguments:
            raise ValueError(f"{self!r} has no parameter {name!r}, it has {list(arguments)}")
        self.__dict__.update(type(self)(**{**arguments, name: value}).__dict__)

    def __repr__(self) -> str:
        shown = []
        for parameter, value in self._arguments():
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
                shown.append(_SHORT.repr(value) if isinstance(value, (Mapping, Sequence)) else repr(value))
            elif value != parameter.default:
                # a function by its name: its repr holds an address, and system names would change with every run
                text = value.__qualname__ if inspect.isroutine(value) else _SHORT.repr(value)
                shown.append(f"{parameter.name}={text}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __eq__(self, other) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((type(self), self._identity()))

    def _identity(self) -> tuple:
        return tuple(value for _, value in self._arguments())


class RowWiseStage(Stage):
    """A stage whose answer for a row depends on that row alone."""

    def fuse_rank_cutoff(self, k: int) -> pt.Transformer:
        """``(… >> stage) % k`` may cut before the stage (under ``.compile()``)."""
        return pt.RankCutoff(k) >> self
