"""Texts in a file that is mapped into memory: any number of them takes none."""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np


class TextWriter:
    """Writes texts to an open binary file, one JSON string per line, and keeps where each line ends."""

    def __init__(self, file: BinaryIO):
        self.file, self.ends = file, [0]

    def add(self, text: str) -> None:
        self.ends.append(self.ends[-1] + self.file.write(json.dumps(text).encode() + b"\n"))

    @property
    def offsets(self) -> np.ndarray:
        """int64 ``[n + 1]``: text ``i`` lies in bytes ``offsets[i]`` to ``offsets[i + 1]``."""
        return np.array(self.ends, np.int64)


class StoredTexts:
    """Texts by row, from a file that a :class:`TextWriter` wrote and its offsets.

    Raises:
        ValueError: a file of another length.

    Example::

        >>> import tempfile
        >>> file = tempfile.TemporaryFile()
        >>> writer = TextWriter(file)
        >>> writer.add("one"), writer.add("two")
        (None, None)
        >>> StoredTexts(file, writer.offsets)([1, 0])
        ['two', 'one']
    """

    def __init__(self, file: BinaryIO, offsets: np.ndarray):
        file.flush()
        self._offsets = offsets
        size = os.fstat(file.fileno()).st_size
        if size != offsets[-1]:
            raise ValueError(f"the file of texts is damaged: expected {offsets[-1]} bytes, found {size}")
        # an empty file cannot be mapped
        self._bytes: mmap.mmap | bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""

    def __call__(self, rows: Sequence[int]) -> list[str]:
        """The texts of these rows, in their order."""
        return [json.loads(self._bytes[self._offsets[row] : self._offsets[row + 1]]) for row in rows]
