"""Texts and vectors for the jobs on a cluster, and an encoder that Ray's workers import from here."""

import os
import signal
from pathlib import Path

import numpy as np
import pyterrier as pt

from tests.helpers.builders import unit

DIM, SHARD = 16, 100


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
