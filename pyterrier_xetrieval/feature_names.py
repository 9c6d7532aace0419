"""What features are called, and how far to trust it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .core.confidence import Confidence
from .words import FUNCTION_WORDS

if TYPE_CHECKING:
    from .label_vectors import LabelFit


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
        detections: feature to the detection score of each reading of its label, where readings were tested one by one.

    Attributes:
        dictionary: tells dictionaries apart by their content; empty where the labels belong to no model.

    Example::

        >>> names = FeatureNames({17: "sorting, order"}, dict_size=64)
        >>> names[17], names[18]
        ('sorting, order', 'feature 18')
    """

    def __init__(
        self, names: Mapping[int, str], dict_size: int, facts: Mapping[int, FeatureFacts] | None = None,
        confidence: Confidence | None = None, detections: Mapping[int, Sequence[float]] | None = None,
    ):  # fmt: skip
        self._names, self.dict_size, self._facts, self.confidence = dict(names), dict_size, dict(facts or {}), confidence
        self._detections = dict(detections or {})
        self.dictionary = ""

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

    def readings(self, feature: int) -> list[tuple[str, float]]:
        """The readings of a label, each with its detection score: the label's own where readings were not tested one by one."""
        texts = readings_of(self._names.get(feature, ""))
        scores = self._detections.get(feature, ())
        if len(scores) != len(texts):
            scores = [self.facts(feature).detection] * len(texts)
        return list(zip(texts, scores))

    def confidence_of(
        self, features: np.ndarray, query_activations: np.ndarray, document_activations: np.ndarray,
        contributions: np.ndarray, words: Sequence[tuple[Sequence[str], Sequence[str]]] | None = None, fit: LabelFit | None = None,
    ) -> np.ndarray:  # fmt: skip
        """The probability that each feature's label fits query and document, float64 ``[s]``; NaN where nobody measured it.

        Args:
            features: int ``[s]``; query_activations, document_activations: float ``[s]``, activation in the two texts.
            contributions: float ``[s]``, to the score.
            words: the phrases of query and of document that carry each feature, if somebody has looked.
            fit: which reading of each label is meant and how near it is to both texts, if the labels have vectors.
        """
        if self.confidence is None:
            return np.full(len(features), np.nan)
        known = [self.facts(j) for j in features.tolist()]
        largest, clarity, detection = np.array(known, np.float64).reshape(-1, 3).T
        if fit is not None:
            detection = np.where(np.isnan(fit.detection), detection, fit.detection)
        support: list[np.ndarray] | list[None] = [None, None]
        if words is not None:
            found = [supported_by(label, *own) for label, own in zip(self.meant(features, fit), words)]
            support = list(np.array(found, np.float64).reshape(-1, 2).T)
        near = (None, None) if fit is None else fit.similarity.T
        return self.confidence(
            query_activations / largest, document_activations / largest, clarity, detection, contributions, *support, *near
        )

    def meant(self, features: np.ndarray, fit: LabelFit | None = None) -> list[str]:
        """The reading of each feature's label that ``fit`` found likeliest; the whole label where nobody has looked."""
        if fit is None:
            return [self.name(j) for j in features.tolist()]
        found = zip(features.tolist(), fit.reading.tolist(), np.isnan(fit.similarity[:, 0]).tolist())
        return [self.name(j) if unknown else readings_of(self.name(j))[i] for j, i, unknown in found]

    def only(self, features: Iterable[int]) -> FeatureNames:
        """The names of these features alone, as a pickled explanation takes them along."""
        kept = set(features)
        own = {j: name for j, name in self._names.items() if j in kept}
        facts = {j: f for j, f in self._facts.items() if j in kept}
        names = FeatureNames(own, self.dict_size, facts, self.confidence)
        names.dictionary = self.dictionary
        return names


# labels about how words are written and not what they mean: judges take them for nonsense unless that is said
_SPELLING = re.compile(
    r"\b(?:words?|names?|abbreviations?|acronyms?)\b.* (?:beginning|starting|ending)\b|^abbreviations? |\bletters? [A-Z]\b", re.I
)


def readings_of(label: str) -> list[str]:
    """The readings of a label, which are joined with `` / ``.

    Example::

        >>> readings_of("drinks / bars and lounges")
        ['drinks', 'bars and lounges']
    """
    return [text.strip() for text in label.split(" / ") if text.strip()]


def reading(label: str, words: Sequence[str]) -> str:
    """What a label says of a pair, given the words that carry the feature there.

    An encoder may share pieces between unrelated words, and a feature then joins them (``"A / B"``); or a feature is about a
    word in all its senses (``"word: one sense, another"``). A reading is supported by a word that it contains, or that begins
    as one of its words does. Where not exactly one reading is supported, ``"A / B"`` stays, and of a word with senses the word.
    A label about how words are written says so.

    Example::

        >>> reading("Joubert syndrome / words beginning with Jo-", ["Jonathan"])
        'spelling: words beginning with Jo-'
        >>> reading("order: sort order, orders placed, court orders", ["sort a list", "ascending order"])
        'order: sort order'
    """
    said = _supported(label, {token for word in words for token in re.findall(r"\w+", word.lower())})
    return f"spelling: {said}" if _SPELLING.search(said) else said


def supported_by(label: str, query_words: Sequence[str], document_words: Sequence[str]) -> tuple[bool, bool]:
    """Whether the words of each text that carry a feature say what its label says: one is, or begins as, a content word of it.

    A label about how words are written is never supported: the words are written so, but that is no reason.

    Example::

        >>> supported_by("sorting or ordering data", ["sort a list"], ["brewery"])
        (True, False)
    """
    said = reading(label, [*query_words, *document_words])
    if said.startswith("spelling: "):
        return False, False
    own = [token for token in _tokens(said) if token not in FUNCTION_WORDS]
    sides = (
        {token for word in words for token in _tokens(word) if token not in FUNCTION_WORDS}
        for words in (query_words, document_words)
    )
    of_query, of_document = (any(_alike(token, asked) for token in own) for asked in sides)
    return of_query, of_document


def _supported(label: str, asked: set[str]) -> str:
    if " / " in label:
        supported = [text for text in label.split(" / ") if any(_alike(token, asked) for token in _tokens(text))]
        return supported[0] if len(supported) == 1 else label
    head, colon, rest = label.partition(": ")
    senses = rest.split(", ")
    if not colon or len(senses) == 1:
        return label
    own = set(_tokens(head))
    supported = [s for s in senses if any(not _alike(token, own) and _alike(token, asked) for token in _tokens(s))]
    return f"{head}: {supported[0]}" if len(supported) == 1 else head


def _tokens(text: str) -> list[str]:
    return re.findall(r"\w+-?", text.lower())


def _alike(token: str, asked: set[str]) -> bool:
    """Whether one of the words begins as this one does; ``jo-`` stands for words that begin so."""
    if token.endswith("-"):
        return any(word.startswith(token[:-1]) for word in asked)
    stem = token[: max(4, len(token) - 2)]
    return len(token) > 3 and any(word.startswith(stem) or (len(word) > 3 and token.startswith(word)) for word in asked)
