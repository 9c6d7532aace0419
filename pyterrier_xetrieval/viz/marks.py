"""Texts with the words marked that carry the features of an explanation."""

from __future__ import annotations

from markupsafe import Markup, escape

from ..explanation import Explanation


def marked_text(explanation: Explanation, side: str, *, top: int = 10) -> Markup:
    """A text as HTML, with the strongest phrases of the shown features in ``<mark>``; all else is escaped.

    Args:
        explanation: with evidence.
        side: ``"query"`` or ``"document"``.
        top: of how many shown features the phrases are marked.

    Raises:
        ValueError: an explanation without evidence.

    Example::

        marked_text(e, "document")          # Return a <mark title="sorting">sorted list</mark> …
    """
    if explanation.evidence is None:
        raise ValueError("marked_text expects an explanation with its words; add model.evidence() to the pipeline")
    places = {feature: i for i, feature in enumerate(explanation.features.tolist())}
    text = explanation.evidence.query if side == "query" else explanation.evidence.document
    labels: dict[tuple[int, int], list[str]] = {}
    for row in explanation.rows[:top]:
        for phrase in explanation.evidence.phrases(side, places[row.feature]):
            for span in phrase.spans:
                labels.setdefault(span, []).append(row.label)
    out, at = Markup(), 0
    for start, stop in sorted(labels, key=lambda span: (span[0], -span[1])):
        if start >= at:  # a phrase within one that is marked already needs no mark of its own
            out += escape(text[at:start]) + Markup('<mark title="{}">{}</mark>').format(
                "; ".join(dict.fromkeys(labels[start, stop])), text[start:stop]
            )
            at = stop
    return out + escape(text[at:])
