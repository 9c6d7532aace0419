"""The first examples of the README, run as printed."""

import re
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(python)?\n(.*?)^```$", README, re.M | re.S)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the printed documents are those of Python 3.11")
def test_the_first_examples_print_what_stands_below_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first = next(i for i, (language, _) in enumerate(BLOCKS) if language)
    names = {}
    for (language, code), (_, expected) in zip(BLOCKS[first : first + 6 : 2], BLOCKS[first + 1 : first + 6 : 2]):
        assert language == "python"
        capsys.readouterr()
        exec(code, names)
        printed, expected = capsys.readouterr().out.split(), expected.split()
        assert len(printed) == len(expected) > 10
        for found, wanted in zip(printed, expected):
            if re.fullmatch(r"[+-]?\d+\.\d+", wanted):
                assert float(found) == pytest.approx(float(wanted), abs=2e-3)
            else:
                assert found == wanted


def test_all_python_blocks_compile():
    python = [code for language, code in BLOCKS if language]
    assert len(python) >= 6
    for code in python:
        compile(code, "README.md", "exec")
