"""Parts of a job done by Ray's workers, and what happens when one dies; the one module that uses Ray."""

from __future__ import annotations

import pickle
import socket
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyterrier as pt

from ..core.checks import positive_int
from .corpus_parts import Part
from .shared_folder import PATIENCE, TOKEN, came_true, token_of, wait_for_files

RETRIES = 3  # of a part whose worker died: a part that kills every worker would go round for ever


class PartJob:
    """Work on the parts of a corpus: pickled once, ``start`` in every worker process, then ``run`` for each part.

    ``run`` leaves its result in a file, all or nothing or so that it can go on, because a part is done again when its
    worker dies. What it returns is small.
    """

    def file(self, part: Part) -> Path:
        """The file on the shared folder that is there when a part is done."""
        raise NotImplementedError

    def is_done(self, part: Part) -> bool:
        return self.file(part).exists()

    def start(self) -> None:
        """Loads what all parts need."""

    def run(self, part: Part) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class Workers:
    """Processes of the Ray cluster that do the parts of a job.

    Ray reserves the GPUs for each where there are some, the CPUs otherwise.

    Args:
        number: how many at once; None for as many as the cluster has room for.
        cpus: of each; also its number of threads.
        gpus: of each.
        stage: whose job it is; named in errors.

    Raises:
        ValueError: numbers that Ray would refuse in words of its own, after the corpus was read.
    """

    number: int | None
    cpus: float
    gpus: float
    stage: str

    def __post_init__(self) -> None:
        if self.number is not None:
            positive_int(self.number, "workers", stage=self.stage)
        if not (self.cpus > 0 or self.gpus > 0) or self.cpus < 0 or self.gpus < 0:
            raise ValueError(f"{self.stage} expects num_cpus or num_gpus above 0, found {self.cpus} and {self.gpus}")

    def do(self, job: PartJob, parts: Sequence[Part], folder: Path, *, verbose: bool = False) -> list[Any]:
        """Does the parts that are not done yet, and waits until their files are seen here.

        Returns:
            what ``run`` returned for each of them, as they were finished.

        Raises:
            FileNotFoundError: a worker does not see ``folder``; a file is not seen here.
            ValueError: a job that cannot be pickled.
            RuntimeError: the workers of one part died too often, or Ray failed.
            Exception: what the job raises. Parts that were finished stay finished in any case.
        """
        missing, answers = [part for part in parts if not job.is_done(part)], []
        done = sum(map(len, parts)) - sum(map(len, missing))
        with pt.tqdm(total=sum(map(len, parts)), initial=done, desc=self.stage, unit="d", disable=not verbose) as bar:
            for part, answer in self._answers(job, missing, folder) if missing else ():
                answers.append(answer)
                bar.update(len(part))
        wait_for_files(map(job.file, parts), stage=self.stage)
        return answers

    def _answers(self, job: PartJob, parts: Sequence[Part], folder: Path) -> Iterator[tuple[Part, Any]]:
        import ray

        died = ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError
        # max_calls=0: a process with a GPU would end with each part, and lose what it has loaded
        options = ray.remote(num_cpus=0 if self.gpus else self.cpus, num_gpus=self.gpus, max_retries=0, max_calls=0)
        task = options(_run)
        work = [ray.put(self._pickled(job, folder))]  # in a list: Ray would send its content to every task otherwise
        waiting, deaths, running = deque(parts), Counter[Part](), dict[Any, Part]()
        try:
            while waiting or running:
                while waiting and (self.number is None or len(running) < self.number):
                    part = waiting.popleft()
                    running[task.remote(work, part)] = part
                (reference,), _ = ray.wait(list(running))
                part = running.pop(reference)
                try:
                    answer = pickle.loads(ray.get(reference))
                except died as error:
                    deaths[part] += 1
                    if deaths[part] > RETRIES:
                        raise RuntimeError(
                            f"{self.stage} was given up: {deaths[part]} workers died on part {part.number} (out of memory?); "
                            "finished parts are kept, start it again to go on"
                        ) from error
                    waiting.append(part)
                    continue
                if isinstance(answer, Exception):
                    raise answer
                yield part, answer
        except ray.exceptions.RayError as error:
            raise RuntimeError(
                f"{self.stage} was given up, the cluster failed ({type(error).__name__}); finished parts are kept, start it "
                "again to go on"
            ) from error
        finally:
            with suppress(ray.exceptions.RayError):  # a cluster that is gone has nothing to cancel
                for reference in running:
                    ray.cancel(reference)

    def _pickled(self, job: PartJob, folder: Path) -> bytes:
        import cloudpickle  # pickles lambdas, and what the main program defines

        try:
            return cloudpickle.dumps((self, job, folder, token_of(folder)))
        except Exception as error:
            raise ValueError(
                f"{self.stage} cannot send {job!r} to workers ({error}); make what is in it there: OnWorker(…)"
            ) from error


_loaded: list[Any] = []  # in a worker: the last work and its job, since Ray keeps processes for further parts


def _run(work: list[Any], part: Part) -> bytes:
    """In a worker: one part. What the job raises is an answer too, since Ray would raise another error in its place."""
    try:
        job = _job(work)
        answer = None if job.is_done(part) else job.run(part)  # a worker may have died just after it had finished it
    except Exception as error:
        answer = error
    try:
        packed = pickle.dumps(answer)
        pickle.loads(packed)
    except Exception:  # an exception that cannot be pickled
        packed = pickle.dumps(RuntimeError(f"{type(answer).__name__}: {answer}"))
    return packed


def _job(work: list[Any]) -> PartJob:
    if not _loaded or _loaded[0] != work:
        import ray
        import torch

        _loaded.clear()  # the job before may hold a GPU's memory
        workers, job, folder, token = pickle.loads(ray.get(work[0]))
        torch.set_num_threads(max(1, round(workers.cpus)))
        wait_for_folder(folder, token, stage=workers.stage)
        job.start()
        _loaded[:] = work, job
    return _loaded[1]


def wait_for_folder(folder: Path, token: str, *, stage: str, patience: float = PATIENCE) -> None:
    """Waits until this machine sees the folder that the starting one means; FileNotFoundError if it does not."""
    file = folder / TOKEN
    if not came_true(lambda: file.is_file() and file.read_text() == token, patience):
        raise FileNotFoundError(
            f"{stage} expects {folder} to be on a file system that all machines share; the worker on {socket.gethostname()} "
            "does not see it"
        )
