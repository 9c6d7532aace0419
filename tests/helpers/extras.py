"""Packages that need an extra: what they say without it, and what they load with it."""

import importlib
import subprocess
import sys

import pyterrier_xetrieval


def import_without(needed, package, monkeypatch):
    """Imports a subpackage anew, as where this distribution is not installed."""
    monkeypatch.delattr(pyterrier_xetrieval, package)
    for name in [name for name in sys.modules if name.startswith(f"pyterrier_xetrieval.{package}")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, needed, None)  # importing it fails
    importlib.import_module(f"pyterrier_xetrieval.{package}")


def loaded_with(package) -> set[str]:
    """The modules in a fresh interpreter that imported every public name of a subpackage."""
    code = f"import sys; from pyterrier_xetrieval.{package} import *; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())
