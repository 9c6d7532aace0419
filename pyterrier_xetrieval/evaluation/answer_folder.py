"""Where the answers of a language model are kept."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from tempfile import TemporaryDirectory


def answer_folder(folder: str | os.PathLike[str] | None) -> AbstractContextManager[str | os.PathLike[str]]:
    """The folder, or for None a temporary one that is gone at the end of the block."""
    return TemporaryDirectory() if folder is None else nullcontext(folder)
