import numpy as np
import pytest

from pyterrier_xetrieval.core.codes import DocumentCodes, ViewCodes, encode_views, join_views
from pyterrier_xetrieval.index.packing import pack, unpack
from tests.helpers.builders import random_sae, unit


def joined(n=150, views=3, k=5, seed=0):
    """Documents whose views are drawn from pools of vectors, and the codes of these."""
    sae, rng = random_sae(k=k, seed=seed), np.random.default_rng(seed)
    pools = [unit(rng, 20, sae.dim) for _ in range(views)]
    rows = [rng.integers(0, 20, n) for _ in range(views)]
    codes = encode_views(sae, pools, refit=True, batch_size=7)
    return codes, rows, join_views(drawn(codes, rows), sae.dict_size), sae


def drawn(codes, rows) -> list[ViewCodes]:
    """Each document's own code in each view."""
    return [code[own] for code, own in zip(codes, rows)]


def test_documents_have_the_features_of_their_views():
    codes, rows, documents, _ = joined()
    assert len(documents) == 150
    for i in range(len(documents)):
        own = slice(*documents.offsets[i : i + 2])
        features = documents.features[own]
        expected = [
            {j: (a, c) for j, a, c in zip(code.ids[r[i]], code.activations[r[i]], code.coefficients[r[i]]) if a > 0}
            for code, r in zip(codes, rows)
        ]
        assert features.tolist() == sorted(set().union(*expected))
        for v, found in enumerate(expected):
            assert documents.activations[own, v].tolist() == [found.get(j, (0, 0))[0] for j in features]
            assert documents.coefficients[own, v].tolist() == [found.get(j, (0, 0))[1] for j in features]


def test_the_first_views_are_those_of_documents_that_never_had_more():
    codes, rows, documents, sae = joined()
    fewer, expected = documents.first_views(2), join_views(drawn(codes[:2], rows[:2]), sae.dict_size)
    for name in ("offsets", "features", "activations", "coefficients"):
        assert np.array_equal(getattr(fewer, name), getattr(expected, name))
    assert documents.first_views(3) is documents


def test_packing_keeps_features_and_views_and_rounds_the_rest():
    _, _, documents, sae = joined()
    found = unpack(pack(documents), 3, sae.dict_size)
    assert np.array_equal(found.offsets, documents.offsets) and np.array_equal(found.features, documents.features)
    assert np.array_equal(found.activations > 0, documents.activations > 0)
    np.testing.assert_allclose(found.activations, documents.activations, rtol=0.015)
    np.testing.assert_allclose(found.coefficients, documents.coefficients, rtol=1e-3, atol=1e-6)


def test_documents_without_features():
    empty = DocumentCodes(np.array([0, 0, 2, 2]), np.array([3, 9]), np.ones((2, 1), np.float32), np.ones((2, 1), np.float32))
    found = unpack(pack(empty), 1, 16)
    assert found.offsets.tolist() == [0, 0, 2, 2] and found.features.tolist() == [3, 9]
    with pytest.raises(ValueError, match="do not fit together"):
        unpack(pack(empty), 1, 9)
