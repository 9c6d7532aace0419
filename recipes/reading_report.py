"""The report of a reading test: what the judges said, how confidence agrees with it, and what is kept of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pandas as pd

from recipes.calibration import calibration_error, reliability
from recipes.confidence import ROW
from recipes.reading_choices import KEY as CHOICES
from recipes.reading_choices import identification_scores, read_choices
from recipes.reading_scores import ALL, CLEAR, reading_levels, reading_scores
from recipes.reading_verdicts import NUMBERS, read_explained, read_verdicts, reading_agreement
from recipes.result_files import measured_facts, write_result

RUN = "run.json"  # what was asked, beside the sheets


@dataclass(frozen=True)
class Judged:
    """A run with its verdicts.

    Attributes:
        verdicts, explained: as :mod:`recipes.reading_verdicts` reads them.
        folder: of the run.
    """

    verdicts: pd.DataFrame
    explained: pd.DataFrame
    folder: Path


def read_run(folder: Path) -> Judged:
    """The run in this folder; its verdicts must be there."""
    return Judged(read_verdicts(folder), read_explained(folder), folder)


def of_common_pairs(run: Judged) -> Judged:
    """The run without pairs that some form of it lacks: forms side by side on the same pairs."""
    forms = [set(own) for _, own in run.verdicts.groupby("form")["pair"]]
    common = set.intersection(*forms)
    return Judged(*(part[part["pair"].isin(common)] for part in (run.verdicts, run.explained)), run.folder)


def pairs_read(paths: Iterable[Path]) -> set[tuple[str, str, str]]:
    """Collection, qid and docno of each pair in what :func:`write_report` kept of earlier runs."""
    rows = [row for path in paths for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]
    return {(row["collection"], str(row["qid"]), str(row["docno"])) for row in rows}


def show(run: Judged, *, min_confidence: float, seed: int) -> dict[str, pd.DataFrame]:
    """Prints the tables of a run, and gives them by name."""
    scores = reading_scores(run.verdicts, min_confidence=min_confidence, seed=seed)
    tables = {
        "scores": scores, "agreement": reading_agreement(run.verdicts), "levels": reading_levels(run.verdicts, run.explained, seed=seed),
        "reliability": confidence_table(run.verdicts),
        "judges": by_judge(run.verdicts, min_confidence=min_confidence, seed=seed),
    }  # fmt: skip
    sheets = run.verdicts.groupby("judge")["sheet"].nunique()
    click.echo("sheets by judge: " + ", ".join(f"{name} {count}" for name, count in sheets.items()))
    click.echo(f"\nverdicts, rows of confidence {min_confidence:g} and more [95 % interval over pairs]")
    whole = scores[scores["collection"] == ALL].copy()
    whole["told"] = [f"{v:.3f} [{low:.3f}, {high:.3f}]" for v, low, high in whole[["value", "low", "high"]].to_numpy()]
    measures = whole["measure"].unique()
    click.echo(whole.pivot(index="measure", columns="form", values="told").reindex(measures).to_string())
    by_collection = scores[(scores["collection"] != ALL) & scores["measure"].isin(["clear", "nonsense"])]
    by_collection = by_collection.pivot(index="collection", columns=["form", "measure"], values="value")
    click.echo(f"\nby collection\n{by_collection.round(3).to_string()}")
    judges = tables["judges"].pivot(index="measure", columns=["form", "judge"], values="value").reindex(measures)
    click.echo(f"\nby judge\n{judges.round(3).to_string()}")
    click.echo(f"\ntwo judges\n{tables['agreement'].round(3).to_string(index=False)}")
    if len(tables["levels"]):
        click.echo(f"\nby the least confidence\n{tables['levels'].round(3).to_string(index=False)}")
        click.echo(f"\nconfidence and verdicts\n{tables['reliability'].round(3).to_string(index=False)}")
    if (run.folder / CHOICES).is_file() and list(run.folder.glob("identify_*.*.txt")):
        tables["identification"] = identification_scores(read_choices(run.folder), seed=seed)
        click.echo(f"\nwhich of five pairs\n{tables['identification'].round(3).to_string(index=False)}")
    return tables


def by_judge(verdicts: pd.DataFrame, *, min_confidence: float, seed: int) -> pd.DataFrame:
    """:func:`reading_scores` of each judge alone, over all collections: one may be stricter than another."""
    own = [
        reading_scores(part, min_confidence=min_confidence, seed=seed).query("collection == @ALL").assign(judge=judge)
        for judge, part in verdicts.groupby("judge")
    ]
    return pd.concat(own, ignore_index=True)


def confidence_table(verdicts: pd.DataFrame) -> pd.DataFrame:
    """What the confidence of rows says and what judges say (2 or less), for forms that have one.

    Returns:
        ``form``, ``from`` (the lower end of a bin; NaN: all), ``cases``, ``predicted``, ``observed``, ``error`` (the
        expected calibration error, in the line of all).
    """
    parts = []
    for form, own in verdicts[~verdicts["decoy"] & verdicts["confidence"].notna()].groupby("form", sort=False):
        p, fits = own["confidence"].to_numpy(), (own["verdict"] == CLEAR).to_numpy(np.float64)
        whole = {
            "from": np.nan,
            "cases": len(p),
            "predicted": p.mean(),
            "observed": fits.mean(),
            "error": calibration_error(p, fits),
        }
        parts.append(pd.concat([reliability(p, fits).reset_index(), pd.DataFrame([whole])]).assign(form=form))
    columns = ["form", "from", "cases", "predicted", "observed", "error"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def rows_for_confidence(verdicts: pd.DataFrame, form: str | None = None) -> pd.DataFrame:
    """The verdicts on one form's rows as ``recipes.confidence --pairs`` reads them, a line for each row and judge.

    Raises:
        ValueError: no such form, or none with a confidence.
    """
    rows = verdicts[~verdicts["decoy"]]
    known = rows.loc[rows["confidence"].notna(), "form"].unique().tolist()
    form = form or (known or [None])[0]
    if form not in rows["form"].unique():
        raise ValueError(f"rows_for_confidence expects a form among {rows['form'].unique().tolist()}, found {form!r}")
    return rows.loc[rows["form"] == form, list(ROW)]


def kept_rows(path: Path, form: str) -> pd.DataFrame:
    """:func:`rows_for_confidence` of what :func:`write_report` kept of a run.

    Raises:
        ValueError: no rows of such a form.
    """
    rows = pd.DataFrame(json.loads(path.read_text(encoding="utf-8"))["rows"])
    own = rows[(rows["form"] == form) & ~rows["decoy"]]
    if not len(own):
        raise ValueError(f"kept_rows expects a form among {rows['form'].unique().tolist()} of {path}, found {form!r}")
    own = own.assign(pair=own["collection"] + "/" + own["qid"].astype(str)).explode("verdicts")
    return own.assign(verdict=own["verdicts"].astype(int))[list(ROW)].reset_index(drop=True)


def write_report(path: Path, run: Judged, tables: Mapping[str, pd.DataFrame], *, min_confidence: float) -> None:
    """What is kept of a run: ids, numbers and verdicts, and no text of any collection.

    The file is one of those that :mod:`.results` makes its page of: what was asked, where and when, and in ``rows``
    each judged row; beside them the tables of :func:`show`.

    Raises:
        FileNotFoundError: the run does not say what was asked.
    """
    asked = json.loads((run.folder / RUN).read_text(encoding="utf-8"))
    models = [form["model"] for form in asked["forms"].values() if form["model"]]
    key = {
        "model": models[0] if models else None, "seed": asked["seed"], "collection": path.stem.partition(".")[2] or path.stem,
        "question": "reading", "options": {**asked, "shown_from": min_confidence},
    }  # fmt: skip
    columns = ["sheet", "section", "row", "collection", "qid", "docno", "form", "feature", "decoy", *NUMBERS]
    judges = run.verdicts.groupby(["section", "row"])["verdict"].agg(list).rename("verdicts")
    rows = run.verdicts[columns].drop_duplicates(["section", "row"]).merge(judges, on=["section", "row"])
    rows["feature"] = [np.nan if isinstance(feature, str) else feature for feature in rows["feature"]]  # a word of the texts
    write_result(path, key, measured_facts("python -m recipes.reading score", 0.0), rows, **tables)
