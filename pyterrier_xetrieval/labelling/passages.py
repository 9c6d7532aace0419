"""What a language model is shown of a text for one feature: the part around the words that carry it, and these marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..core.evidence import WordVectors
from ..core.internalizer import all_views
from ..core.readings import secant
from ..llm.prompts import shortened
from ..token_vectors import TokenEncoder
from ..words import Phrase, content_words, phrases

if TYPE_CHECKING:
    from ..model import Xetrieval

MARK = "**"
_PHRASES = 5  # of a text that are marked, at all their places


class Passage(NamedTuple):
    """What is shown of a text for one feature.

    Attributes:
        text: on one line; the words that carry the feature are between :data:`MARK` if that was asked for.
        words: these words in small letters, those of the strongest phrase first; no function words.
    """

    text: str
    words: tuple[str, ...]


class EvidencePassages:
    """Finds the words that carry a feature in a text, marks them, and cuts a long text to the part where they are.

    A feature's activation is the largest over the model's views, as in
    :class:`~pyterrier_xetrieval.labelling.FeatureSamples`; the words are those that carry it in the view where it is largest.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        reader: of documents, of an encoder that averages its token vectors.

    Raises:
        ValueError: an encoder whose vector is no sum over its tokens: which words carry a feature would cost a forward pass
            for each word.

    Example::

        evidence = EvidencePassages(model, TokenEncoder(model.encoder()))
        evidence.read(["Return a new sorted list."], [461], 500)[0].text     # Return a new **sorted list**.
    """

    def __init__(self, model: Xetrieval, reader: TokenEncoder):
        if not reader.exact:
            raise ValueError(f"EvidencePassages expects an encoder that averages its token vectors, but {reader.why_leave_out}")
        self.model, self.reader = model, reader

    def read(self, texts: Sequence[str], features: Sequence[int], max_chars: int, *, mark: bool = True) -> list[Passage]:
        """A passage for each text and its feature; every distinct text costs one forward pass, however often it is there.

        Args:
            texts, features: one feature for each text.
            max_chars: of a passage, marks not counted.
            mark: whether words are marked; else long texts are cut in the same way, and nothing says where the feature is.
        """
        wanted: dict[str, list[int]] = {}
        for i, text in enumerate(texts):
            wanted.setdefault(text, []).append(i)
        distinct, out = list(wanted), [Passage("", ())] * len(texts)
        for rows, words in self.reader.batches(distinct):
            for row, own in zip(rows, words):
                places = wanted[distinct[row]]
                shares = activation_shares(self.model, own, [features[i] for i in places])
                for i, share in zip(places, shares):
                    out[i] = _passage(distinct[row], own.spans, share, max_chars, mark)
        return out


def activation_shares(model: Xetrieval, words: WordVectors, features: Sequence[int]) -> np.ndarray:
    """Each word's share of the activation of some features, in the view where it is largest, float64 ``[s, w]``.

    The shares add up to the activation but for what special tokens and constants carry. A feature that is silent has
    shares too, of its pre-activation.
    """
    z = words.vector.astype(np.float32)
    modules = list(model.internalizers.values())
    views = np.concatenate([*all_views(model.internalizers, z[None], batch_size=1).values()])
    rows = model.sae.w_enc.detach()[list(features)].cpu().numpy()
    largest = (rows @ views.T).argmax(axis=1)
    for v in set(largest.tolist()) - {0}:
        rows[largest == v] = secant(modules[v - 1], z).pull_back(rows[largest == v])
    return rows.astype(np.float64) @ words.rows[: len(words.spans)].T.astype(np.float64)


def _passage(text: str, spans: np.ndarray, shares: np.ndarray, max_chars: int, mark: bool) -> Passage:
    found = phrases(text, spans, shares, most=_PHRASES)
    places = sorted(place for phrase in found for place in phrase.spans)
    words = [text[a:b].lower() for phrase in found for a, b in _words_in(phrase, spans[content_words(text, spans)])]
    return Passage(passage_text(text, places, _by_place(found), max_chars, mark=mark), tuple(dict.fromkeys(words)))


def _words_in(phrase: Phrase, spans: np.ndarray) -> list[list[int]]:
    start, stop = phrase.spans[0]
    return spans[(spans[:, 0] >= start) & (spans[:, 1] <= stop)].tolist()


def _by_place(found: Sequence[Phrase]) -> dict[tuple[int, int], float]:
    """What is carried at each place; a phrase that is there several times carries as much at each."""
    return {place: phrase.share / len(phrase.spans) for phrase in found for place in phrase.spans}


def passage_text(
    text: str, places: Sequence[tuple[int, int]], shares: dict[tuple[int, int], float], max_chars: int, *, mark: bool = True
) -> str:
    """A text on one line, cut to the part that carries most, with the places marked.

    Args:
        text: the whole text.
        places: ``text[start:stop]``, ascending and apart; shares: what each carries.
        max_chars: of the result, marks not counted; mark: whether places are marked.

    Example::

        >>> passage_text("one two three four five six", [(14, 18)], {(14, 18): 1.0}, 16)
        '… **four** …'
    """
    if len(" ".join(text.split())) <= max_chars:
        start, stop = 0, len(text)
    elif not places:
        return shortened(text.replace(MARK, ""), max_chars)
    else:
        start, stop = window(text, places, shares, max(1, max_chars - 4))
    pieces, last = ["… "] if start > 0 else [], start
    for a, b in places:
        if start <= a and b <= stop:
            pieces += [text[last:a].replace(MARK, ""), MARK * mark, text[a:b].replace(MARK, ""), MARK * mark]
            last = b
    pieces += [text[last:stop].replace(MARK, ""), " …" if stop < len(text) else ""]
    return " ".join("".join(pieces).split())


def window(text: str, places: Sequence[tuple[int, int]], shares: dict[tuple[int, int], float], size: int) -> tuple[int, int]:
    """The stretch of at most ``size`` characters, from word to word, whose places carry most; they are in its middle."""
    held = [[place for place in places if first <= place[0] and place[1] <= first + size] for first, _ in places]
    best = max(held, key=lambda own: sum(shares[place] for place in own))
    first, last = (best[0][0], best[-1][1]) if best else (places[0][0], min(places[0][1], places[0][0] + size))
    start = min(max(0, first - (size - (last - first)) // 2), max(0, len(text) - size))
    stop = min(len(text), start + size)
    while 0 < start < first and not text[start - 1].isspace():
        start += 1
    while last < stop < len(text) and not text[stop].isspace():
        stop -= 1
    return start, stop
