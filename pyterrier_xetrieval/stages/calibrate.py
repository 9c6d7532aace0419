"""The stage that spends less of a score on what all documents of a corpus share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..core.calibration import CorpusStatistics, calibration_strength, feature_gains
from .base import Stage
from .columns import VectorColumns

if TYPE_CHECKING:
    from ..model import Xetrieval


class QueryCalibration(Stage):
    """Turns down, in every query, what the documents of a corpus have in common: soft whitening, ``q' = Σ^(−p) q``.

    In a corpus about one thing, much of every score comes from what all its documents share. No judgements are needed: the
    strength ``p`` follows from how much the corpus's mean document differs from the mean of all sorts of texts. For general
    corpora it is 0, and every vector stays as it is, bit for bit. The index is never changed. It does not gain on every corpus:
    ``docs/tuning.md`` in the repository has gains and losses.

    Needs ``qid`` and ``query_vec``, float32 ``[m]``; changes ``query_vec``. The vector before the change goes to
    ``query_vec_0``, so that explanations can say what the change did (:attr:`Explanation.changes`).

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        corpus: the :class:`~pyterrier_xetrieval.core.calibration.CorpusStatistics` of the documents' vectors;
            ``model.calibrated(index)`` reads an index for them.
        strength: ``p``, from 0 (no change) to 0.5 (whitening); None for the one that follows from the corpus's topicality.

    Raises:
        ValueError: statistics of another dimension; a strength outside of 0 to 0.5.

    Example::

        dense = model.encoder() >> model.calibrated(index) >> index.retriever() >> index.explainer()
    """

    def __init__(self, model: Xetrieval, corpus: CorpusStatistics, *, strength: float | None = None):
        if not isinstance(corpus, CorpusStatistics) or len(corpus.mean) != model.dim:
            found = f"{len(corpus.mean)}-dimensional ones" if isinstance(corpus, CorpusStatistics) else repr(corpus)
            raise ValueError(f"QueryCalibration expects statistics of {model.dim}-dimensional vectors, found {found}")
        if strength is not None and not (isinstance(strength, (int, float)) and 0 <= strength <= 0.5):
            raise ValueError(f"QueryCalibration expects strength between 0 and 0.5, found {strength!r}")
        self.model, self.corpus, self.strength = model, corpus, None if strength is None else float(strength)
        self._map: np.ndarray | None = None

    @property
    def topicality(self) -> float:
        """How much the corpus's mean document differs from the dictionary's bias; see :meth:`CorpusStatistics.topicality`."""
        return self.corpus.topicality(self.model.sae.bias)

    @property
    def exponent(self) -> float:
        """``p``: the strength given, or the one that follows from :attr:`topicality`."""
        return calibration_strength(self.topicality) if self.strength is None else self.strength

    @property
    def matrix(self) -> np.ndarray:
        """The map of queries, symmetric float32 ``[m, m]``, scaled so that the median of the features' gains is 1."""
        if self._map is None:
            whitening = self.corpus.whitening(self.exponent)
            directions = self.model.sae.directions()
            self._map = (whitening / np.median(feature_gains(directions, whitening))).astype(np.float32)
        return self._map

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        self.check(inp, ["qid", "query_vec"])
        if self.exponent == 0:
            return inp
        columns = VectorColumns(inp, stage=self, model=self.model)
        queries, rows = columns.queries()
        columns.check_space("query_vec", queries)
        return columns.with_changed_queries(queries @ self.matrix, rows)

    def features(self) -> pd.DataFrame:
        """How much each feature is turned down or up: ``feature``, ``label``, ``gain``, ``share``; what matters most first.

        ``gain`` is ``⟨w_j, A w_j⟩ / ⟨w_j, w_j⟩``: the contribution of a feature that both texts have becomes so many times as
        large. Half of all features have a gain above 1. ``share`` is the part of the corpus's variance along the feature's
        direction; rows are ordered by ``share · |gain − 1|``. Empty where nothing is changed.

        Example::

            model.calibrated(index).features().head(10)
        """
        directions = self.model.sae.directions()
        gains = feature_gains(directions, self.matrix)
        shares = feature_gains(directions, self.corpus.covariance) / np.trace(self.corpus.covariance)
        order = np.argsort(-shares * np.abs(gains - 1), kind="stable")[: 0 if self.exponent == 0 else None]
        names = self.model.labels
        table = {"feature": order, "label": [names[j] for j in order.tolist()], "gain": gains[order], "share": shares[order]}
        return pd.DataFrame(table)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_map": None}
