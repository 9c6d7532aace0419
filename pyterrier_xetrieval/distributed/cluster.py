"""Parts of a job done by Ray's workers: what is shared between them, what happens when one dies."""

from __future__ import annotations

import logging
import pickle
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import pyterrier as pt

from ..core.checks import positive_int
from .shared_folder import PATIENCE, TOKEN, shared_token

RETRIES = 3  # of a part whose worker died; one that kills every worker would go round for ever in Ray Data
TRIES = "tries"  # in a job's folder: how often each part was begun


class Job(Protocol):
    """One kind of work on parts: pickled once, ``start`` in every worker process, then ``run`` for each part.

    ``run`` leaves its result on the shared folder, all or nothing or so that it can go on, because a part is done again
    when its worker dies. What it returns is small.
    """

    def start(self) -> None: ...

    def run(self, part): ...


class Workforce(NamedTuple):
    """Who works: at most ``number`` workers (None: as many as the cluster has room for), each with these resources.

    Ray reserves the GPUs where there are some, the CPUs otherwise; ``cpus`` is also a worker's number of threads.
    """

    number: int | None
    cpus: float
    gpus: float

    @classmethod
    def checked(cls, number, cpus, gpus, *, stage: str) -> Workforce:
        """ValueError for what Ray would refuse in words of its own, after the corpus was read."""
        if number is not None:
            positive_int(number, "workers", stage=stage)
        if not (cpus > 0 or gpus > 0) or cpus < 0 or gpus < 0:
            raise ValueError(f"{stage} expects num_cpus or num_gpus above 0, found {cpus} and {gpus}")
        return cls(number, float(cpus), float(gpus))


class OnWorker(pt.Transformer):
    """A stage that is made where it works: in each worker, when it is used first.

    For encoders that belong on a GPU that the starting machine lacks, or that cannot be pickled. A job that is gone on
    with compares the function's name and what is named in it, not variables of its surroundings.

    Args:
        make: a function without arguments that returns the stage; called once in each process.
        batch_size: of the stage, where it has one: an indexing pipeline reads it before the stage is made.

    Example::

        encoder = OnWorker(lambda: MiniLM(device="cuda"), batch_size=32)
        index_corpus(encoder >> model.indexer("/shared/corpus.xetrieval"), "/shared/corpus", num_gpus=1)
    """

    def __init__(self, make: Callable[[], pt.Transformer], *, batch_size: int | None = None):
        self.make, self.batch_size, self._stage = make, batch_size, None

    def transform(self, inp):
        if self._stage is None:
            self._stage = self.make()
        return self._stage(inp)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_stage": None}

    def __repr__(self) -> str:
        # a job that is gone on with knows its stages by this: the function's name, and the names and constants in it
        name, code = getattr(self.make, "__qualname__", type(self.make).__qualname__), getattr(self.make, "__code__", None)
        constants = () if code is None else [c for c in code.co_consts if isinstance(c, (str, int, float, tuple))]
        used = [] if code is None else [*code.co_names, *map(repr, constants)]
        return f"OnWorker({', '.join([name, *used])})"


def require_ray(stage: str):
    """The module ``ray``, with ``ray.data``; ImportError says how to get it."""
    try:
        import ray
        import ray.data
    except ImportError:
        raise ImportError(f"{stage} needs Ray: pip install 'pyterrier-xetrieval[ray]'") from None
    return ray


def run_parts(job: Job, parts: Sequence, folder: Path, workers: Workforce, *, stage: str) -> Iterator[tuple[int, object]]:
    """Gives each part to a worker; yields (index among ``parts``, what ``run`` returned) as they are finished.

    A part whose worker dies is done again by another, :data:`RETRIES` times at most. What a job raises ends the whole
    run; parts that were finished stay finished.

    Raises:
        ImportError: no Ray.
        ValueError: a job that cannot be pickled.
        FileNotFoundError: a worker does not see ``folder``.
        RuntimeError: the workers of one part died too often, or Ray failed.
    """
    ray = require_ray(stage)
    if not parts:
        return
    try:
        packed = ray.cloudpickle.dumps(job)
    except Exception as error:
        raise ValueError(f"{stage} cannot send {job!r} to workers ({error}); make what is in it there: OnWorker(…)") from error
    reference, token = ray.put(packed), shared_token(folder)
    shutil.rmtree(folder / TRIES, ignore_errors=True)
    (folder / TRIES).mkdir(exist_ok=True)  # a worker of a run that was killed may just have written there
    run = partial(_run, reference, _Place(str(folder), token, stage, workers.cpus, RETRIES))
    # a worker with a GPU would end with each part: keep it, and what it has loaded
    resources = {"num_gpus": workers.gpus, "max_calls": 0} if workers.gpus else {"num_cpus": workers.cpus}
    rows = [{"index": i, "part": pickle.dumps(part)} for i, part in enumerate(parts)]
    try:
        with _quiet(ray):
            pool = ray.data.TaskPoolStrategy(workers.number)
            answers = ray.data.from_items(rows, override_num_blocks=len(rows)).map(run, compute=pool, **resources)
            for row in answers.iter_rows():
                answer = pickle.loads(row["answer"])
                if isinstance(answer, Exception):
                    raise answer
                yield row["index"], answer
    except ray.exceptions.RayError as error:
        raise RuntimeError(
            f"{stage} was given up, the cluster failed ({type(error).__name__}); finished parts are kept, start it again to go on"
        ) from error


class _Place(NamedTuple):
    """Where and how workers work."""

    folder: str
    token: str
    stage: str
    cpus: float
    retries: int


_loaded: list = []  # in a worker: (the reference of the last job, the job), for Ray keeps processes for further parts


def _run(reference, place: _Place, row: dict) -> dict:
    """In a worker: one part. What is raised is handed over as it is; Ray would wrap it and retry."""
    tries = Path(place.folder) / TRIES / str(row["index"])
    try:
        job = _job(reference, place)
        with open(tries, "ab") as file:
            if file.tell() > place.retries:
                raise RuntimeError(
                    f"{place.stage} was given up: {1 + place.retries} workers died on part {row['index']} of those that were missing "
                    "(out of memory?); finished parts are kept, start it again to go on"
                )
            file.write(b".")
        answer = job.run(pickle.loads(row["part"]))
    except Exception as error:
        answer = error
    try:
        packed = pickle.dumps(answer)
        pickle.loads(packed)
    except Exception:
        packed = pickle.dumps(RuntimeError(f"{type(answer).__name__}: {answer}"))
    return {"index": row["index"], "answer": packed}


def _job(reference, place: _Place) -> Job:
    if not _loaded or _loaded[0] != reference:
        import ray
        import torch

        _loaded.clear()  # the job before may hold a GPU's memory
        torch.set_num_threads(max(1, round(place.cpus)))
        _see(place)
        job = ray.cloudpickle.loads(ray.get(reference))
        job.start()
        _loaded[:] = reference, job
    return _loaded[1]


def _see(place: _Place, *, patience: float = PATIENCE) -> None:
    """Waits until this machine sees the folder that the driver means; FileNotFoundError if it does not."""
    token, end = Path(place.folder) / TOKEN, time.monotonic() + patience
    while not (token.is_file() and token.read_text() == place.token):
        if time.monotonic() > end:
            raise FileNotFoundError(
                f"{place.stage} expects {place.folder} to be on a file system that all machines share; the worker on "
                f"{socket.gethostname()} does not see it"
            )
        time.sleep(0.5)


@contextmanager
def _quiet(ray):
    """One progress line is enough: the caller's."""
    context, log = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    before = context.enable_progress_bars, context.print_on_execution_start, log.level
    context.enable_progress_bars, context.print_on_execution_start = False, False
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars, context.print_on_execution_start = before[:2]
        log.setLevel(before[2])
