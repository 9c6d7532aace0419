"""A collection and a dictionary with planted words."""

import re

import numpy as np

from pyterrier_xetrieval import SparseAutoencoder, Xetrieval
from pyterrier_xetrieval.evaluation.collection import EmbeddedCollection
from pyterrier_xetrieval.labelling import FeatureSamples, feature_samples
from tests.helpers.builders import DIM, identity_sae

WORDS = ("rabbit", "violin", "harbour", "tax", "glacier", "yeast")
FILLER = "the and some about many here there which quite often".split()


def plain_model(sae: SparseAutoencoder) -> Xetrieval:
    return Xetrieval.from_parts(internalizers={}, sae=sae, encoder={"name": "", "dim": sae.dim})


def planted(n: int = 120) -> tuple[Xetrieval, EmbeddedCollection]:
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


def planted_samples() -> tuple[FeatureSamples, list[str]]:
    """Samples of six features from 240 planted texts, and these texts."""
    model, collection = planted(240)
    return feature_samples(model, collection.docs, docnos=collection.docnos, random=30, seed=1), collection.texts(range(240))


def oracle(prompt: str) -> str:
    """Reads a prompt as a careful person would, by the words in it."""
    if "Answer with YES or NO" in prompt:
        text, label = re.search(r"^Text: (.*)\n\n.*of this kind: (.*)\? Answer", prompt).groups()
        return "Yes." if label in text.split() else "NO"
    if "does not belong" in prompt:
        texts = dict(re.findall(r"^(\d+)\. (.*)$", prompt, re.M))
        common = {
            w for w in set(" ".join(texts.values()).split()) if sum(w in t.split() for t in texts.values()) == len(texts) - 1
        }
        common &= set(WORDS)
        return next(f"Text {n}" for n, t in texts.items() if not common & set(t.split()))
    active = [set(t.split()) for t in re.findall(r"^\[\d+\] (.*)$", prompt, re.M)]
    silent = {word for t in re.findall(r"^- (.*)$", prompt, re.M) for word in t.split()}
    return f'Label: "{" ".join(set.intersection(*active) - silent)}."\nClarity: 2'
