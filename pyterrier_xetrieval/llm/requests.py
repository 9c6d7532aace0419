"""Requests in flight when something ends the run that sent them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from concurrent.futures import Executor, Future

import pyterrier as pt


def land(pool: Executor, requests: Iterable[Future], reason: BaseException | None = None) -> None:
    """Sends no more, and waits for what is in flight; whoever interrupted is told for how much.

    ``reason``: why the run ends. After ``SystemExit`` nothing is waited for.
    """
    flying = sum(request.running() for request in requests)
    if isinstance(reason, KeyboardInterrupt) and flying:
        pt.tqdm.write(f"waiting for {flying} request{'s' * (flying > 1)}; Ctrl-C again stops now", file=sys.stderr)
    pool.shutdown(wait=not isinstance(reason, SystemExit), cancel_futures=True)
