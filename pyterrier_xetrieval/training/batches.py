"""Rows for the trainers of sparse autoencoders: checked, split, and drawn in batches."""

from __future__ import annotations

import numpy as np
import torch


def _split(vectors, weights, groups, batch_size, validation, val_share, generator):
    """Checked training rows, their weights as a tensor or None, and held-out rows."""
    x = torch.as_tensor(np.ascontiguousarray(vectors), dtype=torch.float32)
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"train_sae expects vectors of shape [n, m] with n > 1, found {tuple(x.shape)}")
    if batch_size % groups:
        raise ValueError(f"train_sae expects batch_size to be a multiple of groups={groups}, found {batch_size}")
    if weights is not None and (groups > 1 or len(weights) != len(x)):
        raise ValueError(f"train_sae expects one weight per row and groups=1, found {len(weights)} for {len(x)} rows")
    if validation is None:
        order = torch.randperm(len(x), generator=generator)
        n_val = max(1, round(val_share * len(x)))
        validation = x[order[:n_val]]
        kept = order[n_val:].sort().values
        x, weights = x[kept], None if weights is None else np.asarray(weights)[kept.numpy()]
    validation = torch.as_tensor(validation, dtype=torch.float32)
    return x, None if weights is None else torch.as_tensor(weights), validation


def _draws(n, batch_size, weights, groups, generator):
    """Endless batches of row numbers; a row comes up ``weights[i]`` times a pass on average."""
    blocks, size = n // groups, batch_size // groups
    left = torch.empty(0, dtype=torch.int64)
    while True:
        while len(left) < size:
            rows = torch.arange(blocks)
            if weights is not None:
                share = weights / weights.mean()
                rows = rows.repeat_interleave((share + torch.rand(n, generator=generator)).floor().long())
            left = torch.cat([left, rows[torch.randperm(len(rows), generator=generator)]])
        chosen, left = left[:size], left[size:]
        yield chosen if groups == 1 else (chosen.unsqueeze(1) * groups + torch.arange(groups)).reshape(-1)
