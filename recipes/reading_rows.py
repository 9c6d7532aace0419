"""The rows of an explanation that are judged, and decoys in the same form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np
import pandas as pd

from pyterrier_xetrieval.core.codes import ViewCodes, encode_view
from pyterrier_xetrieval.core.confidence import is_shown
from pyterrier_xetrieval.core.evidence import WordVectors
from pyterrier_xetrieval.core.readings import activation_readings
from pyterrier_xetrieval.explanation import Explanation
from pyterrier_xetrieval.explanation_rows import ShownFeature
from pyterrier_xetrieval.feature_names import reading, supported_by
from pyterrier_xetrieval.label_vectors import LabelFit
from pyterrier_xetrieval.token_vectors import TokenEncoder
from pyterrier_xetrieval.words import content_words, phrases
from recipes.reading_pairs import ReadingPair

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

    from pyterrier_xetrieval import Xetrieval

Show = Literal["words and label", "words", "label"]


@dataclass(frozen=True)
class ReadingRow:
    """One row as a judge sees it, and what is known of it.

    Attributes:
        feature: its id; of a baseline without features, a word. text: what the judge sees.
        decoy: whether the row is of another pair and was only written in this one's words.
        contribution: its part of the score; of a decoy NaN.
        query_activation, document_activation: over the feature's maximum, NaN where that is unknown; the document's own
            vector counts, not views of it.
        clarity, detection: of the label; confidence: that the label fits both texts; query_support, document_support:
            whether the words of each text say what the label says, 1 or 0; query_similarity, document_similarity: cosines
            of the label's reading with them. NaN where unknown.
    """

    feature: int | str
    text: str
    decoy: bool = False
    contribution: float = np.nan
    query_activation: float = np.nan
    document_activation: float = np.nan
    clarity: float = np.nan
    detection: float = np.nan
    confidence: float = np.nan
    query_support: float = np.nan
    document_support: float = np.nan
    query_similarity: float = np.nan
    document_similarity: float = np.nan


def first_shown(rows: Sequence[ReadingRow], min_confidence: float, most: int) -> list[ReadingRow]:
    """The first rows that a reader sees of these, ``most`` at most: :func:`~pyterrier_xetrieval.core.confidence.is_shown`."""
    shown = is_shown(np.array([row.confidence for row in rows], np.float64), min_confidence)
    return [row for row, seen in zip(rows, shown.tolist()) if seen][:most]


class ExplainedPair(Protocol):
    """What a form makes of one pair.

    Attributes:
        rows: all that could be shown, in the order in which users see them.
        score: what the contributions are parts of.
    """

    rows: list[ReadingRow]
    score: float

    def has(self, feature: int | str) -> bool:
        """Whether the feature is among this pair's, so that it is no decoy for it."""

    def decoy(self, feature: int | str) -> ReadingRow:
        """The row of a feature of another pair, written in the words of this one."""


class Form(Protocol):
    """A way to write explanations: an edition of the model, a part of what it shows, or a baseline."""

    def explain(self, pairs: Sequence[ReadingPair]) -> Sequence[ExplainedPair]:
        """The rows of each pair."""


class ModelForm:
    """The shared features of a model, as :class:`~pyterrier_xetrieval.explanation_rows.ShownFeature` prints them.

    All shared features are rows, whatever ``min_confidence``: the least confidence to show is chosen after the test.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`; its views take part as in any explanation of it.
        show: ``"words and label"`` (what users see), ``"words"`` or ``"label"`` alone.
        encoder: of the vectors; None for the model's own.

    Example::

        explained = ModelForm(Xetrieval.default()).explain(draw_pairs(collections, 100))
        explained[0].rows[0].text                          # “sort” ↔ “sorted”, “ascending” · ordering things
    """

    def __init__(self, model: Xetrieval, show: Show = "words and label", *, encoder: BiEncoder | None = None):
        self.model, self.show, self._encoder = model, show, encoder

    def explain(self, pairs: Sequence[ReadingPair]) -> list[ModelPair]:
        model, encoder = self.model, self._encoder or self.model.encoder()
        queries, documents = [pair.query for pair in pairs], [pair.document for pair in pairs]
        frame = pd.DataFrame({"qid": [pair.id for pair in pairs], "query": queries, "docno": [pair.docno for pair in pairs]})
        frame[encoder.text_field] = documents
        frame["query_vec"], frame["doc_vec"] = list(encoder.encode_queries(queries)), list(encoder.encode_docs(documents))
        explain = model.internalizer() >> model.explainer(min_confidence=0.0) >> model.evidence(encoder)
        explained = explain.transform(frame)
        words = [TokenEncoder(encoder, side).words(of) for side, of in (("query", queries), ("document", documents))]
        vectors = [np.stack(frame[column]).astype(np.float32) for column in ("query_vec", "doc_vec")]
        codes = [encode_view(model.sae, of_side, refit=True, batch_size=512) for of_side in vectors]
        return [
            ModelPair(self, explanation, pair, *(Side(words[s][i], vectors[s][i], codes[s][i : i + 1]) for s in range(2)))
            for i, (pair, explanation) in enumerate(zip(pairs, explained["explanation"]))
        ]


class Side(NamedTuple):
    """One text of a pair: its words' parts of its vector, the vector float32 ``[m]``, and the vector's code."""

    words: WordVectors
    vector: np.ndarray
    codes: ViewCodes

    def activation(self, feature: int) -> float:
        """0 where the feature is not active."""
        return float(self.codes.activations[self.codes.ids == feature].clip(min=0).max(initial=0.0))


class ModelPair:
    """One pair, explained by a model; see :class:`ExplainedPair`.

    Attributes:
        model, explanation: which model, and what it says; q, z: float32 ``[m]``, the vectors of query and document.
    """

    def __init__(self, form: ModelForm, explanation: Explanation, pair: ReadingPair, query: Side, document: Side):
        self._form, self._pair, self._query, self._document = form, pair, query, document
        self.model, self.explanation, self.q, self.z = form.model, explanation, query.vector, document.vector
        self.score = explanation.score
        activations = zip(explanation.query_activations.tolist(), explanation.document_activations[:, 0].tolist())
        known = dict(zip(explanation.features.tolist(), activations))
        fit = explanation.label_fit
        fits = {} if fit is None else {j: fit.only(slice(i, i + 1)) for i, j in enumerate(known)}
        own = ((shown, known[shown.feature]) for shown in explanation.rows)
        self.rows = [self._row(shown, query, document, fits.get(shown.feature)) for shown, (query, document) in own]

    def has(self, feature: int | str) -> bool:
        return feature in self.explanation.features

    def decoy(self, feature: int | str) -> ReadingRow:
        """Its words are those of this pair that would carry the feature if it were a row.

        Of the query these are the words with the largest share of ``⟨q, w_j⟩``; of the document those of its
        coefficient, or, where it is not active, of its pre-activation.
        """
        j, sae, both = int(feature), self.model.sae, (self._query, self._document)
        direction, reads = (weight[j].detach().cpu().double().numpy() for weight in (sae.w_dec, sae.w_enc))
        activations = [side.activation(j) for side in both]
        if activations[1]:  # the coefficient is refitted, together with those of the other active features
            active = self._document.codes.activations > 0
            own, values = self._document.codes.ids[active], self._document.codes.coefficients[active]
            reads = activation_readings(sae, self.z, own, values, refit=True, combine=(own == j)[None].astype(float))[0][0]
        texts = self._pair.query, self._pair.document
        words = [_nearest(text, side.words, by) for text, side, by in zip(texts, both, (direction, reads))]
        one, labels = np.array([j]), self.model.labels
        fit = labels.fit_pair(one, self.q, self.z)
        label = reading(labels.meant(one, fit)[0] or labels[j], [*words[0], *words[1]])
        of_query, of_document = (np.array([value]) for value in activations)
        confidence = labels.confidence_of(one, of_query, of_document, np.array([np.nan]), [(words[0], words[1])], fit)
        shown = ShownFeature(j, label, float(confidence[0]), np.nan, *words)
        return self._row(shown, activations[0], activations[1], fit, decoy=True)

    def _row(
        self, shown: ShownFeature, query: float, document: float, fit: LabelFit | None, *, decoy: bool = False
    ) -> ReadingRow:
        labels = self.model.labels
        known, (meant,) = labels.facts(shown.feature), labels.meant(np.array([shown.feature]), fit)
        largest, detection = known.max_activation, known.detection
        if fit is not None and not np.isnan(fit.detection[0]):
            detection = float(fit.detection[0])
        support = map(float, supported_by(meant, shown.query_words, shown.document_words))
        near = [np.nan, np.nan] if fit is None else fit.similarity[0].tolist()
        return ReadingRow(
            shown.feature, self._text(shown), decoy, shown.contribution, query / largest, document / largest, known.clarity,
            detection, shown.confidence, *support, *near,
        )  # fmt: skip

    def _text(self, shown: ShownFeature) -> str:
        if self._form.show == "label":
            return shown.label
        if self._form.show == "words":
            return str(shown).removesuffix(f" · {shown.label}")
        return str(shown)


def _nearest(text: str, words: WordVectors, direction: np.ndarray) -> tuple[str, ...]:
    """The phrases that carry most of a direction; the word nearest to it where none carries any of it.

    A row without words would tell a judge that it is a decoy.
    """
    shares = words.rows[: len(words.spans)] @ direction
    content = content_words(text, words.spans)
    if content.any() and not (shares[content] > 0).any():
        shares = ((shares == shares[content].max()) & content).astype(np.float64)
    return tuple(phrase.text for phrase in phrases(text, words.spans, shares))
