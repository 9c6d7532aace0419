"""Sparse links from judged queries: a listwise loss over candidates, and an L1 penalty by proximal steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

PENALTIES = (0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08)  # in units of the penalty at which the first link appears
_TEMPERATURE = 0.05  # of the softmax over scores; cosines of a page differ by a few hundredths
_SCREENED = 500  # links with the steepest gradients, among which the path is fitted
_LARGEST = 1.0  # weight: a link adds at most as much as its source shows, and from a feature to itself takes it out at most
_STEPS = 15  # per penalty; each starts from the one before


@dataclass(frozen=True)
class Judged:
    """Queries with candidates, some of them relevant.

    Attributes:
        queries: float32 ``[n, m]``; shown: float32 ``[n, F]``, activations of the features that links may start from;
        candidates: float32 ``[n, c, m]``; target: float32 ``[n, c]``, gains of the candidates, each row adding up to 1.
    """

    queries: torch.Tensor
    shown: torch.Tensor
    candidates: torch.Tensor
    target: torch.Tensor

    def loss(self, moved: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Mean cross-entropy of the softmax of the scores, and its gradient by the query vectors ``[n, m]``."""
        scores = torch.bmm(self.candidates, moved.unsqueeze(2)).squeeze(2) / _TEMPERATURE
        logs = torch.log_softmax(scores, dim=1)
        away = (logs.exp() - self.target).unsqueeze(1)
        gradient = torch.bmm(away, self.candidates).squeeze(1) / (_TEMPERATURE * len(moved))
        return float(-(self.target * logs).sum() / len(moved)), gradient


@dataclass(frozen=True)
class Solution:
    """The links at one penalty: int64 ``[n]`` columns of ``shown``, int64 ``[n]`` features, float32 ``[n]`` weights."""

    penalty: float
    source: np.ndarray
    target: np.ndarray
    weight: np.ndarray

    def moved(self, queries: np.ndarray, shown: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Query vectors changed by these links; arguments as in :class:`Judged`, as arrays."""
        return queries + (shown[:, self.source] * self.weight) @ directions[self.target]


@torch.no_grad()
def link_path(judged: Judged, directions: torch.Tensor, *, max_links: int, allowed: torch.Tensor | None = None) -> list[Solution]:
    """Links for the falling penalties of :data:`PENALTIES`, until there are more than ``max_links`` of them.

    Accelerated proximal gradient steps (Beck and Teboulle 2009) with backtracking and restarts, over the links whose
    gradients are steepest at the start.

    Args:
        judged: the queries; directions: float32 ``[D, m]``, the decoder's rows.
        allowed: bool ``[F, D]``, which links may be learned; None for all.

    Returns:
        A solution for each penalty that keeps to ``max_links``.
    """
    _, gradient = judged.loss(judged.queries)
    steepness = judged.shown.T @ (gradient @ directions.T)
    if allowed is not None:
        steepness = steepness * allowed
    screened = torch.topk(steepness.abs().ravel(), min(_SCREENED, steepness.numel())).indices
    source, target = screened // steepness.shape[1], screened % steepness.shape[1]
    unit, shown, to = float(steepness.abs().max()), judged.shown[:, source], directions[target]

    def loss(weight: torch.Tensor) -> tuple[float, torch.Tensor]:
        value, by_query = judged.loss(judged.queries + (shown * weight) @ to)
        return value, (shown * (by_query @ to.T)).sum(dim=0)

    weight, step, out = torch.zeros(len(source)), 1.0, []
    for penalty in PENALTIES:
        weight, step = _fitted(loss, weight, step, penalty * unit)
        kept = weight != 0
        if int(kept.sum()) > max_links:
            break
        out.append(Solution(penalty, source[kept].numpy(), target[kept].numpy(), weight[kept].numpy()))
    return out


def _fitted(loss, weight: torch.Tensor, step: float, penalty: float) -> tuple[torch.Tensor, float]:  # type: ignore[no-untyped-def]
    at, momentum = weight.clone(), 1.0
    for _ in range(_STEPS):
        value, gradient = loss(at)
        while True:
            moved = at - step * gradient
            new = moved.sign() * (moved.abs() - step * penalty).clamp(min=0, max=_LARGEST)
            by = new - at
            if loss(new)[0] <= value + float(gradient @ by) + float(by @ by) / (2 * step) + 1e-6:
                break
            step /= 2
        if float((at - new) @ (new - weight)) > 0:  # the momentum points uphill: start it anew
            ahead, momentum = new, 1.0
        else:
            grown = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead, momentum = new + (momentum - 1) / grown * (new - weight), grown
        moved_by = float((new - weight).abs().max())
        weight, at = new, ahead
        if moved_by <= 1e-3 * float(weight.abs().max()):
            break
    return weight, 2 * step  # the next penalty may find longer steps possible again
