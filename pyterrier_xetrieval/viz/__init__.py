"""Pictures of explanations: the self-contained report page."""

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:  # what editors and type checkers read
    from .report import render_report

__getattr__, __dir__, __all__ = attach(__name__, {".report": ["render_report"]})
