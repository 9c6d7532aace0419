"""What Ctrl-C and SIGTERM do to a command."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


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


def _interrupted(*_: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise KeyboardInterrupt


def _terminated(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated(128 + signal.SIGTERM)
