"""How many features `model.relabel` renames, and how many it would rename by chance.

    python benchmarks/relabel_chance.py [--sample 2000] [--shuffles 4] [--seed 0]

Makes labels by evidence of so many documents of the bundled collection, and tests them on held-out texts as they are, and on the same
texts shuffled against their vectors. Prints what passes a detection score of .6, by the estimate and by its lower bound, which is what
`relabel` asks.
"""

from __future__ import annotations

import argparse
from unittest import mock

import numpy as np
import pandas as pd

from pyterrier_xetrieval import Xetrieval, pydocs
from pyterrier_xetrieval.labelling import evidence_words

LEAST = 0.6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"sample": 2000, "shuffles": 4, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    model, texts = Xetrieval.default(), [document["text"] for document in pydocs().get_corpus_iter(verbose=False)]
    rng = np.random.default_rng(args.seed)
    some = [texts[i] for i in np.sort(rng.permutation(len(texts))[: args.sample])]
    tested = evidence_words._detection
    with mock.patch.object(evidence_words, "_detection", side_effect=tested) as seen:
        found = evidence_words.evidence_labels(model.sae, some, model.shared_encoder, seed=args.seed).table.set_index("feature")
    sae, labels, held, vectors = seen.call_args.args
    shuffled = pd.concat([
        tested(sae, labels, [held[i] for i in rng.permutation(len(held))], vectors) for _ in range(args.shuffles)
    ])  # fmt: skip
    weak = model.labels.table.set_index("feature")["detection"].reindex(found.index).astype(float) < LEAST
    for name, column in {"estimate": "detection", "lower bound": "detection_low"}.items():
        known, chance = found[column].notna(), (shuffled[column].dropna() >= LEAST).mean()
        renamed = int((weak & (found[column] >= LEAST)).sum())
        print(f"{name:12s} {known.sum()} features have one; renamed {renamed}; "
              f"by chance {chance:.2%} pass, which would rename {chance * (weak & known).sum():.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
