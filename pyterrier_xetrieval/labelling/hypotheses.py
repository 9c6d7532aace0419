"""Hypotheses: a language model reads what activates a feature and says in 1-8 words what it is (Cai et al. 2026, Eq. 16)."""

from __future__ import annotations

import json
import re
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyterrier as pt

from ..labels import FeatureLabels
from ..llm.endpoints import FunctionLLM, LanguageModel, TeacherError
from ..llm.prompts import check_template, digest, fill, shortened, without_reasoning
from ..llm.requests import land
from ..store.jsonl import appending, json_lines, write_line
from .samples import FeatureSamples

PROMPT = (
    "A feature of a text embedding model is active in some texts and silent in others. Find out what it stands for.\n\n"
    "Texts in which the feature is active, each with its strength from 1 (weak) to 10 (strongest):\n\n{active}\n\n"
    "Texts in which the feature is silent:\n\n{silent}\n\n"
    "What do the active texts have in common, above all the strongest, that the silent ones lack? It may be a topic, an "
    "intention, a kind of question or a style. Be as specific as all of the strong texts allow. "
    "Answer with one phrase of 1 to 8 words and nothing else."
)
"""In our wording; a prompt of yours needs ``{active}`` and ``{silent}``."""

MAX_WORDS = 8
_PREFIX = re.compile(
    r"^(?:(?:the|my|final|feature)\s+)*(?:label|hypothesis|answer|feature|interpretation|explanation|phrase|concept|topic)"
    r"(?:\s+is)?\s*[:=]\s*",
    re.IGNORECASE,
)
_AROUND = " \t\"'`*_#“”‘’«»„"


class Question(NamedTuple):
    """One prompt, and what of its row in the file is known before it is answered; ``key`` tells it from all others."""

    key: dict
    prompt: str
    facts: dict


def clean_label(text: str) -> str:
    """The phrase in an answer: its first line that says something, without ``Label:``, quotes, mark-up and full stop."""
    for line in without_reasoning(text).splitlines():
        line = _PREFIX.sub("", line.strip(_AROUND)).strip(_AROUND)
        if line and not line.endswith(":"):
            return " ".join(line.rstrip(".").strip(_AROUND).rstrip(".").split())
    return ""


def check_label(label: str) -> str | None:
    """Why a cleaned answer is no hypothesis of 1-8 words; None if it is one."""
    words = len(label.split())
    if not any(map(str.isalnum, label)):
        return "no phrase in the answer"
    too_long = words > MAX_WORDS or len(label) > 120  # the latter for scripts without spaces
    return f"{words} words, expected 1 to {MAX_WORDS}" if too_long else None


def describe(
    samples: FeatureSamples, texts: Sequence[str], llm: LanguageModel | Callable[[str], str], path, *,
    features: Iterable[int] | None = None, labels: FeatureLabels | None = None, examples: int = 10, contrast: int = 5,
    prompt: str = PROMPT, max_chars: int = 500, attempts: int = 3, give_up: int = 25, verbose: bool = False,
) -> FeatureLabels:  # fmt: skip
    """Hypotheses ``h_j`` of features, one prompt each, in a JSON-lines file that a restart goes on with.

    Malformed answers are asked for again and recorded in ``<name>.failures.jsonl`` beside the file; a feature whose
    answers all are malformed keeps the label it has in ``labels``, and the next call asks for it again.

    Args:
        samples: from :func:`~pyterrier_xetrieval.labelling.samples.feature_samples`.
        texts: of the documents, in the order of the samples' docnos.
        llm: a :class:`~pyterrier_xetrieval.llm.endpoints.LanguageModel`, or a function from prompt to text.
        path: the file; {feature, label, model, prompt, asked, examples, contrast} a line.
        features: which to describe; None for all that some document activates.
        labels: the labels of features without a hypothesis.
        examples, contrast: how many of the most activating and of the random non-activating documents are shown.
        prompt: template with ``{active}`` and ``{silent}``.
        max_chars: length at which each text is cut.
        attempts: how often a malformed answer is asked for in one run.
        give_up: features that may fail in a row before the run ends; verbose: show a progress bar.

    Returns:
        the rows of ``labels``, those of described features replaced by {feature, label, method, firing_rate,
        max_activation, examples, contrast}; the last two are JSON lists of the docnos shown.

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
    facts = {"model": llm.name, "prompt": digest(prompt, 12)}

    def question(j: int) -> Question:
        active, silent = samples.docs[j, :examples], samples.others[j, :contrast]
        active, silent = active[active >= 0], silent[silent >= 0]
        strength = np.ceil(10 * samples.values[j, : len(active)] / samples.values[j, 0]).astype(int)
        lines = [f"[{s}] {shortened(texts[d], max_chars)}" for s, d in zip(strength, active)]
        others = [f"- {shortened(texts[d], max_chars)}" for d in silent]
        shown = {"examples": [samples.docnos[d] for d in active], "contrast": [samples.docnos[d] for d in silent]}
        parts = {"active": "\n".join(lines), "silent": "\n".join(others) or "(none)"}
        return Question({"feature": int(j)}, fill(prompt, **parts), shown)

    def read(text: str):
        label = clean_label(text)
        return {"label": label}, check_label(label)

    rows = ask(
        map(question, wanted), llm, path, facts=facts, read=read, total=len(wanted), attempts=attempts,
        give_up=give_up, verbose=verbose,
    )  # fmt: skip
    ids = np.array([row["feature"] for row in rows], np.int64)
    made = {"label": [row["label"] for row in rows], "method": f"hypothesis ({llm.name})"}
    facts = {"firing_rate": samples.firing_rate[ids], "max_activation": samples.max_activation[ids]}
    shown = {name: [json.dumps(row[name]) for row in rows] for name in ("examples", "contrast")}
    return merge(labels, pd.DataFrame({"feature": ids} | made | facts | shown), samples.dict_size)


def merge(labels: FeatureLabels | None, table: pd.DataFrame, dict_size: int) -> FeatureLabels:
    """Labels with the table's rows in the place of those of the same features."""
    if labels is not None and labels.dict_size != dict_size:
        raise ValueError(f"labels of {labels.dict_size} features do not fit samples of {dict_size}")
    if labels is not None and len(labels.table):
        kept = labels.table[~labels.table["feature"].isin(table["feature"])]
        table = pd.concat([kept, table]) if len(kept) and len(table) else kept if len(kept) else table
        table = table.reindex(columns=list(dict.fromkeys([*labels.table.columns, *table.columns])))
    words = table.select_dtypes(exclude="number").columns
    return FeatureLabels(table.fillna(dict.fromkeys(words, "")).sort_values("feature"), dict_size)


def as_model(llm) -> LanguageModel:
    """The model itself, or a function as one."""
    return llm if hasattr(llm, "generate") else FunctionLLM(llm)


def ask(
    questions: Iterable[Question], llm: LanguageModel, path, *, facts: dict, read, total: int,
    attempts: int = 3, give_up: int = 25, verbose: bool = False,
) -> list[dict]:  # fmt: skip
    """The answered rows of all questions in their order, from the file at ``path`` or by asking.

    Rows are written in the order of the questions, whatever the number of workers, so that an interrupted file that is
    continued equals one that never was. ``facts`` are what every row of the file must say (model, digest of the
    template, seed); ``read`` turns an answer into (fields of the row, why it cannot be used or None).

    Raises:
        ValueError: a row of the file says otherwise, or answers another prompt under the same key.
    """
    path = Path(path)
    failures, rows, in_a_row, flying = path.with_suffix(".failures.jsonl"), [], 0, deque()
    with appending(path) as out, pt.tqdm(total=total, disable=not verbose, unit="answer") as bar:
        batches = _batches(questions, _known(path, facts), path, llm.batch_size)
        workers = ThreadPoolExecutor(llm.workers, thread_name_prefix="ask")
        try:
            while True:
                for batch in islice(batches, 2 * llm.workers - len(flying)):
                    flying.append(workers.submit(_answer, llm, batch, read, attempts))
                if not flying:
                    break
                answered = flying[0].result()
                flying.popleft()
                for question, row, problems in answered:
                    for problem in problems:
                        with appending(failures) as file:
                            write_line(file, {**question.key, **problem, "model": llm.name})
                    if row is None:
                        in_a_row += 1
                        if in_a_row == give_up:
                            reason = f"{in_a_row} times in a row, the last because of: {problems[-1]['reason']}"
                            raise TeacherError(f"{llm!r} gave no usable answer {reason}")
                    elif "asked" not in row:  # not from the file
                        in_a_row = 0
                        row = {**question.key, **row, **facts, "asked": digest(question.prompt, 32), **question.facts}
                        write_line(out, row)
                    rows.extend([] if row is None else [row])
                    bar.update()
        except BaseException as error:
            land(workers, flying, error)
            raise
        land(workers, flying)
    if len(rows) < total:
        missing = f"{total - len(rows)} answer(s) are missing"
        warnings.warn(f"{missing}, see {failures}; the same call asks for them again", stacklevel=3)
    return rows


def _known(path: Path, facts: dict) -> dict[tuple, dict]:
    known = {}
    for number, row in json_lines(path):
        for what, mine in facts.items():
            if row.get(what) != mine:
                raise ValueError(
                    f"{path} holds an answer of {what} {row.get(what)!r} (line {number}), this call's is {mine!r}; "
                    "write to another file, or move that one away"
                )
        known[row.get("feature"), row.get("docno")] = row
    return known


def _batches(questions, known: dict, path: Path, size: int) -> Iterator[list[tuple[Question, dict | None]]]:
    """Questions with their rows, if there are any, in runs that hold up to ``size`` unanswered ones."""
    batch, new = [], 0
    for question in questions:
        row = known.get((question.key["feature"], question.key.get("docno")))
        if row is not None and row.get("asked") != digest(question.prompt, 32):
            raise ValueError(f"{path} holds an answer about other samples, texts or labels for {question.key}; use another file")
        batch.append((question, row))
        new += row is None
        if new == size or len(batch) >= 100:
            yield batch
            batch, new = [], 0
    if batch:
        yield batch


def _answer(llm, batch, read, attempts: int) -> list[tuple[Question, dict | None, list[dict]]]:
    """The batch with a row each, None for those that all attempts failed for, and what was wrong each time."""
    rows, problems = [row for _, row in batch], [[] for _ in batch]
    left = [i for i, row in enumerate(rows) if row is None]
    for attempt in range(1, attempts + 1):
        if not left:
            break
        again = []
        for i, answer in zip(left, llm.generate([batch[i][0].prompt for i in left]), strict=True):
            fields, problem = read(answer.text)
            problem = answer.problem or problem
            if problem is None:
                rows[i] = fields
                continue
            problems[i].append({"reason": problem, "attempt": attempt, "answer": answer.text[:2000]})
            again.extend([] if answer.final else [i])
        left = again
    return [(question, row, wrong) for (question, _), row, wrong in zip(batch, rows, problems)]
