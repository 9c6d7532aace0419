"""Several processes that train one model together: each works on its share of every batch."""

from __future__ import annotations

import atexit
import os

import numpy as np
import torch
import torch.distributed as dist

from ..core.batches import device_of


class Processes:
    """The processes that ``torchrun`` started, or this one alone.

    Weights are equal in all of them at every step: gradients and running statistics are averaged, and random numbers
    come from the same seed. Process 0 writes the files.

    Args:
        device: where to compute; ``"cuda"`` is this process's own card. gloo connects CPUs, nccl cards.
    """

    def __init__(self, device: str | int | None = None):
        self.device = device_of(device)
        if self.device.type == "cuda" and dist.is_torchelastic_launched():
            self.device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(self.device)
        if dist.is_torchelastic_launched() and not dist.is_initialized():
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")
            atexit.register(dist.destroy_process_group)  # one group for all trainings of a program
        self.rank, self.size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)

    def share(self, batch: np.ndarray) -> np.ndarray:
        """This process's part of a batch, equally long in all of them."""
        each = len(batch) // self.size
        return batch[self.rank * each : (self.rank + 1) * each]

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def mean(self, tensor: torch.Tensor) -> torch.Tensor:
        """The mean over all processes, in place."""
        return self.sum(tensor).div_(self.size) if self.size > 1 else tensor

    def mean_of(self, number: float) -> float:
        return self.mean(torch.tensor(number, dtype=torch.float64, device=self.device)).item() if self.size > 1 else number

    def from_first(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor of process 0, in place."""
        if self.size > 1:
            dist.broadcast(tensor, 0)
        return tensor
