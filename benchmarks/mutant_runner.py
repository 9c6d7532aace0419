"""Runs tests against a changed module, each time in a fork of one process that has imported what they need."""

import ast
import gc
import json
import math
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from inspect import CO_NEWLOCALS
from pathlib import Path
from types import CodeType, FunctionType

ROOT = Path(__file__).parents[1]
CORE, TESTS = ROOT / "pyterrier_xetrieval" / "core", "tests/core"
ENDLESS = 20.0  # seconds of processor time, beside thrice what the tests take: a loop that no longer ends
PATIENCE = 20  # times that by the clock: on a busy machine a test that passes may take long, and a thread may wait for ever


@dataclass
class Mutant:
    """One change: the file's name, the line, and how the line reads before and after it."""

    file: str
    line: int
    before: str
    after: str
    source: str = ""  # of the whole changed module
    outcome: str = ""  # killed, endless or survived


class _Instead(SourceFileLoader):
    """Loads another source in place of a file's."""

    def __init__(self, name: str, path: str, source: str):
        super().__init__(name, path)
        self.source = source

    def get_code(self, name):
        return compile(self.source, self.path, "exec", dont_inherit=True)

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        return spec_from_file_location(name, self.path, loader=self) if name == self.name else None


def run_tests(tests: list[str], *plugins) -> int:
    """pytest's exit status; failing examples are not made smaller."""
    import hypothesis
    import pytest

    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", phases=phases, database=None, derandomize=True)
    hypothesis.settings.load_profile("mutants")
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--tb=no", "--assert=plain", *tests], list(plugins)))


class _Durations:
    """A plugin that notes how long each test takes, what its file sets up included, and what is loaded in the end."""

    def __init__(self, file: Path):
        self.file, self.seconds, self.set_up = file, {}, {}

    def pytest_runtest_logreport(self, report):
        file = report.nodeid.split("::")[0]
        if report.when == "setup":
            self.set_up[file] = max(report.duration, self.set_up.get(file, 0.0))
        if report.when == "call":
            self.seconds[report.nodeid] = report.duration

    def pytest_sessionfinish(self):
        ours = ("pyterrier_xetrieval", "tests", "conftest", "_pytest", "pytest", "coverage", "benchmarks", "__main__")
        loaded = [name for name in sys.modules if name.split(".")[0] not in ours]
        seconds = {test: own + self.set_up[test.split("::")[0]] for test, own in self.seconds.items()}
        self.file.write_text(json.dumps({"seconds": seconds, "loaded": loaded}))


def forked(function: Callable[[], int], limit: float) -> int | None:
    """The exit status of a function in a fork of this process, None if it needs more seconds; what it prints is lost."""
    child = os.fork()
    if not child:
        status = 99
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit), math.ceil(limit) + 5))
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            status = function()
        finally:
            os._exit(status)
    end = time.monotonic() + PATIENCE * limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return None if code == -signal.SIGXCPU else code
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


class _Loop:
    """A plugin that does something with the collected tests instead of running them all."""

    def __init__(self, work):
        self.work = work

    def pytest_runtestloop(self, session):
        self.work({item.nodeid: item for item in session.items})
        return True


class Runner:
    """Knows which tests run which lines, and how long they take."""

    def __init__(self):
        with tempfile.TemporaryDirectory() as folder:
            notes, data = Path(folder) / "notes.json", Path(folder) / "coverage"
            os.environ["COVERAGE_FILE"] = str(data)
            options = ["--cov=pyterrier_xetrieval/core", "--cov-context=test", "--cov-report=", "--cov-fail-under=0"]
            if forked(lambda: run_tests([TESTS, *options], _Durations(notes)), 600):
                raise SystemExit(f"mutants expects tests in {TESTS} that pass, found some that fail; run them")
            found = json.loads(notes.read_text())
            self.seconds = found["seconds"]
            self.lines = _tests_by_line(data)
        for name in found["loaded"]:
            with suppress(Exception):  # a part that only its own package imports: then the forks do
                import_module(name)

    def tests_of(self, mutant: Mutant) -> list[str]:
        """The tests that run the changed statement, the quickest first; of a default or a decorator those of its function."""
        for first, last in (_statement(mutant.file, mutant.line), _definition(mutant.file, mutant.line)):
            lines = self.lines.get(mutant.file, {})
            found = set().union(*(tests for line, tests in lines.items() if first <= line <= last)) & set(self.seconds)
            if found:
                break
        return sorted(found, key=self.seconds.get)

    def run(self, mutants: list[Mutant], report: Callable[[Mutant], None]) -> None:
        """Sets the outcome of each: first of those that change what an import does, then of those inside of functions."""
        inside = {id(mutant): codes for mutant in mutants if (codes := _changed_functions(mutant)) is not None}

        def settle(mutant: Mutant, function: Callable[[list[str]], int]) -> None:
            tests = self.tests_of(mutant)
            status = forked(lambda: function(tests), ENDLESS + 3 * sum(map(self.seconds.get, tests))) if tests else 0
            mutant.outcome = "endless" if status is None else "killed" if status else "survived"
            report(mutant)

        for mutant in mutants:
            if id(mutant) not in inside:
                settle(mutant, lambda tests, mutant=mutant: _imported_anew(mutant, tests))

        def with_tests(items: dict) -> None:
            functions = [f for f in gc.get_objects() if type(f) is FunctionType and f.__code__.co_filename.startswith(str(CORE))]
            for mutant in mutants:
                if id(mutant) in inside:
                    own = [f for f in functions if f.__code__.co_filename == str(CORE / mutant.file)]
                    codes = inside[id(mutant)]
                    settle(mutant, lambda tests, own=own, codes=codes: _patched(own, codes, [items[test] for test in tests]))

        run_tests([TESTS, "-s"], _Loop(with_tests))


def _imported_anew(mutant: Mutant, tests: list[str]) -> int:
    path = CORE / mutant.file
    sys.meta_path.insert(0, _Instead(f"pyterrier_xetrieval.core.{path.stem}", str(path), mutant.source))
    return run_tests(tests)


def _patched(functions: list[FunctionType], codes: dict[str, CodeType], items: list) -> int:
    """1 as soon as one of the tests fails with this code in the functions of these names."""
    from _pytest.runner import runtestprotocol

    for function in functions:
        function.__code__ = codes[function.__code__.co_qualname]
    for item, following in zip(items, [*items[1:], None]):
        if any(report.failed for report in runtestprotocol(item, log=False, nextitem=following)):
            return 1
    return 0


def _changed_functions(mutant: Mutant) -> dict[str, CodeType] | None:
    """The code of all functions of the changed module by name; None if anything outside of functions changed."""
    path = CORE / mutant.file
    before, after = (
        _codes(compile(source, str(path), "exec", dont_inherit=True)) for source in (path.read_text(), mutant.source)
    )
    return after[1] if before[0] == after[0] else None


def _codes(code: CodeType) -> tuple[list, dict[str, CodeType]]:
    """What runs at import (of the module and its classes), and the functions by name."""
    at_import, functions = [(code.co_code, [c for c in code.co_consts if not isinstance(c, CodeType)], code.co_names)], {}
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            if inner.co_flags & CO_NEWLOCALS:
                functions[inner.co_qualname] = inner
            else:  # a class
                more, methods = _codes(inner)
                at_import, functions = at_import + more, functions | methods
    return at_import, functions


def _tests_by_line(data: Path) -> dict[str, dict[int, set[str]]]:
    """File name to line to tests."""
    from coverage import CoverageData

    read = CoverageData(str(data))
    read.read()
    lines = {}
    for file in read.measured_files():
        contexts = read.contexts_by_lineno(file)
        lines[Path(file).name] = {line: {c.split("|")[0] for c in found if c} for line, found in contexts.items()}
    return lines


@cache
def _tree(file: str) -> ast.Module:
    return ast.parse((CORE / file).read_text())


def _statement(file: str, line: int) -> tuple[int, int]:
    """First and last line of the statement there; of one that holds others, its head."""
    inner = (0, 0)
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.stmt) and node.lineno <= line <= node.end_lineno and node.lineno >= inner[0]:
            inner = (node.lineno, node.body[0].lineno - 1 if getattr(node, "body", None) else node.end_lineno)
    return inner


def _definition(file: str, line: int) -> tuple[int, int]:
    """First and last line of the function there; the whole file outside of any: who makes an object runs no line of its class."""
    inner = (0, 10**6)
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if first <= line <= node.end_lineno and first >= inner[0]:
                inner = (first, node.end_lineno)
    return inner
