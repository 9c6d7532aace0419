"""The first examples of the README, run as printed."""

import sys
from pathlib import Path

import pytest

from tests.helpers.pages import markdown_blocks, run_blocks

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = markdown_blocks(README)
PYTHON = [i for i, block in enumerate(BLOCKS) if block.language == "python"]


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the printed documents are those of Python 3.11")
def test_the_first_examples_print_what_stands_below_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first = [block for block in BLOCKS[: PYTHON[3]] if block.language != "bash"]
    assert [block.language for block in first] == ["python", ""] * 3
    assert all(len(block.code.split()) > 10 for block in first)
    run_blocks(first, capsys)


def test_the_first_screen_shows_a_result_and_the_page_is_short():
    lines = README.splitlines()
    assert len(lines) <= 120 and "```python" in lines[:8]
    assert BLOCKS[1].code in "\n".join([*lines[:30], ""])


def test_all_python_blocks_compile():
    assert len(PYTHON) == 4
    for i in PYTHON:
        compile(BLOCKS[i].code, "README.md", "exec")
