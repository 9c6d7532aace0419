from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from pyterrier_xetrieval.core import codes as codes_module
from pyterrier_xetrieval.core.codes import DocumentCodes, ViewCodes, encode_view, encode_views, join_views
from pyterrier_xetrieval.index.packing import pack, unpack
from tests.helpers.builders import random_sae, sae_of_rule, unit


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


@pytest.mark.parametrize("rule", ["topk", "thresholds", "gated"])
@pytest.mark.parametrize("batch_size", [1, 3, 20, 50])
def test_codes_are_the_dictionarys_whatever_the_batch(rule, batch_size):
    sae, x = sae_of_rule(rule, 16, 48, 5), unit(np.random.default_rng(1), 20, 16)
    expected = sae.encode(torch.from_numpy(x)).dense(48).numpy()
    for refit in (True, False):
        found = encode_view(sae, x, refit=refit, batch_size=batch_size)
        assert found.ids.dtype == np.int64 and found.activations.dtype == found.coefficients.dtype == np.float32
        np.testing.assert_allclose(dense(found.ids, found.activations), expected, atol=1e-6)
        active = expected > 0
        coefficients = dense(found.ids, found.coefficients)
        if not refit:
            np.testing.assert_array_equal(found.coefficients, found.activations)
        for z, own, c in zip(x, active, coefficients):
            assert (c[~own] == 0).all()
            if refit:  # what is left has nothing to do with any active direction
                w = sae.w_dec.double().numpy()[own]
                w /= np.linalg.norm(w, axis=1, keepdims=True)
                left = z - sae.b_dec.double().numpy() - c @ sae.w_dec.double().numpy()
                assert np.linalg.norm(w @ left) < 2e-3 * np.linalg.norm(w @ (z - sae.b_dec.double().numpy()))


def dense(ids, values):
    out = np.zeros((len(ids), 48))
    np.add.at(out, (np.arange(len(ids))[:, None], ids), values)
    return out


@pytest.mark.parametrize("batch_size, calls", [(4, [5, 3, 4]), (11, [5, 3, 4]), (12, [12]), (99, [12])])
def test_views_that_fit_one_batch_are_encoded_together(monkeypatch, batch_size, calls):
    sae, rng, seen = random_sae(), np.random.default_rng(2), []
    views = [unit(rng, n, 16) for n in (5, 3, 4)]
    expected = [encode_view(sae, view, refit=True, batch_size=99) for view in views]
    monkeypatch.setattr(codes_module, "encode_view", lambda sae, x, **kw: seen.append(len(x)) or encode_view(sae, x, **kw))
    found = encode_views(sae, views, refit=True, batch_size=batch_size)
    assert seen == calls
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a.ids, b.ids)
        np.testing.assert_allclose(a.activations, b.activations, atol=1e-6)
        np.testing.assert_allclose(a.coefficients, b.coefficients, atol=1e-3)


@pytest.mark.parametrize("documents_at_once", [1, 2, 64, 1000])
def test_documents_are_joined_in_blocks(monkeypatch, documents_at_once):
    codes, rows, expected, sae = joined()
    monkeypatch.setattr(codes_module, "_DOCUMENTS", documents_at_once)
    found = join_views(drawn(codes, rows), sae.dict_size)
    for name, dtype in (("offsets", np.int64), ("features", np.int64), ("activations", np.float32), ("coefficients", np.float32)):
        assert getattr(found, name).dtype == dtype
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_blocks_are_of_64_documents(monkeypatch):
    codes, rows, _, sae = joined(n=130)
    seen, block = [], codes_module._join_block
    monkeypatch.setattr(codes_module, "_join_block", lambda codes, rows, size: seen.append(rows) or block(codes, rows, size))
    join_views(drawn(codes, rows), sae.dict_size)
    assert [(rows.start, rows.stop) for rows in seen] == [(0, 64), (64, 128), (128, 192)]


def test_no_documents():
    codes, rows, _, sae = joined(n=0)
    found = join_views(drawn(codes, rows), sae.dict_size)
    assert len(found) == 0 and found.offsets.tolist() == [0] and found.activations.shape == found.coefficients.shape == (0, 3)


def test_a_value_of_zero_is_an_empty_slot_whatever_its_coefficient():
    code = ViewCodes(np.array([[4, 0]]), np.float32([[0.5, 0.0]]), np.float32([[-0.25, 9.0]]))
    found = join_views([code], 6)
    assert found.features.tolist() == [4] and found.activations.tolist() == [[0.5]] and found.coefficients.tolist() == [[-0.25]]


def test_codes_cannot_be_replaced():
    codes, _, documents, _ = joined()
    assert codes[0][2:5].ids.shape == (3, 5)
    for value, name in ((codes[0], "ids"), (documents, "features")):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, None)
