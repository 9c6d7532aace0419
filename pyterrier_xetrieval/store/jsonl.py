"""JSON-lines files: those of others, and our own, which have one writer and survive that it is killed."""

from __future__ import annotations

import codecs
import gzip
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .facts import json_of
from .locks import locked
from .surrogates import repaired


def check_can_be_read_again(path: Path, *, stage: str) -> None:
    """ValueError for a pipe or a device: it would be empty when it is read a second time."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ValueError(
            f"{stage} expects a file that can be read more than once, found a pipe or device at {path}; store it first"
        )


def records(path: Path) -> Iterator[tuple[str, dict]]:
    """The objects of somebody's JSON-lines file (``.gz`` too), each with its place for errors; blank lines are skipped.

    Yields:
        ``"line 3 of corpus.jsonl"`` and the object of that line.

    Raises:
        ValueError: a line that is no JSON object, named; a gzip file that is damaged or cut off.
    """
    with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as lines:
        try:
            for number, line in enumerate(lines, 1):
                line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                if line.strip():
                    yield f"line {number} of {path}", _object(line, f"line {number} of {path}")
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path} is damaged: {error}") from None


def _object(line: bytes, where: str) -> dict:
    try:
        row = json_of(line)
    except ValueError as error:  # no JSON, or no UTF-8
        raise ValueError(f"{where} is no JSON: {error}") from None
    if b"\\ud" in line or b"\\uD" in line:  # perhaps half of a character, which neither tokenizers nor UTF-8 take
        row = json_of(repaired(json.dumps(row, ensure_ascii=False)))
    if not isinstance(row, dict):
        raise ValueError(f"{where} expects an object, found {str(row)[:80]}")
    return row


def write_line(file: BinaryIO, row: dict) -> None:
    """Appends a row to a file that :func:`appending` opened; a process that is killed afterwards does not lose it."""
    file.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
    file.flush()


def json_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, dict]]:
    """Line numbers and rows of a JSON-lines file without a torn last line; nothing if there is no file.

    Raises:
        ValueError: a line that is no JSON object and not the last one.
    """
    try:
        lines = open(path, "rb")
    except FileNotFoundError:
        return
    with lines:
        broken = None
        for number, line in enumerate(lines, 1):
            if broken:  # and not the last
                raise ValueError(f"line {broken} of {path} is no JSON object: repair or remove it")
            try:
                row = json_of(line)
                if not isinstance(row, dict):
                    raise ValueError
            except ValueError:
                broken = number
            else:
                yield number, row


@contextmanager
def appending(path: Path) -> Iterator[BinaryIO]:
    """The file, open for appending by this run alone; a last line that a killed run left torn is cut off.

    Raises:
        RuntimeError: another run has it open.

    Example::

        with appending(Path("answers.jsonl")) as file:
            write_line(file, {"feature": 7, "label": "animals"})
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path), open(path, "a+b") as file:
        _cut_torn_line(file)
        yield file


def _cut_torn_line(file: BinaryIO) -> None:
    end = file.seek(0, 2)
    size = min(end, 1 << 16)
    while True:  # the last line is whatever follows the last newline but one
        file.seek(end - size)
        tail = file.read(size)
        start = tail[:-1].rfind(b"\n") + 1
        if start or size == end:
            break
        size = min(end, size * 2)
    last = tail[start:]
    try:
        whole = not last or isinstance(json_of(last), dict)
    except ValueError:
        whole = False
    if not whole:
        file.truncate(end - len(last))
    elif last and not last.endswith(b"\n"):
        file.write(b"\n")
        file.flush()
