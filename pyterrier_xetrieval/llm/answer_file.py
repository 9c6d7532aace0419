"""The file of a run that asks a language model: a JSON line for each question that has an answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from ..store.jsonl import json_lines


class Question(NamedTuple):
    """A prompt, and what its row in the file will say beside the answer.

    Attributes:
        key: the fields that tell its row from all others of the file.
        prompt: the text that the model gets.
        facts: further fields of its row, known before the answer.
        problem: why the question cannot be asked, or the empty string.
    """

    key: dict[str, Any]
    prompt: str
    facts: dict[str, Any]
    problem: str = ""


@dataclass(frozen=True)
class AnswerFile:
    """A JSON-lines file of answers that runs of one kind begin and continue.

    Args:
        path: the file.
        key: names of the fields that tell a row from all others.
        facts: gives the values that fields of a row must have: the model's name, the digest of the prompt, ….
        source: name of the field with a digest of what the question was made from.
        made_from: what questions are made from, in words, for errors.
        unit: a word for an answer, for errors and progress.

    Example::

        file = AnswerFile(Path("labels.jsonl"), ("feature",), lambda row: {"model": "m"}, "asked", "samples")
        [row["label"] for row in file.rows()]
    """

    path: Path
    key: tuple[str, ...]
    facts: Callable[[dict[str, Any]], dict[str, Any]]
    source: str
    made_from: str
    unit: str = "answer"

    @property
    def failures(self) -> Path:
        """The file of unusable answers beside this one, ``<name>.failures.jsonl``."""
        return self.path.with_suffix(".failures.jsonl")

    def key_of(self, row: dict[str, Any]) -> tuple[Any, ...]:
        """The values of the key's fields; None for one that is not there."""
        return tuple(row.get(name) for name in self.key)

    def rows(self) -> Iterator[dict[str, Any]]:
        """All rows, none if there is no file.

        Raises:
            ValueError: the facts of a row are others: it is by another model, to another prompt or of another seed.
        """
        for number, row in json_lines(self.path):
            for name, mine in self.facts(row).items():
                if row.get(name) != mine:
                    about = ", ".join(str(row[part]) for part in self.key if part in row)
                    raise ValueError(
                        f"{self.path} holds the {self.unit} about {about!r} of {name} {row.get(name)!r} (line {number}), this call's "
                        f"is {mine!r}; write to another file, or move that one away"
                    )
            yield row


def answer_folder(folder: str | os.PathLike[str] | None) -> AbstractContextManager[str | os.PathLike[str]]:
    """The folder, or for None a temporary one that is gone at the end of the block."""
    return TemporaryDirectory() if folder is None else nullcontext(folder)
