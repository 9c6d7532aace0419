"""How far can a map of the query go that knows the corpus alone? Many of them, on every collection, at one strength for all.

``python -m recipes.query_maps --data DIR --vectors FOLDER [--pydocs FOLDER] --out docs/tuning/query_maps.json``; ten minutes. Writes and
prints each map's mean gain in points of nDCG@10 over the topical and over the general collections of ``docs/tuning.md``, best first. It
shows how far such a map can go when its strength is chosen after the fact; nothing was chosen by it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import click
import numpy as np
import pandas as pd

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.core.calibration import CorpusStatistics
from pyterrier_xetrieval.evaluation.collection import retrieval_ndcg
from recipes.calibration_strength import COLLECTIONS
from recipes.command import FOLDER, NEW_FILE, NEW_FOLDER, Command
from recipes.result_files import measured_facts, weights_of, write_result
from recipes.tuning import embedded
from recipes.tuning_report import TOPICAL

STRENGTHS, RIDGES, SHIFTS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4), (0.0, 0.3), (0.0, 0.3, 0.6)


def maps(docs: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, shift float32 ``[m]`` and matrix ``[m, m]`` of each map ``q → (q − shift) matrix``, from vectors ``[n, m]``."""
    mean, identity, zero = docs.mean(axis=0), np.eye(docs.shape[1], dtype=np.float32), np.zeros(docs.shape[1], np.float32)
    for name, matrix in (("covariance", np.cov(docs.T, bias=True)), ("second moment", docs.T @ docs / len(docs))):
        variance, directions = np.linalg.eigh(matrix.astype(np.float64))
        variance = variance.clip(1e-9)
        for p, ridge, shift in product(STRENGTHS, RIDGES, SHIFTS):
            whitening = (directions * (variance + ridge * variance.mean()) ** -p) @ directions.T
            yield f"{name} to the −{p}, ridge {ridge}, less {shift} of the mean", shift * mean, whitening
        if name == "covariance":
            for n, share in product((1, 3, 10), (0.5, 1.0)):
                own = directions[:, -n:]
                yield f"{share} of the first {n} components away", zero, identity - share * own @ own.T
    for shift in (0.2, 0.4, 0.7, 1.0):
        yield f"less {shift} of the mean", shift * mean, identity


@click.command(cls=Command, interrupted="Nothing was written.")
@click.option("--data", type=FOLDER, required=True)
@click.option("--vectors", type=FOLDER, required=True)
@click.option("--pydocs", type=NEW_FOLDER, help="Folder with the vectors of pydocs, which is measured too.")
@click.option("--out", type=NEW_FILE, required=True, help="The gains of all maps, JSON.")
def main(data: Path, vectors: Path, pydocs: Path | None, out: Path) -> None:
    """Writes and prints the mean gains of all maps."""
    model, names, gains = Xetrieval.default(), [*COLLECTIONS, *(["pydocs"] if pydocs else [])], []
    start, origin = time.perf_counter(), model.sae.b_dec.detach().numpy()
    for name in names:
        collection = embedded(data, pydocs if pydocs and name == "pydocs" else vectors, name)
        docs = np.asarray(collection.docs, np.float32)
        topical = CorpusStatistics.from_vectors([docs]).topicality(origin) >= TOPICAL
        before = retrieval_ndcg(collection, docs).mean()
        for told, shift, matrix in maps(docs):
            queries = ((collection.queries - shift) @ matrix).astype(np.float32)
            gain = 100 * (retrieval_ndcg(collection, docs, queries=queries).mean() - before)
            gains.append({"map": told, "kind": "topical" if topical else "general", "gain": gain})
    table = pd.DataFrame(gains).pivot_table(index="map", columns="kind", values="gain", sort=False)
    table = table.sort_values("topical", ascending=False, kind="stable")
    command = f"python -m recipes.query_maps --data DIR --vectors DIR {'--pydocs DIR ' if pydocs else ''}--out docs/tuning/query_maps.json"
    key = {"model": weights_of(model), "question": "query_maps", "collections": names}
    write_result(out, key, measured_facts(command, time.perf_counter() - start), table.reset_index())
    for row in table.itertuples():
        click.echo(f"{row.topical:+.2f} {row.general:+.2f}  {row.Index}")


if __name__ == "__main__":
    main()
