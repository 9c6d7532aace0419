"""The vectors of a training, read by row number: arrays, files larger than memory, and views computed as they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from ..core.internalizer import Internalizer, internalize

if TYPE_CHECKING:
    from pyterrier_dr import FlexIndex

    Source: TypeAlias = np.ndarray | torch.Tensor | FlexIndex
    Vectors: TypeAlias = Source | Sequence[Source]


_COMPARED = 16_384  # vectors at once


class VectorRows:
    """``n`` vectors one source after the other, and after them the same through each internalizer: ``n (1 + T)`` rows.

    Row ``v n + i`` is view ``v`` of vector ``i``; view 0 is the vector itself. Memory-mapped files stay on disk, and views
    are computed for the rows asked for.

    Args:
        vectors: float ``[n, m]`` array, tensor or memory map, a :class:`pyterrier_dr.FlexIndex`, or a list of such.
        internalizers: modules of the views to add.

    Raises:
        ValueError: fewer than four rows, or sources and internalizers of different dimensions.

    Example::

        >>> VectorRows([np.eye(3), np.ones((2, 3))]).take(np.array([4, 1])).tolist()
        [[1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]
    """

    def __init__(self, vectors: Vectors, internalizers: Sequence[Internalizer] = ()):
        sources = vectors if isinstance(vectors, (list, tuple)) else [vectors]
        self.sources = [as_array(source) for source in sources]
        self.modules = list(internalizers)
        shapes = [source.shape for source in self.sources]
        if not shapes or any(len(shape) != 2 for shape in shapes) or len({shape[1] for shape in shapes}) != 1:
            raise ValueError(f"expected vectors of shape [n, m] with one m, found {shapes}")
        self.dim = shapes[0][1]
        self.ends = np.cumsum([shape[0] for shape in shapes])
        self.documents = int(self.ends[-1])
        if self.documents < 4:  # two to train on, two held out
            raise ValueError(f"expected at least four vectors, found {self.documents}")
        if other := {module.dim for module in self.modules} - {self.dim}:
            raise ValueError(f"expected internalizers of the vectors' dimension {self.dim}, found {sorted(other)}")

    def __len__(self) -> int:
        return self.documents * (1 + len(self.modules))

    def take(self, rows: np.ndarray) -> torch.Tensor:
        """The named rows, float32 ``[b, m]``; rows int64 ``[b]``.

        Raises:
            ValueError: a row that is not finite.
        """
        view, document = np.divmod(np.asarray(rows, np.int64), self.documents)
        out = np.empty((len(view), self.dim), np.float32)
        order = np.argsort(document, kind="stable")  # a file is read from front to back
        bounds = np.searchsorted(document[order], [0, *self.ends])
        for source, first, begin, end in zip(self.sources, [0, *self.ends], bounds, bounds[1:]):
            out[order[begin:end]] = source[document[order[begin:end]] - first]
        bad = np.flatnonzero(~np.isfinite(out).all(axis=1))
        if len(bad):
            raise ValueError(f"expected finite vectors, found NaN or infinity in row {int(document[bad[0]])}")
        for number, module in enumerate(self.modules, start=1):
            mine = view == number
            if mine.any():
                out[mine] = internalize(module, out[mine], batch_size=4096)
        return torch.from_numpy(out)

    def first_equal(self) -> np.ndarray:
        """For each of the ``n`` vectors the number of the first one that is equal to it, its own if none before is; int64 ``[n]``.

        Compared are 64-bit digests of the rows in float32. Some two of ten million unequal rows are taken for equal in 3 of a
        million cases.

        Example::

            >>> VectorRows(np.float32([[1, 2], [3, 4], [1, 2], [5, 6]])).first_equal().tolist()
            [0, 1, 0, 3]
        """
        digests = []
        for source in self.sources:
            for start in range(0, len(source), _COMPARED):
                block = np.asarray(source[start : start + _COMPARED], np.float32) + np.float32(0)  # −0 is 0
                digests += [hashlib.blake2b(row, digest_size=8).digest() for row in block]
        _, first, group = np.unique(np.frombuffer(b"".join(digests), np.uint64), return_index=True, return_inverse=True)
        return first[group]

    def digest(self) -> str:
        """A short name of the content: shape, number of views, and 256 rows spread over the views."""
        sample = self.take(np.linspace(0, len(self) - 1, 256).astype(np.int64))
        shape = f"{self.documents} {self.dim} {len(self.modules)}"
        return hashlib.sha256(shape.encode() + sample.numpy().tobytes()).hexdigest()[:16]


def evenly(n: int, most: int) -> np.ndarray:
    """Up to ``most`` of ``n`` rows at equal distances, the first and the last among them, int64, ascending.

    >>> evenly(10, 4).tolist(), evenly(2, 4).tolist()
    ([0, 3, 6, 9], [0, 1])
    """
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))


def as_array(source: Source) -> np.ndarray:
    """The vectors of an array, a tensor or an index; a memory map stays one."""
    if hasattr(source, "np_vecs"):
        return source.np_vecs()
    return source.detach().cpu().numpy() if isinstance(source, torch.Tensor) else np.asarray(source)


class BatchSampler:
    """Endless batches of row numbers: every row once a pass, or ``weights[i]`` times on average.

    The order of a pass depends on the seed and the number of the pass alone, so ``(passes, position)`` is all that a
    checkpoint has to keep.

    Args:
        rows: int64 ``[r]``, the rows to draw from.
        batch_size: rows per batch.
        weights: float ``[r]``, or None for equal ones.
        seed: of the order.

    Example::

        >>> batches = BatchSampler(np.arange(4), 2)
        >>> sorted([*batches.next(), *batches.next()]) == [0, 1, 2, 3], batches.state
        (True, (0, 4))
    """

    def __init__(self, rows: np.ndarray, batch_size: int, *, weights: np.ndarray | None = None, seed: int = 0):
        self.rows, self.batch_size, self.seed = rows, batch_size, seed
        self.share = None if weights is None else np.asarray(weights, np.float64) / np.mean(weights)
        self.restore((0, 0))

    def restore(self, state: tuple[int, int]) -> None:
        self.passes, self.position = state
        self.order = self._pass()

    @property
    def state(self) -> tuple[int, int]:
        return self.passes, self.position

    def _pass(self) -> np.ndarray:
        generator = np.random.default_rng([self.seed, self.passes])
        if self.share is None:
            return self.rows[generator.permutation(len(self.rows))]
        times = np.floor(self.share + generator.random(len(self.rows))).astype(np.int64)
        return generator.permutation(np.repeat(self.rows, times))

    def next(self) -> np.ndarray:
        """The next batch, int64 ``[batch_size]``."""
        parts, missing = [], self.batch_size
        while missing:
            if self.position >= len(self.order):
                self.passes, self.position = self.passes + 1, 0
                self.order = self._pass()
            part = self.order[self.position : self.position + missing]
            parts.append(part)
            self.position += len(part)
            missing -= len(part)
        return np.concatenate(parts)
