"""The encoder as judge of labels: is a label near the texts that have its feature? Circular, and cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pyterrier_xetrieval.core.codes import encode_view
from pyterrier_xetrieval.evaluation.collection import EmbeddedCollection

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

    from pyterrier_xetrieval import Xetrieval


def label_similarity(
    model: Xetrieval, collection: EmbeddedCollection, *, encoder: BiEncoder | None = None, n_features: int = 500,
    n_texts: int = 50, min_docs: int = 10, seed: int = 0, batch_size: int = 512,
) -> pd.DataFrame:  # fmt: skip
    """How well the cosine of a label's vector tells texts that have the feature from texts that lack it.

    This is circular: the encoder's own vectors decide which texts have the feature, and the same encoder then says
    what is near the label. A label of words that lie near the feature's direction scores well, whatever a judge would
    say. So it ranks labels, it says nothing about other judges, and never stands in for their verdicts.

    Args:
        model: whose labels; collection: texts that no label was made from.
        encoder: of the collection's vectors; None for the model's own.
        n_features: drawn of those that have a label and ``min_docs`` texts with and without the feature.
        n_texts: of each kind at most, drawn at random.
        seed, batch_size: of the draws; vectors encoded at once.

    Returns:
        ``feature``, ``label``, ``auc``: the share of (text with, text without) whose order the cosine tells; ``other``:
        the same with the label of another of the features drawn, which is what labels of any texts of this kind would
        score; ``texts``: how many there were of the rarer kind.

    Raises:
        ValueError: fewer than two such features.

    Example::

        label_similarity(model, collection)[["auc", "other"]].mean()
    """
    encoder, rng = encoder or model.encoder(), np.random.default_rng(seed)
    codes = encode_view(model.sae, np.asarray(collection.docs, np.float32), refit=False, batch_size=batch_size)
    text, slot = np.nonzero(codes.activations > 0)
    order = np.argsort(codes.ids[text, slot], kind="stable")
    counts = np.bincount(codes.ids[text, slot], minlength=model.sae.dict_size)
    active = np.split(text[order], np.cumsum(counts)[:-1])
    n = len(collection.docnos)
    usable = [j for j in np.flatnonzero((counts >= min_docs) & (counts <= n - min_docs)).tolist() if model.labels.name(j)]
    if len(usable) < 2:
        raise ValueError(f"label_similarity expects two labelled features in {min_docs} texts or more, found {len(usable)}")
    chosen = rng.permutation(usable)[:n_features]
    labels = [model.labels.name(j) for j in chosen.tolist()]
    vectors = np.asarray(encoder.encode_docs(labels), np.float32)
    rows = []
    for j, label, own, strange in zip(chosen.tolist(), labels, vectors, np.roll(vectors, 1, axis=0)):
        without = np.setdiff1d(np.arange(n), active[j])
        sides = [np.sort(rng.permutation(side)[:n_texts]) for side in (active[j], without)]
        both = [np.asarray(collection.docs[side]) for side in sides]
        rows.append([j, label, *(auc(*(side @ vector for side in both)) for vector in (own, strange)), min(map(len, sides))])
    return pd.DataFrame(rows, columns=["feature", "label", "auc", "other", "texts"])


def auc(with_it: np.ndarray, without: np.ndarray) -> float:
    """The share of pairs of one number of each that are in order; a tie counts as half.

    Example::

        >>> auc(np.array([0.9, 0.4]), np.array([0.4, 0.1]))
        0.875
    """
    apart = with_it[:, None] - without[None, :]
    return float(((apart > 0) + 0.5 * (apart == 0)).mean())
