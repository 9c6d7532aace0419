"""One self-contained HTML page: what was asked, what was found, why, and how good it is over many queries."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pandas as pd

from ..explanation import BIAS, OTHER, RESIDUAL
from ..files import replacing

_PAGE = jinja2.Environment(
    loader=jinja2.PackageLoader("pyterrier_xetrieval", "viz"), autoescape=True, undefined=jinja2.StrictUndefined
)


def render_report(
    path, *, query: str, results: pd.DataFrame, erased: pd.DataFrame, experiment: pd.DataFrame, facts: dict
) -> Path:
    """Writes the page; replaces an older one in one step.

    Args:
        path: the HTML file.
        query: what was asked.
        results: rows with ``docno``, ``text``, ``score`` and ``explanation``, best first.
        erased: one row per result, as :meth:`pyterrier_xetrieval.demo.Demo.erase` gives them.
        experiment: a ``pt.Experiment`` table, baseline first.
        facts: name to value, for the foot of the page.

    Returns:
        The path.
    """
    cards = [
        {"docno": row.docno, "text": row.text, "e": row.explanation, "parts": _parts(row.explanation), "after": after}
        for row, after in zip(results.itertuples(), erased.to_dict("records"))
    ]
    html = _PAGE.get_template("report.html.j2").render(
        query=query, cards=cards, experiment=experiment.to_dict("records"), columns=list(experiment.columns), facts=facts
    )
    path = Path(path)
    with replacing(path) as file:
        file.write(html)
    return path


def _parts(e) -> list[dict]:
    """The four parts of a score, for the stacked bar: width is the share of the sum of absolute values."""
    parts = [
        ("shared features", e.shared, "shared"),
        (OTHER, e.other, "other"),
        (BIAS, e.bias, "bias"),
        (RESIDUAL, e.residual, "rest"),
    ]
    total = sum(abs(value) for _, value, _ in parts) or 1.0
    return [{"name": n, "value": v, "kind": k, "width": 100 * abs(v) / total} for n, v, k in parts]
