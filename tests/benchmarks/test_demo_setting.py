"""What the benchmarks take from the demo is there: they are too slow to be run by tests."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from pyterrier_xetrieval.cli.demo_job import Demo

SCRIPTS = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_demo_has_what_a_benchmark_takes_from_it(script):
    taken = set(re.findall(r"\b(?:job|Demo\([^\n]*\))\.(\w+)", script.read_text(encoding="utf-8")))
    assert taken <= {*dir(Demo), *(field.name for field in fields(Demo))}
