"""The bundled model with other labels, and a confidence fitted on rows of explanations that judges read; all else stays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from pyterrier_xetrieval import FeatureLabels, Xetrieval
from pyterrier_xetrieval.core.confidence import Confidence
from recipes.calibration import show_errors
from recipes.command import FILE
from recipes.confidence import held_out_rows
from recipes.default import SOURCES, label_facts, write_artifact
from recipes.reading_report import kept_rows
from recipes.row_confidence import FITS, confidence_of_rows, fit_pairs

RUNS = click.option(
    "--run", "runs", type=(FILE, str), multiple=True, required=True, metavar="FILE FORM", help="A reading, and which form."
)
OUT = click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the artifact; must not exist.")


def refuse_existing(out: Path) -> None:
    """FileExistsError for a folder that is there."""
    if out.exists():
        raise FileExistsError(f"{out} already exists; choose another path or remove it first")


def confidence_of_runs(
    runs: Sequence[tuple[Path, str]], start: Confidence, use: Sequence[str]
) -> tuple[Confidence, pd.DataFrame]:
    """The confidence fitted on what judges said of rows in several readings, and these rows; prints its errors.

    Args:
        runs: files that recipes.reading score has written, each with the form whose rows count.
        use: names of the weights.
    """
    read = pd.concat([kept_rows(path, form) for path, form in runs], ignore_index=True)
    found = fit_pairs(read, start, use)
    held, fits = held_out_rows(read, start, 0, use), (read["verdict"] == FITS).to_numpy(np.float64)
    before = confidence_of_rows(start, read, use)
    show_errors("rows", {"as before": (before, fits), "fitted on other pairs": (held, fits)})
    return found, read


def write_relabelled(
    out: Path, earlier: Xetrieval, labels: FeatureLabels, facts: dict[str, Any], read: pd.DataFrame, *, data: Path,
    min_confidence: float | None = None,
) -> None:  # fmt: skip
    """Writes the artifact, and prints its confidence.

    Args:
        facts: of its training, beside those of the earlier model; read: the rows that the confidence was fitted on.
        data: folder of the training text's SOURCE.md files.
        min_confidence: from which on a row is shown; None as before.
    """
    rows = {"labels": label_facts(labels), "rows_read": {"verdicts": len(read), "pairs": read["pair"].nunique()}}
    written = write_artifact(
        out, internalizers=earlier.internalizers, sae=earlier.sae, labels=labels, vectors=earlier.meta["vectors"],
        facts=earlier.meta["training"] | facts | rows,
        min_confidence=earlier.min_confidence if min_confidence is None else min_confidence,
        sources={name: (data / name / "SOURCE.md").read_text(encoding="utf-8") for name in SOURCES},
    )  # fmt: skip
    click.echo(f"{json.dumps(labels.confidence.to_dict())}\nwrote {written}")
