"""Encoding against its matrix product alone, and a training step against dense decoding.

python benchmarks/sae_speed.py    processor time, one thread, random vectors; the best of nine rounds in turn
"""

import time
from functools import partial

import torch
from threadpoolctl import threadpool_limits
from torch.nn import functional as F

from pyterrier_xetrieval import SparseAutoencoder
from pyterrier_xetrieval.training.k_sparse import TopK

ROUNDS, ROWS = 9, 1024
NOBODY = torch.empty(0, dtype=torch.int64)


class DenseTopK(TopK):
    """TopK that decodes with dense matrices and plain autograd."""

    def reconstruction(self, x, active):
        pre = torch.addmm(self.b_enc, x - self.b_dec, self.w_enc.T)
        codes = torch.zeros(len(x) * active.parts, len(self.w_enc))
        codes = codes.index_put((active.bags, active.ids), torch.relu(pre[active.rows, active.ids]))
        decoded = codes @ self.w_dec + self.b_dec
        return decoded, (x - decoded).pow(2).sum(1).mean()


def seconds(*functions) -> list[float]:
    """Of each, the best of the rounds, in which they take turns."""
    found = []
    for round_ in range(1 + ROUNDS):
        for function in functions:
            started = time.process_time()
            function()
            if round_:  # the first one warms up
                found.append(time.process_time() - started)
    return [min(found[i :: len(functions)]) for i in range(len(functions))]


@torch.no_grad()
def encoding(dim: int, dict_size: int, k: int) -> None:
    sae = SparseAutoencoder(dim, dict_size, k)
    x = F.normalize(torch.randn(ROWS, dim), dim=1)
    kept = torch.empty(256, dict_size)
    methods = (
        lambda: torch.addmm(sae.b_enc, x, sae.w_enc.T),
        lambda: [torch.addmm(sae.b_enc, part, sae.w_enc.T, out=kept) for part in x.split(len(kept))],
        lambda: sae.encode(x),
    )
    bound, parts, whole = seconds(*methods)
    print(
        f"encode m={dim} D={dict_size} k={k}: {ROWS / whole:,.0f} rows/s, {bound / whole:.0%} of the matrix product's bound, "
        f"{parts / whole:.0%} of the product's made {len(kept)} rows at a time over the same memory"
    )


def training(dim: int, dict_size: int, k: int) -> None:
    start = SparseAutoencoder(dim, dict_size, k)
    x = F.normalize(torch.randn(ROWS, dim), dim=1)

    def step(objective):
        objective.zero_grad()
        objective(x, 1.0, NOBODY).terms["loss"].backward()

    objectives = TopK(start, k=k), DenseTopK(start, k=k)
    sparse, dense = seconds(*(partial(step, objective) for objective in objectives))
    print(
        f"train m={dim} D={dict_size} k={k}: {1 / sparse:.1f} steps/s of {ROWS} rows, {dense / sparse:.1f} times the dense step's"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    threadpool_limits(1)  # numpy's own, for the whole run
    torch.manual_seed(0)
    for sizes in ((384, 3072, 64), (384, 6144, 96), (1024, 8192, 256)):
        encoding(*sizes)
    for sizes in ((384, 6144, 96), (1024, 8192, 256)):
        training(*sizes)
