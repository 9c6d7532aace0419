"""Explanations for the eye: cards in a notebook, the self-contained report page."""

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:  # what editors and type checkers read
    from .cards import Cards, show
    from .report import render_report

__getattr__, __dir__, __all__ = attach(__name__, {".cards": ["Cards", "show"], ".report": ["render_report"]})
