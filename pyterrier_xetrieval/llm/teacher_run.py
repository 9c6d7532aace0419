"""One run of a teacher: which prompts are in flight, what becomes of the answers, when to stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ..store.jsonl import appending, write_line
from .endpoints import Answer, TeacherError
from .prompts import digest, without_reasoning
from .requests import land


class Task(NamedTuple):
    docno: str
    aspect: str
    doc: str  # digest of the text sent
    prompt: str


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
    """One call of ``write``: who is asked what, and what becomes of the answers."""

    def __init__(self, teacher, out, failures: Path, bar):
        self.teacher, self.out, self.failures, self.bar = teacher, out, failures, bar
        self.report = Report(cost=None if teacher.price is None else 0.0)
        self.in_a_row = 0
        self.lock, self.stop = threading.Lock(), threading.Event()

    def ask_all(self, tasks: Iterator[Task]) -> None:
        llm = self.teacher.llm
        running, pool = set(), ThreadPoolExecutor(llm.workers, thread_name_prefix="teacher")
        try:
            while batch := list(islice(tasks, llm.batch_size)):
                running.add(pool.submit(self.ask, batch))
                if len(running) >= 2 * llm.workers:
                    running = self.settle(running)
            while running:
                running = self.settle(running)
        except BaseException as error:  # what is in flight may come home; nothing new is sent
            self.stop.set()
            land(pool, running, error)
            raise
        land(pool, running)

    @staticmethod
    def settle(running: set) -> set:
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
        return running

    def ask(self, tasks: list[Task]) -> None:
        try:
            for attempt in range(1, self.teacher.attempts + 1):
                if self.stop.is_set() or not tasks:
                    return
                answers = self.teacher.llm.generate([task.prompt for task in tasks])
                tasks = [task for task, answer in zip(tasks, answers, strict=True) if self.take(task, answer, attempt)]
        except BaseException:  # no other thread may send before the main one has noticed
            self.stop.set()
            raise

    def take(self, task: Task, answer: Answer, attempt: int) -> bool:
        """Writes down what came back; True if the task is to be asked again."""
        text = without_reasoning(answer.text)
        cut = "nothing follows the reasoning in the answer; raise max_tokens" if answer.text.strip() and not text else None
        problem = answer.problem or cut or self.teacher.check(task.aspect, text)
        with self.lock:
            self.count(answer)
            if problem is None:
                row = {
                    "text": text, "model": self.teacher.llm.name, "prompt": digest(self.teacher.prompts[task.aspect], 12),
                    "doc": task.doc, "finish": answer.finish, "input_tokens": answer.input_tokens, "output_tokens": answer.output_tokens,
                }  # fmt: skip
                write_line(self.out, {"_id": task.docno, "aspect": task.aspect, **row})
                self.report.written += 1
                self.in_a_row = 0
                self.bar.update()
                return False
        again = not answer.final and attempt < self.teacher.attempts
        self.fail(task, problem, attempt=attempt, answer=answer.text[:2000], again=again)
        return again

    def fail(self, task: Task, reason: str, *, attempt: int = 0, answer: str = "", again: bool = False) -> None:
        row = {"_id": task.docno, "aspect": task.aspect, "reason": reason, "attempt": attempt, "answer": answer}
        with self.lock:
            with appending(self.failures) as file:
                write_line(file, {**row, "model": self.teacher.llm.name})
            if again:
                return
            self.report.failed += 1
            self.bar.update()
            self.in_a_row += attempt > 0
            if self.in_a_row == self.teacher.give_up:
                raise TeacherError(
                    f"{self.teacher!r} gives up: {self.in_a_row} texts in a row failed, the last because of: {reason}"
                )

    def skip(self, task: Task, repeated) -> None:
        with self.lock:
            self.report.kept += not repeated
            self.bar.update()

    def count(self, answer: Answer) -> None:
        counts = (answer.input_tokens or 0, answer.output_tokens or 0)
        self.report.input_tokens += counts[0]
        self.report.output_tokens += counts[1]
        if self.teacher.price is not None:
            self.report.cost += sum(n * p for n, p in zip(counts, self.teacher.price)) / 1e6
