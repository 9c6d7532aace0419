"""Data for recipes that name features: two collections, and their texts in other words as training texts."""

import gzip
import json

import numpy as np
from click.testing import CliRunner

from tests.helpers.reading import TEXTS, write_collections

BEGINS = ("He said:", "In this book we read that", "A question from school:", "It is well known:", "My uncle asks:")


def write_data(folder, encoder):
    """The collections, ``train_varied`` and ``train_short`` with their packed vectors; gives the folder."""
    write_collections(folder, encoder)
    (folder / "embeddings").mkdir()
    (folder / "vectors").rename(folder / "embeddings" / "minilm")
    known = [text for collection in TEXTS.values() for pair in collection.items() for text in pair]
    too_short = "no"
    for name, texts in {"train_varied": [f"{b} {t}" for t in known for b in BEGINS], "train_short": [*known, too_short]}.items():
        (folder / name).mkdir()
        with gzip.open(folder / name / "corpus.jsonl.gz", "wt") as file:
            file.writelines(json.dumps({"_id": f"{name}-{i}", "text": text}) + "\n" for i, text in enumerate(texts))
        vectors = encoder.encode_docs(texts)
        scale = np.abs(vectors).max(axis=1) / 127
        packed = np.rint(vectors / scale[:, None]).astype(np.int8)
        np.savez(folder / "embeddings" / "minilm" / f"{name}.int8.npz", q=packed, scale=scale.astype(np.float32))
    return folder


def run(main, *arguments):
    """What a recipe's command prints; it must not fail."""
    found = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output
