"""What each feature means, in words: a table kept beside the weights, shipped and edited on its own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from .core.checks import short_repr
from .core.confidence import Confidence
from .store.files import replacing


class FeatureFacts(NamedTuple):
    """What is known of a feature and its label, NaN where nothing is: how far to trust the label depends on it.

    Attributes:
        max_activation: the largest activation that was seen in a large and varied text.
        clarity: 2 if nearly all texts that activate the feature fit one reading, 1 if most of the strong ones do, else 0.
        detection: how well the label tells texts with the feature from others, 0.5 (chance) to 1.
    """

    max_activation: float = np.nan
    clarity: float = np.nan
    detection: float = np.nan


class FeatureNames:
    """What features of one dictionary are called, and how far to trust it.

    Args:
        names: feature to label, for those that have one.
        dict_size: ``D``.
        facts: feature to what is known of it.
        confidence: the probability that a label fits two texts; None if nobody has measured it.

    Example::

        >>> names = FeatureNames({17: "sorting, order"}, dict_size=64)
        >>> names[17], names[18]
        ('sorting, order', 'feature 18')
    """

    def __init__(
        self, names: Mapping[int, str], dict_size: int, facts: Mapping[int, FeatureFacts] | None = None,
        confidence: Confidence | None = None,
    ):  # fmt: skip
        self._names, self.dict_size, self._facts, self.confidence = dict(names), dict_size, dict(facts or {}), confidence

    def __getitem__(self, feature: int) -> str:
        """What to call a feature: its label, or ``"feature 17"``; IndexError for one that the dictionary does not have."""
        return self.name(feature) or f"feature {feature}"

    def __len__(self) -> int:
        return len(self._names)

    def name(self, feature: int) -> str:
        """The label alone; the empty string where there is none."""
        if not isinstance(feature, (int, np.integer)):
            raise TypeError(f"{type(self).__name__} expects one feature id, found {feature!r}; find(words) looks in the labels")
        if not 0 <= feature < self.dict_size:
            raise IndexError(f"{type(self).__name__} expects features 0 … {self.dict_size - 1}, found {feature}")
        return self._names.get(feature, "")

    def facts(self, feature: int) -> FeatureFacts:
        """What is known of a feature and its label."""
        return self._facts.get(feature, FeatureFacts())

    def confidence_of(self, features: np.ndarray, query_activations: np.ndarray, document_activations: np.ndarray) -> np.ndarray:
        """The probability that each feature's label fits query and document, float64 ``[s]``; NaN where nobody measured it.

        Args:
            features: int ``[s]``; query_activations, document_activations: float ``[s]``, activation in the two texts.
        """
        if self.confidence is None:
            return np.full(len(features), np.nan)
        known = [self.facts(j) for j in features.tolist()]
        largest, clarity, detection = np.array(known, np.float64).reshape(-1, 3).T
        return self.confidence(query_activations / largest, document_activations / largest, clarity, detection)

    def only(self, features: Iterable[int]) -> FeatureNames:
        """The names of these features alone, as a pickled explanation takes them along."""
        kept = set(features)
        names, facts = ({j: v for j, v in known.items() if j in kept} for known in (self._names, self._facts))
        return FeatureNames(names, self.dict_size, facts, self.confidence)  # type: ignore[arg-type]  # of two types in one line


class FeatureLabels(FeatureNames):
    """Labels of the features of one dictionary: the hypotheses ``h_j`` of Eq. 16, or keywords until there are any.

    Args:
        table: a frame with ``feature`` (int, each once), ``label`` (str) and ``method`` (str: how the label was made);
            ``max_activation``, ``clarity`` and ``detection`` are read as :class:`FeatureFacts`; further columns are kept.
        dict_size: ``D``; features without a row have no label.
        confidence: as in :class:`FeatureNames`.

    Raises:
        ValueError: missing columns, a feature twice or outside ``0 … D-1``.

    Example::

        labels.find("sort")     # the rows whose label contains the string; labels[17] as in FeatureNames
    """

    def __init__(self, table: pd.DataFrame, dict_size: int, confidence: Confidence | None = None):
        missing = {"feature", "label", "method"} - set(table.columns)
        if missing:
            raise ValueError(f"FeatureLabels expects columns feature, label, method; missing {sorted(missing)}")
        if len(table) and (not pd.api.types.is_integer_dtype(table["feature"]) or table["feature"].isna().any()):
            raise ValueError(f"FeatureLabels expects whole numbers as feature, found {table['feature'].dtype}")
        ids = table["feature"].to_numpy(dtype=np.int64)
        if len(np.unique(ids)) != len(ids):
            raise ValueError(f"FeatureLabels found feature {ids[pd.Series(ids).duplicated()][0]} more than once")
        if len(ids) and (ids.min() < 0 or ids.max() >= dict_size):
            raise ValueError(f"FeatureLabels expects features 0 … {dict_size - 1}, found {ids.min()} … {ids.max()}")
        self.table = table.reset_index(drop=True)
        labels = table["label"].fillna("").astype(str).str.strip()
        known = table.reindex(columns=list(FeatureFacts._fields)).apply(pd.to_numeric).to_numpy(np.float64)
        facts = {j: FeatureFacts(*row) for j, row in zip(ids.tolist(), known.tolist())}
        super().__init__({j: label for j, label in zip(ids.tolist(), labels) if label}, dict_size, facts, confidence)

    @property
    def methods(self) -> list[str]:
        """How the labels were made, each method once."""
        return list(dict.fromkeys(self.table["method"].astype(str)))

    def find(self, words: str) -> pd.DataFrame:
        """The rows whose label contains this string, case ignored: ``labels.find("sort")``."""
        return self.table[self.table["label"].fillna("").str.contains(words, case=False, regex=False)]

    @classmethod
    def empty(cls, dict_size: int) -> FeatureLabels:
        """No labels at all."""
        return cls(pd.DataFrame({"feature": np.array([], np.int64), "label": [], "method": []}), dict_size)

    @classmethod
    def read(cls, path: str | os.PathLike[str], dict_size: int, *, confidence: Confidence | None = None) -> FeatureLabels:
        """Reads a tab-separated table with a header line; columns of nothing but numbers and gaps are numbers."""
        table = pd.read_csv(path, sep="\t", keep_default_na=False, quoting=3)
        for column in table.columns.difference(["feature", "label", "method"]):
            numbers = pd.to_numeric(table[column].replace("", None), errors="coerce")
            if (numbers.notna() | (table[column] == "")).all():
                table[column] = numbers
        return cls(table, dict_size, confidence)

    @classmethod
    def read_hypotheses(cls, path: str | os.PathLike[str], dict_size: int, *, method: str = "hypotheses file") -> FeatureLabels:
        """Reads the released program's format: plain text, line ``i`` is the hypothesis of feature ``i``.

        Fewer lines than features leave the rest without a label; more lines than features are an error, because the
        file then belongs to another dictionary.
        """
        lines = Path(path).read_text(encoding="utf-8").removesuffix("\n").split("\n")  # no other character ends a line
        if len(lines) > dict_size:
            raise ValueError(f"{path} has {len(lines)} hypotheses, the dictionary only {dict_size} features")
        rows = [(i, line.strip(), method) for i, line in enumerate(lines) if line.strip()]
        return cls(pd.DataFrame(rows, columns=["feature", "label", "method"]), dict_size)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the tab-separated table that :meth:`read` reads, all or nothing; tabs and line ends in texts become spaces."""
        table = self.table.copy()
        for column in table.columns:
            if not pd.api.types.is_numeric_dtype(table[column]):
                table[column] = table[column].astype(str).str.replace(r"\s+", " ", regex=True)
        with replacing(path, "wb") as file:
            table.to_csv(file, sep="\t", index=False, quoting=3, escapechar=None, float_format="%.5g")


def reading(label: str, words: Sequence[str]) -> str:
    """Of a label with two readings, ``"A / B"``, the one that the words support; else the label as it is.

    An encoder may share pieces between unrelated words, and a feature then joins them. A reading is supported by a word
    that it contains, or that begins as one of its words does; where neither reading or both are, both stay.

    Example::

        >>> reading("Joubert syndrome / words beginning with Jo-", ["Jonathan"])
        'words beginning with Jo-'
    """
    readings = label.split(" / ")
    if len(readings) == 1:
        return label
    asked = {token for word in words for token in re.findall(r"\w+", word.lower())}
    supported = [text for text in readings if any(_alike(token, asked) for token in re.findall(r"\w+-?", text.lower()))]
    return supported[0] if len(supported) == 1 else label


def _alike(token: str, asked: set[str]) -> bool:
    """Whether one of the words begins as this one does; ``jo-`` stands for words that begin so."""
    if token.endswith("-"):
        return any(word.startswith(token[:-1]) for word in asked)
    stem = token[: max(4, len(token) - 2)]
    return len(token) > 3 and any(word.startswith(stem) or (len(word) > 3 and token.startswith(word)) for word in asked)


def feature_ids(features: object, dict_size: int, *, stage: str) -> np.ndarray:
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
    if isinstance(features, Iterable) and not isinstance(features, (str, np.ndarray)):
        features = list(features)
    try:
        ids = np.asarray(features)
    except ValueError:  # lists of different lengths
        ids = None
    if ids is None or ids.ndim != 1 or (len(ids) and ids.dtype.kind not in "iu"):
        raise ValueError(f"{stage} expects one flat list of feature ids, found {short_repr(features)}")
    if len(ids) and not 0 <= ids.min() <= ids.max() < dict_size:
        raise ValueError(f"{stage} expects features among 0 … {dict_size - 1}, found {ids.min()} … {ids.max()}")
    return pd.unique(ids).astype(np.int64)
