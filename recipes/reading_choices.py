"""Does an explanation say which pair it explains? From its rows alone, a judge chooses among five pairs."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pyterrier_xetrieval.store.facts import text_of_file
from pyterrier_xetrieval.store.jsonl import json_lines
from recipes.reading_pairs import ReadingPair
from recipes.reading_rows import ExplainedPair, ReadingRow, first_shown
from recipes.reading_scores import ALL, MEASURES, resampled
from recipes.reading_sheets import section_text, write_pages

SHEET, KEY = "identify", "identify_key.jsonl"
CHOICES, SECTIONS = 5, 8
PAIRS = "pairs"
QUESTION = f"""\
A judge reads nothing else than this sheet. Each section has the rows of one explanation and {CHOICES} pairs of a query
and a document. The rows say why the document of one of these pairs was found for its query. Which pair is it? All
five may have the same query; then the rows have to tell their documents apart.
"""
ANSWER = """
Write one line for each section into a text file: section and number of the pair, with a space between them, for example
`7 3`. Give your best guess where you cannot tell.
"""


@dataclass(frozen=True)
class Choice:
    """The rows of one pair, and the pairs to choose from.

    ``among`` says how these were chosen: other pairs of the test, or as :mod:`recipes.reading_candidates` does.
    """

    form: str
    pair: ReadingPair
    rows: Sequence[ReadingRow]
    pairs: Sequence[ReadingPair]
    among: str = PAIRS


def choices_of(
    form: str, pairs: Sequence[ReadingPair], explained: Sequence[ExplainedPair], *, min_confidence: float = 0.0, most: int = 10,
    seed: int = 0,
) -> list[Choice]:  # fmt: skip
    """For each pair with a shown row, its rows and four other pairs, of the same collection where it has as many.

    Args:
        form: its name, kept in the key; pairs: five at least; explained: what the form makes of them.
        min_confidence: from which on a row is shown; most: how many are at most, largest contribution first.
        seed: of the draw.

    Raises:
        ValueError: too few pairs.
    """
    if len(pairs) < CHOICES:
        raise ValueError(f"choices_of expects {CHOICES} pairs at least, found {len(pairs)}")
    rng, out = np.random.default_rng(seed), []
    for i, (pair, own) in enumerate(zip(pairs, explained)):
        rows = first_shown(own.rows, min_confidence, most)
        if not rows:
            continue
        others = rng.permutation([j for j in range(len(pairs)) if j != i])
        foreign = [pairs[j].collection != pair.collection for j in others]
        drawn = [i, *others[np.argsort(foreign, kind="stable")][: CHOICES - 1].tolist()]
        out.append(Choice(form, pair, rows, [pairs[drawn[j]] for j in rng.permutation(CHOICES)]))
    return out


def write_choices(
    folder: str | os.PathLike[str], choices: Sequence[Choice], *, seed: int = 0, per_sheet: int = SECTIONS
) -> list[Path]:
    """Writes ``identify_NN.md`` and what judges do not see, ``identify_key.jsonl``; forms are mixed, no pair is twice in a sheet.

    Args:
        folder: made where there is none; seed: of the order; per_sheet: sections of a sheet.

    Returns:
        The paths of the sheets.
    """
    sheets: list[list[Choice]] = []
    for i in np.random.default_rng(seed).permutation(len(choices)):
        known = (sheet for sheet in sheets if len(sheet) < per_sheet and choices[i].pair.id not in {c.pair.id for c in sheet})
        if (sheet := next(known, None)) is None:
            sheets.append(sheet := [])
        sheet.append(choices[i])
    pages: list[list[str]] = []
    key: list[dict[str, Any]] = []
    for s, sheet in enumerate(sheets, start=1):
        parts = [f"# Sheet {s}\n\n{QUESTION}{ANSWER}"]
        for number, choice in enumerate(sheet, start=len(key) + 1):
            rows = [f"- {' '.join(row.text.split())}" for row in choice.rows]
            pairs = [f"### Pair {i}\n\n{section_text(pair)}" for i, pair in enumerate(choice.pairs, start=1)]
            parts.append("\n".join([f"\n## Section {number}\n", *rows, "", *pairs]))
            ids = {"pair": choice.pair.id, "collection": choice.pair.collection, "docno": choice.pair.docno}
            asked = {"form": choice.form, "among": choice.among, "answer": 1 + choice.pairs.index(choice.pair)}
            key.append({"sheet": s, "section": number, **ids, **asked})
        pages.append(parts)
    return write_pages(Path(folder), SHEET, pages, {KEY: key})


def read_choices(folder: str | os.PathLike[str], answers: Sequence[str | os.PathLike[str]] = ()) -> pd.DataFrame:
    """What judges chose, a line for each section and judge, with the key.

    Args:
        folder: what :func:`write_choices` has filled.
        answers: a file for each judge, of lines ``section pair`` such as ``7 3``, about one sheet or several, whole
            ones. Without any, the files ``identify_NN.JUDGE.txt`` beside the sheets.

    Returns:
        The columns of the key (``sheet``, ``section``, ``pair``, ``collection``, ``docno``, ``form``, ``among``,
        ``answer``), ``judge`` (from the name of the file), ``chosen`` (1 to 5) and ``right`` (bool).

    Raises:
        ValueError: no answers; a line of another form, or a section without an answer, with two, with a number that is
            no pair, or that no sheet has.
    """
    folder = Path(folder)
    key, found = pd.DataFrame([row for _, row in json_lines(folder / KEY)]), []
    if "among" not in key:
        key["among"] = PAIRS
    for path in map(Path, answers) if answers else sorted(folder.glob(f"{SHEET}_*.*.txt")):
        lines = [re.findall(r"\d+", line) for line in text_of_file(path).splitlines() if line.strip()]
        if any(len(line) != 2 or not 1 <= int(line[1]) <= CHOICES for line in lines):
            raise ValueError(f"{path} expects lines of a section and a pair from 1 to {CHOICES}, found others")
        chosen = {int(section): int(choice) for section, choice in lines}
        named = re.match(rf"{SHEET}_(\d+)\.(.*)\.txt$", path.name)
        sheets = {int(named[1])} if named else set(key.loc[key["section"].isin(chosen), "sheet"])
        own = key[key["sheet"].isin(sheets)]
        if set(chosen) != set(own["section"]) or len(lines) != len(own):
            raise ValueError(
                f"{path} expects one answer for each of the sections {own['section'].tolist()}, found {sorted(chosen)}"
            )
        picked = own["section"].map(chosen)
        found.append(own.assign(judge=named[2] if named else path.stem, chosen=picked, right=picked == own["answer"]))
    if not found:
        raise ValueError(f"read_choices expects files such as {SHEET}_01.JUDGE.txt in {folder}, found none")
    return pd.concat(found, ignore_index=True)


def identification_scores(chosen: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """How often the right pair was chosen; chance is one in five.

    Args:
        chosen: as :func:`read_choices` gives it; seed: of the bootstrap.

    Returns:
        ``form``, ``among``, ``collection`` (``all`` for all of them), ``value``, ``low``, ``high`` (95% interval over
        pairs), ``n`` (pairs); all judges together.

    Example::

        identification_scores(read_choices("run2")).query("collection == 'all'")
    """
    rows = []
    for (form, among), own in chosen.groupby(["form", "among"], sort=False):
        for collection in [ALL, *dict.fromkeys(own["collection"])]:
            part = own if collection == ALL else own[own["collection"] == collection]
            numbers = resampled(part["right"].to_numpy(np.float64), np.ones(len(part)), part["pair"], seed=seed)
            rows.append([form, among, collection, *numbers])
    return pd.DataFrame(rows, columns=["form", "among", "collection", *MEASURES])
