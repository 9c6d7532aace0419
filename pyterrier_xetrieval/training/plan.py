"""How large a dictionary fits so many documents, for how long it is trained, and what making a model costs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

FEW = 5_000  # documents: below it a dictionary learns documents by heart, or has few features
BATCH = 1024  # vectors a step
PATIENCE = 3  # looks at held-out vectors without gain, after which the training stops
# 1,000 vectors of MiniLM: 256 features (16 active) explain .50 of the variance of unseen ones, 512 (32 active) .58, 1,024 .59; of
# those trained on .77, .92 and .98
_DOCUMENTS_A_FEATURE = 2
_PASSES = 100  # over the documents at most; held-out vectors are explained best after 50 to 100
_TIMED = 16  # texts


def default_size(documents: int, dim: int) -> int:
    """Features for so many documents (each with its views): a power of two, about one for two documents, at most 16 a dimension.

    >>> default_size(1_000, 384), default_size(500_000, 384)
    (512, 4096)
    """
    most = min(documents / _DOCUMENTS_A_FEATURE, 16 * dim)
    return 2 ** max(4, int(np.log2(max(most, 1)) + 0.1))


def default_k(dict_size: int) -> int:
    """Active features of a vector: one in 16 of the dictionary, 4 to 64.

    >>> default_k(512), default_k(4096)
    (32, 64)
    """
    return int(np.clip(dict_size // 16, 4, 64))


def default_steps(vectors: int) -> int:
    """At most so many steps of 1,024 vectors; the training stops before when held-out vectors gain nothing more.

    >>> default_steps(1_000), default_steps(500_000)
    (200, 5000)
    """
    return int(np.clip(_PASSES * vectors / BATCH, 200, 5000))


def held_out_share(documents: int) -> float:
    """The share of documents that the dictionary does not see: 500 of them, but at most a tenth and at least a fiftieth.

    >>> held_out_share(1_000), held_out_share(10_000), held_out_share(500_000)
    (0.1, 0.05, 0.02)
    """
    return float(np.clip(500 / documents, 0.02, 0.1))


def encoding_rate(encoder: BiEncoder, texts: Sequence[str]) -> float:
    """Texts a second, from a few that are encoded twice: the first time warms up."""
    texts = list(texts)[:_TIMED]
    encoder.encode_docs(texts[:2])
    started = time.perf_counter()
    encoder.encode_docs(texts)
    return len(texts) / max(time.perf_counter() - started, 1e-9)


@torch.no_grad()
def step_seconds(dim: int, dict_size: int, device: str | None) -> float:
    """About how long a step of the dictionary's training takes: six products of a batch with the dictionary, twice over."""
    x, w = torch.randn(BATCH, dim, device=device), torch.randn(dict_size, dim, device=device)
    (x @ w.T).sum().item()
    started = time.perf_counter()
    (x @ w.T).topk(min(32, dict_size)).values.sum().item()
    return 6 * (time.perf_counter() - started)


@dataclass(frozen=True)
class Encoding:
    """Texts of one kind: how many are to encode, how many of these are left, and how many a second there are."""

    texts: int
    left: int
    rate: float


def told_cost(sources: Sequence[Encoding], *, steps: int, seconds: float, labels: Sequence[tuple[int, float]], dim: int) -> str:
    """What a training will cost, in words, before it starts.

    Args:
        sources: what is to encode.
        steps: of the dictionary, of ``seconds`` each.
        labels: how many texts are encoded once more for the words behind the features, and how many a second.
        dim: of the vectors.

    Example::

        >>> told_cost([Encoding(1500, 1500, 8.0)], steps=200, seconds=0.3, labels=[(1500, 8.0)], dim=384)
        'encode 1,500 texts: about 3 min (8 a second); dictionary: at most 200 steps, about 1 min; labels from 1,500 texts: about 3 min; 2 MB of vectors'
    """
    left, time_left = sum(s.left for s in sources), sum(s.left / s.rate for s in sources)
    encode = (
        f"encode {left:,} texts: about {_minutes(time_left)} ({left / time_left:.3g} a second)"
        if left
        else "all texts are encoded"
    )
    told = [encode, f"dictionary: at most {steps:,} steps, about {_minutes(steps * seconds)}"]
    if again := sum(n for n, _ in labels):
        told.append(f"labels from {again:,} texts: about {_minutes(sum(n / rate for n, rate in labels))}")
    return "; ".join([*told, f"{max(1, round(4e-6 * dim * sum(s.texts for s in sources))):,} MB of vectors"])


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
