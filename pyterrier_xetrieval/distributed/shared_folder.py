"""The folder of a job, which all machines share: one run at a time works in it and waits for what others write."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..store.locks import locked

JOB, TOKEN = "job.json", "token"
PATIENCE = 30  # seconds: network file systems are late to show other machines' files, and to free a dead process's lock


@contextmanager
def job_folder(folder: Path, *, stage: str, result: Path | None = None) -> Iterator[Callable[[], None]]:
    """Holds the folder of a job for this run alone, and yields the function that removes it when the job is finished.

    The folder of a job that was cut off stays, and the same call goes on there.

    Args:
        folder: made if it is not there.
        stage: named in errors.
        result: where the result of the job will be; nothing may be there when a job begins.

    Raises:
        FileExistsError: something at ``result``, or files in the folder that are not of an unfinished job.
        RuntimeError: another run holds the folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if not (folder / JOB).exists():
            if result is not None and result.exists():
                raise FileExistsError(f"{stage} expects nothing at {result}, found something; choose another path")
            if folder.exists() and any(found.name != TOKEN for found in folder.iterdir()):
                raise FileExistsError(
                    f"{stage} expects {folder} to be its own and removes it in the end, found other files there"
                )
        folder.mkdir(exist_ok=True)
        token_of(folder)
        yield lambda: remove(folder)


def remove(folder: Path) -> None:
    """Removes the folder of a finished job, under another name: a job must not go on in what is half removed."""
    gone = folder.with_name(f"{folder.name}.removed")
    shutil.rmtree(gone, ignore_errors=True)  # of a run that was killed while it removed it
    shutil.rmtree(folder.rename(gone))


def token_of(folder: Path) -> str:
    """The random text that tells this folder from one of the same path on another machine; made with its first job."""
    path = folder / TOKEN
    if not path.is_file():
        path.write_text(uuid.uuid4().hex)
    return path.read_text()


def came_true(condition: Callable[[], bool], patience: float) -> bool:
    """Waits for a condition, ``patience`` seconds at most; whether it holds then."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


def wait_for_files(paths: Iterable[Path], *, stage: str) -> None:
    """Waits until files that workers have finished are seen here; FileNotFoundError for one that is not."""
    for path in paths:
        if not came_true(path.is_file, PATIENCE):
            raise FileNotFoundError(f"{stage} expects {path} of a worker, found nothing; start it again to go on")


def wait_for_lock(path: Path) -> None:
    """Waits until no process holds the lock of the file: a worker that died may seem to hold it for a moment."""
    if path.parent.is_dir():
        with locked(path, patience=PATIENCE):
            pass
