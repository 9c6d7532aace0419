"""One self-contained HTML page: what was asked, what was found, why, and how good it is over many queries."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from ..explanation import Explanation
from ..explanation_tables import BIAS, OTHER, RESIDUAL
from ..store.files import replacing
from .marks import marked_text

MEASURE = "nDCG@10"
_HEADS = {
    "name": "system", "+": "queries better", "-": "queries worse", "p-value": "p", "reject": "significant",
    "p-value corrected": "p, corrected",
}  # fmt: skip
_PAGE = jinja2.Environment(
    loader=jinja2.PackageLoader("pyterrier_xetrieval", "viz"), autoescape=True, undefined=jinja2.StrictUndefined
)


def render_report(
    path: str | os.PathLike[str], *, query: str, results: pd.DataFrame, erased: pd.DataFrame, examples: Mapping[int, str],
    documents: int, experiment: pd.DataFrame, facts: Mapping[str, str],
) -> Path:  # fmt: skip
    """Writes the page; replaces an older one in one step.

    Args:
        path: the HTML file.
        query: what was asked.
        results: rows with ``docno``, ``score`` and ``explanation`` (with its words), best first.
        erased: one row per result, as :meth:`pyterrier_xetrieval.cli.demo_job.Demo.erase` gives them.
        examples: feature to a line about the documents that have it, as ``Demo.examples`` gives it.
        documents: how many the collection has.
        experiment: a ``pt.Experiment`` table, baseline first.
        facts: name to value, for the foot of the page.

    Returns:
        The path.
    """
    cards = [_card(row.docno, row.explanation, after) for row, after in zip(results.itertuples(), erased.to_dict("records"))]
    widest = max((abs(row.contribution) for card in cards for row in card["rows"]), default=1.0)  # one scale for all
    html = _PAGE.get_template("report.html.j2").render(
        query=query, cards=cards, widest=widest, examples=examples, documents=documents, facts=facts,
        heads=[_HEADS.get(name.removeprefix(MEASURE).strip(), name) for name in experiment.columns],
        rows=[[_cell(str(name), value) for name, value in row.items()] for row in experiment.to_dict("records")],
    )  # fmt: skip
    path = Path(path)
    with replacing(path) as file:
        file.write(html)
    return path


def _card(docno: str, e: Explanation, after: dict) -> dict:
    """What the page says of one result."""
    return {
        "docno": docno, "e": e, "sentence": e.sentence().replace("*", ""), "rows": e.rows[: e.top], "weak": e.weakly_shared,
        "parts": _parts(e), "after": after, "query": marked_text(e, "query"), "text": marked_text(e, "document"),
    }  # fmt: skip


def _cell(name: str, value: Any) -> str:
    """A number of a ``pt.Experiment`` table as a person writes it."""
    if value is None or value != value:
        return "–"
    if name.endswith("reject"):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return str(int(value)) if name.endswith((" +", " -")) else f"{value:.3f}"


def _parts(e: Explanation) -> list[dict]:
    """The four parts of a score, for the stacked bar: width is the share of the sum of absolute values."""
    parts = [
        ("shared features", e.shared, "shared"),
        (OTHER, e.other, "other"),
        (BIAS, e.bias, "bias"),
        (RESIDUAL, e.residual, "rest"),
    ]
    total = sum(abs(value) for _, value, _ in parts) or 1.0
    return [{"name": n, "value": v, "kind": k, "width": 100 * abs(v) / total} for n, v, k in parts]
