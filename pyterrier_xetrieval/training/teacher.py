"""The teacher: a language model writes one text per document and aspect (Cai et al. 2026, App. A), resumably."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.checks import found_value, is_finite
from ..documents import docno_of, documents_in, no_text, text_of
from ..llm.answer_file import AnswerFile, Question
from ..llm.endpoints import Answer, LanguageModel, Options, as_model
from ..llm.engine import ATTEMPTS, GIVE_UP, Report, Run
from ..llm.prompts import PROMPTS, check_answer, check_prompts, digest, fill, without_reasoning


@dataclass(frozen=True, repr=False)
class Teacher(Options):
    """Asks a language model for one text per document and aspect.

    Args:
        llm: a :class:`~pyterrier_xetrieval.llm.endpoints.LanguageModel`, or a function from prompt to text.
        prompts: aspect to template with ``{text}`` in it; default the paper's three.
        attempts: how often an unusable answer is asked for in one run. (Failed requests are the model's business.)
        give_up: texts that may fail in a row before the run ends.
        max_chars: length at which documents are cut; None sends them whole.
        price: (input, output) per million tokens, in any currency.
        check: ``(aspect, text)`` to what is wrong with the text, or None.

    Raises:
        ValueError: prompts or a number that cannot be used.

    Example::

        llm = EndpointLLM("qwen3-32b", base_url="http://localhost:8000/v1", workers=32)
        Teacher(llm).write(dataset.get_corpus_iter(), "reasoning.jsonl", verbose=True)
        # Report(written=180000, kept=0, failed=0, …)
    """

    llm: LanguageModel
    _: KW_ONLY
    prompts: Mapping[str, str] = field(default_factory=lambda: PROMPTS, hash=False)
    attempts: int = ATTEMPTS
    give_up: int = GIVE_UP
    max_chars: int | None = None
    price: tuple[float, float] | None = None
    check: Callable[[str, str], str | None] = check_answer

    def __post_init__(self) -> None:
        object.__setattr__(self, "llm", as_model(self.llm))
        object.__setattr__(self, "prompts", check_prompts(self.prompts))
        for name in ("attempts", "give_up", "max_chars"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value > 0 or name == "max_chars" and value is None):
                raise ValueError(f"Teacher expects a positive number as {name}, found {found_value(value)}")
        if self.price is not None and not (len(self.price) == 2 and all(is_finite(p) and p >= 0 for p in self.price)):
            raise ValueError(f"Teacher expects price as (input, output) per million tokens, found {self.price!r}")

    def __repr__(self) -> str:
        own = "" if self.prompts == PROMPTS else f", prompts=<{', '.join(self.prompts)}>"
        return f"Teacher({self.llm!r}{own})"

    @property
    def aspects(self) -> tuple[str, ...]:
        return tuple(self.prompts)

    def check_aspects(self, aspects: Sequence[str] | None, *, stage: str = "Teacher") -> tuple[str, ...]:
        """The given aspects as a tuple, all of them for None; ValueError for one without a prompt."""
        given = aspects if isinstance(aspects, str) else self.aspects if aspects is None else tuple(aspects)
        if isinstance(given, str) or set(given) - set(self.aspects) or len(set(given)) < len(given):
            raise ValueError(f"{stage} expects aspects among {list(self.aspects)}, each once, found {given!r}")
        return given

    def text_of(self, document: Mapping[str, Any]) -> str:
        """What is sent of a {text, title?} document; ValueError if its text is no string."""
        text = text_of(document)
        if text is None:
            raise no_text("Teacher", f"document {docno_of(document, where='Teacher')!r}", document.get("text"))
        return text[: self.max_chars]

    def key(self, document: Mapping[str, Any]) -> str:
        """The digest of what is sent of a document, by which :meth:`read` names it."""
        return digest(self.text_of(document), 32)

    def write(
        self,
        documents: Iterable[Mapping[str, Any]] | pd.DataFrame,
        path: str | os.PathLike[str],
        *,
        aspects: Sequence[str] | None = None,
        verbose: bool = False,
    ) -> Report:
        """Appends one JSON line {_id, aspect, text, model, …} per document and aspect to the file at ``path``.

        Every text is on disk as soon as it has come back. After an interruption of any kind the same call goes on where
        the file ends (half a line there is dropped) and asks again for what failed. What was wrong with unusable
        answers is in ``<name>.failures.jsonl`` beside it.

        Args:
            documents: iterable of {docno (or _id), text, title?} or a data frame with these columns.
            path: the file, created if need be.
            aspects: which of the prompts to use; None for all.
            verbose: show a progress bar.

        Returns:
            a :class:`Report`; a warning says so if texts are missing at the end.

        Raises:
            ValueError: the file holds texts by another model, from other prompts or of other documents under the same
                docno; a document without docno or text.
            RuntimeError: another run is writing to the file.
            TeacherError: the model refused, or too many texts failed in a row.
        """
        aspects = self.check_aspects(aspects)
        total = len(documents) * len(aspects) if isinstance(documents, Sized) else None
        run = Run(self._file(path), self.llm, self._row, attempts=self.attempts, give_up=self.give_up)
        report = run.ask(self._questions(documents, aspects), total=total, verbose=verbose)
        if self.price is not None:
            report.cost = (report.input_tokens * self.price[0] + report.output_tokens * self.price[1]) / 1e6
        return report

    def read(self, path: str | os.PathLike[str]) -> dict[tuple[str, str], str]:
        """The texts of a file by ``(key of the document, aspect)``; errors as in :meth:`write`, {} if there is no file."""
        rows = self._file(path).rows()
        return {(row["doc"], row["aspect"]): row["text"] for row in rows if row["aspect"] in self.prompts}

    def _facts(self, aspect: str) -> dict[str, str]:
        return {"model": self.llm.name, "prompt": digest(self.prompts[aspect], 12)} if aspect in self.prompts else {}

    def _file(self, path: str | os.PathLike[str]) -> AnswerFile:
        def facts(row: dict[str, Any]) -> dict[str, str]:
            if not {"_id", "aspect", "text", "model", "prompt", "doc"} <= row.keys():
                raise ValueError(f"{path} was not written by a Teacher: a line lacks what tells which prompt it answers")
            return self._facts(row["aspect"])

        return AnswerFile(Path(path), ("_id", "aspect"), facts, "doc", "text, title or max_chars", "text")

    def _questions(self, documents: Iterable[Mapping[str, Any]] | pd.DataFrame, aspects: Sequence[str]) -> Iterator[Question]:
        facts = {aspect: self._facts(aspect) for aspect in aspects}
        for document in documents_in(documents, stage="Teacher"):
            docno = docno_of(document, where="Teacher")
            if docno is None:
                raise ValueError(f"Teacher expects documents with docno and text, found one with {sorted(document)}")
            text = self.text_of(document)
            doc = {"doc": digest(text, 32)}
            for aspect in aspects:
                prompt = fill(self.prompts[aspect], text=text)
                problem = "" if text else "empty document"
                yield Question({"_id": docno, "aspect": aspect}, prompt, facts[aspect] | doc, problem)

    def _row(self, question: Question, answer: Answer) -> tuple[dict[str, Any], str | None]:
        text = without_reasoning(answer.text)
        if answer.text.strip() and not text:
            problem: str | None = "nothing follows the reasoning in the answer; raise max_tokens"
        else:
            problem = self.check(question.key["aspect"], text)
        used = {"finish": answer.finish, "input_tokens": answer.input_tokens, "output_tokens": answer.output_tokens}
        return {**question.key, "text": text, **question.facts, **used}, problem
