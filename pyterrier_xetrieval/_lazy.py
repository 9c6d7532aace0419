"""Public names that are imported on first use, so that importing a package costs nothing (PEP 562)."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable
from typing import Any


def attach(package: str) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package whose names stand in other modules.

    The names are those that the package imports under ``if TYPE_CHECKING:``, where editors and type checkers find them. They
    are read from the text of its ``__init__.py``, so that they are written down once.

    Args:
        package: the package's ``__name__``; it is being imported.

    Raises:
        ValueError: a name that is also that of its module: whoever imports the module first would get the module.

    Example::

        if TYPE_CHECKING:
            from .core.sae import SparseAutoencoder

        __getattr__, __dir__, __all__ = attach(__name__)
    """
    loader: Any = sys.modules[package].__loader__
    blocks = (node for node in ast.parse(loader.get_source(package)).body if isinstance(node, ast.If))
    imports = [line for block in blocks if ast.unparse(block.test) == "TYPE_CHECKING" for line in block.body]
    lines = [line for line in imports if isinstance(line, ast.ImportFrom)]
    homes = {name.name: f"{'.' * line.level}{line.module}" for line in lines for name in line.names}
    if clashes := [name for name, module in homes.items() if module == f".{name}"]:
        raise ValueError(f"attach expects names that differ from those of their modules, found {clashes} in {package}")

    def load(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(homes[name], package), name)
        setattr(sys.modules[package], name, value)  # the next access does not come here
        return value

    listed = sorted(homes)
    return load, lambda: listed, listed
