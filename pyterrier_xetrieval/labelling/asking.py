"""Questions to a language model about features; they are kept in a JSON-lines file, in the order in which they were asked."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..llm.answer_file import AnswerFile, Question
from ..llm.endpoints import Answer, LanguageModel
from ..llm.engine import ATTEMPTS, GIVE_UP, Run
from ..llm.prompts import digest


def question(key: dict[str, Any], prompt: str, made_from: str | None = None, **known: Any) -> Question:
    """A question about the feature (and document) of ``key``; ``known`` goes into its row.

    A run that goes on compares ``made_from``, the prompt itself unless given. It is given where the prompt has parts that
    take long to find and whose last digits may depend on the machine, such as marked words.
    """
    return Question(key, prompt, {"asked": digest(made_from or prompt, 32), **known})


def asking(
    path: str | os.PathLike[str],
    llm: LanguageModel,
    parse: Callable[[str], tuple[dict[str, Any], str | None]],
    facts: dict[str, Any],
    *,
    attempts: int = ATTEMPTS,
    give_up: int = GIVE_UP,
) -> Run:
    """A run that writes rows ``{**key, **parsed, **facts, asked, **known}``.

    Args:
        path: the file.
        llm: the model.
        parse: from an answer to fields of the row, and what is wrong with it or None.
        facts: what all rows of the file must say: the model's name, the digest of the template, the seed, ….
        attempts, give_up: of :class:`~pyterrier_xetrieval.llm.engine.Run`.
    """

    def read(question: Question, answer: Answer) -> tuple[dict[str, Any], str | None]:
        fields, problem = parse(answer.text)
        return {**question.key, **fields, **facts, **question.facts}, problem

    file = AnswerFile(Path(path), ("feature", "docno"), lambda row: facts, "asked", "samples, texts or labels")
    return Run(file, llm, read, attempts=attempts, give_up=give_up, in_order=True)
