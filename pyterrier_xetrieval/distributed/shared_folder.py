"""The folder of a job, which all machines share: whose it is, how files come into it, and how it ends."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

JOB, LOCK, TOKEN = "job.json", "lock", "token"
PATIENCE = 30  # seconds for files of another machine, and for the lock of a process that died, to be seen here


def shared_token(folder: Path) -> str:
    """What workers recognise the shared folder by; made with the folder's first job."""
    path = folder / TOKEN
    if not path.is_file():
        path.write_text(uuid.uuid4().hex)
    return path.read_text()


def check_free(folder: Path, path: Path | None = None, *, stage: str) -> None:
    """FileExistsError for something at ``path``, or in the job's folder, that is not of an unfinished job there."""
    if (folder / JOB).exists():
        return
    if path is not None and path.exists():
        raise FileExistsError(f"{stage} expects nothing at {path}, found something; choose another path")
    if folder.exists() and any(found.name not in (LOCK, TOKEN) for found in folder.iterdir()):
        raise FileExistsError(f"{stage} expects {folder} to be its own and removes it in the end, found other files there")


def put_away(folder: Path) -> Path:
    """Renames the folder of a finished job, for it to be removed when the job's lock is released.

    Within the lock, so that no other run takes what is half removed for a job to go on with; and removed after it, for
    network file systems keep what is open.
    """
    gone = folder.with_name(f"{folder.name}.removed")
    shutil.rmtree(gone, ignore_errors=True)  # of a run that was cut off there
    return folder.rename(gone)


def wait_for_files(paths: Iterable[Path], *, stage: str) -> None:
    """Waits until files that workers finished are seen here; FileNotFoundError for one that is not."""
    end = time.monotonic() + PATIENCE
    for path in paths:
        while not path.is_file():
            if time.monotonic() > end:
                raise FileNotFoundError(f"{stage} expects {path} of a worker, found nothing; start it again to go on")
            time.sleep(0.5)


def wait_for_lock(path: Path) -> None:
    """Waits until no process holds the lock of the file, if there is one; that of a dead one may stay for a moment."""
    import fcntl

    end = time.monotonic() + PATIENCE
    while path.is_file() and time.monotonic() < end:
        with open(path, "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(0.2)
            except OSError:  # a file system without locks
                return
