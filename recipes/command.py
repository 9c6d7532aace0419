"""A command of these programs."""

from __future__ import annotations

from pathlib import Path

from pyterrier_xetrieval.cli import errors


class Command(errors.Command):
    """Tells errors of these programs' own checks in a line, as those of the package's."""

    code = (*errors.Command.code, Path(__file__).resolve().parent)
