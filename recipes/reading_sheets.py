"""Sheets for blind judges: the rows of several forms and decoys, mixed under numbers that say nothing, and the key."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyterrier_xetrieval.store.files import replacing
from recipes.reading_pairs import ReadingPair
from recipes.reading_rows import ExplainedPair, ReadingRow, first_shown

KEY, EXPLAINED, SHEET = "key.jsonl", "explained.jsonl", "sheet"
ROWS, DECOYS, LARGEST, SECTIONS = 10, 5, 2, 12
CUT = " […]"
QUESTION = """\
A judge reads nothing else than this sheet. Each section has a query, a document, and numbered rows. Each row claims to
be a reason why this document was found for this query. Read query and document, then give every row a verdict by
itself:

- 2 = clearly fits: words and label point at something that query and document have in common, and a reader sees at once why
  this row is a reason;
- 1 = vague: loosely or partly fits both, or fits one clearly and the other by stretching;
- 0 = nonsense: a reader would not see why this is said of this pair.

A label "A / B" counts by its better half, lowered by one if the other half is plainly absurd here. Where a label is
wrong but the words are plainly right, 1. Where a row has words alone or a label alone, it counts by what it has. No
program judges or pre-fills. In a row, “…” before “↔” are words of the query, after it words of the document. A text
that ends in […] was cut.
"""
ANSWER = """
Write one line for each row into a text file: section, row, verdict, with spaces between them, for example `7 3 2`.
"""


@dataclass(frozen=True)
class Section:
    """One pair in one form: the rows in the order in which the judge sees them, and all that the form found."""

    pair: ReadingPair
    form: str
    rows: Sequence[ReadingRow]
    found: ExplainedPair


def sections_of(
    form: str, pairs: Sequence[ReadingPair], explained: Sequence[ExplainedPair], *, min_confidence: float | None = None,
    most: int = ROWS, decoys: int = DECOYS, seed: int = 0,
) -> list[Section]:  # fmt: skip
    """The sections of one form: rows of each pair and decoys, in random order.

    Decoys are features among the :data:`LARGEST` largest of pairs of other collections that are not among this pair's.

    Args:
        form: its name, kept in the key.
        pairs: of two collections at least; explained: what the form makes of them.
        min_confidence: judge what users see, the rows that are shown from this confidence on; None: judge the rows of
            largest contribution, whatever their confidence, to find out what to show.
        most: how many rows of a pair at most; decoys: how many beside them.
        seed: of the draw of decoys and the order of rows.

    Raises:
        ValueError: too few features of other collections to draw decoys from.
    """
    rng = np.random.default_rng(seed)
    largest = [sorted(own.rows, key=lambda row: -row.contribution) for own in explained]
    strong = [(pair.collection, row.feature) for pair, rows in zip(pairs, largest) for row in rows[:LARGEST]]
    sections = []
    for pair, own, by_contribution in zip(pairs, explained, largest):
        others = dict.fromkeys(j for collection, j in strong if collection != pair.collection and not own.has(j))
        pool = list(others)
        if len(pool) < decoys:
            raise ValueError(
                f"sections_of expects {decoys} features of other collections than {pair.collection!r}, found {len(pool)}"
            )
        drawn = [own.decoy(pool[i]) for i in rng.permutation(len(pool))[:decoys]]
        judged = by_contribution[:most] if min_confidence is None else first_shown(own.rows, min_confidence, most)
        rows = [*judged, *drawn]
        mixed = [rows[i] for i in rng.permutation(len(rows))]
        sections.append(Section(pair, form, mixed, own))
    return sections


def write_sheets(
    folder: str | os.PathLike[str], sections: Sequence[Section], *, seed: int = 0, per_sheet: int = SECTIONS
) -> list[Path]:
    """Writes ``sheet_NN.md`` and what judges do not see; sections of all forms are mixed, no pair is twice in a sheet.

    ``key.jsonl`` has a line for each row of the sheets, ``explained.jsonl`` one for each section with all features that
    its pair shares. Both have ids and numbers only; the sheets quote texts of the collections.

    Args:
        folder: made where there is none.
        sections: of all forms.
        seed: of the order; per_sheet: how many sections a sheet has, or one fewer.

    Returns:
        The paths of the sheets.

    Example::

        write_sheets("run1", sections_of("words", pairs, ModelForm(model, "words").explain(pairs)))
    """
    rng = np.random.default_rng(seed)
    sheets: list[list[Section]] = [[] for _ in range(-(-len(sections) // per_sheet))]
    by_pair: dict[str, list[Section]] = {}
    for section in sections:
        by_pair.setdefault(section.pair.id, []).append(section)
    several = sorted(by_pair.values(), key=len, reverse=True)  # those of many forms first, while there is room
    for own in [several[i] for i in _shuffled([len(group) for group in several], rng)]:
        fullest = np.argsort([len(sheet) + rng.random() for sheet in sheets], kind="stable")
        for place, at in enumerate(rng.permutation(len(own))):
            sheets[fullest[place % len(sheets)]].append(own[at])
    pages, key, explained, number = [], [], [], 0
    for s, sheet in enumerate(sheets, start=1):
        parts = [f"# Sheet {s}\n\n{QUESTION}{ANSWER}"]
        for at in rng.permutation(len(sheet)):
            number += 1
            parts.append(_text(number, sheet[at]))
            key += [{"sheet": s, **row} for row in _facts(number, sheet[at])]
            explained.append(_all_features(number, sheet[at]))
        pages.append(parts)
    return write_pages(Path(folder), SHEET, pages, {KEY: key, EXPLAINED: explained})


def write_pages(
    folder: Path, kind: str, pages: Sequence[Sequence[str]], facts: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[Path]:
    """Writes ``KIND_NN.md`` of the parts of each page, and JSON lines of ``facts`` by the file's name; the pages' paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{kind}_{number:02}.md" for number in range(1, len(pages) + 1)]
    for path, parts in zip(paths, pages):
        with replacing(path) as file:
            file.write("\n".join(parts))
    for name, rows in facts.items():
        with replacing(folder / name) as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return paths


def _shuffled(sizes: Sequence[int], rng: np.random.Generator) -> list[int]:
    """Places of groups, larger ones first, those of one size in random order."""
    return np.lexsort((rng.random(len(sizes)), -np.asarray(sizes))).tolist()


def section_text(pair: ReadingPair) -> str:
    """Query and document as a judge sees them, in Markdown."""
    query, document = pair.query + pair.query_cut * CUT, pair.document + pair.document_cut * CUT
    return f"**Query.** {query}\n\n**Document.** {document}\n"


def _text(number: int, section: Section) -> str:
    rows = [f"{i}. {' '.join(row.text.split())}" for i, row in enumerate(section.rows, start=1)]
    return "\n".join([f"\n## Section {number}\n", section_text(section.pair), *rows, ""])


def _ids(number: int, section: Section) -> dict[str, Any]:
    pair = section.pair
    ids = {"pair": pair.id, "collection": pair.collection, "qid": pair.qid, "docno": pair.docno}
    return {"section": number, **ids, "form": section.form, "score": section.found.score}


def _facts(number: int, section: Section) -> list[dict[str, Any]]:
    """The lines of the key: what is known of each row."""
    rows = []
    for i, row in enumerate(section.rows, start=1):
        known = {name: _for_json(value) for name, value in asdict(row).items() if name != "text"}
        rows.append({"row": i, **_ids(number, section), **known})
    return rows


def _all_features(number: int, section: Section) -> dict[str, Any]:
    """All rows that the form could have shown, for what is said of the whole explanation."""
    own = section.found.rows
    names = ("feature", "contribution", "confidence")
    return {**_ids(number, section), **{name: [_for_json(getattr(row, name)) for row in own] for name in names}}


def _for_json(value: Any) -> Any:
    return None if value != value else value  # JSON has no NaN
