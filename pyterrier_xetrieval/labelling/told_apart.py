"""Features with one and the same hypothesis: which words carry the one and not the other is said behind it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from .keywords import stem

MOST = 8  # words that are kept of a feature


def carrying_words(by_text: Iterable[Sequence[str]]) -> list[str]:
    """The words that carry a feature in most texts, one of each stem, at most :data:`MOST`.

    Example::

        >>> carrying_words([["sorted", "list"], ["sorted", "keys"], ["sorting"]])
        ['sorted', 'list', 'keys']
    """
    counts: Counter[str] = Counter()
    forms: dict[str, Counter[str]] = {}
    for words in by_text:
        counts.update(dict.fromkeys(map(stem, words), 1))
        for word in words:
            forms.setdefault(stem(word), Counter())[word] += 1
    return [forms[root].most_common(1)[0][0] for root, _ in counts.most_common(MOST)]


def told_apart(labels: Mapping[int, str], words: Mapping[int, Sequence[str]]) -> dict[int, str]:
    """The labels; those that several features have get the first of each one's words that the others and the label lack.

    Args:
        labels: by feature; words: what carries it, most telling first. A feature without such a word keeps its label.

    Example::

        >>> told_apart({1: "sorting", 2: "Sorting", 3: "tea"}, {1: ["list", "key"], 2: ["list", "heap"]})
        {1: 'sorting (key)', 2: 'Sorting (heap)', 3: 'tea'}
    """
    groups: dict[str, list[int]] = {}
    for feature, label in labels.items():
        groups.setdefault(label.casefold(), []).append(feature)
    out = dict(labels)
    for label, features in groups.items():
        for j in features if len(features) > 1 else ():
            others = {stem(word) for i in features if i != j for word in words.get(i, ())}
            known = others | {stem(word) for word in re.findall(r"\w+", label)}
            if own := next((word for word in words.get(j, ()) if stem(word) not in known), None):
                out[j] = f"{labels[j]} ({own})"
    return out
