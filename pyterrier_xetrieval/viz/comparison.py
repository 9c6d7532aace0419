"""What a card says of two explanations: why one document is above another, or what an intervention changed."""

from __future__ import annotations

from typing import Any

from ..explanation import Explanation
from .card import texts_of
from .templates import emphasised, signed

SPELT_OUT = 8  # features; the others are summed
_KINDS = ("other", "bias", "residual")  # the last rows of a comparison, as the style sheet names them
_EDITED = ("before", "after")  # what one document twice is called


def comparison_of(left: Explanation, right: Explanation) -> dict[str, Any]:
    """The values for ``comparison.html.j2``.

    Raises:
        ValueError: as :meth:`Explanation.compare`.
    """
    table = left.compare(right)
    features, rest = table.dropna(subset="feature"), table.iloc[-3:]
    shown = {row.feature for e in (left, right) for row in e.rows}
    rows = [
        {"kind": f"f{n}", "shown": row.feature in shown, **_named(int(row.feature), left, right), **_numbers(row)}
        for n, row in enumerate(features.head(SPELT_OUT).itertuples())
    ]
    others = features.iloc[SPELT_OUT:]
    below = [{"kind": kind, "label": row.label, **_numbers(row)} for kind, row in zip(_KINDS, rest.itertuples())]
    if len(others):
        sums = _numbers(others[["left", "right", "difference"]].sum())
        below.insert(0, {"kind": "more", "label": f"{len(others)} more shared features", **sums})
    names, numbers = titles(left, right), [(row["feature"], row["label"]) for row in rows]
    told, named = _told(names, left.score - right.score, rows)
    sides = [{"title": name, "e": e, **texts_of(e, numbers)} for name, e in zip(names, (left, right))]
    return {
        "sides": sides, "query": sides[0]["query"], "rows": rows, "rest": below, "difference": left.score - right.score,
        "plain": told, "sentence": emphasised(told, named),
        "widest": max((abs(row["difference"]) for row in [*rows, *below]), default=0.0) or 1.0,
    }  # fmt: skip


def comparison_text(left: Explanation, right: Explanation) -> str:
    """Both explanations part by part, and in a sentence what sets them apart."""
    names = titles(left, right)
    sides = [f"{name}: {e.to_text()}" for name, e in zip(names, (left, right))]
    return "\n\n".join([comparison_of(left, right)["plain"], *sides])


def titles(left: Explanation, right: Explanation) -> tuple[str, str]:
    """What to call the two: by their documents; one document twice is before and after an intervention."""
    return _EDITED if left.docno == right.docno else (str(left.docno), str(right.docno))


def _named(feature: int, left: Explanation, right: Explanation) -> dict[str, Any]:
    """What a feature is called in the one of the two where its label is most to be trusted."""
    found = [e.row(e.features.tolist().index(feature)) for e in (left, right) if feature in e.features]
    best = max(found, key=lambda row: row.confidence if row.confidence == row.confidence else 0.0)
    return {"feature": feature, "label": best.label, "confidence": best.confidence}


def _numbers(row: Any) -> dict[str, float]:
    return {"left": float(row.left), "right": float(row.right), "difference": float(row.difference)}


def _told(names: tuple[str, str], difference: float, rows: list[dict[str, Any]]) -> tuple[str, list[tuple[int | None, str]]]:
    """The sentence of what makes the difference, and the labels in it with the numbers of their rows.

    It names two features that make the difference, and one that counts against it; none that is small beside the largest one,
    nor any whose label may not fit.
    """
    sign = 1.0 if difference >= 0 else -1.0
    size = f"{abs(difference):.3f}"
    if size == "0.000":
        told = (
            f"The scores {names[0]} and {names[1]} are the same"
            if names == _EDITED
            else f"{names[0]} and {names[1]} score the same"
        )
    elif names == _EDITED:
        told = f"Before, the score was {size} {'higher' if difference > 0 else 'lower'}"
    else:
        told = f"{names[0]} scores {size} {'more' if difference > 0 else 'less'} than {names[1]}"

    numbers = {row["label"]: n for n, row in enumerate(rows)}
    sure = [row for row in rows if row["shown"]]  # in order of their differences' size
    least = max(0.0005, max((abs(row["difference"]) for row in sure), default=0.0) / 10)
    forward = [row for row in sure if sign * row["difference"] > least][:2]
    against = [row for row in sure if sign * row["difference"] < -least][:1]
    said = [f"*{row['label']}* ({signed(row['difference'])})" for row in [*forward, *against]]
    if forward:
        most = abs(sum(row["difference"] for row in forward)) >= abs(difference) / 2
        told += (
            f"{', mainly for ' if most else '; of the features shown, most speaks for it '}{' and '.join(said[: len(forward)])}"
        )
    if against:
        told += f"; {said[-1]} counts the other way"
    return f"{told}.", [(numbers.get(row["label"]), row["label"]) for row in [*forward, *against]]
