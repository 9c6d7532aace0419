"""Pictures of explanations: the self-contained report page."""

from .report import render_report

__all__ = ["render_report"]
