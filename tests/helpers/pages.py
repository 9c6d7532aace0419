"""Code blocks of pages, run as they stand there: of the README (Markdown) and of the documentation (reStructuredText)."""

import re
from textwrap import dedent
from typing import NamedTuple

import pytest

NUMBER = re.compile(r"[+−-]?\d+\.\d+")


class Block(NamedTuple):
    """A block of a page.

    Attributes:
        language: ``python`` is run; ``text``, or none at all, right after it is what it prints; others are left alone.
        code: what stands there; mark: why it is not run, in a page of reStructuredText its ``:class:``.
    """

    language: str
    code: str
    mark: str = ""


def markdown_blocks(text: str) -> list[Block]:
    return [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)]


def rst_blocks(text: str) -> list[Block]:
    found = re.findall(r"^\.\. code-block:: (\w+)\n((?:   :.*\n)*)\n((?:(?:   .*)?\n)+)", text + "\n", re.M)
    return [
        Block(language, dedent(code).strip() + "\n", "".join(re.findall(r":class: (.*)", options)))
        for language, options, code in found
    ]


def run_blocks(blocks: list[Block], capsys) -> None:
    """Runs the blocks of a page in one namespace, and compares what each prints with the block below it."""
    names: dict = {"__name__": "page"}
    for block, below in zip(blocks, [*blocks[1:], Block("none", "")]):
        if block.language != "python":
            continue
        program = compile(block.code, block.code.strip().splitlines()[-1], "exec")
        if block.mark:
            continue
        capsys.readouterr()
        exec(program, names)
        assert_same_text(capsys.readouterr().out, below.code if below.language in ("", "text") else "")


def assert_same_text(found: str, expected: str) -> None:
    """The same words, whatever the space between them, and nearly the same numbers."""
    assert NUMBER.sub("#", found).split() == NUMBER.sub("#", expected).split()
    numbers = [[float(n.replace("−", "-")) for n in NUMBER.findall(text)] for text in (found, expected)]
    assert numbers[0] == pytest.approx(numbers[1], abs=2e-3)
