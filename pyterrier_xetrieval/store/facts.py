"""What a JSON file says of an artifact, checked before anything is made of it: the file may come from anybody."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

Check = tuple[str, Callable[[Any], bool]]  # what a value has to be, in words and as a test


def is_count(value: object) -> bool:
    """Whether it is a whole number from 0 up."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_finite(value: object) -> bool:
    """Whether it is a number that a float holds, and finite."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def is_aspects(value: object) -> bool:
    """Whether it is a list, or an object, of different names that can end the name of a column."""
    names = list(value) if isinstance(value, (list, dict)) else [None]
    return len(set(map(str, names))) == len(names) and all(isinstance(n, str) and n.isidentifier() for n in names)


def is_texts(value: object) -> bool:
    """Whether it is an object whose values are texts."""
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


COUNT: Check = ("a whole number above 0", lambda value: is_count(value) and value > 0)
ASPECTS: Check = ("names of aspects", is_aspects)
TEXTS_BY_NAME: Check = ("an object of texts", is_texts)


def check_facts(facts: object, expected: Mapping[str, Check], file: Path, part: str = "") -> None:
    """Compares each fact that is needed with what it has to be.

    Args:
        facts: from the file; expected: what it has to be, by name.
        file: where the facts are from, and part: where in it; both named in errors.

    Raises:
        ValueError: no JSON object, or a fact that is missing or something else.

    Example::

        >>> check_facts({"dim": "../x"}, {"dim": COUNT}, Path("pt_meta.json"))
        Traceback (most recent call last):
        ValueError: pt_meta.json is damaged: expected dim to be a whole number above 0, found '../x'
    """
    where = f" {part}" if part else ""
    if not isinstance(facts, dict):
        raise ValueError(f"{file} is damaged: expected{where} to be a JSON object, found {type(facts).__name__}")
    for name, (what, fits) in expected.items():
        if name not in facts:
            raise ValueError(f"{file} is damaged: {name} missing{where and f' in{where}'}")
        if not fits(facts[name]):
            dotted = f"{part}.{name}" if part else name
            raise ValueError(f"{file} is damaged: expected {dotted} to be {what}, found {short_repr(facts[name])}")


def read_json(file: Path, *, refused: str = "is damaged") -> Any:
    """The content of a JSON file.

    Args:
        refused: what an error says of a file that is no JSON.

    Raises:
        FileNotFoundError: no such file, or something that is none.
        ValueError: no JSON.
    """
    return parsed(regular(file).read_bytes(), file, refused=refused)


def parsed(text: str | bytes, file: Path, *, refused: str = "is damaged") -> Any:
    """JSON from a file; ValueError, naming the file, for other text, and for lists in lists beyond what Python parses."""
    try:
        return json_of(text)
    except ValueError as error:
        raise ValueError(f"{file} {refused}: {error}") from None


def json_of(text: str | bytes) -> Any:
    """JSON from anybody; ValueError for other text, bytes that are no UTF-8, and lists in lists beyond what Python parses.

    Python's own reader takes bytes of UTF-16 too, and halves of characters, which no text in UTF-8 has.

    >>> json_of('{"a": [1]}')
    {'a': [1]}
    >>> json_of("[" * 100_000)
    Traceback (most recent call last):
    ValueError: expected JSON, found lists in lists deeper than Python reads
    """
    try:
        return json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
    except RecursionError:
        raise ValueError("expected JSON, found lists in lists deeper than Python reads") from None


def text_of_file(file: Path) -> str:
    """The text of a file in UTF-8; ValueError, naming the file, for other bytes. FileNotFoundError where there is none."""
    try:
        return regular(file).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} expects text in UTF-8, found other bytes: {error}") from None


def regular(file: Path) -> Path:
    """The path; FileNotFoundError unless it is that of a file (a pipe would be waited for, a folder cannot be read)."""
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing" if not file.exists() else f"{file} is no file")
    return file
