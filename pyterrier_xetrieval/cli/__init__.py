"""The command ``pyterrier-xetrieval``."""

from __future__ import annotations

import logging
from importlib import import_module

import click

VERBS = (
    "teach",
    "train",
    "describe",
    "explain",
    "index",
    "search",
    "explore",
    "diagnose",
    "evaluate",
    "demo",
)  # in the order of the work; a module for each


class Verbs(click.Group):
    """Imports the module of a verb when that verb is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for verb in [cmd_name] if cmd_name in VERBS else VERBS:  # for a wrong name all, so that click can suggest one
            self.add_command(getattr(import_module(f".{verb}", __package__), verb))
        return super().get_command(ctx, cmd_name)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="pyterrier-xetrieval")
def main() -> None:
    """Explain dense retrieval: why was this document retrieved, and what happens without those features?

    `demo` shows what the bundled model does; `teach`, `train` and `describe` make one for your own corpus and encoder;
    `explain`, `index`, `search`, `explore`, `diagnose` and `evaluate` use it. An interrupted command goes on when it is given
    again; `explain` and `diagnose` start over, `evaluate` keeps only its vectors.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)
