"""Vectors of labels: which reading of a label is nearest to a query and a document, and how near it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING

import numpy as np

from .core.confidence import UNKNOWN_DETECTION
from .feature_names import FeatureNames, readings_of

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder


@dataclass(frozen=True)
class LabelFit:
    """For each of ``t`` features listed by pairs, the reading of its label that most likely fits the pair.

    Attributes:
        reading: int8 ``[t]``, the place of the reading in its label; 0 where no reading has a vector.
        similarity: float32 ``[t, 2]``, the reading's cosine with query and document; NaN where it has no vector.
        detection: float32 ``[t]``, its detection score; NaN where it is not known.
    """

    reading: np.ndarray
    similarity: np.ndarray
    detection: np.ndarray

    def only(self, listed: slice) -> LabelFit:
        """Those of some of the features."""
        return LabelFit(self.reading[listed], self.similarity[listed], self.detection[listed])


class LabelVectors:
    """Unit vectors of the readings of labels, by their text: a label that is written anew has none until it is encoded.

    Args:
        texts: ``r`` readings, each once; vectors: float ``[r, m]``, made float32 and of length 1.

    Example::

        vectors = LabelVectors.of(["sorting or ordering data / lists"], model.encoder())
        vectors["lists"].shape                             # (384,)
    """

    def __init__(self, texts: Sequence[str], vectors: np.ndarray):
        self.texts, self.matrix = list(texts), _unit(np.asarray(vectors, np.float32))
        self._row = {text: i for i, text in enumerate(self.texts)}

    @classmethod
    def of(cls, labels: Iterable[str], encoder: BiEncoder, known: LabelVectors | None = None) -> LabelVectors:
        """Encodes the readings of labels, as documents.

        Args:
            labels: whole labels; known: vectors by the same encoder, which need not be made again.
        """
        texts = list(dict.fromkeys(text for label in labels for text in readings_of(label)))
        missing = [text for text in texts if known is None or text not in known]
        made = dict(zip(missing, np.asarray(encoder.encode_docs(missing), np.float32))) if missing else {}
        return cls(texts, np.array([made[text] if known is None or text in made else known[text] for text in texts]))

    def __len__(self) -> int:
        return len(self.texts)

    def __contains__(self, text: str) -> bool:
        return text in self._row

    def __getitem__(self, text: str) -> np.ndarray:
        return self.matrix[self._row[text]]

    def fit(self, names: FeatureNames, features: np.ndarray, query: np.ndarray, document: np.ndarray) -> LabelFit:
        """The reading of each feature that most likely fits: the one with the largest sum of both cosines.

        Where the names' confidence weighs similarity, readings that did well in their tests are preferred by as much as the
        confidence prefers them.

        Args:
            names: of the features, with their confidence and the detection scores of readings.
            features: int ``[s]``; query, document: float32 ``[m]``, the vectors of one pair.
        """
        own = [names.readings(j) for j in features.tolist()]
        places = [(f, i) for f, readings in enumerate(own) for i, (text, _) in enumerate(readings) if text in self._row]
        rows = [self._row[own[f][i][0]] for f, i in places]
        similarity = self.matrix[rows] @ _unit(np.stack([query, document])).T
        weights = names.confidence
        lean = 2 * weights.detection / weights.similarity if weights is not None and weights.similarity else 0.0
        found = LabelFit(
            np.zeros(len(own), np.int8), np.full((len(own), 2), np.nan, np.float32), np.full(len(own), np.nan, np.float32)
        )  # fmt: skip
        best = [-np.inf] * len(own)
        for (f, i), near, both in zip(places, similarity, similarity.sum(axis=1).tolist()):
            detection = own[f][i][1]
            likely = both + lean * (UNKNOWN_DETECTION if isnan(detection) else detection)
            if likely > best[f]:
                best[f], found.reading[f], found.similarity[f], found.detection[f] = likely, i, near, detection
        return found


class PageFit:
    """The :class:`LabelFit` of the pairs of a page, each found when somebody reads its explanation: most are never read.

    Args:
        vectors, names: as for :meth:`LabelVectors.fit`.
        features: int ``[t]``, those that the pairs list; pairs: int ``[t]``, which of ``n`` pairs lists each.
        queries, documents: float32 ``[u, m]`` and ``[v, m]``; query_rows, document_rows: int ``[n]``, of each pair.
    """

    def __init__(
        self, vectors: LabelVectors, names: FeatureNames, features: np.ndarray, pairs: np.ndarray, queries: np.ndarray,
        documents: np.ndarray, query_rows: np.ndarray, document_rows: np.ndarray,
    ):  # fmt: skip
        self._vectors, self._names, self._features, self._pairs = vectors, names, features, pairs
        self._sides = (queries, query_rows), (documents, document_rows)

    def pair(self, listed: slice) -> LabelFit:
        """That of features of one pair; listed: where they are."""
        features = self._features[listed]
        if not len(features):
            return LabelFit(np.zeros(0, np.int8), np.zeros((0, 2), np.float32), np.zeros(0, np.float32))
        pair = self._pairs[listed.start]
        return self._vectors.fit(self._names, features, *(texts[rows[pair]] for texts, rows in self._sides))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
