"""From an encoder's tokens to what people read: words, phrases, sentences and paragraphs of the original text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

UNITS = ("token", "word", "sentence", "paragraph")

# Thai and Lao, Myanmar, Khmer, kana, CJK: scripts that put no spaces between words; the encoder's tokens stand for them
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[^\W{_UNSPACED}]+(?:['’-][^\W{_UNSPACED}]+)*")
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
# a sentence ends at its mark and closing quotes, before a space and no small letter; marks of CJK need no space
_SENTENCE = re.compile(r"""[.!?…]+["'”’)\]]*\s+(?=[^\sa-z])|[。！？]+["'”’」』）]*\s*""")
_ABBREVIATION = re.compile(r"\b(?:[A-Z]|[Ee]\.g|[Ii]\.e|vs|cf|al|approx|[Rr]esp|[Ff]ig|Mrs?|Ms|Dr|Prof|St|Jr|Sr)\.$")

# English words that say how a sentence is built and not what it is about; "not", "most" or "before" may be what it is about
FUNCTION_WORDS = frozenset(
    """
    a about also am an and any are aren't as at be because been being both but by can can't could couldn't did didn't do does
    doesn't doing don't each either else etc even ever for from further had hadn't has hasn't have haven't having he he'd
    he'll he's her here hers herself him himself his how however i i'd i'll i'm i've if in into is isn't it it'd it'll it's its
    itself just let let's may me might mine must my myself neither nor of on onto or ought our ours ourselves own per quite
    rather shall she she'd she'll she's should shouldn't so some such than that that's the their theirs them themselves then
    there there's therefore these they they'd they'll they're they've this those though thus to too toward towards upon us
    very via was wasn't we we'd we'll we're we've were weren't what what's whatever when whenever where where's whereas
    whether which whichever while who who's whoever whom whose why will with would wouldn't yet you you'd you'll you're
    you've your yours yourself yourselves
    """.split()
)
_MARKS = frozenset(".,:;!?()[]{}<>\"'`“”‘’«»…-–—")  # nobody learns from these what a text is about


def units(text: str, tokens: np.ndarray, unit: str = "word") -> tuple[np.ndarray, np.ndarray]:
    """Puts a text's tokens together to words, sentences or paragraphs.

    Pieces of one word come together; in scripts without spaces between words, and for punctuation, a token stands by
    itself. A token without characters of its own (a word-start mark alone) goes with the next one.

    Args:
        tokens: int ``[n, 2]``, where the tokens are in the text, in its order.
        unit: ``"token"``, ``"word"``, ``"sentence"`` or ``"paragraph"``.

    Returns:
        int32 ``[u, 2]``, the span of each unit that has a token, from its first token's start to its last one's end (a text
        that the encoder cut has no more); and int64 ``[n]``, which of them each token is in (-1 if there is none at all).

    Raises:
        ValueError: an unknown unit.

    Example::

        units("unbelievable!", np.array([[0, 2], [2, 12], [12, 13]]))      # [[0, 12], [12, 13]] and [0, 0, 1]
    """
    if unit not in UNITS:
        raise ValueError(f"unit expects one of {UNITS}, found {unit!r}")
    # a token's own offsets may include the space before it
    trimmed = [(stop - len(text[start:stop].lstrip()), start + len(text[start:stop].rstrip())) for start, stop in tokens.tolist()]
    parts = None if unit == "token" else spans(text, unit)
    starts = np.empty(0) if parts is None else parts[:, 0]
    part = np.searchsorted(starts, [start for start, _ in trimmed], side="right") - 1
    found: list[list[int]] = []
    groups, last = np.zeros(len(trimmed), np.int64), -1
    for i, (start, stop) in enumerate(trimmed):
        groups[i] = len(found)  # a token that is empty: with what comes next
        if start >= stop:
            continue
        own = int(part[i]) if parts is not None and part[i] >= 0 and start < parts[part[i], 1] else -1
        # pieces of one character (bytes of an emoji) have the same span
        if found and (start < found[-1][1] or (own >= 0 and own == last)):
            found[-1][1] = max(found[-1][1], stop)
            groups[i] -= 1
        else:
            found.append([start, stop])
        last = own
    return np.array(found, np.int32).reshape(-1, 2), np.minimum(groups, len(found) - 1)


def spans(text: str, unit: str) -> np.ndarray:
    """Where the words, sentences or paragraphs of a text are, int32 ``[u, 2]``, ``text[start:stop]``.

    Sentences end at full stops, question and exclamation marks before a space and no small letter, but not after initials
    and usual abbreviations, and at an empty line.

    Raises:
        ValueError: another unit.
    """
    if unit == "word":
        return _array([match.span() for match in _WORD.finditer(text)])
    if unit not in ("sentence", "paragraph"):
        raise ValueError(f"spans expects unit to be 'word', 'sentence' or 'paragraph', found {unit!r}")
    ends = [match.end() for match in _PARAGRAPH.finditer(text)]
    if unit == "sentence":
        marks = [match for match in _SENTENCE.finditer(text) if not _abbreviates(text, match.start())]
        ends = sorted({*ends, *(match.end() for match in marks)})
    bounds = [(start, start + len(text[start:stop].rstrip())) for start, stop in zip([0, *ends], [*ends, len(text)])]
    return _array([(stop - len(text[start:stop].lstrip()), stop) for start, stop in bounds if text[start:stop].strip()])


def _abbreviates(text: str, stop: int) -> bool:
    """Whether the full stop at this place belongs to an abbreviation."""
    return _ABBREVIATION.search(text[max(stop - 10, 0) : stop + 1]) is not None


def content_words(text: str, words: np.ndarray) -> np.ndarray:
    """Which words (spans int ``[w, 2]``) say what a text is about: no function words, no punctuation; bool ``[w]``."""
    return np.array([_is_content(text[start:stop]) for start, stop in words.tolist()], bool)


def _is_content(word: str) -> bool:
    return any(map(str.isalnum, word)) and word.lower().replace("’", "'") not in FUNCTION_WORDS


@dataclass(frozen=True)
class Phrase:
    """Words that stand together and carry a feature together.

    Attributes:
        text: as it stands in the original, at the first place.
        share: what its words carry, at all its places.
        spans: its places, ``text[start:stop]``.
    """

    text: str
    share: float
    spans: tuple[tuple[int, int], ...]


def phrases(text: str, words: np.ndarray, shares: np.ndarray | Sequence[float], *, most: int = 3) -> list[Phrase]:
    """The phrases to show for one feature, strongest first.

    Chosen are the words that carry at least a quarter of what the strongest one carries. Function words and symbols are left
    out where a content word carries as much, punctuation always. Chosen words that are neighbours, or have but one function
    word or a joining mark (as in ``os.path``) between them, make one phrase; equal phrases are one with several places.

    Args:
        words: int ``[w, 2]``, spans in the order of the text; shares: float ``[w]``, what they carry (of a feature that
            counts against the document: its negative).
        most: how many phrases at most.

    Returns:
        At most ``most``; none if no word carries anything.

    Example::

        phrases("sort a list of keys", spans, [.3, .0, .1, .02, .1])       # "sort", "list of keys"
    """
    return phrases_of_features(text, words, np.asarray(shares, np.float64)[None], most=most)[0]


def phrases_of_features(text: str, words: np.ndarray, shares: np.ndarray, *, most: int = 3) -> list[list[Phrase]]:
    """:func:`phrases` of several features, quicker than one after the other: shares float64 ``[p, w]``, a list for each."""
    places = words.tolist()
    marks = np.array([_MARKS.issuperset(text[start:stop]) for start, stop in places], bool)
    content = content_words(text, words)
    carried = np.where(marks, 0.0, shares)
    largest = carried.max(axis=1, initial=0.0, keepdims=True)
    strongest = np.where(content, carried, 0.0).max(axis=1, initial=0.0, keepdims=True)
    chosen = (carried > 0) & (carried >= largest / 4) & (content | (carried > strongest))
    joints = np.array([_joins(text, words, content, i) for i in range(1, len(words) - 1)], bool)
    chosen[:, 1:-1] |= joints & chosen[:, :-2] & chosen[:, 2:]
    follows = [i > 0 and not text[places[i - 1][1] : start].strip() for i, (start, _) in enumerate(places)]
    out = []
    for own, parts in zip(chosen, shares.tolist()):
        found: dict[str, tuple[str, float, list[tuple[int, int]]]] = {}
        for first, last in _runs(np.flatnonzero(own).tolist(), follows):
            start, stop = places[first][0], places[last][1]
            shown = text[start:stop]
            known, share, spans = found.get(shown.casefold(), (shown, 0.0, []))
            found[shown.casefold()] = (known, share + sum(parts[first : last + 1]), [*spans, (start, stop)])
        together = [Phrase(known, share, tuple(spans)) for known, share, spans in found.values()]
        out.append(sorted(together, key=lambda phrase: -phrase.share)[:most])
    return out


def _joins(text: str, words: np.ndarray, content: np.ndarray, i: int) -> bool:
    """Whether the i-th word, which is none that is shown, holds its two neighbours together."""
    word, (start, stop) = text[words[i, 0] : words[i, 1]], (words[i - 1, 1], words[i + 1, 0])
    if not content[i] and any(map(str.isalnum, word)):
        return not text[start : words[i, 0]].strip() and not text[words[i, 1] : stop].strip()
    return word in "._-/'’" and stop - start == len(word)


def _runs(chosen: list[int], follows: list[bool]) -> list[tuple[int, int]]:
    """The chosen words, those together with nothing but space between them: the first and the last one of each run."""
    runs: list[tuple[int, int]] = []
    for i in chosen:
        if runs and runs[-1][1] == i - 1 and follows[i]:
            runs[-1] = (runs[-1][0], i)
        else:
            runs.append((i, i))
    return runs


def _array(found: Sequence[tuple[int, int]]) -> np.ndarray:
    return np.array(found, np.int32).reshape(-1, 2)
