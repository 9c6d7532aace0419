"""Texts whose words are marked in the colours of the features that they carry."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from markupsafe import Markup, escape

Spans = Sequence[tuple[int, int]]


def segments(text: str, places: Sequence[Spans]) -> list[tuple[str, tuple[int, ...]]]:
    """Cuts a text wherever a feature's words begin or end.

    Args:
        places: for each feature where its words are, ``text[start:stop]``; features may share words.

    Returns:
        The pieces in the order of the text, together the whole text, each with the numbers of its features, ascending.

    Example::

        >>> segments("sort a list", [[(0, 4)], [(0, 11)]])
        [('sort', (0, 1)), (' a list', (1,))]
    """
    changes: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, spans in enumerate(places):
        for start, stop in spans:
            changes[start].append((number, 1))
            changes[stop].append((number, -1))
    open_spans: Counter[int] = Counter()
    out = []
    for start, stop in pairwise(sorted({0, len(text), *changes})):
        for number, step in changes[start]:
            open_spans[number] += step
        out.append((text[start:stop], tuple(sorted(number for number, count in open_spans.items() if count))))
    return out


def marked(text: str, places: Sequence[Spans], labels: Iterable[str]) -> Markup:
    """A text as HTML with its :func:`segments` in ``<mark>``, of class ``f0`` for the first feature and so on; escaped.

    The style sheet gives a mark the ground of its first feature. Two more underline it in their colours, by variables.

    Args:
        places: as for :func:`segments`; labels: what the features are called.

    Example::

        >>> print(marked("a < list", [[(4, 8)]], ["lists"]))
        a &lt; <mark class="f0" title="lists">list</mark>
    """
    names, out = list(labels), []
    tags: dict[tuple[int, ...], str] = {(): ""}
    for piece, numbers in segments(text, places):
        if numbers not in tags:
            tags[numbers] = _opening(numbers, names)
        out += [tags[numbers], escape(piece), "</mark>" if numbers else ""]
    return Markup("".join(out))


def _opening(numbers: tuple[int, ...], names: list[str]) -> str:
    """The tag before words that carry these features."""
    kinds, title = " ".join(f"f{n}" for n in numbers), " · ".join(dict.fromkeys(names[n] for n in numbers))
    lines = ";".join(f"--{place}:var(--bar{n})" for place, n in zip(("second", "third"), numbers[1:]))
    return f'<mark class="{kinds}" title="{escape(title)}"' + (f' style="{lines}">' if lines else ">")
