"""The three numbers of the calibration's strength, chosen anew with each collection left out, and what they gain on that one.

``python -m recipes.calibration_strength --data DIR --vectors FOLDER``; a minute. The collections are those of ``docs/tuning.md``
but pydocs, which was measured when the numbers stood.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import click
import numpy as np
from scipy import stats

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.core.calibration import CorpusStatistics
from pyterrier_xetrieval.evaluation.collection import retrieval_ndcg
from recipes.command import Command
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
@click.option("--data", type=click.Path(path_type=Path), required=True)
@click.option("--vectors", type=click.Path(path_type=Path), required=True)
def main(data: Path, vectors: Path) -> None:
    """Prints the gain on each collection by numbers that were chosen on the others."""
    origin = Xetrieval.default().sae.b_dec.detach().numpy()
    gains, topicality = {}, {}
    for name in COLLECTIONS:
        collection = embedded(data, vectors, name)
        docs, statistics = np.asarray(collection.docs), CorpusStatistics.from_vectors([collection.docs])
        topicality[name] = statistics.topicality(origin)
        mapped = [(collection.queries @ statistics.whitening(p)).astype(np.float32) for p in STRENGTHS]
        values = np.stack([retrieval_ndcg(collection, docs, queries=q) for q in mapped])
        gains[name] = 100 * (values - values[0])
    grid = list(product(MOST, STARTS, WIDTHS))
    means = {g: {name: gain_of(gains[name], topicality[name], *g).mean() for name in gains} for g in grid}
    found = []
    for name in gains:
        best = max(grid, key=lambda g: sum(value for other, value in means[g].items() if other != name))
        own = gain_of(gains[name], topicality[name], *best)
        p = stats.ttest_1samp(own, 0).pvalue if own.any() else 1.0
        click.echo(
            f"{name:17} topicality {topicality[name]:.2f}, most {best[0]}, from {best[1]} on: {own.mean():+.2f} (p = {p:.3f})"
        )
        found += [own.mean()] if topicality[name] >= TOPICAL else []
    click.echo(f"mean of the {len(found)} topical ones: {np.mean(found):+.2f}")


if __name__ == "__main__":
    main()
