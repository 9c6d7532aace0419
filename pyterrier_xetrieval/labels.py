"""What each feature means, in words: a table kept beside the weights, shipped and edited on its own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .core.attribution import Attribution
from .core.checks import short_repr
from .core.confidence import Confidence
from .feature_names import FeatureFacts, FeatureNames, readings_of
from .label_vectors import LabelFit, LabelVectors, PageFit
from .store.facts import text_of_file
from .store.files import replacing

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder


class FeatureLabels(FeatureNames):
    """Labels of the features of one dictionary: the hypotheses ``h_j`` of Eq. 16, or keywords until there are any.

    Args:
        table: a frame with ``feature`` (int, each once), ``label`` (str) and ``method`` (str: how the label was made);
            ``max_activation``, ``clarity`` and ``detection`` are read as :class:`FeatureFacts`, and ``detections`` (str,
            ``"0.8 / 0.65"``) as the detection scores of the label's readings; further columns are kept.
        dict_size: ``D``; features without a row have no label.
        confidence: the probability that a label fits two texts; None if nobody has measured it.
        vectors: of the labels' readings, which choose the reading that an explanation shows; see :meth:`encoded`.

    Raises:
        ValueError: missing columns, a feature twice or outside ``0 … D-1``.

    Example::

        labels.find("sort")     # the rows whose label contains the word
        labels[17]              # the label of feature 17; "feature 17" if it has none
    """

    def __init__(
        self, table: pd.DataFrame, dict_size: int, confidence: Confidence | None = None, vectors: LabelVectors | None = None
    ):
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
        self.table, self.vectors = table.reset_index(drop=True), vectors
        self._searched: tuple[BiEncoder, LabelVectors] | None = None
        labels = table["label"].fillna("").astype(str).str.strip()
        known = table.reindex(columns=list(FeatureFacts._fields)).apply(pd.to_numeric).to_numpy(np.float64)
        facts = {j: FeatureFacts(*row) for j, row in zip(ids.tolist(), known.tolist())}
        scores = {}
        if "detections" in table:
            scores = {j: _numbers(told) for j, told in zip(ids.tolist(), table["detections"]) if isinstance(told, str) and told}
        names = {j: label for j, label in zip(ids.tolist(), labels) if label}
        super().__init__(names, dict_size, facts, confidence, scores)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_searched": None}  # no encoder in a pickle

    def encoded(self, encoder: BiEncoder) -> FeatureLabels:
        """The same labels with vectors of their readings; readings that have one are not encoded again.

        Args:
            encoder: the model's own.

        Example::

            labels = labels.encoded(model.encoder())
        """
        if not len(self):
            return self
        vectors = LabelVectors.of(self._names.values(), encoder, self.vectors)
        return FeatureLabels(self.table, self.dict_size, self.confidence, vectors)

    @property
    def methods(self) -> list[str]:
        """How the labels were made, each method once."""
        return list(dict.fromkeys(self.table["method"].astype(str)))

    def find(self, words: str, *, encoder: BiEncoder | None = None, num_results: int = 10) -> pd.DataFrame:
        """The rows whose label contains these words, case ignored; or, with an encoder, those of a like meaning.

        Args:
            words: whole words: ``"sort"`` finds ``"how to sort"`` and not ``"assorted"``.
            encoder: the model's own; it encodes the words and, where the labels have no vectors yet, once all labels. The
                nearest labels come first, with a column ``similarity`` (cosine of the nearest reading).
            num_results: how many rows at most, when the search is by meaning.

        Returns:
            Rows of :attr:`table`, in its order, or the nearest first when the search is by meaning; none where no label fits.

        Example::

            labels.find("sort")
            labels.find("putting things in order", encoder=model.encoder())
        """
        labels = self.table["label"].fillna("").astype(str)
        if encoder is None:
            return self.table[labels.str.contains(rf"(?<!\w){re.escape(words.strip())}(?!\w)", case=False)]
        if not len(self):
            return self.table.head(0).assign(similarity=[])
        (asked,) = LabelVectors.of([words.replace("/", " ")], encoder).matrix
        vectors = self.vectors
        if vectors is None:
            if self._searched is None or self._searched[0] is not encoder:
                self._searched = encoder, LabelVectors.of(labels, encoder)
            vectors = self._searched[1]
        near = dict(zip(vectors.texts, (vectors.matrix @ asked).tolist()))
        similarity = np.array([max((near.get(text, -1.0) for text in readings_of(label)), default=-1.0) for label in labels])
        best = np.argsort(-similarity, kind="stable")[:num_results]
        return self.table.iloc[best].assign(similarity=similarity[best])

    @classmethod
    def empty(cls, dict_size: int) -> FeatureLabels:
        """No labels at all."""
        return cls(pd.DataFrame({"feature": np.array([], np.int64), "label": [], "method": []}), dict_size)

    def fit(
        self, parts: Attribution, queries: np.ndarray, query_rows: np.ndarray, documents: np.ndarray, document_rows: np.ndarray
    ) -> PageFit | None:  # fmt: skip
        """Which reading of each listed feature's label most likely fits its pair; None for labels without vectors.

        Args:
            parts: of ``n`` pairs, with the features that they list.
            queries, documents: float32 ``[u, m]`` and ``[v, m]``; query_rows, document_rows: int ``[n]``, of each pair.
        """
        if self.vectors is None:
            return None
        pairs = np.repeat(np.arange(len(query_rows)), np.diff(parts.offsets))
        return PageFit(self.vectors, self, parts.features, pairs, queries, documents, query_rows, document_rows)

    def fit_pair(self, features: np.ndarray, query: np.ndarray, document: np.ndarray) -> LabelFit | None:
        """The same of one pair: features int ``[s]``, and its vectors, float32 ``[m]``."""
        return None if self.vectors is None else self.vectors.fit(self, features, query, document)

    @classmethod
    def read(
        cls, path: str | os.PathLike[str], dict_size: int, *, confidence: Confidence | None = None,
        vectors: LabelVectors | None = None,
    ) -> FeatureLabels:  # fmt: skip
        """Reads a tab-separated table with a header line; columns of nothing but numbers and gaps are numbers.

        Raises:
            ValueError: a table of something else, naming the file.
        """
        try:
            table = pd.read_csv(path, sep="\t", keep_default_na=False, quoting=3, compression=None)
            for column in table.columns.difference(["feature", "label", "method"]):
                numbers = pd.to_numeric(table[column].replace("", None), errors="coerce")
                if (numbers.notna() | (table[column] == "")).all():
                    table[column] = numbers
            return cls(table, dict_size, confidence, vectors)
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"{path} is damaged: {error}") from None

    @classmethod
    def read_hypotheses(cls, path: str | os.PathLike[str], dict_size: int, *, method: str = "hypotheses file") -> FeatureLabels:
        """Reads the released program's format: plain text, line ``i`` is the hypothesis of feature ``i``.

        Fewer lines than features leave the rest without a label.

        Args:
            path: the file.
            dict_size: ``D``, how many features the dictionary has.
            method: what the column ``method`` of the table says.

        Raises:
            ValueError: more lines than features: the file then belongs to another dictionary.
        """
        lines = text_of_file(Path(path)).removesuffix("\n").split("\n")  # no other character ends a line
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


def feature_ids(features: object, names: FeatureNames, *, stage: str) -> np.ndarray:
    """The features that a user has chosen, int64, each once, in the order given.

    Args:
        features: ids, or words of labels: a string stands for all features whose label contains these words; or the index
            of a Series, if it is named ``feature`` (what grouping an ``explanation_frame`` gives); or the column ``feature``
            of a frame (what ``labels.find`` gives).
        names: what the dictionary's features are called.
        stage: who asks; named in errors.

    Raises:
        ValueError: no flat list of ids and words, an id outside ``0 … D-1``, words that no label contains.
    """
    if isinstance(features, pd.Series) and features.index.name == "feature":
        features = features.index
    elif isinstance(features, pd.DataFrame) and "feature" in features.columns:
        features = features["feature"]
    if isinstance(features, str):
        features = [features]
    if isinstance(features, Iterable) and not isinstance(features, np.ndarray):
        features = list(features)
    if isinstance(features, list) and any(isinstance(feature, str) for feature in features):
        features = [j for feature in features for j in _called(feature, names, stage)]
    try:
        ids = np.asarray(features)
    except ValueError:  # lists of different lengths
        ids = None
    if ids is None or ids.ndim != 1 or (len(ids) and ids.dtype.kind not in "iu"):
        raise ValueError(f"{stage} expects one flat list of feature ids or labels, found {short_repr(features)}")
    if len(ids) and not 0 <= ids.min() <= ids.max() < names.dict_size:
        raise ValueError(f"{stage} expects features among 0 … {names.dict_size - 1}, found {ids.min()} … {ids.max()}")
    return pd.unique(ids).astype(np.int64)


def _called(feature: object, names: FeatureNames, stage: str) -> list:
    """The ids of the features whose label contains these words; of an id, itself."""
    if not isinstance(feature, str):
        return [feature]
    found = names.find(feature)["feature"].tolist() if isinstance(names, FeatureLabels) and feature.strip() else []
    if not found:
        raise ValueError(f"{stage} found no feature whose label contains {feature!r}; model.labels.table lists all labels")
    return found


def _numbers(told: str) -> list[float]:
    """``"0.8 / 0.65"`` as numbers; ValueError for something else."""
    return [float(number) for number in told.split(" / ")]
