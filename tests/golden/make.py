"""Writes the golden files of this edition: a model and indexes of a few kilobytes. Run it when a format changes, never otherwise.

python -m tests.golden.make
"""

import shutil
from pathlib import Path

import numpy as np

from tests.helpers.builders import make_model, random_sae, unit

HERE = Path(__file__).parent


def documents() -> list[dict]:
    vectors = unit(np.random.default_rng(0), 6, 4)
    return [{"docno": f"d{i}", "doc_vec": v, "text": f"text {i}"} for i, v in enumerate(vectors)]


def write() -> None:
    for name in ("model", "index", "deleted"):
        shutil.rmtree(HERE / name, ignore_errors=True)
    model = make_model(random_sae(dim=4, dict_size=8, k=2), aspects=("summary",)).save(HERE / "model")
    model.indexer(HERE / "index", texts=True, shard_size=4).index(documents())
    model.indexer(HERE / "deleted", dtype="float16", shard_size=4).index(documents()).delete(["d1", "d4"])


if __name__ == "__main__":
    write()
