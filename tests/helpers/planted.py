"""A collection and a dictionary with planted words."""

import numpy as np

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.evaluation.collection import EmbeddedCollection
from tests.helpers.builders import DIM, identity_sae

WORDS = ("rabbit", "violin", "harbour", "tax", "glacier", "yeast")


FILLER = "the and some about many here there which quite often".split()


def plain_model(sae) -> Xetrieval:
    return Xetrieval.from_parts(internalizers={}, sae=sae, encoder={"name": "", "dim": sae.dim})


def planted(n=120) -> tuple[Xetrieval, EmbeddedCollection]:
    """Feature ``j`` is active in exactly the texts that hold ``WORDS[j]``."""
    rng = np.random.default_rng(0)
    docs, texts = np.zeros((n, DIM), np.float32), []
    for i, vector in enumerate(docs):
        vector[i % DIM] = rng.uniform(1, 2)
        texts.append(" ".join([*rng.permutation(FILLER)[:5], WORDS[i % DIM], *rng.permutation(FILLER)[:3]]))
    names = np.array([f"d{i}" for i in range(n)], object)
    collection = EmbeddedCollection(
        "planted", names, docs, names[:DIM], np.eye(DIM, dtype=np.float32), [{i: 1} for i in range(DIM)],
        [np.empty(0, np.int64)] * DIM, texts=lambda rows: [texts[i] for i in rows],
    )  # fmt: skip
    return plain_model(identity_sae()), collection
