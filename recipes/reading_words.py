"""Word faithfulness over collections: one file that grows collection by collection, and the table made of it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import pandas as pd

from pyterrier_xetrieval.evaluation import word_faithfulness
from pyterrier_xetrieval.evaluation.word_removal import ALL, METHODS, word_faithfulness_scores
from recipes.measured_collections import Sources
from recipes.result_files import known, measured_facts, weights_of, write_result
from recipes.tables import cell


def measure_words(
    sources: Sources, names: Sequence[str], path: Path, options: Mapping[str, float], *, seed: int, command: str
) -> pd.DataFrame:
    """Asks every collection that the file does not have yet, and writes the file anew after each.

    Args:
        sources: opens collections by name; names: of those that are asked.
        path: the file: a row for each text and method, as ``word_faithfulness(…, per_pair=True)`` gives them, and beside
            them ``scores``, the means with their intervals. What was asked with other options is not kept.
        options: ``n_docs``, ``max_words`` and ``word_share`` of :func:`~pyterrier_xetrieval.evaluation.word_faithfulness`.
        seed: of everything drawn; command: what repeats it, for the file.

    Returns:
        The scores, of each collection and of all.
    """
    key = {"model": weights_of(sources.model), "seed": seed, "question": "words", "options": dict(options)}
    kept = json.loads(path.read_text(encoding="utf-8")) if known(path, key) else {"facts": {"seconds": 0.0}, "rows": []}
    rows, seconds = pd.DataFrame(kept["rows"]), kept["facts"]["seconds"]
    for name in names:
        if len(rows) and name in set(rows["collection"]):
            continue
        start = time.perf_counter()
        own = word_faithfulness(
            sources.model, sources.open(name), encoder=sources.encoder, per_pair=True, seed=seed, **options
        )  # fmt: skip
        seconds += time.perf_counter() - start
        rows = pd.concat([rows, own.assign(collection=name)], ignore_index=True)
        write_result(path, key, measured_facts(command, seconds), rows, scores=word_faithfulness_scores(rows, seed=seed))
        click.echo(f"{name}: {own['docno'].nunique()} texts")
    return word_faithfulness_scores(rows, seed=seed)


def table_of(scores: pd.DataFrame) -> str:
    """The means of all collections together, a line for each method; Markdown."""
    name = ALL if ALL in set(scores["collection"]) else scores["collection"].iloc[0]
    own = scores[scores["collection"] == name].set_index(["method", "measure"])
    measures = ("deletion", "insertion", "deletion_difference", "insertion_difference")
    lines = [f"| method | {' | '.join(measures)} |", f"|{'---|' * (1 + len(measures))}"]
    for method in METHODS:
        lines.append(f"| {method} | {' | '.join(cell(own, (method, m), 2) for m in measures)} |")
    return "\n".join(lines)
