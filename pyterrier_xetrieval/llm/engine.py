"""The engine that asks a language model many questions: resumable, with several requests in flight."""

from __future__ import annotations

import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import pyterrier as pt

from ..store.jsonl import appending, write_line
from .answer_file import AnswerFile, Question
from .endpoints import Answer, LanguageModel, TeacherError

ATTEMPTS, GIVE_UP = 3, 25  # how often an answer is asked for, and how many questions may fail in a row
AHEAD = 256  # answers that may wait for an earlier one to be written; they are lost when the process is killed


class Asked(NamedTuple):
    """A question, its number in the run, and which attempt at it this is."""

    number: int
    question: Question
    attempt: int = 1


@dataclass
class Report:
    """What one run did: texts written, texts found in the file already, texts still missing, tokens and their price.

    Tokens are those of every answer that came back, unusable ones included, as far as the model counts them;
    ``cost`` is None without a price.
    """

    written: int = 0
    kept: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0


class Run:
    """One run: asks all questions that a file has no row for, ``llm.workers`` requests at a time, and writes the rows.

    Every row is on disk as soon as its answer has come back. When something ends the run, nothing new is sent, requests in
    flight are waited for (not after ``SystemExit``) and their answers written; the next run asks for what is missing.

    Args:
        file: where the rows are.
        llm: the model to ask.
        read: from a question and its answer to the row, and what is wrong with the answer (None if nothing is).
        attempts: how often an unusable answer is asked for in this run. Failed requests are the model's business.
        give_up: questions that may fail in a row before the run ends.
        in_order: write the rows in the order of the questions, so that a file that was continued equals one that was
            never interrupted, and collect them in ``rows``; otherwise they are written as they come and not held in memory.

    Attributes:
        report: what was done so far.
        rows: with ``in_order``, the rows of all answered questions, those from the file included.
    """

    def __init__(
        self,
        file: AnswerFile,
        llm: LanguageModel,
        read: Callable[[Question, Answer], tuple[dict[str, Any], str | None]],
        *,
        attempts: int,
        give_up: int,
        in_order: bool = False,
    ):
        self.file, self.llm, self.read = file, llm, read
        self.attempts, self.give_up, self.in_order = attempts, give_up, in_order
        self.report = Report()
        self.rows: list[dict[str, Any]] = []
        self._flying: dict[Future[list[Answer]], list[Asked]] = {}
        self._again: deque[Asked] = deque()
        self._waiting: dict[int, tuple[dict[str, Any] | None, bool]] = {}
        self._next, self._in_a_row = 0, 0

    def ask(self, questions: Iterable[Question], *, total: int | None = None, verbose: bool = False) -> Report:
        """Asks them; they are read as they are needed, and one whose key came before is passed over.

        Raises:
            ValueError: the file belongs to another model, prompt or seed, or a question of the same key was made from
                something else.
            RuntimeError: another run is writing to the file.
            TeacherError: the model refused, or ``give_up`` questions in a row failed.
        """
        start = time.monotonic()
        with appending(self.file.path) as self._out, pt.tqdm(total=total, disable=not verbose, unit=self.file.unit) as self._bar:
            pool = ThreadPoolExecutor(self.llm.workers, thread_name_prefix="ask")
            try:
                self._send(self._unanswered(questions), pool)
            except BaseException as error:
                self._land(pool, error)
                raise
            pool.shutdown()
        self.report.seconds = time.monotonic() - start
        if self.report.failed:
            missing = f"{self.report.failed} {self.file.unit}(s) are missing, see {self.file.failures}"
            warnings.warn(f"{missing}; the same call asks for them again", stacklevel=3)
        return self.report

    def _send(self, new: Iterator[Asked], pool: ThreadPoolExecutor) -> None:
        while True:
            while len(self._flying) < self.llm.workers and (batch := self._batch(new)):
                self._flying[pool.submit(self.llm.generate, [asked.question.prompt for asked in batch])] = batch
            if not self._flying:
                return
            for future in wait(self._flying, return_when=FIRST_COMPLETED).done:
                self._take(self._flying.pop(future), future.result())
                if self._in_a_row >= self.give_up:
                    reason = f"{self._in_a_row} times in a row, the last because of: {self._problem}"
                    raise TeacherError(f"{self.llm!r} gave no usable {self.file.unit} {reason}")

    def _unanswered(self, questions: Iterable[Question]) -> Iterator[Asked]:
        """The questions that have to be asked; what the file holds is settled on the way."""
        file, source = self.file, self.file.source
        # only what is needed of each row: the texts about a whole corpus may be more than fits in memory
        known = {file.key_of(row): row if self.in_order else {source: row.get(source)} for row in file.rows()}
        seen: dict[tuple[Any, ...], Any] = {}
        for question in questions:
            key, mine, number = file.key_of(question.key), question.facts[source], len(seen)
            row = known.get(key)
            if seen.get(key, mine if row is None else row.get(source)) != mine:
                raise ValueError(
                    f"{question.key} was asked about before, in {file.path} or in this call, with other {file.made_from}; "
                    "write to another file"
                )
            if key in seen:
                self._bar.update()
                continue
            seen[key] = mine
            if row is not None:
                self.report.kept += 1
                self._settle(number, row)
            elif question.problem:
                self._fail(number, question, question.problem)
            else:
                yield Asked(number, question)

    def _batch(self, new: Iterator[Asked]) -> list[Asked]:
        """What to ask next: first what has been asked for in vain."""
        batch = [self._again.popleft() for _ in range(min(len(self._again), self.llm.batch_size))]
        if len(self._waiting) < AHEAD:
            batch.extend(islice(new, self.llm.batch_size - len(batch)))
        return batch

    def _take(self, batch: list[Asked], answers: Sequence[Answer]) -> None:
        """Writes down what has come back, and puts what is to be asked again in the queue."""
        for asked, answer in zip(batch, answers, strict=True):
            number, question, attempt = asked
            self.report.input_tokens += answer.input_tokens or 0
            self.report.output_tokens += answer.output_tokens or 0
            row, problem = self.read(question, answer)
            problem = answer.problem or problem
            if problem is None:
                self._in_a_row = 0
                self.report.written += 1
                self._settle(number, row, new=True)
            elif attempt < self.attempts and not answer.final:
                self._record(question, problem, attempt, answer.text)
                self._again.append(Asked(number, question, attempt + 1))
            else:
                self._in_a_row, self._problem = self._in_a_row + 1, problem
                self._fail(number, question, problem, attempt, answer.text)

    def _fail(self, number: int, question: Question, problem: str, attempt: int = 0, answer: str = "") -> None:
        self._record(question, problem, attempt, answer)
        self.report.failed += 1
        self._settle(number, None)

    def _record(self, question: Question, problem: str, attempt: int, answer: str) -> None:
        row = {**question.key, "reason": problem, "attempt": attempt, "answer": answer[:2000], "model": self.llm.name}
        with appending(self.file.failures) as file:
            write_line(file, row)

    def _settle(self, number: int, row: dict[str, Any] | None, *, new: bool = False) -> None:
        """Nothing more will come for this question: writes its row, or the rows whose turn it now is."""
        self._waiting[number] = row, new
        while (turn := self._next if self.in_order else number) in self._waiting:
            row, new = self._waiting.pop(turn)
            self._next += 1
            self._bar.update()
            if row is not None and new:
                write_line(self._out, row)
            if row is not None and self.in_order:
                self.rows.append(row)

    def _land(self, pool: ThreadPoolExecutor, reason: BaseException) -> None:
        """Sends nothing more, and writes down what still comes back; whoever interrupted is told for how much."""
        running = sum(future.running() for future in self._flying)
        if isinstance(reason, KeyboardInterrupt) and running:
            message = f"waiting for {running} request{'s' * (running > 1)}; Ctrl-C again stops now"
            pt.tqdm.write(message, file=sys.stderr)
        pool.shutdown(wait=not isinstance(reason, SystemExit), cancel_futures=True)
        for future, batch in self._flying.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                self._take(batch, future.result())
