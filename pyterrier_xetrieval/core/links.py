"""Links from features that a query shows to features that are added to it, or taken away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .codes import ViewCodes

ALWAYS = -1  # the source of a link that every query takes: a shift
ALWAYS_ACTIVATION = 0.3  # what every query shows of it: about what the stronger features of a query have


@dataclass(frozen=True)
class Links:
    """``n`` links: ``q' = q + Σ_i weight_i · a_source_i(q) · w_target_i``.

    Attributes:
        source: int64 ``[n]``, features, or :data:`ALWAYS`; target: int64 ``[n]``, features; weight: float32 ``[n]``, above 0
            to look for the target, below 0 to avoid it.
    """

    source: np.ndarray
    target: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.source)

    def amounts(self, q: ViewCodes, dict_size: int) -> np.ndarray:
        """What each link adds to its target's activation in each of ``u`` queries, float32 ``[u, n]``.

        Args:
            q: the codes of the encoder's query vectors.
        """
        wanted, place = np.unique(self.source, return_inverse=True)
        column = np.full(dict_size, -1)
        column[wanted[wanted >= 0]] = np.flatnonzero(wanted >= 0)
        shown = np.zeros((len(q.ids), len(wanted)), np.float32)
        shown[:, wanted == ALWAYS] = ALWAYS_ACTIVATION
        at = column[q.ids]
        row, slot = np.nonzero((at >= 0) & (q.activations > 0))
        shown[row, at[row, slot]] = q.activations[row, slot]
        return shown[:, place] * self.weight

    def applied(self, queries: np.ndarray, amounts: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """The changed query vectors, float32 ``[u, m]``; a query that no link applies to stays as it is bit by bit.

        Args:
            queries: float32 ``[u, m]``; amounts: of :meth:`amounts`; directions: float32 ``[D, m]``, the decoder's rows.

        Example::

            >>> links = Links(np.array([0]), np.array([1]), np.float32([2]))
            >>> links.applied(np.float32([[1, 0]]), np.float32([[0.5]]), np.eye(2, dtype=np.float32))
            array([[1. , 0.5]], dtype=float32)
        """
        return queries + amounts @ directions[self.target]

    def added(self, amounts: np.ndarray) -> list[dict[int, float]]:
        """For each query, what the links that apply to it add to the activation of each target."""
        targets, place = np.unique(self.target, return_inverse=True)
        totals = np.zeros((len(amounts), len(targets)), np.float32)
        np.add.at(totals.T, place, amounts.T)
        return [{int(targets[j]): float(own[j]) for j in np.flatnonzero(own)} for own in totals]
