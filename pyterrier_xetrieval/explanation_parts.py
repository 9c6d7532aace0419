"""The numbers of an explanation: the parts of one score, and what they are measured against."""

from __future__ import annotations

from typing import Self

import numpy as np

from .core.attribution import Attribution
from .core.confidence import is_shown
from .core.mean_document import Baseline
from .explanation_rows import OtherRanking
from .feature_names import FeatureNames
from .label_vectors import LabelFit, PageFit
from .word_evidence import WordEvidence


class ExplanationParts:
    """What :class:`~pyterrier_xetrieval.Explanation`, which describes the arguments, knows of its pair, as numbers."""

    __slots__ = (
        "_baseline",
        "_confidence",
        "_fit",
        "_parts",
        "_row",
        "docno",
        "evidence",
        "labels",
        "min_confidence",
        "qid",
        "ranking",
        "top",
        "views",
    )

    def __init__(
        self, qid: str, docno: str, parts: Attribution, row: int, views: tuple[str, ...], labels: FeatureNames, top: int = 10,
        min_confidence: float = 0.0, evidence: WordEvidence | None = None, ranking: OtherRanking | None = None,
        baseline: Baseline | None = None, fit: LabelFit | PageFit | None = None,
    ):  # fmt: skip
        self.qid, self.docno, self._parts, self._row = qid, docno, parts, row
        self.views, self.labels, self.top, self.min_confidence = views, labels, top, min_confidence
        self.evidence, self.ranking, self._baseline, self._fit = evidence, ranking, baseline, fit
        self._confidence: np.ndarray | None = None  # each printed form asks for it

    def __reduce__(self) -> tuple:  # a copy, or a pickle, takes its own pair along and no other, and no other labels
        own = self._parts.pair(self._row), 0, self.views, self.labels.only(self.features.tolist())
        listed = self._parts.listed(self._row)
        against = None if self._baseline is None else self._baseline.pair(self._row, listed)
        known = self.evidence, self.ranking, against, self.label_fit
        return type(self), (self.qid, self.docno, *own, self.top, self.min_confidence, *known)

    def with_evidence(self, evidence: WordEvidence) -> Self:
        """The same explanation with the words behind its features."""
        own = self._parts, self._row, self.views, self.labels, self.top, self.min_confidence
        return type(self)(self.qid, self.docno, *own, evidence, self.ranking, self._baseline, self._fit)

    @property
    def baseline(self) -> float | None:
        """The score of the mean document for this query; None where the bias is short (Xetrieval.has_long_bias).

        It is the mean of the index's documents, or of those that the model was trained on. ``baseline_documents`` says of how
        many; with 0 it is the bias alone, the score of a document without any feature.
        """
        return None if self._baseline is None else float(self._baseline.score[self._row])

    @property
    def baseline_documents(self) -> int | None:
        return None if self._baseline is None else self._baseline.documents

    @property
    def above_mean(self) -> Self | None:
        """The same pair measured against the mean document: every part less that of the mean document, as an explanation.

        Its ``score`` is ``score - baseline``, its ``bias`` is 0 (all documents of a query have the same), and its parts add up as
        those of any explanation do. None where there is no baseline. Features keep their order and their confidence.

        Example::

            e.contributions[0], e.above_mean.contributions[0]      # of the score; of what the score has above the mean's
        """
        if self._baseline is None:
            return None
        listed = self._parts.listed(self._row)
        return self._of_same_pair(self._baseline.pair(self._row, listed).above(self._parts.pair(self._row)))

    def _of_same_pair(self, parts: Attribution) -> Self:
        """Other parts of this pair's features, of which confidence and words stay what they are."""
        own = self.views, self.labels, self.top, self.min_confidence, self.evidence
        other = type(self)(self.qid, self.docno, parts, 0, *own, fit=self.label_fit)
        other._confidence = self.confidence
        return other

    def __eq__(self, other: object) -> bool:
        """The same pair with the same numbers."""
        if not isinstance(other, ExplanationParts):
            return NotImplemented
        same = (self.qid, self.docno, self.views) == (other.qid, other.docno, other.views)
        return same and self._parts.pair(self._row).equals(other._parts.pair(other._row))

    def __hash__(self) -> int:
        return hash((self.qid, self.docno, self.views, self.score))

    @property
    def score(self) -> float:
        return float(self._parts.score[self._row])

    @property
    def other(self) -> float:
        return float(self._parts.other[self._row])

    @property
    def bias(self) -> float:
        return float(self._parts.bias[self._row])

    @property
    def residual(self) -> float:
        return float(self._parts.residual[self._row])

    @property
    def features(self) -> np.ndarray:
        return self._parts.features[self._parts.listed(self._row)]

    @property
    def contributions(self) -> np.ndarray:
        return self._parts.contribution[self._parts.listed(self._row)]

    @property
    def query_activations(self) -> np.ndarray:
        return self._parts.query_activation[self._parts.listed(self._row)]

    @property
    def document_activations(self) -> np.ndarray:
        return self._parts.document_activation[self._parts.listed(self._row)]

    @property
    def before(self) -> Self | None:
        """The explanation with the query vector that the encoder gave; None if no stage has changed the query vector.

        It lists the same features in the same order. ``score - before.score`` is what calibration or links did to the score.
        """
        return None if self._parts.before is None else self._of_same_pair(self._parts.before.pair(self._row))

    @property
    def changes(self) -> np.ndarray:
        """What changes of the query vector did to each contribution, float32 ``[s]``; zeros if no stage changed it."""
        if self._parts.before is None:
            return np.zeros(len(self), np.float32)
        return self.contributions - self._parts.before.contribution[self._parts.listed(self._row)]

    @property
    def confidence(self) -> np.ndarray:
        """The probability that each shared feature's label fits query and document, float64 ``[s]``; NaN if unknown.

        It depends on how strong the feature is in both texts (in the document's own vector, not in views of it), on how
        well the label did in its tests, on how near its vector is to theirs, and on whether the words that carry the feature
        say what the label says.
        """
        if self._confidence is None:
            words = None
            if self.evidence is not None:
                words = [(own["query_words"], own["document_words"]) for own in map(self.words, range(len(self)))]
            self._confidence = self.labels.confidence_of(
                self.features, self.query_activations, self.document_activations[:, 0], self.contributions, words,
                self.label_fit,
            )  # fmt: skip
            self._confidence.setflags(write=False)
        return self._confidence

    @property
    def label_fit(self) -> LabelFit | None:
        """The reading of each shared feature's label that most likely fits the pair; None where labels have no vectors."""
        if isinstance(self._fit, PageFit):
            self._fit = self._fit.pair(self._parts.listed(self._row))  # once, when somebody reads it
        return self._fit

    def _meant(self, i: int) -> str:
        """The reading of the ``i``-th shared feature's label; empty where it has no label."""
        fit, one = self.label_fit, slice(i, i + 1)
        (meant,) = self.labels.meant(self.features[one], None if fit is None else fit.only(one))
        return meant

    @property
    def is_shown(self) -> np.ndarray:
        """Which shared features are shown, bool ``[s]``: see :func:`~pyterrier_xetrieval.core.confidence.is_shown`."""
        return is_shown(self.confidence, self.min_confidence)

    @property
    def _baseline_contributions(self) -> np.ndarray:
        assert self._baseline is not None, "asked for where there is one"
        return self._baseline.contribution[self._parts.listed(self._row)]

    @property
    def weakly_shared(self) -> tuple[int, float]:
        """How many shared features are not shown because their labels may not fit, and their part of the score."""
        weak = ~self.is_shown
        return int(weak.sum()), float(self.contributions[weak].sum(dtype=np.float64))

    def __len__(self) -> int:
        """The number of shared features, ``|O(q,d)|``."""
        return len(self.features)

    def __bool__(self) -> bool:
        return True  # also one without shared features

    @property
    def per_view(self) -> dict[str, list[int]]:
        """The shared features that are active in each view, ascending ids, as the released program lists them."""
        active = self.document_activations > 0
        return {view: sorted(self.features[active[:, v]].tolist()) for v, view in enumerate(self.views)}

    @property
    def shared(self) -> float:
        """The part of the score that the shared features carry together."""
        return float(self.contributions.sum(dtype=np.float64))

    @property
    def explained(self) -> float:
        """The share of the score that the dictionary accounts for: 1 − residual / score."""
        return 1 - self.residual / self.score if self.score else float("nan")

    def views_of(self, i: int) -> list[str]:
        """The views in which the ``i``-th shared feature is active."""
        return [view for view, value in zip(self.views, self.document_activations[i].tolist()) if value > 0]

    def words(self, i: int) -> dict[str, list[str]]:
        """``query_words`` and ``document_words``: the phrases that carry the ``i``-th shared feature; empty without evidence."""
        if self.evidence is None:
            return {}
        return {
            f"{side}_words": [" ".join(phrase.text.split()) for phrase in self.evidence.phrases(side, i)]
            for side in ("query", "document")
        }
