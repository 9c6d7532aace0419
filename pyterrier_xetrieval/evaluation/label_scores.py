"""Do labels say when their features are active? By a language model (Cai et al. 2026, Fig. 5), and without one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer

from ..core.codes import encode_view
from ..core.sae import SparseAutoencoder
from ..labelling.hypotheses import describe
from ..labelling.keywords import keyword_labels, stem, tokens, top_texts
from ..labelling.quality import detection_scores
from ..labelling.samples import feature_samples
from ..labels import FeatureLabels
from .collection import EmbeddedCollection
from .dictionaries import dictionaries, with_sae

STRONGEST = 10
_FEATURES = 512  # of which all texts are looked at, at once


def label_scores(
    model, collection: EmbeddedCollection, *, saes: Mapping[str, SparseAutoencoder] | None = None, llm=None,
    labels: Mapping[str, FeatureLabels] | None = None, folder=None, n_features: int = 500, n_texts: int = 20,
    min_docs: int = 50, min_active: int = 5, batch_size: int = 512, seed: int = 0, verbose: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """How well labels tell the texts that activate their features, feature by feature, for several dictionaries.

    Every dictionary is treated alike, on the documents' own vectors. Without a language model: keyword labels are
    made from one random half of the texts, and a text of the other half is predicted to activate a feature if it holds
    a word (stem) of its label. With one: it writes hypotheses (:func:`~pyterrier_xetrieval.labelling.hypotheses`) and
    judges them (:func:`~pyterrier_xetrieval.training.detection_scores`), never on texts that it has read for them.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        collection: one with texts.
        saes: name to autoencoder, as in :func:`~pyterrier_xetrieval.evaluation.reconstruction.reconstruction`: for
            Fig. 5 the explainer's, one trained on raw vectors alone, and a random one.
        llm: a :class:`~pyterrier_xetrieval.llm.endpoints.LanguageModel` or a function from prompt to text; None for keywords only.
        labels: name to hypotheses that are to be judged as they are, instead of having them written.
        folder: where its answers are kept (``hypotheses.<name>.jsonl``, ``detection.<name>.jsonl``) for a restart to go
            on with; None keeps nothing.
        n_features, n_texts, min_docs: of ``detection_scores``: features drawn, texts each is judged on, and activating
            documents it needs.
        min_active: activating texts that a feature needs in the half that keyword labels are scored on.
        batch_size: vectors encoded at once.
        seed: of the halves, the features and the random dictionary.
        verbose: show progress bars for what is asked.

    Returns:
        columns collection, sae, labels (``keywords`` or ``hypotheses``), feature, label, measure, value, n (texts). For keywords:

        - ``hits``, ``false_alarms``: share of activating and of non-activating texts that hold a word of the label.
        - ``balanced_accuracy``: (1 + hits − false alarms) / 2, which is the area under the curve of such a yes/no test;
          its counterpart for a language model is ``detection``.
        - ``auc_strongest``: the same with the ten most activating texts in the place of all activating ones.

        A feature with enough texts but without a keyword is there with an empty label and scores .5: a dictionary gains
        nothing by leaving hard features unnamed. Features that too few texts activate are left out, of one dictionary
        perhaps more than of another: compare the numbers of features too. For hypotheses: ``detection`` (accuracy), ``hits``,
        ``rejections``.

    Raises:
        ValueError: a collection without texts, or too small to halve; labels for a dictionary that is not there.

    Example::

        table = label_scores(model, collection, saes={"explainer": model.sae, "raw": raw, "random": untrained(model.sae)})
        table[table.measure == "balanced_accuracy"].groupby("sae").value.plot.kde()
    """
    if collection.texts is None:
        raise ValueError(f"label_scores expects a collection with texts, found none in {collection.name!r}")
    if len(collection.docnos) < 4:
        raise ValueError(f"label_scores expects at least 4 documents to halve, found {len(collection.docnos)}")
    saes = dictionaries(model, saes, collection.docs, seed=seed)
    if set(labels or {}) - set(saes):
        raise ValueError(f"label_scores expects labels of {list(saes)}, found {list(labels)}")
    texts = collection.texts(np.arange(len(collection.docnos)))
    halves = np.array_split(np.random.default_rng(seed).permutation(len(texts)), 2)
    words = _words([texts[i] for i in halves[1]])
    parts = []
    for name, sae in saes.items():
        first = {"collection": collection.name, "sae": name}
        codes = encode_view(sae, np.asarray(collection.docs), refit=False, batch_size=batch_size)
        known = _keywords([texts[i] for i in halves[0]], codes.ids[halves[0]], codes.activations[halves[0]], sae.dict_size)
        scores = keyword_scores(known, words, codes.ids[halves[1]], codes.activations[halves[1]], min_active=min_active)
        parts.append(scores.assign(**first, labels="keywords"))
        if llm is not None:
            with TemporaryDirectory() if folder is None else nullcontext(folder) as place:
                files = [Path(place) / f"{kind}.{name}.jsonl" for kind in ("hypotheses", "detection")]
                scores = _detection(
                    model, sae, collection, texts, llm, (labels or {}).get(name), files,
                    n_features=n_features, n_texts=n_texts, min_docs=min_docs, seed=seed, verbose=verbose,
                )  # fmt: skip
            parts.append(scores.assign(**first, labels="hypotheses"))
    columns = ["collection", "sae", "labels", "feature", "label", "measure", "value", "n"]
    return pd.concat(parts, ignore_index=True)[columns]


def _keywords(texts, ids, values, dict_size) -> list[str]:
    return list(map(keyword_labels(texts, ids, values, dict_size=dict_size).name, range(dict_size)))


def _stems(text: str) -> set[str]:
    return {stem(word) for word in tokens(text)}


def _words(texts: list[str]) -> tuple[sparse.csr_matrix, dict[str, int]]:
    """Which text holds which stem: csr float32 ``[V, n]`` of ones, and the row of each stem."""
    vectorizer = CountVectorizer(analyzer=_stems, binary=True, dtype=np.float32)
    counts = vectorizer.fit_transform(texts)
    return counts.T.tocsr(), vectorizer.vocabulary_


def keyword_scores(
    labels: list[str], words: tuple[sparse.csr_matrix, dict[str, int]], ids: np.ndarray, values: np.ndarray, *, min_active: int
) -> pd.DataFrame:
    """The keyword measures of :func:`label_scores`, four rows for each feature that enough texts activate.

    Args:
        labels: D strings; words: which stem is in which of the n texts; ids, values: int64 and float32 ``[n, k]``, the
            texts' codes; min_active: activating texts a feature needs (and at least one that does not activate it).
    """
    counts, rows_of = words
    n, dict_size = counts.shape[1], len(labels)
    pairs = [(j, rows_of[s]) for j, label in enumerate(labels) for s in _stems(label) if s in rows_of]
    feature, row = np.array(pairs, np.int64).reshape(-1, 2).T
    wanted = sparse.csr_matrix((np.ones(len(feature), np.float32), (feature, row)), (dict_size, counts.shape[0]))
    text, slot = np.nonzero(values > 0)
    active = sparse.csr_matrix((np.ones(len(text), np.float32), (ids[text, slot], text)), (dict_size, n))
    strongest = top_texts(ids, values, dict_size, top=STRONGEST)
    strongest.data[:] = 1
    strongest.eliminate_zeros()
    n_active, n_strong = (np.diff(matrix.indptr).astype(np.float64) for matrix in (active, strongest))
    holding, both, strong = np.zeros(dict_size), np.zeros(dict_size), np.zeros(dict_size)
    for start in range(0, dict_size, _FEATURES):  # features times texts would not fit at once
        block = slice(start, start + _FEATURES)
        held = wanted[block] @ counts
        held.data[:] = 1
        holding[block] = held.sum(axis=1).ravel()
        both[block] = held.multiply(active[block]).sum(axis=1).ravel()
        strong[block] = held.multiply(strongest[block]).sum(axis=1).ravel()
    scored = np.flatnonzero((n_active >= min_active) & (n_active < n))
    hits, false = both[scored] / n_active[scored], (holding - both)[scored] / (n - n_active[scored])
    measures = {
        "hits": (hits, n_active[scored]),
        "false_alarms": (false, n - n_active[scored]),
        "balanced_accuracy": ((1 + hits - false) / 2, np.full(len(scored), n)),
        "auc_strongest": ((1 + strong[scored] / n_strong[scored] - false) / 2, n - n_active[scored] + n_strong[scored]),
    }
    names = [labels[j] for j in scored]
    frames = [
        pd.DataFrame({"feature": scored, "label": names, "measure": measure, "value": value, "n": count.astype(np.int64)})
        for measure, (value, count) in measures.items()
    ]
    return pd.concat(frames, ignore_index=True)


def _detection(
    model, sae, collection, texts, llm, labels, files, *, n_features, n_texts, min_docs, seed, verbose
) -> pd.DataFrame:  # fmt: skip
    """Hypotheses, where there are none yet, and their detection scores."""
    docs = np.asarray(collection.docs)
    samples = feature_samples(
        with_sae(model, sae), docs, docnos=collection.docnos, aspects=(), seed=seed, verbose=verbose
    )  # fmt: skip
    if labels is None:
        enough = np.flatnonzero(samples.counts >= min_docs)
        chosen = np.random.default_rng(seed).permutation(enough)[:n_features].tolist()
        labels = describe(samples, texts, llm, files[0], features=chosen, verbose=verbose)
    found = detection_scores(
        samples, texts, labels, llm, files[1],
        n_features=n_features, n_texts=n_texts, min_docs=min_docs, seed=seed, verbose=verbose,
    )  # fmt: skip
    found = found.rename(columns={"accuracy": "detection"}).drop(columns="unparsable")
    return found.melt(id_vars=["feature", "label"], var_name="measure").assign(n=n_texts)
