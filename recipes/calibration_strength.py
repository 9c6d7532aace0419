"""The three numbers of the calibration's strength, chosen anew with each collection left out, and what they gain on that one.

``python -m recipes.calibration_strength --data DIR --vectors FOLDER --out docs/tuning/strength.json``; a minute. The collections are
those of ``docs/tuning.md`` but pydocs, which was measured when the numbers stood.
"""

from __future__ import annotations

import time
from itertools import product
from pathlib import Path

import click
import numpy as np
import pandas as pd

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.core.calibration import CorpusStatistics
from pyterrier_xetrieval.evaluation.collection import retrieval_ndcg
from recipes.command import FOLDER, NEW_FILE, Command
from recipes.pooling import paired
from recipes.result_files import measured_facts, weights_of, write_result
from recipes.tuning import embedded
from recipes.tuning_report import TOPICAL

COLLECTIONS = (
    "arguana", "birco_arguana", "birco_relic", "bright_answers", "cookbook_docs", "cranfield", "liveqa_med", "msmarco_dl19",
    "msmarco_dl21", "mutual", "negconstraint", "npl_vaswani", "nq", "scifact", "se_beer", "se_matheducators",
)  # fmt: skip
STRENGTHS = np.arange(0, 0.31, 0.05)
STARTS, WIDTHS, MOST = (0.0, 0.3, 0.32, 0.34, 0.36, 0.38, 0.4), (0.02, 0.05, 0.1, 0.15), (0.1, 0.15, 0.2, 0.25, 0.3)


def gain_of(gains: np.ndarray, topicality: float, most: float, start: float, width: float) -> np.ndarray:
    """Of each query at the strength that these numbers give a corpus, between the strengths that were measured."""
    at = most * np.clip((topicality - start) / width, 0, 1) / STRENGTHS[1]
    low = min(int(at), len(STRENGTHS) - 2)
    return (1 - at + low) * gains[low] + (at - low) * gains[low + 1]


@click.command(cls=Command, interrupted="Nothing was written.")
@click.option("--data", type=FOLDER, required=True)
@click.option("--vectors", type=FOLDER, required=True)
@click.option("--out", type=NEW_FILE, required=True, help="A line for each collection, JSON.")
def main(data: Path, vectors: Path, out: Path) -> None:
    """Writes and prints the gain on each collection by numbers that were chosen on the others."""
    start, model = time.perf_counter(), Xetrieval.default()
    origin, gains, topicality = model.sae.b_dec.detach().numpy(), {}, {}
    for name in COLLECTIONS:
        collection = embedded(data, vectors, name)
        docs, statistics = np.asarray(collection.docs), CorpusStatistics.from_vectors([collection.docs])
        topicality[name] = statistics.topicality(origin)
        mapped = [(collection.queries @ statistics.whitening(p)).astype(np.float32) for p in STRENGTHS]
        values = np.stack([retrieval_ndcg(collection, docs, queries=q) for q in mapped])
        gains[name] = 100 * (values - values[0])
    grid = list(product(MOST, STARTS, WIDTHS))
    means = {g: {name: gain_of(gains[name], topicality[name], *g).mean() for name in gains} for g in grid}
    rows = []
    for name in gains:
        best = max(grid, key=lambda g: sum(value for other, value in means[g].items() if other != name))
        own = paired(gain_of(gains[name], topicality[name], *best))
        rows.append({
            "collection": name, "topicality": topicality[name], "most": best[0], "start": best[1], "width": best[2],
            "gain": own["value"], "p": own["p"],
        })  # fmt: skip
    table = pd.DataFrame(rows)
    command = "python -m recipes.calibration_strength --data DIR --vectors DIR --out docs/tuning/strength.json"
    key = {"model": weights_of(model), "question": "strength"}
    write_result(out, key, measured_facts(command, time.perf_counter() - start), table)
    for row in table.itertuples():
        click.echo(
            f"{row.collection:17} topicality {row.topicality:.2f}, most {row.most}, from {row.start} on: {row.gain:+.2f} "
            f"(p = {row.p:.3f})"
        )
    found = table.loc[table["topicality"] >= TOPICAL, "gain"]
    click.echo(f"mean of the {len(found)} topical ones: {found.mean():+.2f}")


if __name__ == "__main__":
    main()
