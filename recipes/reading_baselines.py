"""What a reading test compares explanations with: an untrained dictionary, and words that both texts have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pyterrier_xetrieval.evaluation.collection import EmbeddedCollection
from pyterrier_xetrieval.evaluation.dictionaries import untrained, with_sae
from pyterrier_xetrieval.evaluation.pairs import texts_of
from pyterrier_xetrieval.words import content_words, spans
from recipes.reading_pairs import ReadingPair
from recipes.reading_rows import ModelForm, ReadingRow

if TYPE_CHECKING:
    from pyterrier_xetrieval import Xetrieval


def untrained_form(model: Xetrieval, *, seed: int = 0) -> ModelForm:
    """The shared features of a dictionary of the same size that has seen no data, by words alone: it has no labels.

    Compare with ``ModelForm(model, "words")``.

    Args:
        model: whose dictionary's size, and whose encoder and views; seed: of the random directions.
    """
    return ModelForm(with_sae(model, untrained(model.sae, with_bias=model.has_long_bias, seed=seed)), "words")


class OverlapForm:
    """The words that a query and a document have in common, rarest first: what needs no vectors.

    Words are compared without case; function words are left out. A row's contribution is the word's inverse document
    frequency ``ln((n + 1) / (df + 1))`` in the pair's collection.

    Args:
        collections: those that the pairs are of, with texts; each is read once.
        batch_size: texts read at once.

    Example::

        OverlapForm(collections).explain(pairs)[0].rows[0].text          # “Lists” ↔ “lists”
    """

    def __init__(self, collections: Sequence[EmbeddedCollection], *, batch_size: int = 1024):
        self._df: dict[str, Counter[str]] = {}
        self._sizes = {collection.name: len(collection.docnos) for collection in collections}
        for collection in collections:
            df: Counter[str] = Counter()
            texts, _ = texts_of(collection)
            for start in range(0, len(collection.docnos), batch_size):
                rows = range(start, min(start + batch_size, len(collection.docnos)))
                for text in texts(rows):
                    df.update(_words(text).keys())
            self._df[collection.name] = df

    def explain(self, pairs: Sequence[ReadingPair]) -> list[OverlapPair]:
        return [OverlapPair(self, pair) for pair in pairs]

    def idf(self, collection: str, word: str) -> float:
        """``ln((n + 1) / (df + 1))``."""
        return float(np.log((self._sizes[collection] + 1) / (self._df[collection][word] + 1)))


class OverlapPair:
    """One pair; see :class:`recipes.reading_rows.ExplainedPair`."""

    def __init__(self, form: OverlapForm, pair: ReadingPair):
        query, document = _words(pair.query), _words(pair.document)
        shared = sorted(query.keys() & document.keys(), key=lambda word: (-form.idf(pair.collection, word), word))
        self.rows = [
            ReadingRow(word, f"“{query[word]}” ↔ “{document[word]}”", contribution=form.idf(pair.collection, word))
            for word in shared
        ]
        self.score = float(sum(row.contribution for row in self.rows))
        self._shared = set(shared)

    def has(self, feature: int | str) -> bool:
        return feature in self._shared

    def decoy(self, feature: int | str) -> ReadingRow:
        """A word that another pair has in common; this rule has no words of this pair for it."""
        return ReadingRow(feature, f"“{feature}” ↔ “{feature}”", decoy=True)


def _words(text: str) -> dict[str, str]:
    """The content words of a text, without case, and how each stands there first."""
    found = spans(text, "word")
    kept = found[content_words(text, found)]
    out: dict[str, str] = {}
    for start, stop in kept.tolist():
        out.setdefault(text[start:stop].casefold(), text[start:stop])
    return out
