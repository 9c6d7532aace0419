"""Hypotheses: a language model reads what activates a feature and says in 1-8 words what it is (Cai et al. 2026, Eq. 16)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from ..labels import FeatureLabels
from ..llm.answer_file import Question
from ..llm.endpoints import LanguageModel, as_model
from ..llm.engine import ATTEMPTS, GIVE_UP
from ..llm.prompts import check_template, digest, fill, shortened, without_reasoning
from .asking import asking, question
from .passages import EvidencePassages, Passage
from .samples import FeatureSamples
from .told_apart import carrying_words, told_apart

PROMPT = (
    "A feature of a text embedding model is active in some texts and silent in others. Find out what it stands for.\n\n"
    "Texts in which the feature is active, each with its strength from 1 (weak) to 10 (strongest){marks}:\n\n{active}\n\n"
    "Texts in which the feature is silent:\n\n{silent}\n\n"
    "What do the active texts have in common that the silent ones lack? It may be a topic, an intention, a kind of question or "
    "a style. Find the phrase that is true of as many active texts as possible, the weak ones included, and still says something "
    "definite. "
    "Answer with two lines and nothing else:\n"
    "Label: one phrase of 1 to 8 words\n"
    "Clarity: 2 if nearly all active texts fit the label, 1 if most do, 0 if they have nothing in common"
)
"""In our wording; a prompt of yours needs ``{active}`` and ``{silent}``, and ``{marks}`` stands for :data:`MARKS`."""

MARKS = ", the words that carry it most between two **asterisks**"
"""What the prompt says of marked words; nothing where none are marked."""

MAX_WORDS = 8
_PREFIX = re.compile(
    r"^(?:(?:the|my|final|feature)\s+)*(?:label|hypothesis|answer|feature|interpretation|explanation|phrase|concept|topic)"
    r"(?:\s+is)?\s*[:=]\s*",
    re.IGNORECASE,
)
_CLARITY = re.compile(r"[\s,;.(|/–-]*\bclarity\b(?:\s+is)?[\s:=*_]*([012])\b.*$", re.IGNORECASE)
_CHUNK = 32  # features whose texts are read at once; the model waits for the first of them
_AROUND = " \t\"'`*_#“”‘’«»„"


def clean_label(text: str) -> str:
    """The phrase in an answer: its first line that says something, without ``Label:``, quotes, mark-up and full stop.

    What an answer says of clarity is no part of it, see :func:`read_clarity`.

    Example::

        >>> clean_label('Label: "sorting lists."')
        'sorting lists'
    """
    for line in without_reasoning(text).splitlines():
        line = _CLARITY.sub("", line)
        line = _PREFIX.sub("", line.strip(_AROUND)).strip(_AROUND)
        if line and not line.endswith(":"):
            return " ".join(line.rstrip(".").strip(_AROUND).rstrip(".").split())
    return ""


def read_clarity(text: str) -> int | None:
    """How clear the feature is, 0 to 2, if an answer says so.

    Example::

        >>> read_clarity("Label: sorting lists\\nClarity: 2"), read_clarity("sorting lists")
        (2, None)
    """
    found = (_CLARITY.search(line) for line in without_reasoning(text).splitlines())
    return next((int(match[1]) for match in found if match), None)


def check_label(label: str) -> str | None:
    """Why a cleaned answer is no hypothesis of 1-8 words; None if it is one.

    Example::

        >>> check_label("one two three four five six seven eight nine")
        '9 words, expected 1 to 8'
    """
    words = len(label.split())
    if not any(map(str.isalnum, label)):
        return "no phrase in the answer"
    too_long = words > MAX_WORDS or len(label) > 120  # the latter for scripts without spaces
    return f"{words} words, expected 1 to {MAX_WORDS}" if too_long else None


def describe(
    samples: FeatureSamples,
    texts: Sequence[str],
    llm: LanguageModel | Callable[[str], str],
    path: str | os.PathLike[str],
    *,
    features: Iterable[int] | None = None,
    labels: FeatureLabels | None = None,
    examples: int = 10,
    contrast: int = 5,
    evidence: EvidencePassages | None = None,
    prompt: str = PROMPT,
    max_chars: int = 500,
    attempts: int = ATTEMPTS,
    give_up: int = GIVE_UP,
    verbose: bool = False,
) -> FeatureLabels:
    """Hypotheses ``h_j`` of features, one prompt each, in a JSON-lines file that the same call continues.

    Malformed answers are asked for again and recorded in ``<name>.failures.jsonl`` beside the file; a feature whose
    answers all are malformed keeps the label it has in ``labels``, and the next call asks for it again.

    With ``evidence`` the words that carry the feature are marked in the active texts, a long text is shown where they are,
    and features that get the same label are told apart by their next words: ``"sorting lists (keys)"``.

    Args:
        samples: from :func:`~pyterrier_xetrieval.labelling.samples.feature_samples`.
        texts: of the documents, in the order of the samples' docnos.
        llm: a :class:`~pyterrier_xetrieval.llm.endpoints.LanguageModel`, or a function from prompt to text.
        path: the file; {feature, label, clarity, model, prompt, asked, examples, contrast} a line, with evidence also
            ``words``, those that carry the feature in most of its texts.
        features: which to describe; None for all that some document activates.
        labels: the labels of features without a hypothesis.
        examples, contrast: how many activating documents (:meth:`.samples.FeatureSamples.examples`: half of them of every
            strength, since a label from the strongest alone is too narrow for the others) and how many random
            non-activating ones are shown.
        evidence: finds the words; None where the encoder does not average its token vectors, or nobody wants them.
        prompt: template with ``{active}`` and ``{silent}``; ``{marks}`` where it is to say that words are marked.
        max_chars: length to which each text is cut.
        attempts: how often a malformed answer is asked for in one run.
        give_up: features that may fail in a row before the run ends.
        verbose: show a progress bar.

    Returns:
        the rows of ``labels``, those of described features replaced by {feature, label, method, firing_rate,
        max_activation, clarity, examples, contrast}: clarity as in :class:`~pyterrier_xetrieval.feature_names.FeatureFacts`,
        NaN where the answer does not say it; the last two are JSON lists of the docnos shown.

    Raises:
        ValueError: the file holds answers of another model, to another prompt or about other samples; a text missing.
        RuntimeError, TeacherError: another run is writing to the file; too many features failed in a row.

    Example::

        llm = EndpointLLM("qwen3-32b", base_url="http://localhost:8000/v1", workers=32)
        labels = describe(samples, texts, llm, "hypotheses.jsonl", labels=model.labels)
        labels[17]     # 'sorting algorithms and their running time'
    """
    samples.check_texts(texts, stage="describe")
    check_template(prompt, ("active", "silent"), stage="describe")
    llm = as_model(llm)
    wanted = np.flatnonzero(samples.counts) if features is None else np.array(list(dict.fromkeys(features)), np.int64)
    if len(wanted) and not (0 <= wanted.min() and wanted.max() < samples.dict_size and samples.counts[wanted].all()):
        raise ValueError(f"describe expects features of 0 … {samples.dict_size - 1} that some document activates")

    def passages_of(chunk: Sequence[int]) -> dict[int, list[Passage]]:
        """What is shown of the activating texts of each feature that is not yet described."""
        if evidence is None:
            return {}
        shown = [(j, texts[d]) for j in chunk if j not in described for d in samples.examples(j, examples)[0]]
        found: dict[int, list[Passage]] = {}
        passages = evidence.read([text for _, text in shown], [j for j, _ in shown], max_chars)
        for (j, _), passage in zip(shown, passages):
            found.setdefault(j, []).append(passage)
        return found

    def ask_about(j: int, passages: Sequence[Passage] | None) -> Question:
        active, values = samples.examples(j, examples)
        silent = samples.others[j, :contrast]
        silent = silent[silent >= 0]
        strength = np.ceil(10 * values / samples.values[j, 0]).clip(1, 10).astype(int)
        others = [f"- {shortened(texts[d], max_chars)}" for d in silent]

        def filled(shown: Sequence[str]) -> str:
            lines = [f"[{s}] {text}" for s, text in zip(strength, shown)]
            marks = "" if evidence is None else MARKS
            return fill(prompt, active="\n".join(lines), silent="\n".join(others) or "(none)", marks=marks)

        plain = filled([shortened(texts[d], max_chars) for d in active])
        asked = plain if passages is None else filled([passage.text for passage in passages])
        shown, contrasted = ([samples.docnos[d] for d in documents] for documents in (active, silent))
        known = {} if passages is None else {"words": carrying_words([passage.words for passage in passages])}
        return question({"feature": int(j)}, asked, plain, examples=shown, contrast=contrasted, **known)

    def questions() -> Iterator[Question]:
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK].tolist()
            passages = passages_of(chunk)
            for j in chunk:
                yield ask_about(j, passages.get(j))

    def parse(text: str) -> tuple[dict[str, str | int | None], str | None]:
        label = clean_label(text)
        return {"label": label, "clarity": read_clarity(text)}, check_label(label)

    facts = {"model": llm.name, "prompt": digest(prompt, 12)}
    run = asking(path, llm, parse, facts, attempts=attempts, give_up=give_up)
    described = {row["feature"] for row in run.file.rows()}
    run.ask(questions(), total=len(wanted), verbose=verbose)
    words = {row["feature"]: row.get("words", []) for row in run.rows}
    labelled = told_apart({row["feature"]: row["label"] for row in run.rows}, words)
    table = pd.DataFrame(run.rows, columns=["feature", "label", "clarity", "examples", "contrast"])
    ids = table["feature"].to_numpy(np.int64)
    table = table.assign(
        feature=ids,
        label=[labelled[j] for j in ids.tolist()],
        clarity=table["clarity"].astype(np.float64),
        method=f"hypothesis ({llm.name})",
        firing_rate=samples.firing_rate[ids],
        max_activation=samples.max_activation[ids],
        examples=table["examples"].map(json.dumps),
        contrast=table["contrast"].map(json.dumps),
    )
    columns = ["feature", "label", "method", "firing_rate", "max_activation", "clarity", "examples", "contrast"]
    return merge(labels, table[columns], samples.dict_size)


def merge(labels: FeatureLabels | None, table: pd.DataFrame, dict_size: int) -> FeatureLabels:
    """The labels, with the table's rows in place of theirs about the same features."""
    if labels is not None and labels.dict_size != dict_size:
        raise ValueError(f"labels of {labels.dict_size} features do not fit samples of {dict_size}")
    if labels is not None and len(labels.table):
        kept = labels.table[~labels.table["feature"].isin(table["feature"])]
        table = pd.concat([kept, table]) if len(kept) and len(table) else kept if len(kept) else table
        table = table.reindex(columns=list(dict.fromkeys([*labels.table.columns, *table.columns])))
    words = table.select_dtypes(exclude="number").columns
    return FeatureLabels(table.fillna(dict.fromkeys(words, "")).sort_values("feature"), dict_size)
