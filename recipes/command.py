"""What the commands of these programs share: their errors in a line, and what a path may be."""

from __future__ import annotations

from pathlib import Path

import click

from pyterrier_xetrieval.cli import errors

FOLDER, NEW_FOLDER = (click.Path(exists=there, file_okay=False, path_type=Path) for there in (True, False))
FILE, NEW_FILE = (click.Path(exists=there, dir_okay=False, path_type=Path) for there in (True, False))
HELP = {"help_option_names": ["-h", "--help"]}
GROUP = {**HELP, "max_content_width": 100}  # settings of a group of commands


class Command(errors.Command):
    """Tells errors of these programs' own checks in a line, as those of the package's."""

    code = (*errors.Command.code, Path(__file__).resolve().parent)
