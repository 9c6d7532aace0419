"""How good features and labels are, judged by a language model: detection and intruder tests (Cai et al. 2026, Fig. 3, 5)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..labels import FeatureLabels
from ..llm.answer_file import Question
from ..llm.endpoints import LanguageModel, as_model
from ..llm.prompts import digest, fill, shortened, without_reasoning
from .asking import asking, question
from .passages import EvidencePassages
from .samples import FeatureSamples, spread

# the text first: small models that read the label first say the same of every text
DETECT = "Text: {text}\n\nIs this text about the following, or of this kind: {label}? Answer with YES or NO and nothing else."
INTRUDER = (
    "All but one of the following numbered texts share something: a topic, an intention, a kind of question or a style. "
    "One does not belong to them.\n\n{texts}\n\nAnswer with the number of the text that does not belong, and nothing else."
)
CUT_TO_EVIDENCE = "cut to its evidence"  # in the digest of a question; the cut text may differ in its ends by machine
_YES_NO = re.compile(r"^\W*(?:answer\W+)?(yes|no)\b", re.IGNORECASE)
_NUMBER = re.compile(r"^\W*(?:(?:the|answer|intruder|text|number|is)\W+)*(\d+)\b", re.IGNORECASE)


def detection_scores(
    samples: FeatureSamples,
    texts: Sequence[str],
    labels: FeatureLabels,
    llm: LanguageModel | Callable[[str], str],
    path: str | os.PathLike[str],
    *,
    n_features: int = 500,
    n_texts: int = 20,
    min_docs: int = 50,
    seed: int = 0,
    evidence: EvidencePassages | None = None,
    max_chars: int = 500,
    verbose: bool = False,
) -> pd.DataFrame:
    """Detection score (Fig. 5): does a label say which texts activate its feature? One question per feature and text.

    Half of a feature's texts activate it, half are random ones that do not; none that the label was made from, as far as
    its row says (columns ``examples`` and ``contrast``). The activating ones are spread over the whole range of
    activations, from the weakest to the strongest that the samples have; the activation is kept beside each verdict. An
    answer that is neither YES nor NO is wrong, and is recorded with ``"verdict": null``.

    What it does not test: silent texts are drawn at random from all subjects, so that a label that is too broad (*medicine* for a
    feature of migraine) tells nearly all of them, and scores as well as one that fits. Silent texts that are near the activating
    ones would tell the two apart; there is no option for these.

    Args:
        samples, texts: as for :func:`~pyterrier_xetrieval.labelling.hypotheses.describe`.
        labels: the labels to judge, hypotheses or keywords.
        llm: the judge.
        path: JSON-lines file, {feature, docno, verdict, answer, label, active, activation, seed, …} a line; the same call
            continues it.
        n_features: features drawn at random from those that have a label, ``min_docs`` activating documents and texts
            enough; all of these if fewer.
        n_texts: texts per feature, even.
        seed: of the features and the order of the texts.
        evidence: cuts each long text to the part with the words that carry most of the feature, whether it is active or
            silent there; nothing is marked. None: to its beginning.
        max_chars, verbose: as for ``describe``.

    Returns:
        one row per feature, with feature, label, accuracy, hits (share of activating texts told), rejections (share of
        non-activating texts told), unparsable (answers).

    Raises:
        ValueError: an odd n_texts; the file is of another model, prompt, seed, label or text.
        TeacherError: the model refused, or too many requests failed in a row.

    Example::

        detection_scores(samples, texts, labels, llm, "detection.jsonl", n_features=500).accuracy.mean()
    """
    samples.check_texts(texts, stage="detection_scores")
    if n_texts < 2 or n_texts % 2:
        raise ValueError(f"detection_scores expects an even number of texts, found {n_texts}")
    llm, half = as_model(llm), n_texts // 2
    seen = {row["feature"]: _shown(row, samples) for row in labels.table.to_dict("records")}

    def pairs(j: int) -> list[tuple[int, float]]:
        """The documents to ask about, and how active the feature is in them."""
        drawn = zip(samples.active[j].tolist(), samples.active_values[j].tolist())
        known = dict(drawn) | dict(zip(samples.docs[j].tolist(), samples.values[j].tolist()))
        active = [(d, value) for d, value in known.items() if d >= 0 and d not in seen[j]]
        silent = [(d, 0.0) for d in samples.others[j].tolist() if d >= 0 and d not in seen[j]]
        return [*(active[i] for i in spread([value for _, value in active], half)), *silent[:half]]

    eligible = [j for j in np.flatnonzero(samples.counts >= min_docs).tolist() if labels.name(j) and len(pairs(j)) == n_texts]
    chosen = _draw(eligible, n_features, seed)

    def questions() -> Iterator[Question]:
        for j in chosen:
            documents, label = pairs(j), labels.name(j)
            whole = [texts[d] for d, _ in documents]
            shown, plain = _cut(whole, j, max_chars, evidence), _cut(whole, j, max_chars, None)
            for i in np.random.default_rng([seed, j]).permutation(n_texts):
                document, value = documents[i]
                asked, beginning = (fill(DETECT, label=label, text=own[i]) for own in (shown, plain))
                made_from = beginning if evidence is None else f"{beginning}\n{CUT_TO_EVIDENCE}"
                known = {"label": label, "active": value > 0, "activation": float(f"{value:.4g}")}
                yield question({"feature": j, "docno": samples.docnos[document]}, asked, made_from, **known)

    facts = {"test": "detection", "model": llm.name, "prompt": digest(DETECT, 12), "seed": seed, "n_texts": n_texts}
    run = asking(path, llm, _verdict(read_yes_no), facts)
    run.ask(questions(), total=len(chosen) * n_texts, verbose=verbose)
    table = pd.DataFrame(run.rows).reindex(columns=["feature", "label", "active", "verdict"])
    correct, active = table["verdict"].eq(table["active"]).astype(float), table["active"].astype(bool)
    table = table.assign(
        accuracy=correct, hits=correct.where(active), rejections=correct.where(~active), unparsable=table["verdict"].isna()
    )
    measures = {"accuracy": "mean", "hits": "mean", "rejections": "mean", "unparsable": "sum"}
    return table.groupby(["feature", "label"], sort=False).agg(measures).reset_index()


def with_detection(labels: FeatureLabels, own: pd.Series, scores: pd.DataFrame) -> FeatureLabels:
    """The labels with the accuracies of :func:`detection_scores` as ``detection`` of those that are new; others keep theirs.

    Args:
        own: bool, which rows of the labels' table are new: what was known of an older label says nothing about them.
    """
    found = labels.table["feature"].map(scores.set_index("feature")["accuracy"])
    known = labels.table["detection"] if "detection" in labels.table else np.nan
    return FeatureLabels(labels.table.assign(detection=np.where(own, found, known)), labels.dict_size)


def _cut(texts: Sequence[str], feature: int, max_chars: int, evidence: EvidencePassages | None) -> list[str]:
    """Each text on one line; long ones cut to where the feature's words are, or to their beginning."""
    if evidence is None:
        return [shortened(text, max_chars) for text in texts]
    long = [i for i, text in enumerate(texts) if len(" ".join(text.split())) > max_chars]
    passages = dict(zip(long, evidence.read([texts[i] for i in long], [feature] * len(long), max_chars, mark=False)))
    return [passages[i].text if i in passages else shortened(text, max_chars) for i, text in enumerate(texts)]


def intruder_detection(
    samples: FeatureSamples,
    texts: Sequence[str],
    llm: LanguageModel | Callable[[str], str],
    path: str | os.PathLike[str],
    *,
    n_features: int = 500,
    n_texts: int = 9,
    min_docs: int = 50,
    seed: int = 0,
    max_chars: int = 500,
    verbose: bool = False,
) -> pd.DataFrame:
    """Mono-semanticity (Fig. 3): is the text that does not activate the feature told from those that do so most?

    Each feature's ``n_texts`` most activating documents and one random non-activating one in random order; chance is
    ``1 / (n_texts + 1)``. No label takes part. An answer that names no number of a text is wrong, and is recorded
    with ``"verdict": null``; the order of the texts is in the file.

    Args:
        samples, texts, llm, path, n_features, min_docs, seed: as for :func:`detection_scores`.
        n_texts: activating texts.
        max_chars, verbose: as for ``describe``.

    Returns:
        one row per feature, with feature, correct (bool), verdict (the number named, or missing), intruder (its number from 1).

    Raises:
        ValueError, TeacherError: as for :func:`detection_scores`.

    Example::

        intruder_detection(samples, texts, llm, "intruder.jsonl").correct.mean()     # mono-semanticity
    """
    samples.check_texts(texts, stage="intruder_detection")
    if not 1 < n_texts <= samples.docs.shape[1]:
        raise ValueError(
            f"intruder_detection expects 2 … {samples.docs.shape[1]} texts, as many as samples hold, found {n_texts}"
        )
    llm = as_model(llm)
    enough = (samples.counts >= min_docs) & (samples.docs[:, n_texts - 1] >= 0) & (samples.others[:, 0] >= 0)
    chosen = _draw(np.flatnonzero(enough).tolist(), n_features, seed)

    def questions() -> Iterator[Question]:
        for j in chosen:
            rng = np.random.default_rng([seed, j])
            others = samples.others[j][samples.others[j] >= 0]
            documents = np.append(samples.docs[j, :n_texts], rng.choice(others))
            order = rng.permutation(n_texts + 1)
            lines = [f"{i}. {shortened(texts[documents[o]], max_chars)}" for i, o in enumerate(order, 1)]
            intruder = int(np.flatnonzero(order == n_texts)[0]) + 1
            shown = [samples.docnos[documents[o]] for o in order]
            yield question({"feature": j}, fill(INTRUDER, texts="\n".join(lines)), intruder=intruder, order=shown)

    facts = {"test": "intruder", "model": llm.name, "prompt": digest(INTRUDER, 12), "seed": seed, "n_texts": n_texts}
    parse = _verdict(lambda text: read_number(text, n_texts + 1))
    run = asking(path, llm, parse, facts)
    run.ask(questions(), total=len(chosen), verbose=verbose)
    table = pd.DataFrame(run.rows).reindex(columns=["feature", "verdict", "intruder"])
    table = table.assign(correct=table["verdict"].eq(table["intruder"]))[["feature", "correct", "verdict", "intruder"]]
    return table.astype({"verdict": "Int64"})  # whole numbers also where some are missing


def _verdict(read: Callable[[str], Any]) -> Callable[[str], tuple[dict[str, Any], None]]:
    """Fields of a row from an answer. An answer in which ``read`` finds no verdict counts as wrong; it is not asked for again."""
    return lambda text: ({"verdict": read(text), "answer": text[:2000]}, None)


def read_yes_no(text: str) -> bool | None:
    """The verdict that an answer begins with; None if it begins with neither.

    Example::

        >>> read_yes_no("**Yes**, it does."), read_yes_no("Perhaps.")
        (True, None)
    """
    match = _YES_NO.match(without_reasoning(text))
    return None if match is None else match[1].lower() == "yes"


def read_number(text: str, most: int) -> int | None:
    """The number from 1 to ``most`` that an answer begins with, or the only one in it; None if there is none.

    Example::

        >>> read_number("The answer is: 7", 10), read_number("3 or 4", 10), read_number("between 3 and 4", 10)
        (7, 3, None)
    """
    text = without_reasoning(text)
    match = _NUMBER.match(text)
    numbers = {int(match[1])} if match else set(map(int, re.findall(r"\d+", text)))
    number = numbers.pop() if len(numbers) == 1 else 0
    return number if 1 <= number <= most else None


def _draw(eligible: list[int], n: int, seed: int) -> list[int]:
    """``n`` of the features in random order; with the same seed, a smaller draw is the beginning of a larger one."""
    return [eligible[i] for i in np.random.default_rng(seed).permutation(len(eligible))[:n]]


def _shown(row: dict[Any, Any], samples: FeatureSamples) -> set[int]:
    """The documents that a label was made from, where its row says so."""
    lists = [row.get(column) for column in ("examples", "contrast")]
    docnos = [docno for cell in lists if isinstance(cell, str) and cell for docno in json.loads(cell)]
    return {samples.rows[docno] for docno in docnos if docno in samples.rows}
