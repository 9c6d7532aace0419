"""The lines of ``shards.jsonl``, checked before a file is opened by a name or a size that stands in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..store.facts import ASPECTS, COUNT, TEXTS_BY_NAME, Check, check_facts, is_count, is_finite

_FLAG: Check = ("true or false", lambda value: isinstance(value, bool))
_TEXT: Check = ("a text", lambda value: isinstance(value, str))
_SETTINGS: dict[str, Check] = {
    "dim": COUNT,
    "dict_size": COUNT,
    "aspects": ASPECTS,
    "weights": ("finite numbers", lambda value: isinstance(value, list) and all(map(is_finite, value))),
    "refit": _FLAG,
    "dtype": ("'float32' or 'float16'", lambda value: value in ("float32", "float16")),
    "shard_size": COUNT,
    "model_sha256": _TEXT,
}
_KEPT = dict.fromkeys(("texts", "evidence"), _FLAG)


def check_settings(settings: Any, file: Path) -> None:
    """ValueError for a first line that is not the settings of an index."""
    check_facts(settings, _SETTINGS, file, "the settings")
    check_facts(settings, {name: flag for name, flag in _KEPT.items() if name in settings}, file, "the settings")
    if len(settings["weights"]) != len(settings["aspects"]):
        expected = f"a weight for each of {settings['aspects']}"
        raise ValueError(f"{file} is damaged: expected {expected}, found {settings['weights']}")


def check_shards(shards: list[Any], sizes: dict[str, tuple[int, str] | None], file: Path) -> None:
    """ValueError for lines that are not those of shards.

    Args:
        shards: a line each, in order.
        sizes: for each data file of the index how many bytes it has for each ``"document"`` or ``"shard"``; None where
            that differs from one to the other.
        file: where the lines are from.
    """
    before, documents = dict.fromkeys(sizes, 0), 0
    ends: Check = (f"where each of {sorted(sizes)} ends", lambda value: isinstance(value, dict) and value.keys() == sizes.keys())
    for number, shard in enumerate(shards):
        part = f"shard {number}"
        check_facts(shard, {"documents": COUNT, "ends": ends, "sha256": TEXTS_BY_NAME}, file, part)
        documents += shard["documents"]
        if shard["sha256"].keys() != sizes.keys():
            raise ValueError(f"{file} is damaged: expected a sha256 of each of {sorted(sizes)} in {part}")
        for name, end in shard["ends"].items():
            each = sizes[name]
            wanted = None if each is None else each[0] * (documents if each[1] == "document" else number + 1)
            if not is_count(end) or end < before[name] or (wanted is not None and end != wanted):
                told = f"{before[name]} or more" if wanted is None else wanted
                raise ValueError(f"{file} is damaged: expected {name} to end at {told} in {part}, found {end!r}")
        before = shard["ends"]
