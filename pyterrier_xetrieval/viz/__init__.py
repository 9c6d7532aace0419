"""Pictures of explanations: the explorer page."""

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:  # what editors and type checkers read
    from .explorer import explore, to_html

__getattr__, __dir__, __all__ = attach(__name__, {".explorer": ["explore", "to_html"]})
