"""The first examples of the README, run as printed."""

import sys
from pathlib import Path

import pytest

from tests.helpers.pages import markdown_blocks, run_blocks

BLOCKS = markdown_blocks((Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8"))
PYTHON = [i for i, block in enumerate(BLOCKS) if block.language == "python"]


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the printed documents are those of Python 3.11")
def test_the_first_examples_print_what_stands_below_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first = BLOCKS[PYTHON[0] : PYTHON[0] + 6]
    assert [block.language for block in first] == ["python", ""] * 3
    assert all(len(block.code.split()) > 10 for block in first)
    run_blocks(first, capsys)


def test_all_python_blocks_compile():
    assert len(PYTHON) == 4
    for i in PYTHON:
        compile(BLOCKS[i].code, "README.md", "exec")
