"""What a user can get wrong becomes one line and exit code 2; what is wrong with the program keeps its traceback."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import click

from .signals import ending_in_order

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class Command(click.Command):
    """A command whose errors, warnings and interruptions are told in one line each.

    Args:
        interrupted: what to know after Ctrl-C.

    Attributes:
        code: folders whose own checks say what a user got wrong; errors from elsewhere keep their traceback.
    """

    code = (Path(__file__).resolve().parents[1],)

    def __init__(self, *args, interrupted: str, **options):
        super().__init__(*args, **options)
        self.interrupted = interrupted

    def make_context(self, info_name, args, parent=None, **extra):
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            name = f"{parent.command_path} {info_name}" if parent else info_name
            raise click.UsageError(f"{_line(error.format_message())} (see {name} --help)") from None

    def invoke(self, ctx):
        with warnings.catch_warnings(), ending_in_order():
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                click.echo(f"\nInterrupted. {self.interrupted}", err=True)
                ctx.exit(INTERRUPTED)
            except click.UsageError as error:  # without its context, which would print the usage as well
                raise click.UsageError(_line(error.format_message())) from None
            except BrokenPipeError:  # nobody reads what is printed; click knows what to do
                raise
            except OSError as error:
                raise click.UsageError(_line(str(error))) from None
            except (ValueError, RuntimeError, ImportError) as error:
                if isinstance(error, click.exceptions.Exit) or not _raised_in(self.code, error):
                    raise
                raise click.UsageError(_line(str(error))) from None


def _raised_in(folders: Sequence[Path], error: BaseException) -> bool:
    """Whether code in these folders raised it: its checks do so, while a bug mostly shows in another library."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return any(Path(trace.tb_frame.f_code.co_filename).is_relative_to(folder) for folder in folders)


def _line(message: str) -> str:
    return " ".join(message.split())


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    click.echo(f"Warning: {_line(str(message))}", err=True)
