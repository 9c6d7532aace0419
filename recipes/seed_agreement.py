"""How far two trainings of a dictionary with different seeds agree, and the explanations by them.

``python -m recipes.seed_agreement --data DIR --first FILE --second FILE [--out FILE]``: two files of weights of one size.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
from torch.nn import functional as F

from pyterrier_xetrieval import SparseAutoencoder
from pyterrier_xetrieval.core.attribution import Attribution, explain_vectors
from pyterrier_xetrieval.evaluation.dictionaries import untrained
from pyterrier_xetrieval.store.files import replacing
from recipes import data
from recipes.command import FILE, NEW_FILE, Command

COLLECTIONS = (
    "mutual", "arguana", "nq", "scifact", "liveqa_med", "negconstraint", "se_beer", "se_matheducators", "bright_answers", "cranfield",
)  # fmt: skip
OWN_ID_FIRST = ("arguana",)  # whose queries are documents themselves: their second result is the first
LARGEST = 5  # features of an explanation that are looked for in the other one


def best_matches(first: SparseAutoencoder, second: SparseAutoencoder) -> tuple[np.ndarray, np.ndarray]:
    """For each feature of the first dictionary the nearest direction of the second: its cosine and its id."""
    cosines = F.normalize(first.w_dec, dim=1) @ F.normalize(second.w_dec, dim=1).T
    best = cosines.max(dim=1)
    return best.values.detach().numpy(), best.indices.numpy()


def agreement(first: Attribution, second: Attribution, match: np.ndarray) -> dict[str, float]:
    """How much of one dictionary's explanations is found in the other's, pair by pair."""
    largest, carried = [], []
    for i in range(len(first.score)):
        features, parts = (values[first.listed(i)] for values in (first.features, first.contribution))
        found = np.isin(match[features], second.features[second.listed(i)])
        if len(features):
            largest.append(found[:LARGEST].mean())
            carried.append(parts[found].sum() / parts.sum())
    sums = [np.add.reduceat(p.contribution, p.offsets[:-1]) for p in (first, second)]
    return {
        "pairs": len(first.score), "largest_found": float(np.mean(largest)), "contribution_found": float(np.median(carried)),
        "correlation_of_shared": float(np.corrcoef(*sums)[0, 1]),
    }  # fmt: skip


def read_pairs(folder: Path, queries: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Query vectors and those of their first results, some of each collection, float32 ``[n, m]`` both."""
    rng, pairs = np.random.default_rng(seed), []
    for name in COLLECTIONS:
        asked, documents = data.read_vectors(folder, f"{name}.q"), data.read_vectors(folder, name)
        asked = asked[rng.permutation(len(asked))[:queries]]
        ranked = np.argsort(-(asked @ documents.T), axis=1)[:, int(name in OWN_ID_FIRST)]
        pairs.append((asked, documents[ranked]))
    return np.concatenate([q for q, _ in pairs]), np.concatenate([d for _, d in pairs])


@click.command(cls=Command, interrupted="Nothing was written.")
@click.option("--data", "folder", required=True, type=click.Path(exists=True, path_type=Path), help="Collections and embeddings.")
@click.option("--first", required=True, type=FILE, help="Weights of a dictionary.")
@click.option("--second", required=True, type=FILE, help="Those of a training with another seed.")
@click.option("--queries", default=100, show_default=True, help="Of each collection.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=NEW_FILE, help="The figures, JSON.")
def main(folder: Path, first: Path, second: Path, queries: int, seed: int, out: Path | None) -> None:
    """Compare two trainings feature by feature and explanation by explanation."""
    from recipes.default import read_dictionary

    saes = [read_dictionary(path).eval().requires_grad_(False) for path in (first, second)]
    cosine, match = best_matches(*saes)
    asked, documents = read_pairs(folder, queries, seed)
    rows = np.arange(len(asked))
    parts = [explain_vectors(sae, asked, rows, [documents], rows, weights=(1.0,)) for sae in saes]
    figures = {
        "mean_best_cosine": float(cosine.mean()), "random": float(best_matches(saes[0], untrained(saes[0], seed=seed))[0].mean()),
        "above_0.7": float((cosine > 0.7).mean()), **agreement(*parts, match),
        "unexplained": [float((np.abs(p.residual) / p.score).mean()) for p in parts],
    }  # fmt: skip
    click.echo(json.dumps(figures, indent=1))
    if out is not None:
        with replacing(out) as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    main(prog_name="python -m recipes.seed_agreement")
