"""A corpus for indexes, and what an index holds."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.helpers.builders import unit

DIM = 16


def corpus(n=40, seed=0, prefix="d"):
    return [{"docno": f"{prefix}{i}", "doc_vec": v} for i, v in enumerate(unit(np.random.default_rng(seed), n, DIM))]


def topics(n=5, dim=DIM, seed=9):
    return pd.DataFrame({"qid": [f"q{i}" for i in range(n)], "query_vec": list(unit(np.random.default_rng(seed), n, dim))})


def content(
    path, names=("*.u1", "*.bin", "*.f2", "*.i8", "shards.jsonl", "pt_meta.json", "vectors/*", "folded/*")
) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for name in names for f in sorted(Path(path).glob(name))}


def assert_same(found, expected, tolerance=2e-3):
    """Equal explanations but for the rounding of stored coefficients (float16: relative 2^-11, over four views)."""
    for a, b in zip(found, expected, strict=True):
        assert (a.qid, a.docno, a.views) == (b.qid, b.docno, b.views) and abs(a.score - b.score) < 1e-5 * max(1, abs(b.score))
        i, j = np.argsort(a.features), np.argsort(b.features)
        assert a.features[i].tolist() == b.features[j].tolist()
        np.testing.assert_allclose(a.contributions[i], b.contributions[j], atol=tolerance)
        np.testing.assert_allclose(a.query_activations[i], b.query_activations[j], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(a.document_activations[i], b.document_activations[j], rtol=0.02, atol=tolerance)
        assert ((a.document_activations[i] > 0) == (b.document_activations[j] > 0)).all()
        assert (a.label_fit is None) == (b.label_fit is None)
        if a.label_fit is not None:
            assert a.label_fit.reading[i].tolist() == b.label_fit.reading[j].tolist()
            np.testing.assert_allclose(a.label_fit.similarity[i], b.label_fit.similarity[j], atol=1e-5)
        assert a.contributions.sum(dtype=np.float64) + a.other + a.bias + a.residual == pytest.approx(
            a.score, rel=1e-9, abs=1e-12
        )
