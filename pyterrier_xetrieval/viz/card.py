"""What a card says of one explanation."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from ..explanation import Explanation
from ..explanation_text import baseline_name, change_sentence, changed_rows, main_sentence, score_parts
from .palette import PALETTE
from .segments import marked
from .templates import emphasised, signed


def card_of(e: Explanation, rank: int | None = None) -> dict[str, Any]:
    """The values for ``card.html.j2``.

    Args:
        rank: the place among the results, from 1, if it is known.
    """
    whole, e = e, e.above_mean or e  # what the score has above the mean document's, where it is measured against one
    rows = e.rows
    coloured, more = rows[: min(e.top, len(PALETTE))], rows[min(e.top, len(PALETTE)) :]
    places = {feature: i for i, feature in enumerate(e.features.tolist())}
    shown = {row.feature for row in rows}
    weak = [e.row(i) for feature, i in places.items() if feature not in shown]
    parts = [(f"f{n}", row.label, row.contribution) for n, row in enumerate(coloured)]
    shorter = {"more": f"{len(more)} more shared", "weak": f"{len(weak)} weakly shared"}
    rest = [(p.kind, shorter.get(p.kind, p.name), p.value) for p in score_parts(e, len(coloured)) if p.row is None]
    if whole is not e and e.bias == 0:
        rest = [part for part in rest if part[0] != "bias"]
    numbers = [(row.feature, row.label) for row in coloured]
    return {
        "e": e, "whole": whole, "against": baseline_name(whole), "rank": rank, "rows": coloured, "more": more, "weak": weak, "rest": rest,
        "sentence": emphasised(main_sentence(whole), [(_number(row.feature, numbers), row.label) for row in e.rows[:2]]),
        "change": emphasised(change_sentence(whole) or "", [(_number(row.feature, numbers), row.label) for row, _ in changed_rows(whole)]),
        "stack": stacked([*parts, *rest]),
        "alternative": "; ".join(f"{name} {signed(value)}" for _, name, value in [*parts, *rest]),
        "widest": max((abs(row.contribution) for row in coloured), default=0.0) or 1.0,
        "measured": any(row.confidence == row.confidence for row in rows),
        **texts_of(e, numbers),
    }  # fmt: skip


def texts_of(e: Explanation, features: list[tuple[int, str]]) -> dict[str, Any]:
    """Query and document with the words of these features marked.

    Args:
        features: ids and labels; the first one has the first colour.

    Returns:
        ``query`` and ``document`` as Markup, and ``unread``, what the encoder did not read of the document; without evidence
        each is None.
    """
    evidence = e.evidence
    if evidence is None:
        return {"query": None, "document": None, "unread": None}
    places, labels = {feature: i for i, feature in enumerate(e.features.tolist())}, [label for _, label in features]

    def text(side: str, whole: str) -> Markup:
        own = [places.get(feature) for feature, _ in features]
        spans = [[] if i is None else [span for p in evidence.phrases(side, i) for span in p.spans] for i in own]
        return marked(whole, spans, labels)

    read = len(evidence.document) if evidence.stopped_at is None else evidence.stopped_at
    document, unread = text("document", evidence.document[:read]), evidence.document[read:]
    return {"query": text("query", evidence.query), "document": document, "unread": unread}


def stacked(parts: list[tuple[str, str, float]]) -> list[tuple[str, str, float, float]]:
    """Kind, name and value of the parts of a score, and how wide they are in a bar, in percent of all of them."""
    total = sum(abs(value) for _, _, value in parts) or 1.0
    return [(kind, name, value, 100 * abs(value) / total) for kind, name, value in parts]


def _number(feature: int, numbers: list[tuple[int, str]]) -> int | None:
    return next((n for n, (own, _) in enumerate(numbers) if own == feature), None)
