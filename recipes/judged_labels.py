"""What a language model makes of features: hypotheses, detection, mono-semanticity (Cai et al. 2026, Fig. 3, 5)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from pyterrier_xetrieval import FeatureLabels, SparseAutoencoder
from pyterrier_xetrieval.evaluation import EmbeddedCollection
from pyterrier_xetrieval.evaluation.bootstrap import CONFIDENCE, estimate
from pyterrier_xetrieval.evaluation.dictionaries import with_sae
from pyterrier_xetrieval.labelling import describe, detection_scores, feature_samples, intruder_detection
from pyterrier_xetrieval.labelling.hypotheses import PROMPT
from pyterrier_xetrieval.labelling.quality import DETECT, INTRUDER
from pyterrier_xetrieval.store.vectors import read_unit_vectors
from pyterrier_xetrieval.training import CorpusFile
from recipes.judge_controls import TOPICS, controls

SIZES = {"n_texts": 6, "n_intruders": 9, "examples": 5, "contrast": 3, "max_chars": 140, "min_docs": 50}
"""Small, so that a model of a billion parameters on one processor gets through some features in an hour."""

PROMPTS = "\n".join([PROMPT, DETECT, INTRUDER, str(TOPICS)])
"""What answers depend on beside options and texts."""


@dataclass(frozen=True, eq=False)
class Source:
    """Texts that hypotheses are made from, with their vectors.

    Attributes:
        name: for tables; docnos, texts: of n documents; docs: float32 ``[n, m]``.
    """

    name: str
    docnos: Sequence[str]
    docs: np.ndarray
    texts: Sequence[str]

    @classmethod
    def read(cls, folder: Path, name: str, *, vectors: Path) -> Source:
        """``folder/NAME/corpus.jsonl[.gz]`` and ``vectors/NAME.f16.npy``; neither queries nor judgements are needed."""
        path = next((p for p in (folder / name / f"corpus.jsonl{end}" for end in (".gz", "")) if p.is_file()), None)
        if path is None:
            raise FileNotFoundError(f"judged expects texts in {folder / name}/corpus.jsonl or .jsonl.gz, found no such file")
        documents = list(CorpusFile(path))
        docs = read_unit_vectors(vectors / f"{name}.f16.npy", len(documents), f"texts of {name}", stage="judged")
        return cls(name, [d["docno"] for d in documents], docs, [d["text"] for d in documents])

    def digest(self) -> str:
        """Of the vectors; texts have their vectors."""
        return hashlib.sha256(np.ascontiguousarray(self.docs).tobytes()).hexdigest()[:16]


def judged(
    model, collection: EmbeddedCollection, source: Source, llm, folder, *, saes: Mapping[str, SparseAutoencoder],
    n_features: int, n_texts: int, n_intruders: int, examples: int, contrast: int, max_chars: int, min_docs: int,
    seed: int = 0, verbose: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """Hypotheses from one set of texts, judged on another, for several dictionaries alike; and mono-semanticity.

    Only the documents' own vectors count, no internalised views, since a dictionary of raw vectors has seen no others.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`; the labels it comes with are judged on the features that its
            own dictionary's hypotheses are judged on.
        collection: what is judged on; with texts.
        source: what hypotheses are made from.
        llm: writer and judge.
        folder: where its answers are kept, a file for each task and dictionary, for a restart to go on with.
        saes: name to autoencoder; the model's own is ``explainer``.
        n_features: drawn for each dictionary, of those that ``min_docs`` documents of the collection and ``examples``
            of the source activate.
        n_texts: of each feature in detection; n_intruders: beside the intruder; examples, contrast: shown for a
            hypothesis.
        max_chars: length at which each text is cut.
        seed: of everything drawn.
        verbose: show progress bars.

    Raises:
        ValueError: a text of the source is one of the collection; fewer than two features of a dictionary that enough
            documents activate.

    Returns:
        columns sae, labels, measure, value, low, high, n and, in some rows, feature, label, counts. Intervals are 95%
        bootstrap intervals over features.

        - ``detection``, ``hits``, ``rejections`` for ``labels`` = ``hypotheses`` and, of the explainer, ``keywords``;
          ``difference``: detection of the explainer's hypotheses less that of this row's ``sae`` or ``labels``, paired
          by feature in the latter case; ``mono_difference``: the same of ``mono_semanticity``.
        - ``described``: share of the features drawn that got a hypothesis; ``unparsable``: share of verdicts that were
          neither YES nor NO; ``constant``: share of features with the same verdict on all texts, which scores .5
          whatever the label is worth.
        - ``mono_semanticity``: share of features whose intruder was told; left out, and not asked, where the model
          tells the controls' intruders no better than by chance.
        - ``feature``: detection of one feature and its label.
        - ``sae`` = ``control``: what the same model makes of :func:`.judge_controls.controls`.
    """
    folder, texts = Path(folder), collection.texts(np.arange(len(collection.docnos)))
    both = len(set(texts) & set(source.texts))
    if both:
        raise ValueError(
            f"judged expects hypotheses from other texts than those they are judged on, found {both} of {collection.name!r} in {source.name!r}"
        )
    asked = {"max_chars": max_chars, "verbose": verbose}
    control = controls(llm, folder, n_intruders=n_intruders, seed=seed, verbose=verbose).assign(sae="control")
    tells = control.set_index("measure").loc["mono_semanticity", "low"] > 1 / (n_intruders + 1)
    scores, told, described = {}, {}, {}
    for name, sae in saes.items():
        part = with_sae(model, sae).with_views(aspects=())
        seen, own = (
            feature_samples(part, np.asarray(docs), docnos=list(docnos), seed=seed)
            for docs, docnos in ((source.docs, source.docnos), (collection.docs, collection.docnos.tolist()))
        )
        enough = np.flatnonzero((own.counts >= min_docs) & (seen.counts >= examples))
        if len(enough) < 2:
            raise ValueError(
                f"judged expects at least 2 features of {name!r} that are active in {min_docs} documents of {collection.name!r} and "
                f"{examples} of {source.name!r}, found {len(enough)}"
            )
        chosen = np.random.default_rng(seed).permutation(enough)[:n_features].tolist()
        labels = describe(
            seen, source.texts, llm, folder / f"hypotheses.{name}.jsonl", features=chosen, examples=examples,
            contrast=contrast, attempts=1, **asked,
        )  # fmt: skip
        described[name] = np.isin(chosen, labels.table["feature"])
        # examples are docnos of the source, which may be those of other texts in the collection
        labels = FeatureLabels(labels.table.drop(columns=["examples", "contrast"], errors="ignore"), sae.dict_size)
        detect = partial(
            detection_scores, own, texts, llm=llm, n_features=n_features, n_texts=n_texts, min_docs=min_docs, seed=seed, **asked
        )
        scores[name, "hypotheses"] = detect(labels, path=folder / f"detection.{name}.jsonl")
        if name == "explainer":
            known = model.labels.table
            known = FeatureLabels(known[known["feature"].isin(labels.table["feature"])], sae.dict_size)
            scores[name, "keywords"] = detect(known, path=folder / f"detection.{name}.keywords.jsonl")
        if tells:
            told[name] = intruder_detection(
                own, texts, llm, folder / f"intruder.{name}.jsonl", n_features=n_features, n_texts=n_intruders,
                min_docs=min_docs, seed=seed, **asked,
            )  # fmt: skip
    rows = [control, *(_scores(*key, found, n_texts, seed) for key, found in scores.items())]
    rows.append(_differences(scores, seed))
    for name in saes:
        first = {"sae": name, "labels": "hypotheses"}
        rows.append(pd.DataFrame([{**first, "measure": "described", **estimate(described[name], seed=seed)}]))
    for name, found in told.items():
        rows.append(pd.DataFrame([{"sae": name, "measure": "mono_semanticity", **estimate(found["correct"], seed=seed)}]))
        if name != "explainer":
            apart = _apart(*(told[sae]["correct"].to_numpy(float) for sae in ("explainer", name)), seed)
            rows.append(pd.DataFrame([{"sae": name, "measure": "mono_difference", **apart}]))
    columns = ["sae", "labels", "measure", "value", "low", "high", "n", "feature", "label", "counts"]
    table = pd.concat(rows, ignore_index=True).reindex(columns=columns)
    return table.astype({"feature": "Int64", "n": "Int64"})


def _scores(name: str, kind: str, found: pd.DataFrame, n_texts: int, seed: int) -> pd.DataFrame:
    """The rows of one set of labels; ``counts`` says how many features had 0, 1, … n_texts right answers."""
    first = {"sae": name, "labels": kind}
    right = np.rint(found["accuracy"].to_numpy(float) * n_texts).astype(int)
    counts = np.bincount(right, minlength=n_texts + 1).tolist()
    rows = [{**first, "measure": "detection", **estimate(found["accuracy"], seed=seed), "counts": counts}]
    rows += [{**first, "measure": m, **estimate(found[m], seed=seed)} for m in ("hits", "rejections")]
    rows.append({**first, "measure": "unparsable", **estimate(found["unparsable"] / n_texts, seed=seed)})
    same = found["hits"].isin([0, 1]) & (found["hits"] + found["rejections"] == 1) & (found["unparsable"] == 0)
    rows.append({**first, "measure": "constant", **estimate(same, seed=seed)})
    singles = found[["feature", "label", "accuracy"]].rename(columns={"accuracy": "value"})
    return pd.concat([pd.DataFrame(rows), singles.assign(**first, measure="feature")], ignore_index=True)


def _differences(scores: Mapping, seed: int) -> pd.DataFrame:
    """Of the explainer's hypotheses to all other labels."""
    own, rows = scores["explainer", "hypotheses"], []
    for (name, kind), other in scores.items():
        if kind == "keywords":
            both = own.merge(other, on="feature")
            found = estimate(both["accuracy_x"] - both["accuracy_y"], seed=seed)
        elif name != "explainer":
            found = _apart(own["accuracy"].to_numpy(float), other["accuracy"].to_numpy(float), seed)
        else:
            continue
        rows.append({"sae": name, "labels": kind, "measure": "difference", **found})
    return pd.DataFrame(rows)


def _apart(one: np.ndarray, other: np.ndarray, seed: int) -> dict:
    """Difference of the means of two independent samples."""
    low = high = np.nan
    if min(len(one), len(other)) > 1:
        low, high = bootstrap(
            (one, other), lambda a, b, axis: a.mean(axis) - b.mean(axis), vectorized=True, method="percentile",
            confidence_level=CONFIDENCE, n_resamples=2000, rng=np.random.default_rng(seed),
        ).confidence_interval  # fmt: skip
    return {"value": one.mean() - other.mean(), "low": low, "high": high, "n": min(len(one), len(other))}
