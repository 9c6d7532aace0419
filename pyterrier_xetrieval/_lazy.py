"""Public names that are imported on first use, so that importing a package costs nothing (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence


def attach(
    package: str, names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package whose names stand in other modules.

    Args:
        package: the package's ``__name__``.
        names: module, relative to the package (``".core.sae"``), to the names that it gives.

    Raises:
        ValueError: a name that is also that of its module: whoever imports the module first would get the module.

    Example::

        __getattr__, __dir__, __all__ = attach(__name__, {".core.sae": ["SparseAutoencoder"]})
    """
    homes = {name: module for module, given in names.items() for name in given}
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
