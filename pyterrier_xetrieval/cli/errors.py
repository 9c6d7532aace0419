"""How a command ends before its time: by what a user got wrong, in one line and with exit code 2; or by a signal, in order.

What is wrong with the program keeps its traceback.
"""

from __future__ import annotations

import os
import signal
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class Command(click.Command):
    """A command whose errors, warnings and interruptions are told in one line each.

    Args:
        interrupted: what to know after Ctrl-C.

    Attributes:
        code: folders whose own checks say what a user got wrong; errors from elsewhere keep their traceback.
    """

    code: tuple[Path, ...] = (Path(__file__).resolve().parents[1],)

    def __init__(self, *args: Any, interrupted: str, **options: Any):
        super().__init__(*args, **options)
        self.interrupted = interrupted

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            name = f"{parent.command_path} {info_name}" if parent else info_name
            raise _one_line(f"{error.format_message()} (see {name} --help)") from None

    def invoke(self, ctx: click.Context) -> Any:
        with warnings.catch_warnings(), ending_in_order():
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                click.echo(f"\nInterrupted. {self.interrupted}", err=True)
                ctx.exit(INTERRUPTED)
            except click.UsageError as error:  # without its context, which would print the usage as well
                raise _one_line(error.format_message()) from None
            except (BrokenPipeError, click.exceptions.Exit):  # a closed pipe, or ctx.exit(): click handles both
                raise
            except OSError as error:
                raise _one_line(str(error)) from None
            except (ValueError, RuntimeError, ImportError) as error:
                if not _raised_in(self.code, error):
                    raise
                raise _one_line(str(error)) from None


class Terminated(SystemExit):
    """SIGTERM as an exception, so that unfinished files are removed on the way out."""


@contextmanager
def ending_in_order() -> Iterator[None]:
    """The first Ctrl-C interrupts, a second one ends the process at once; after SIGTERM no unfinished file is left.

    Signals that somebody else handles, or ignores (``nohup``), stay theirs.
    """
    if threading.current_thread() is not threading.main_thread():  # only there can handlers be set
        yield
        return
    handlers = ((signal.SIGINT, signal.default_int_handler, _interrupted), (signal.SIGTERM, signal.SIG_DFL, _terminated))
    ours = [entry for entry in handlers if signal.getsignal(entry[0]) is entry[1]]
    for number, _, handler in ours:
        signal.signal(number, handler)
    try:
        yield
    except Terminated:
        os.kill(os.getpid(), signal.SIGTERM)  # again, and now by default: no thread is waited for
        raise
    finally:
        for number, default, _ in ours:
            signal.signal(number, default)


def _raised_in(folders: Sequence[Path], error: BaseException) -> bool:
    """Whether code in these folders raised it: its checks do so, while a bug mostly shows in another library."""
    raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    return any(raised_in.is_relative_to(folder) for folder in folders)


def _line(message: str) -> str:
    return " ".join(message.split())


def _one_line(message: str) -> click.UsageError:
    return click.UsageError(_line(message))


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"Warning: {_line(str(message))}", err=True)


def _interrupted(*_: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise KeyboardInterrupt


def _terminated(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated(128 + signal.SIGTERM)
