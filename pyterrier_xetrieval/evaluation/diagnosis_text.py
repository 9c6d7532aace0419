"""A diagnosis on one page of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from ..feature_names import readings_of

if TYPE_CHECKING:
    from .diagnosis import Diagnosis

_KINDS = {
    "distractor": "a distractor", "blind spot": "mostly shown by no relevant document", "weaker": "weaker in relevant documents",
}  # fmt: skip
LISTED = 5  # findings of each kind that the text spells out
QUERIES = 20  # on the page


def told(found: Diagnosis) -> str:
    """The summary, and the first findings of each kind."""
    lines = [*summary(found), ""]
    for title, table, say in (
        ("Distractors", found.distractors, of_distractor), ("Blind spots", found.blind_spots, of_blind_spot),
        ("Groups of failing queries", found.groups, of_group),
    ):  # fmt: skip
        lines.append(f"{title}: {len(table) or 'none'}")
        lines += [f"  {_named(row)}: {say(row)}; {of_gain(row)}" for row in table.head(LISTED).itertuples()]
        lines += ["  …"] if len(table) > LISTED else []
    return "\n".join(lines)


def summary(found: Diagnosis) -> list[str]:
    """A few sentences."""
    facts, together = found.facts, found.together
    lines = [f"nDCG@10 is {_points(facts['ndcg'])} of 100 over {_counted(facts['queries'], 'judged ')}; the results hold "
             f"{_percent(facts['retrieved'])} of their relevant documents."]  # fmt: skip
    if facts["left_out"]:
        lines.append(f"Left out: {_counted(facts['left_out'])} without a relevant document in the index, or without results.")
    if facts["failing"]:
        lines.append(
            f"In {_counted(facts['failing'])} wrong results stand above a relevant document. Shared features carry "
            f"{_percent(facts['by_features'])} of the difference in score, other features {_percent(facts['by_other'])}, "
            f"{_percent(facts['unexplained'])} the dictionary does not explain."
        )
        lines.append(f"Of these queries, {facts['in_groups']} belong to a group with a common reason.")
    if not len(found.distractors):
        lines.append("No feature lifts wrong results more than chance would have it.")
    if together["features"]:
        lines.append(
            f"Distractors found on one half of the queries ({together['features']:g} on average), turned down in the other half: "
            f"{change(together)}."
        )
    else:
        lines.append("On half of the queries alone no distractor is found.")
    return lines


def page_of(found: Diagnosis) -> dict[str, Any]:
    """The values for the page of :mod:`pyterrier_xetrieval.viz.diagnosis`: texts, and no number that is not written out."""
    worst = found.queries[found.queries["gap"] > 0].head(QUERIES)
    sections = [
        {"title": "Distractors", "head": ["queries", "lift", "p (Holm)"], "note": (
            "Features that wrong results have more of than relevant documents of like score, and more than chance would have it."
        ), "rows": [_row(r, [str(r.queries), f"{r.lift:.4f}", p_value(r.p_holm)]) for r in found.distractors.itertuples()]},
        {"title": "Groups of failing queries", "head": ["queries", "lift", "gap"], "note": (
            "Queries with one common reason: the feature is among the three that lift the wrong results most over the relevant "
            "documents. Lift is its part of the difference in score, gap the whole of it."
        ), "rows": [
            _row(r, [f"{r.queries}, {_KINDS[r.kind]}", f"{r.lift:.3f}", f"{r.gap:.3f}"]) for r in found.groups.itertuples()
        ]},
        {"title": "Blind spots", "head": ["queries", "blind", "shown by"], "note": (
            "Features of queries that no relevant document shows, in so many of the queries that have it; and how many of the wrong "
            "results on the first page show it there."
        ), "rows": [_row(r, [str(r.asked), str(r.blind), _percent(r.on_page)]) for r in found.blind_spots.itertuples()]},
    ]  # fmt: skip
    queries = [
        {
            "qid": r.qid,
            "query": r.query,
            "reasons": [*map(_short, r.reasons)],
            "lacks": [*map(_short, r.lacks)],
            "ndcg": _points(r.ndcg),
            "place": r.rank + 1,
        }
        for r in worst.itertuples()
    ]
    more = int((found.queries["gap"] > 0).sum()) - len(queries)
    return {
        "title": "What this retriever gets wrong",
        "summary": summary(found),
        "sections": sections,
        "queries": queries,
        "more": more,
    }


def _row(row: Any, numbers: list[str]) -> dict[str, Any]:
    gains = row.alpha < 1
    return {
        "feature": row.feature, "label": row.label, "words": row.words, "examples": row.examples, "numbers": numbers,
        "gain": f"{_points(row.ndcg)} → {_points(row.ndcg_held_out)}" if gains else "nothing to gain",
        "interval": f"{_points(row.gain_low, True)} to {_points(row.gain_high, True)}" if gains else "",
    }  # fmt: skip


def of_distractor(row: Any) -> str:
    """What a row of ``distractors`` says."""
    return f"lifts a result by {row.lift:.4f} over a relevant document of like score, in {_counted(row.queries)} (p {p_value(row.p_holm)})"


def of_blind_spot(row: Any) -> str:
    """What a row of ``blind_spots`` says."""
    return (
        f"{row.asked} queries have it, in {row.blind} no relevant document does, but {_percent(row.on_page)} of the wrong results "
        "on the first page"
    )


def of_group(row: Any) -> str:
    """What a row of ``groups`` says."""
    return f"{row.queries} queries; {_KINDS[row.kind]}; {row.lift:.3f} of a difference of {row.gap:.3f}"


def of_gain(row: Any) -> str:
    """What turning the feature down gives."""
    return f"turned down: {change(row._asdict() if hasattr(row, '_asdict') else row)}"


def change(gain: Any) -> str:
    """A gain on held-out queries, in points of nDCG@10."""
    if gain["alpha"] == 1:
        return "nothing to gain"
    low, high = (_points(gain[name], True) for name in ("gain_low", "gain_high"))
    interval = f" ({low} to {high})" if pd.notna(gain["gain_low"]) else ""
    return f"{_points(gain['ndcg'])} → {_points(gain['ndcg_held_out'])} on held-out queries{interval}"


def p_value(p: float) -> str:
    """``"0.012"``, ``"< 0.001"``."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _named(row: Any) -> str:
    words = f" (“{'”, “'.join(row.words[:3])}”)" if row.words else ""
    return f"{row.label} [{row.feature}]{words}"


def _short(label: str) -> str:
    """The first reading of a label, which fits the most texts."""
    first, *more = readings_of(label) or [label]
    return f"{first} / …" if more else first


def _counted(count: float, what: str = "") -> str:
    return f"{count:g} {what}{'query' if count == 1 else 'queries'}"


def _points(value: float, sign: bool = False) -> str:
    return f"{100 * value:{'+' if sign else ''}.1f}".replace("-", "−")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %".replace("-", "−")
