"""Matched pairs for an audit: two texts that differ in one thing which has nothing to do with what they are about."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import pandas as pd

from ..core.checks import positive_int
from ..documents import document_name, no_text
from .pair_wording import FILLER, FOOTERS, HEADERS, SPELLINGS, SYNONYMS

T = TypeVar("T")
_WORD = re.compile(r"[A-Za-z]+")


def length_pairs(rows: pd.DataFrame, *, sentences: int = 6, placebo: bool = False, seed: int = 0) -> pd.DataFrame:
    """Pairs of a text and the same text with sentences behind it that say nothing.

    Sentences have eight words each. An encoder that cuts texts does not read what stands behind its limit: of a text that is
    as long as that, both sides have the same vector.

    Args:
        rows: ``query`` and ``text``, and what else is to be kept, such as ``qid`` and ``docno``.
        sentences: how many, 8 at most.
        placebo: both texts get so many sentences, each text different ones.
        seed: of the draw.

    Returns:
        The columns of ``rows`` without ``text``, then ``text_a`` (as it was) and ``text_b`` (padded). Each draw of a placebo
        serves two texts one after the other, with the sides changed, so that nothing is on one side more often by chance.

    Raises:
        ValueError: columns or texts that are missing; a number that is not from 1 to 8.

    Example::

        >>> pairs = length_pairs(pd.DataFrame({"query": ["tea"], "text": ["Green tea."]}), sentences=1)
        >>> pairs.text_b[0]
        'Green tea. What comes next is much like what came.'
    """
    if positive_int(sentences, "sentences", stage="length_pairs") > len(FILLER) // 2:
        raise ValueError(f"length_pairs expects at most {len(FILLER) // 2} sentences, found {sentences}")

    def both(text: str, order: np.ndarray) -> tuple[str, str]:
        drawn = [FILLER[i] for i in order]
        one, other = (" ".join([text, *own]) for own in (drawn[:sentences], drawn[sentences : 2 * sentences]))
        return (other, one) if placebo else (text, one)

    return _pairs(rows, lambda rng: rng.permutation(len(FILLER)), both, placebo=placebo, seed=seed, stage="length_pairs")


def spelling_pairs(rows: pd.DataFrame, *, placebo: bool = False, seed: int = 0) -> pd.DataFrame:
    """Texts in American spelling (``text_a``) and the same texts in British spelling (``text_b``).

    Whole words of a list of some 150 are respelled, on both sides, whatever the text had; capitals stay. The query stays as
    it is: where it has such a word itself, the preference may be one for the query's own spelling.

    Args:
        rows: as for :func:`length_pairs`.
        placebo: words of a list of synonyms instead, such as *often* for *frequently*; which of the two lists of words is on
            which side is drawn for each text.
        seed: of that draw.

    Returns:
        As :func:`length_pairs`; texts that have none of the words are left out.

    Raises:
        ValueError: columns or texts that are missing.

    Example::

        >>> rows = pd.DataFrame({"query": ["tea", "tea"], "text": ["Colour of tea", "A cup of tea"]})
        >>> spelling_pairs(rows)[["text_a", "text_b"]].values.tolist()
        [['Color of tea', 'Colour of tea']]
    """
    there = SYNONYMS if placebo else SPELLINGS
    back = {second: first for first, second in there.items()}

    def both(text: str, swapped: bool) -> tuple[str, str]:
        one, other = (_respelled(text, words) for words in (back, there))
        return (other, one) if placebo and swapped else (one, other)

    return _pairs(rows, lambda rng: rng.random() < 0.5, both, placebo=placebo, seed=seed, stage="spelling_pairs")


def boilerplate_pairs(rows: pd.DataFrame, *, placebo: bool = False, seed: int = 0) -> pd.DataFrame:
    """Pairs of a text and the same text between a web page's header and footer, each drawn from six.

    Args:
        rows: as for :func:`length_pairs`.
        placebo: both texts stand between a header and a footer, each text between different ones.
        seed: of the draw.

    Returns:
        As :func:`length_pairs`: ``text_a`` as it was, ``text_b`` with the boilerplate.

    Raises:
        ValueError: columns or texts that are missing.

    Example::

        >>> pairs = boilerplate_pairs(pd.DataFrame({"query": ["tea"], "text": ["Green tea."]}))
        >>> len(pairs.text_b[0].split("\\n\\n")), pairs.text_b[0].split("\\n\\n")[1]
        (3, 'Green tea.')
    """

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return rng.permutation(len(HEADERS)), rng.permutation(len(FOOTERS))

    def both(text: str, drawn: tuple[np.ndarray, np.ndarray]) -> tuple[str, str]:
        one, other = (f"{HEADERS[header]}{text}{FOOTERS[footer]}" for header, footer in zip(*(own[:2] for own in drawn)))
        return (other, one) if placebo else (text, one)

    return _pairs(rows, draw, both, placebo=placebo, seed=seed, stage="boilerplate_pairs")


def _pairs(
    rows: pd.DataFrame, draw: Callable[[np.random.Generator], T], both: Callable[[str, T], tuple[str, str]], *, placebo: bool,
    seed: int, stage: str,
) -> pd.DataFrame:  # fmt: skip
    """The rows with ``text_a`` and ``text_b`` for ``text``, where these differ.

    Texts draw one after the other. In a placebo every second text takes the draw of the one before, with the sides changed.
    """
    lacking = [column for column in ("query", "text") if column not in rows.columns]
    if lacking:
        raise ValueError(f"{stage} expects columns query and text, found no {' and no '.join(lacking)} in {list(rows.columns)}")
    rng, made = np.random.default_rng(seed), []
    for row, text in enumerate(rows["text"].tolist()):
        if not isinstance(text, str):
            raise no_text(stage, document_name(rows, row), text)
        mirrored = placebo and row % 2 == 1
        if not mirrored:
            drawn = draw(rng)
        a, b = both(text, drawn)
        made.append((b, a) if mirrored else (a, b))
    texts = pd.DataFrame(made, columns=["text_a", "text_b"], index=rows.index, dtype=object)
    pairs = rows.drop(columns="text").assign(**texts)
    return pairs[texts["text_a"].to_numpy() != texts["text_b"].to_numpy()].reset_index(drop=True)


def _respelled(text: str, words: Mapping[str, str]) -> str:
    """The text with these words in the place of others, in small letters, with a capital or in capitals as they were."""

    def other(match: re.Match[str]) -> str:
        word = match[0]
        known = words.get(word.lower())
        if known is None:
            return word
        return known.upper() if word.isupper() and len(word) > 1 else known.capitalize() if word[0].isupper() else known

    return _WORD.sub(other, text)
