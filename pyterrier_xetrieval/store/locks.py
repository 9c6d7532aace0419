"""One writer at a time: a lock that ends with the process that holds it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def locked(path: str | os.PathLike[str], *, patience: float = 0.0) -> Iterator[None]:
    """Holds the lock of a file or folder until the block ends, or the process does, however that ends.

    What is locked is an empty file ``.NAME.lock`` beside ``path``: a lock on the file itself would keep readers out on
    some systems. The block's end removes it; a killed process leaves it behind, free for the next one. Where the file
    system has no locks, the block runs without one.

    Args:
        path: the file or folder, which need not be there; its parent folder must.
        patience: seconds to wait for a lock that another run holds.

    Raises:
        RuntimeError: another run holds the lock.
        PermissionError: nothing can be written beside ``path``.

    Example::

        with locked("answers.jsonl"), open("answers.jsonl", "ab") as file:
            file.write(line)
    """
    path = Path(os.path.realpath(path))
    place = path.with_name(f".{path.name}.lock")
    end = time.monotonic() + patience
    while (file := _taken(place)) is None:
        if time.monotonic() >= end:
            raise RuntimeError(f"{path} is being written by another run; wait for it, or choose another path")
        time.sleep(0.1)
    with file:
        try:
            yield
        finally:
            with suppress(OSError):  # Windows does not remove open files; an empty file that nobody holds does no harm
                if _is_at(file, place):
                    place.unlink()


def _taken(place: Path) -> BinaryIO | None:
    """The lock file, open and locked; None where another run holds it."""
    from filelock import lock_descriptor  # late: most who import this module only read

    file = open(place, "ab")
    try:
        free = lock_descriptor(file.fileno(), blocking=False)
    except OSError:  # a file system without locks
        free = True
    if free and _is_at(file, place):
        return file
    file.close()
    return None


def _is_at(file: BinaryIO, place: Path) -> bool:
    """False for a file that its last holder has removed, or whose folder got another name."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), os.stat(place))
    return False
