"""A small Ray cluster, and an encoder and texts for it."""

import os
import signal
from pathlib import Path

import numpy as np
import pyterrier as pt
import pytest

from tests.helpers.builders import unit

ray = pytest.importorskip("ray")

ray = pytest.importorskip("ray")


DIM, SHARD = 16, 100


@pytest.fixture(scope="module", autouse=True)
def cluster():
    # what tests define is pickled by the name of this module
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # Ray's 15 starves workers beside other programs
        ray.init(
            num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error", object_store_memory=100_000_000,
            runtime_env={"env_vars": environment},
        )  # fmt: skip
    yield
    ray.shutdown()


def vectors(n):
    return [{"docno": f"d{i}", "doc_vec": v} for i, v in enumerate(unit(np.random.default_rng(0), n, DIM))]


def texts(n):
    words = ["alpha", "beta", "gamma", "delta", "épsilon", "zeta"]
    return [{"docno": f"t{i}", "text": " ".join(words[(i * k) % 6] for k in range(1, 2 + i % 9))} for i in range(n)]


def files(folder) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(Path(folder).rglob("*")) if f.is_file()}


class Hashes(pt.Transformer):
    """A text encoder without weights whose vectors depend on the batch a little, as those of a real one do.

    Writes a line for each batch and, once, kills its process where it is told to.
    """

    batch_size = 100

    def __init__(self, log=None, deadly=None):
        self.log, self.deadly = log, deadly

    def __repr__(self):
        return "Hashes()"

    def transform(self, inp):
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"{os.getpid()} {inp.docno.iloc[0]} {len(inp)}\n")
        if self.deadly and self.deadly in set(inp.docno) and not Path(f"{self.log}.dead").exists():
            Path(f"{self.log}.dead").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        length = inp["text"].str.len().to_numpy()
        waves = np.sin(np.outer(length, np.arange(1, DIM + 1)) + np.arange(len(inp))[:, None] / len(inp))
        return inp.assign(doc_vec=list(waves.astype(np.float32)))
