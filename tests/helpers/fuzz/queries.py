"""Cases for the stages that change queries: calibration, links and adapters, compared with the oracle's maps."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd

from pyterrier_xetrieval import QueryTuning
from pyterrier_xetrieval.core.links import ALWAYS_ACTIVATION
from tests.helpers.fuzz.frames import DIM, Case, frames
from tests.helpers.fuzz.outcomes import Source
from tests.helpers.fuzz.stages import frame_entry, near, size
from tests.helpers.fuzz.world import WORLD

SIZE = 48  # features
Expected = Callable[[np.ndarray], tuple[np.ndarray, bool]]  # float64 [m] to what it becomes, and whether that is close


def _entry(src: Source, stage: Callable[[], object], expected: Expected, *, scale: float, added: bool = False) -> bool:
    """One frame through a stage that changes ``query_vec`` and keeps what it was."""
    case = frames(src, columns=src.pick([("query_vec",), ("query_vec", "doc_vec")]))

    def compare(case: Case, out: pd.DataFrame) -> None:
        for q, changed, before in zip(case.vectors["query_vec"].astype(np.float64), out["query_vec"], out["query_vec_0"]):
            wanted, close = expected(q)
            near(before, q, size(q), 1e-6)
            if not close:
                near(changed, wanted, size(q) * scale)

    changed = {"query_vec", "query_vec_0", *({"query_added"} if added else ())}
    return frame_entry(src, stage, compare, case=case, reads={"qid", "query_vec"}, changed=changed)


@cache
def _corpus() -> np.ndarray:
    """Float32 ``[60, m]``: documents that share a mean and spread unevenly."""
    x = np.random.default_rng(8).normal(size=(60, DIM)) * np.linspace(0.5, 2, DIM) + 1
    return x.astype(np.float32)


def calibrated(src: Source) -> bool:
    strength = src.pick([0.1, 0.2, 0.5])
    variance, directions = np.linalg.eigh(np.cov(_corpus().T.astype(np.float64), bias=True))
    whitening = (directions * variance**-strength) @ directions.T
    w = WORLD.oracle.w_dec
    gains = np.einsum("jm,mn,jn->j", w, whitening, w) / np.einsum("jm,jm->j", w, w)
    matrix = whitening / np.median(gains)
    scale = float(np.linalg.norm(matrix, 2))
    return _entry(src, lambda: WORLD.model.calibrated(_corpus(), strength=strength), lambda q: (q @ matrix, False), scale=scale)


def adapted(src: Source) -> bool:
    rng = np.random.default_rng(src.seed())
    matrix, shift = rng.normal(size=(DIM, DIM)).astype(np.float32), src.pick([None, rng.normal(size=DIM).astype(np.float32)])
    moved = np.zeros(DIM) if shift is None else shift.astype(np.float64)
    return _entry(src, lambda: WORLD.model.adapted(matrix, shift), lambda q: (q @ matrix.astype(np.float64) + moved, False),
                  scale=10)  # fmt: skip


def tuned(src: Source) -> bool:
    rng = np.random.default_rng(src.seed())
    n = src.pick([1, 2, 5])
    pairs = dict.fromkeys(zip(rng.integers(-1, SIZE, n).tolist(), rng.integers(0, SIZE, n).tolist()))
    weights = dict(zip(pairs, rng.uniform(-2, 2, len(pairs)).round(3).tolist()))
    rows = [(pd.NA if source < 0 else source, target, weight) for (source, target), weight in weights.items()]
    table = pd.DataFrame(rows, columns=["source", "target", "weight"])

    def expected(q: np.ndarray) -> tuple[np.ndarray, bool]:
        code, close = WORLD.oracle.code(q)
        shown = {**code, -1: ALWAYS_ACTIVATION}
        moves = [shown.get(source, 0.0) * weight * WORLD.oracle.w_dec[target] for (source, target), weight in weights.items()]
        return q + np.sum(moves, axis=0), close

    return _entry(
        src, lambda: WORLD.model.tuned(QueryTuning.from_parts(table, WORLD.model.labels)), expected, scale=20, added=True
    )


ENTRIES = {"model.calibrated(vectors)": calibrated, "model.tuned(tuning)": tuned, "model.adapted(matrix, shift)": adapted}
