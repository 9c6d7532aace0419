"""Do labels say when their features are active? By a language model (Cai et al. 2026, Fig. 5), and without one."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..core.codes import active_features, encode_view
from ..core.sae import SparseAutoencoder
from ..labelling.hypotheses import describe
from ..labelling.keywords import keyword_labels, stem, tokens
from ..labelling.quality import detection_scores
from ..labelling.samples import feature_samples
from ..labels import FeatureLabels
from ..llm.answer_file import answer_folder
from ..llm.endpoints import LanguageModel
from ..model import Xetrieval
from .collection import EmbeddedCollection
from .dictionaries import compared_dictionaries, with_sae

STRONGEST = 10


def label_scores(
    model: Xetrieval,
    collection: EmbeddedCollection,
    *,
    saes: Mapping[str, SparseAutoencoder] | None = None,
    llm: LanguageModel | Callable[[str], str] | None = None,
    labels: Mapping[str, FeatureLabels] | None = None,
    folder: str | os.PathLike[str] | None = None,
    n_features: int = 500,
    n_texts: int = 20,
    min_docs: int = 50,
    min_active: int = 5,
    seed: int = 0,
    verbose: bool = False,
) -> pd.DataFrame:
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
        llm: a :class:`~pyterrier_xetrieval.llm.endpoints.LanguageModel` or a function from prompt to text; None for
            keywords only.
        labels: name to hypotheses that are to be judged as they are, instead of having them written.
        folder: where its answers are kept (``hypotheses.<name>.jsonl``, ``detection.<name>.jsonl``) for a restart to go
            on with; None keeps nothing.
        n_features, n_texts, min_docs: of ``detection_scores``: features drawn, texts each is judged on, and activating
            documents it needs.
        min_active: activating texts that a feature needs in the half that keyword labels are scored on.
        seed: of the halves, the features and the random dictionary.
        verbose: show progress bars for what is asked.

    Returns:
        columns collection, sae, labels (``keywords`` or ``hypotheses``), feature, label, measure, value, n (texts). For
        keywords:

        - ``hits``, ``false_alarms``: share of activating and of non-activating texts that hold a word of the label.
        - ``balanced_accuracy``: (1 + hits − false alarms) / 2, which is the area under the curve of such a yes/no test;
          its counterpart for a language model is ``detection``.
        - ``auc_strongest``: the same with the ten most activating texts in the place of all activating ones.

        A feature with enough texts but without a keyword is there with an empty label and scores .5: a dictionary gains
        nothing by leaving hard features unnamed. Features that too few texts activate are left out, of one dictionary
        perhaps more than of another: compare the numbers of features too. For hypotheses: ``detection`` (accuracy),
        ``hits``, ``rejections``.

    Raises:
        ValueError: a collection without texts, or too small to halve; labels for a dictionary that is not there.

    Example::

        saes = {"explainer": model.sae, "raw": raw, "random": untrained(model.sae)}
        table = label_scores(model, collection, saes=saes)
        table[table.measure == "balanced_accuracy"].groupby("sae").value.plot.kde()
    """
    texts, n = collection.read_texts(stage="label_scores"), len(collection.docnos)
    if n < 4:
        raise ValueError(f"label_scores expects at least 4 documents to halve, found {n}")
    saes, labels = compared_dictionaries(model, saes, collection.docs, seed=seed), labels or {}
    if set(labels) - set(saes):
        raise ValueError(f"label_scores expects labels of {list(saes)}, found {list(labels)}")
    written, scored = np.array_split(np.random.default_rng(seed).permutation(n), 2)
    words, parts = texts_by_stem([texts[i] for i in scored]), []
    for name, sae in saes.items():
        codes = encode_view(sae, np.asarray(collection.docs), refit=False, batch_size=512)
        ids, values = codes.ids, codes.activations
        found = keyword_labels([texts[i] for i in written], ids[written], values[written], dict_size=sae.dict_size)
        keywords = [found.name(j) for j in range(sae.dict_size)]
        scores = keyword_scores(keywords, words, ids[scored], values[scored], min_active=min_active)
        parts.append(scores.assign(sae=name, labels="keywords"))
        if llm is None:
            continue
        part = with_sae(model, sae).with_views(aspects=())
        samples = feature_samples(
            part, np.asarray(collection.docs), docnos=collection.docnos.tolist(), seed=seed, verbose=verbose
        )
        with answer_folder(folder) as place:
            own = labels.get(name)
            if own is None:
                enough = np.flatnonzero(samples.counts >= min_docs)
                chosen = np.random.default_rng(seed).permutation(enough)[:n_features].tolist()
                path = Path(place) / f"hypotheses.{name}.jsonl"
                own = describe(samples, texts, llm, path, features=chosen, verbose=verbose)
            detected = detection_scores(
                samples,
                texts,
                own,
                llm,
                Path(place) / f"detection.{name}.jsonl",
                n_features=n_features,
                n_texts=n_texts,
                min_docs=min_docs,
                seed=seed,
                verbose=verbose,
            )
        detected = detected.rename(columns={"accuracy": "detection"}).drop(columns="unparsable")
        detected = detected.melt(id_vars=["feature", "label"], var_name="measure")
        parts.append(detected.assign(n=n_texts, sae=name, labels="hypotheses"))
    columns = ["collection", "sae", "labels", "feature", "label", "measure", "value", "n"]
    return pd.concat(parts, ignore_index=True).assign(collection=collection.name)[columns]


def _stems(text: str) -> set[str]:
    return {stem(word) for word in tokens(text)}


def texts_by_stem(texts: Sequence[str]) -> dict[str, np.ndarray]:
    """The rows of the texts that hold a word of each stem, int64, ascending."""
    rows: dict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(texts):
        for word in _stems(text):
            rows[word].append(i)
    return {word: np.array(own, np.int64) for word, own in rows.items()}


def keyword_scores(
    labels: Sequence[str], words: Mapping[str, np.ndarray], ids: np.ndarray, values: np.ndarray, *, min_active: int
) -> pd.DataFrame:
    """The keyword measures of :func:`label_scores`, four rows for each feature that enough texts activate.

    Args:
        labels: D strings; words: which of the n texts have which stem, as :func:`texts_by_stem` says.
        ids, values: int64 and float32 ``[n, k]``, the texts' codes.
        min_active: activating texts a feature needs (and at least one that does not activate it).
    """
    n = len(ids)
    text, feature, activation = active_features(ids, values)
    order = np.lexsort((text, -activation, feature))
    by_feature = np.split(text[order], np.cumsum(np.bincount(feature, minlength=len(labels)))[:-1])
    rows: dict[str, list[tuple]] = {m: [] for m in ("hits", "false_alarms", "balanced_accuracy", "auc_strongest")}
    for j, (label, active) in enumerate(zip(labels, by_feature)):  # the strongest first
        if not min_active <= len(active) < n:
            continue
        holds = np.zeros(n, bool)
        for word in _stems(label) & words.keys():
            holds[words[word]] = True
        hits, strong, others = holds[active].mean(), active[:STRONGEST], n - len(active)
        false = (holds.sum() - holds[active].sum()) / others
        rows["hits"].append((j, label, hits, len(active)))
        rows["false_alarms"].append((j, label, false, others))
        rows["balanced_accuracy"].append((j, label, (1 + hits - false) / 2, n))
        rows["auc_strongest"].append((j, label, (1 + holds[strong].mean() - false) / 2, others + len(strong)))
    frames = [pd.DataFrame(own, columns=["feature", "label", "value", "n"]).assign(measure=m) for m, own in rows.items()]
    return pd.concat(frames, ignore_index=True)[["feature", "label", "measure", "value", "n"]]
