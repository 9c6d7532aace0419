"""An explanation as HTML: what a notebook shows of it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .explanation import Explanation


def table(explanation: Explanation) -> str:
    """The parts of a score as a table with bars; single features in colour, the rest in grey."""
    lines = explanation.lines()
    widest = max(abs(value) for _, value in lines) or 1.0
    single = min(explanation.top, len(explanation.rows))
    rows = "".join(_row(name, value, abs(value) / widest, i < single) for i, (name, value) in enumerate(lines))
    return (
        f"<table class='tex2jax_ignore'><caption style='text-align:left'><b>{escape(str(explanation.docno))}</b> for query "
        f"<b>{escape(str(explanation.qid))}</b>: {escape(explanation.sentence())}</caption>"
        f"<tr><th style='text-align:left'>part</th><th>contribution</th><th></th></tr>{rows}</table>"
    )


def _row(name: str, value: float, width: float, single: bool) -> str:
    colour = "#aaa" if not single else "#4878a8" if value >= 0 else "#c05a4a"
    return (
        f"<tr><td style='text-align:left'>{escape(name)}</td>"
        f"<td style='text-align:right;font-variant-numeric:tabular-nums'>{value:+.4f}</td>"
        f"<td style='width:12em'><div style='height:.8em;width:{100 * width:.1f}%;background:{colour}'></div></td></tr>"
    )
