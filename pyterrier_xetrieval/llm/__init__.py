"""Language models to ask, and what they are asked."""

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:  # read by editors, type checkers and attach
    from .endpoints import EndpointLLM, FunctionLLM, TeacherError
    from .local import TransformersLLM
    from .prompts import PROMPTS
    from .reader import CitingReader

__getattr__, __dir__, __all__ = attach(__name__)
