"""Two collections of short texts about things that an encoder knows, their pairs, and verdicts that are known."""

import json

import numpy as np

from pyterrier_xetrieval.evaluation.collection import EmbeddedCollection
from recipes.reading_rows import ReadingRow

TEXTS = {
    "animals": {
        "what do rabbits eat": "Rabbits eat hay, fresh grass and leafy vegetables every day.",
        "how fast does a cheetah run": "The cheetah is the fastest animal on land and runs at a hundred kilometres an hour.",
        "where do penguins live": "Penguins live in the south, on ice and on the coasts of Antarctica.",
        "do cats drink milk": "Many cats like milk, but adult cats cannot digest it well.",
        "how do bees make honey": "Bees collect nectar from flowers and turn it into honey in their hive.",
    },
    "kitchen": {
        "how to bake bread": "Bread is baked in a hot oven from flour, water, salt and yeast.",
        "what goes into a tomato soup": "A soup of ripe tomatoes, onions, garlic and some vegetable stock.",
        "how long to boil an egg": "Boil an egg for six minutes if the yolk should stay soft.",
        "which wine goes with fish": "A dry white wine is served with fish and seafood.",
        "how to brew coffee": "Pour hot water over ground coffee beans and wait for four minutes.",
    },
}


def embedded(encoder) -> list[EmbeddedCollection]:
    """The two collections, with the encoder's vectors; the i-th query belongs to the i-th document."""
    out = []
    for name, texts in TEXTS.items():
        queries, documents = list(texts), list(texts.values())
        n = len(texts)
        out.append(EmbeddedCollection(
            name, np.array([f"d{i}" for i in range(n)]), encoder.encode_docs(documents), np.array([f"q{i}" for i in range(n)]),
            encoder.encode_queries(queries), [{i: 1} for i in range(n)], [np.empty(0, np.int64)] * n,
            texts=lambda rows, documents=documents: [documents[i] for i in rows], query_texts=np.array(queries),
        ))  # fmt: skip
    return out


def write_collections(folder, encoder):
    """The two collections as folders, and their vectors in ``vectors``; gives the folder."""
    (folder / "vectors").mkdir()
    for name, texts in TEXTS.items():
        (folder / name).mkdir()
        for file, letter, rows in (("corpus", "d", texts.values()), ("queries", "q", texts)):
            lines = [json.dumps({"_id": f"{letter}{i}", "text": text}) + "\n" for i, text in enumerate(rows)]
            (folder / name / f"{file}.jsonl").write_text("".join(lines))
        judged = "".join(f"q{i}\td{i}\t1\n" for i in range(len(texts)))
        (folder / name / "qrels.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
        np.save(folder / "vectors" / f"{name}.f16.npy", encoder.encode_docs(list(texts.values())).astype(np.float16))
        np.save(folder / "vectors" / f"{name}.q.f16.npy", encoder.encode_queries(list(texts)).astype(np.float16))
    return folder


class KnownPair:
    """A pair whose rows are known: the feature of each, largest contribution first."""

    score = 1.0

    def __init__(self, rows: list[ReadingRow]):
        self.rows = rows

    def has(self, feature) -> bool:
        return feature in [row.feature for row in self.rows]

    def decoy(self, feature) -> ReadingRow:
        return ReadingRow(feature, f"decoy {feature}", decoy=True, confidence=0.0)


def known_pairs(pairs, rows=4) -> list[KnownPair]:
    """Feature ``100 i + r`` is row r of pair i, of contribution ``rows - r`` and confidence ``1 - r / rows``."""
    return [
        KnownPair([
            ReadingRow(100 * i + r, f"row {100 * i + r}", contribution=float(rows - r), confidence=1 - r / rows) for r in range(rows)
        ])
        for i, _ in enumerate(pairs)
    ]  # fmt: skip
