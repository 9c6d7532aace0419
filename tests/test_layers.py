"""The layers of the package, which CONTRIBUTING.md explains and pyproject.toml lists."""

import ast
from pathlib import Path

from importlinter.cli import lint_imports

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pyterrier_xetrieval"


def test_imports_point_down(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename="pyproject.toml", no_cache=True, no_logo=True) == 0


def test_names_come_from_their_modules_and_not_from_the_package():
    """What the package itself loads on first use would be hidden from the linter."""
    for path in PACKAGE.rglob("*.py"):
        depth = len(path.relative_to(PACKAGE).parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and not node.module and node.level == depth:
                modules = {child.stem for child in PACKAGE.iterdir()}
                assert {name.name for name in node.names} <= {"__version__", *modules}, f"{path}, line {node.lineno}"
