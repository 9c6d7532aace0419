"""Prompts and answers: what a teacher is asked about a document (Cai et al. 2026, App. A), and how templates are filled."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

from ..core.checks import check_aspect_name, found_value

PLACEHOLDER = "{text}"

PROMPTS: dict[str, str] = {
    "summary": (
        "Read the following text and summarize it in layman's terms, in one paragraph. Output only the paragraph.\n\nText:\n{text}"
    ),
    "purpose": (
        "Read the following text and describe its purpose in layman's terms, in one paragraph. Output only the paragraph."
        "\n\nText:\n{text}"
    ),
    "qa": (
        "Read the following text and write at most 20 distinct question-answer pairs about it. Ask general questions in "
        "layman's terms; their vocabulary may differ from that of the text, but answering them must need knowledge that the "
        "text states or implies. Output only the pairs, each as 'Q: ... A: ...' on a line of its own.\n\nText:\n{text}"
    ),
}
"""The paper's three aspects in our wording. A plain dict: ``{**PROMPTS, "audience": "Who would read this? …{text}"}``."""


def check_prompts(prompts: Mapping[str, str]) -> dict[str, str]:
    """A copy of ``prompts``, aspect to template.

    Raises:
        ValueError: no prompt at all, an aspect that cannot end a column name (or is ``original``), or a template that
            does not hold ``{text}`` exactly once.
    """
    if not isinstance(prompts, Mapping) or not prompts:
        raise ValueError(f"Teacher expects prompts as a mapping from aspect to template, found {found_value(prompts)}")
    for aspect, template in prompts.items():
        check_aspect_name(aspect, stage="Teacher")
        if not isinstance(template, str) or template.count(PLACEHOLDER) != 1:
            raise ValueError(
                f"Teacher expects the placeholder {PLACEHOLDER} once in the prompt for {aspect!r}, found {template!r}"
            )
    return dict(prompts)


def fill(template: str, **parts: str) -> str:
    """The template with its ``{name}`` placeholders filled; all other braces, also those in the parts, stay.

    Example::

        >>> fill("{text} {x}", text="{y}")
        '{y} {x}'
    """
    return re.sub(r"\{(\w+)\}", lambda match: parts.get(match[1], match[0]), template)


def check_template(template: str, names: Sequence[str], *, stage: str) -> None:
    """ValueError unless the template has each placeholder."""
    missing = [f"{{{name}}}" for name in names if f"{{{name}}}" not in template]
    if missing:
        raise ValueError(f"{stage} expects {' and '.join(missing)} in the prompt, found {template!r}")


def shortened(text: str, max_chars: int) -> str:
    """A text on one line of at most that many characters.

    Example::

        >>> shortened("two lines,\\nand more", 12)
        'two lines, …'
    """
    text = " ".join(text.split())
    return text if len(text) <= max_chars else f"{text[: max_chars - 1]}…"


def without_reasoning(text: str) -> str:
    """What follows a reasoning block, ``<think>…</think>``; nothing if the block does not end."""
    text = text.rpartition("</think>")[2].strip()
    return "" if text.startswith("<think>") else text


def digest(text: str, length: int) -> str:
    """The first ``length`` hexadecimal digits of a text's sha256."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:length]


def check_answer(aspect: str, text: str) -> str | None:
    """Why ``text`` is no answer to the prompt for ``aspect``; None if it is one.

    ``text`` is without a reasoning block. An answer to ``qa`` needs a question mark, any other only some text. Give
    :class:`~pyterrier_xetrieval.training.teacher.Teacher` another function of this signature to ask for more.
    """
    if not text:
        return "empty answer"
    if aspect == "qa" and not any(mark in text for mark in "?？؟"):
        return "no question in the answer"
    return None
