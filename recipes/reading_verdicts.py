"""What judges said of the rows of sheets, with the key; and how far two judges agree."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from pyterrier_xetrieval.store.facts import text_of_file
from pyterrier_xetrieval.store.jsonl import json_lines
from recipes.reading_sheets import EXPLAINED, KEY, SHEET

VERDICTS = (0, 1, 2)  # nonsense, vague, clearly fits
NUMBERS = (
    "contribution", "query_activation", "document_activation", "clarity", "detection", "confidence", "query_support",
    "document_support", "query_similarity", "document_similarity",
)  # fmt: skip


def read_verdicts(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """The verdicts of all judges, a line for each row and judge, with what the key knows of the row.

    A judge's file of ``sheet_03.md`` is ``sheet_03.JUDGE.txt``; its lines are ``section row verdict``. Sheets that
    nobody has judged yet are left out.

    Args:
        folder: what :func:`recipes.reading_sheets.write_sheets` has filled.

    Returns:
        The columns of the key (``sheet``, ``section``, ``row``, ``pair``, ``collection``, ``form``, ``feature``,
        ``decoy``, the :data:`NUMBERS`, NaN where unknown, …), ``judge`` and ``verdict`` (int).

    Raises:
        FileNotFoundError: no key. ValueError: no verdicts; a line of another form, a row that the sheet does not have,
            that is judged twice or that is missing.

    Example::

        verdicts = read_verdicts("run1")
        verdicts[~verdicts.decoy].groupby("form").verdict.value_counts(normalize=True)
    """
    folder = Path(folder)
    if not (folder / KEY).is_file():
        raise FileNotFoundError(f"read_verdicts expects the key of the sheets, found no {folder / KEY}")
    key = pd.DataFrame([row for _, row in json_lines(folder / KEY)])
    key[list(NUMBERS)] = key.reindex(columns=list(NUMBERS)).astype(np.float64)
    found = []
    for path in sorted(folder.glob(f"{SHEET}_*.*.txt")):
        sheet, judge = path.name.removesuffix(".txt").split(".", 1)
        rows = key[key["sheet"] == int(sheet.removeprefix(f"{SHEET}_"))]
        own = _read(path)
        theirs = list(zip(rows["section"], rows["row"]))
        if strangers := sorted(set(own) - set(theirs)):
            raise ValueError(f"{path} has a verdict on section {strangers[0][0]}, row {strangers[0][1]}, which its sheet has not")
        if missing := [place for place in theirs if place not in own]:
            first = f"section {missing[0][0]}, row {missing[0][1]}"
            raise ValueError(f"{path} lacks {len(missing)} of {len(theirs)} verdicts, the first of {first}; have them judged")
        found.append(rows.assign(judge=judge, verdict=[own[place] for place in theirs]))
    if not found:
        raise ValueError(f"read_verdicts expects files such as {SHEET}_01.JUDGE.txt in {folder}, found none")
    return pd.concat(found, ignore_index=True)


def _read(path: Path) -> dict[tuple[int, int], int]:
    """The verdict on each (section, row)."""
    found: dict[tuple[int, int], int] = {}
    for number, line in enumerate(text_of_file(path).splitlines(), start=1):
        parts = re.split(r"[\s,;|]+", line.strip(" \t,;|"))
        if parts == [""]:
            continue
        if len(parts) != 3 or not all(part.isdigit() for part in parts) or int(parts[2]) not in VERDICTS:
            raise ValueError(f"{path} expects section, row and a verdict of {VERDICTS} in line {number}, found {line!r}")
        section, row, verdict = map(int, parts)
        if found.setdefault((section, row), verdict) != verdict:
            raise ValueError(f"{path} has two verdicts on section {section}, row {row}: {found[section, row]} and {verdict}")
    return found


def read_explained(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """All shared features of each section's pair, whether the sheet shows them or not.

    Returns:
        A line for each feature: ``section``, ``pair``, ``collection``, ``form``, ``score`` (of the pair), ``feature``,
            ``contribution``, ``confidence`` (NaN where unknown).
    """
    rows = [row for _, row in json_lines(Path(folder) / EXPLAINED)]
    frame = pd.DataFrame(rows).explode(["feature", "contribution", "confidence"], ignore_index=True)
    return frame.astype({"contribution": np.float64, "confidence": np.float64})


def reading_agreement(verdicts: pd.DataFrame) -> pd.DataFrame:
    """How far two judges of the same rows agree.

    Cohen's weighted κ with weights ``|i − j|`` (Cohen 1968): 1 minus the distance of their verdicts over that which is
    expected of two judges who say 0, 1 and 2 as often, but each without looking. Rows with another number of
    judges than two are left out; of each row the one whose name comes first is the first judge.

    Args:
        verdicts: as :func:`read_verdicts` gives them.

    Returns:
        ``form`` (and ``all``), ``rows`` (``shown`` rows, ``decoys`` or ``all``), ``n`` (rows), ``same`` (share of equal
        verdicts), ``apart`` (share of 0 against 2), ``kappa``.

    Example::

        reading_agreement(read_verdicts("run1")).set_index(["form", "rows"]).kappa
    """
    ordered = verdicts.sort_values("judge", kind="stable").groupby(["section", "row"], sort=False)
    pairs = ordered.agg(form=("form", "first"), decoy=("decoy", "first"), n=("verdict", "size"), verdicts=("verdict", list))
    pairs = pairs[pairs["n"] == 2]
    rows = []
    for form in [*dict.fromkeys(pairs["form"]), "all"]:
        own = pairs if form == "all" else pairs[pairs["form"] == form]
        for name, part in {"shown": own[~own["decoy"]], "decoys": own[own["decoy"]], "all": own}.items():
            if len(part):
                first, second = np.array(part["verdicts"].tolist()).T
                apart = np.abs(first - second)
                rows.append([form, name, len(part), (apart == 0).mean(), (apart == 2).mean(), weighted_kappa(first, second)])
    return pd.DataFrame(rows, columns=["form", "rows", "n", "same", "apart", "kappa"])


def weighted_kappa(first: np.ndarray, second: np.ndarray) -> float:
    """Cohen's κ with weights ``|i − j|`` of two judges' verdicts, int ``[n]`` each; NaN where there is but one verdict.

    Example::

        >>> weighted_kappa(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0]))
        0.5
    """
    expected = np.abs(first[:, None] - second[None, :]).mean()
    return float(1 - np.abs(first - second).mean() / expected) if expected else float("nan")
