"""How likely the label of a feature fits a query and a document that share the feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from .checks import found_value, is_finite

UNKNOWN_CLARITY = 0.0  # the writer saw no common reading
UNKNOWN_DETECTION = 0.5  # a judge told the feature's texts from others no better than chance
UNKNOWN_SUPPORT = 0.5  # nobody has looked for the words yet: as for about half of the texts
UNKNOWN_SIMILARITY = 0.2  # the label has no vector: a little less than half of the rows have
LEAST_SHOWN = 3  # rows: one or two say little of a document, and their confidence is printed beside them
_LEAST = 1e-9  # stands for an activation of 0, whose logarithm is not finite


@dataclass(frozen=True)
class Confidence:
    """A logistic model of one text; a label fits a pair where it fits the query and the document (the product).

    ``P(fits a text) = sigmoid(intercept + activation · ln a + clarity · clarity + detection · detection + contribution ·
    contribution + support · support + similarity · similarity)``. The first factor of each product is a weight, an attribute of this name; the second is
    what is known. ``a`` is the activation over the largest that is known of the feature. No weight is below 0, so that more of
    anything never lowers a confidence, and a feature that is not active (``a`` = 0) has confidence 0.

    What is not known of a label is NaN, or the argument is left out, and the model is then conservative: an unknown
    clarity counts as :data:`UNKNOWN_CLARITY`, an unknown detection as :data:`UNKNOWN_DETECTION`, and where the largest
    activation is not known ``a`` is NaN and counts as 0. Where nobody has looked for words, support counts as
    :data:`UNKNOWN_SUPPORT`, and the similarity of a label without a vector as :data:`UNKNOWN_SIMILARITY`.

    Args:
        intercept: of the logit.
        activation: weight of ``ln a``.
        clarity: weight of the clarity of a label, 0 to 2.
        detection: weight of its detection score, 0 to 1.
        contribution: weight of the feature's part of the score; 0 in a model fitted on single texts, which have none.
        support: weight of whether the words of the text that carry the feature say what the label says (1) or not (0).
        similarity: weight of the cosine of label and text, which is another scale for every encoder.

    Raises:
        ValueError: a parameter that is not a finite number, or a weight below 0.

    Example::

        confidence = Confidence(intercept=-2.2, activation=3.1, clarity=1.0, detection=4.4)
        confidence(0.8, 0.5, clarity=2, detection=0.9)                  # 0.797
    """

    intercept: float
    activation: float
    clarity: float
    detection: float
    contribution: float = 0.0
    support: float = 0.0
    similarity: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool) and is_finite(value)
            if not number or (name != "intercept" and value < 0):
                bound = "a finite number" if name == "intercept" else "a finite number from 0 up"
                raise ValueError(f"Confidence expects {name} to be {bound}, found {found_value(value)}; fit the parameters again")

    def __call__(
        self,
        query_activation: ArrayLike,
        document_activation: ArrayLike,
        clarity: ArrayLike | None = None,
        detection: ArrayLike | None = None,
        contribution: ArrayLike | None = None,
        query_support: ArrayLike | None = None,
        document_support: ArrayLike | None = None,
        query_similarity: ArrayLike | None = None,
        document_similarity: ArrayLike | None = None,
    ) -> np.ndarray:
        """The probability that a label fits query and document, float64 of the arguments' common shape.

        Args:
            query_activation, document_activation: over the feature's maximum; over 1 counts as 1.
            clarity, detection, contribution: as in :meth:`of_text`.
            query_support, document_support, query_similarity, document_similarity: those of each text.

        Raises:
            ValueError: as :meth:`of_text`.
        """
        known = (clarity, detection, contribution)
        of_query = self.of_text(query_activation, *known, query_support, query_similarity)
        return of_query * self.of_text(document_activation, *known, document_support, document_similarity)

    def of_text(
        self,
        activation: ArrayLike,
        clarity: ArrayLike | None = None,
        detection: ArrayLike | None = None,
        contribution: ArrayLike | None = None,
        support: ArrayLike | None = None,
        similarity: ArrayLike | None = None,
    ) -> np.ndarray:
        """The probability that a label fits one text, float64 of the arguments' common shape.

        Args:
            activation: over the feature's maximum; over 1 counts as 1.
            clarity: of the label; detection: its score; contribution: of the feature to the score; support: 1 where the
                words of the text that carry the feature say what the label says, 0 where they do not; similarity: the label's
                cosine with the text.

        Raises:
            ValueError: the model weighs contributions and there are none.
        """
        if contribution is None and self.contribution:
            raise ValueError(f"Confidence expects contributions (their weight is {self.contribution}), found none; pass them")
        parts = zip(
            predictors(activation, clarity, detection, contribution, support, similarity), list(asdict(self).values())[1:]
        )
        logit = self.intercept + sum(weight * values for values, weight in parts)
        return np.exp(-np.logaddexp(0.0, -logit))

    def to_dict(self) -> dict[str, float]:
        """The parameters by name, for JSON."""
        return {name: float(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, parameters: Mapping[str, float]) -> Confidence:
        """What :meth:`to_dict` gave.

        A similarity that is missing has weight 0: earlier ones did not know it.

        Raises:
            ValueError: parameters that are missing or unknown, or that the class does not take.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(parameters, Mapping) or not set(names) - {"similarity"} <= set(parameters) <= set(names):
            found = list(parameters) if isinstance(parameters, Mapping) else type(parameters).__name__
            raise ValueError(f"Confidence expects the parameters {names}, found {found}; fit them again")
        return cls(**parameters)


def is_shown(confidence: ArrayLike, min_confidence: float) -> np.ndarray:
    """Which of a pair's features a reader sees: those of at least this confidence, or of unknown confidence.

    Where these are fewer than three, the surest are shown, up to three, if their confidence is at least half of it.

    Args:
        confidence: float ``[s]`` of the pair's shared features; NaN where nobody measured it.

    Returns:
        bool ``[s]``.

    Example::

        >>> is_shown(np.array([0.5, 0.3, 0.25, 0.22, 0.1]), 0.4).tolist()
        [True, True, True, False, False]
    """
    confidence = np.asarray(confidence, np.float64)
    shown = ~(confidence < min_confidence)
    if shown.sum() < LEAST_SHOWN:
        surest = np.argsort(-confidence, kind="stable")[:LEAST_SHOWN]
        shown[surest] |= confidence[surest] >= min_confidence / 2
    return shown


def predictors(
    activation: ArrayLike, clarity: ArrayLike | None, detection: ArrayLike | None, contribution: ArrayLike | None,
    support: ArrayLike | None = None, similarity: ArrayLike | None = None,
) -> list[np.ndarray]:  # fmt: skip
    """What the weights are multiplied with, in the order of the parameters, six float64 arrays that broadcast.

    Arguments as in :meth:`Confidence.of_text`, with its defaults for what is not known.
    """
    relative = np.nan_to_num(np.asarray(activation, np.float64), nan=0.0)
    return [
        np.log(np.clip(relative, _LEAST, 1.0)),
        _known(clarity, UNKNOWN_CLARITY),
        _known(detection, UNKNOWN_DETECTION),
        _known(contribution, 0.0),
        _known(support, UNKNOWN_SUPPORT),
        _known(similarity, UNKNOWN_SIMILARITY),
    ]


def _known(values: ArrayLike | None, default: float) -> np.ndarray:
    return np.nan_to_num(np.asarray(default if values is None else values, np.float64), nan=default)
