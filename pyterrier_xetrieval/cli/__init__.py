"""The command ``pyterrier-xetrieval``."""

from __future__ import annotations

import logging

import click

from .demo import demo
from .describe import describe
from .evaluate import evaluate
from .explain import explain
from .teach import teach
from .train import train


class InOrder(click.Group):
    """Lists its commands in the order of the work, not of the alphabet."""

    def list_commands(self, ctx) -> list[str]:
        return list(self.commands)


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="pyterrier-xetrieval")
def main() -> None:
    """Explain dense retrieval: why was this document retrieved, and what happens without those features?

    `demo` shows what the model that comes with the package does; `teach`, `train` and `describe` make one for your own
    corpus and encoder; `explain` and `evaluate` use it. An interrupted command goes on when it is given
    again; `explain` starts over, `evaluate` keeps only its vectors.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)


for command in (teach, train, describe, explain, evaluate, demo):
    main.add_command(command)
