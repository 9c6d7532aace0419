"""Checksums of files, and of parts of files that only grow."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256(path: Path, start: int = 0, stop: int | None = None) -> str:
    """Of a file, or of its bytes ``start … stop-1``."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        file.seek(start)
        left = float("inf") if stop is None else stop - start
        while left > 0 and (data := file.read(int(min(left, 1 << 20)))):
            digest.update(data)
            left -= len(data)
    return digest.hexdigest()


def check_sha256(path: Path, expected: str | None, stop: int | None = None) -> None:
    """ValueError unless a file, or its first ``stop`` bytes, hash to this; also where there is no file."""
    found = sha256(path, 0, stop) if path.exists() else None
    if found != expected:
        raise ValueError(f"{path} is damaged: expected sha256 {expected}, found {found}")
