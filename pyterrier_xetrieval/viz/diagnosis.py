"""The page of a diagnosis: what a retriever gets wrong, feature by feature, as one HTML file without a script."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from ..store.files import replacing
from .templates import render


def write_page(page: Mapping[str, Any], path: str | os.PathLike[str], explorer: str | None = None) -> Path:
    """Writes the page; an older file is replaced when all is done.

    Args:
        page: ``title``, ``summary`` (sentences), ``sections`` (each ``title``, ``note``, ``head`` and ``rows``), ``queries`` and
            ``more``, as :func:`~pyterrier_xetrieval.evaluation.diagnosis_text.page_of` makes it. Everything is escaped.
        path: the file.
        explorer: address of an explorer page, to which features link.
    """
    linked = [
        {**section, "rows": [{**row, "href": _link(explorer, row)} for row in section["rows"]]} for section in page["sections"]
    ]
    path = Path(path)
    with replacing(path) as file:
        file.write(render("diagnosis", **{**page, "sections": linked}))
    return path


def _link(explorer: str | None, row: Mapping[str, Any]) -> str | None:
    """To the feature's page; beside its first example, if the explorer has that query and result."""
    if explorer is None:
        return None
    example = {"q": row["examples"][0]["qid"], "d": row["examples"][0]["wrong"]} if row["examples"] else {}
    return f"{explorer}#{urlencode({**example, 'f': row['feature']})}"
