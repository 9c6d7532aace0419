"""Same inputs, seed and threads: the same bytes of models, samples, labels, indexes and pages, in any process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.same_bytes import made_in


@pytest.mark.usefixtures("one_thread")
def test_two_processes_write_the_same_bytes(tmp_path):
    """The other process orders its sets in another way, and writes elsewhere; there is no file that may differ."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    environment = os.environ | {"PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "tests.helpers.same_bytes", str(tmp_path / "b")]
    other = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    found = made_in(tmp_path / "a")
    expected = json.loads(other.communicate(timeout=300)[0].splitlines()[-1])
    assert found.keys() == expected.keys() and len(found) > 20
    assert [name for name in found if found[name] != expected[name]] == []
