"""The driver of mutants: which changes it makes, which tests it takes, and that a change is noticed where one notices it."""

import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # its modules import each other as scripts do
from mutant_runner import CORE, Mutant, _changed_functions, _definition, _patched, _statement, forked
from mutants import _difference, mutants_of, page

from pyterrier_xetrieval.core import threads, views


def mutant(before, after, file="views.py"):
    source = (CORE / file).read_text()
    assert source.count(before) == 1
    line = source[: source.index(before)].count("\n") + 1
    return Mutant(file, line, before, after, source.replace(before, after))


def test_what_changes_in_a_function_and_what_at_import():
    inside = _changed_functions(mutant("np.float32(weights[i]) * view", "np.float32(weights[i]) / view"))
    assert {"fold_views", "unit_rows", "view_weights"} <= set(inside)
    assert inside["unit_rows"] == views.unit_rows.__code__ and inside["fold_views"] != views.fold_views.__code__
    assert _changed_functions(mutant("_PAIRS = 128", "_PAIRS = 127")) is None
    assert _changed_functions(mutant("@torch.no_grad()\ndef internalize", "def internalize", "internalizer.py")) is None


def test_a_change_is_in_force_in_a_fork_alone():
    changed = mutant("len(items) < 2", "len(items) < 9", "threads.py")

    def status():
        _patched([threads.in_threads], _changed_functions(changed), [])
        return int(9 in threads.in_threads.__code__.co_consts)

    assert forked(status, 20) == 1 and 9 not in threads.in_threads.__code__.co_consts


def test_what_does_not_end_is_ended():
    assert forked(lambda: max(iter(int, 1)), 0.05) is None  # a loop
    assert forked(lambda: os.kill(os.getpid(), signal.SIGSTOP) or 0, 0.05) is None  # one that waits
    assert forked(lambda: 3, 1) == 3


def test_lines_of_a_statement_and_of_its_function():
    source = (CORE / "views.py").read_text().splitlines()
    head = source.index("def unit_rows(vectors: np.ndarray) -> np.ndarray:") + 1
    inner = source.index("    out[other] /= lengths[other, None]") + 1
    assert _statement("views.py", inner) == (inner, inner)
    assert _definition("views.py", inner) == (head, inner + 1)
    assert _definition("views.py", 10)[0] == 0  # outside of any: the whole file
    loop = source.index("    for start in range(0, len(out), _PAIRS):") + 1
    assert _statement("views.py", loop) == (loop, loop)  # the head, not what it repeats


def test_differences_and_the_page():
    assert _difference("a\n@b\nc = 1  # why\n", "a\nc = 1\n") == ("@b c = 1", "c = 1")
    assert _difference("a\n@b\nc\n", "a\n\nc\n") == ("@b", "nothing")
    survivor = {"line": 3, "before": "a < b", "after": "a <= b", "why": "equivalent: they are never equal"}
    own = {"sampled": False, "mutants": 8, "endless": 1, "survivors": [survivor]}
    text = page({"x.py": own, "y.py": {"sampled": True, "mutants": 2, "endless": 0, "survivors": []}})
    assert "| `x.py` | all | 8 | 7 | 1 | 1 | 87.5% |" in text and "| `y.py` | some | 2 | 2 | 0 | 0 | 100.0% |" in text
    assert "| together | | 10 | 9 | 1 | 1 | 90.0% |" in text
    assert "1 equivalent" in text and "- equivalent: they are never equal\n  - line 3: `a < b` became `a <= b`" in text


def test_mutants_of_a_file(tmp_path):
    pytest.importorskip("cosmic_ray", reason="`make mutants` installs it")
    path = tmp_path / "x.py"
    path.write_text("def f(a: int | None, *, b=2) -> int | None:\n    return a + b if a < 3 else None\n")
    found = {(m.line, m.after) for m in mutants_of(path)}
    assert (2, "return a - b if a < 3 else None") in found and (2, "return a + b if a <= 3 else None") in found
    assert not any("int &" in after or "int ^" in after or ", /" in after for _, after in found)
