"""Edited vectors against dense matrices in float64: Eq. 24-26 and section 3.6.2, one vector at a time."""

import numpy as np
import pytest
import torch

from pyterrier_xetrieval.core import edits
from pyterrier_xetrieval.core.edits import erase, intervene, keep_only, reconstruct, scale
from tests.helpers.builders import identity_sae, random_sae, sae_of_rule, unit

SETS = [(1, 5, 9), (), (30,), (0, 2, 4, 6, 8, 11), (47, 3), (), (7, 8, 9, 10)]


def weights_of(sae):
    return sae.w_dec.detach().double().numpy(), sae.b_dec.detach().double().numpy()


def projected(sae, x, features):
    w, b = weights_of(sae)
    basis = w[list(features)].T / np.linalg.norm(w[list(features)], axis=1)
    return basis @ np.linalg.solve(basis.T @ basis + 1e-6 * np.eye(len(features)), basis.T @ (x.astype(np.float64) - b))


def code_of(sae, x):
    return sae.encode(torch.from_numpy(x[None])).dense(sae.dict_size)[0].detach().double().numpy()


def vectors(sae, n=7, seed=0):
    return 2 * unit(np.random.default_rng(seed), n, sae.dim)


@pytest.fixture
def sae():
    """Directions of different lengths, so that a forgotten length shows."""
    sae = random_sae(k=9)
    with torch.no_grad():
        sae.w_dec.mul_(torch.linspace(0.5, 2, 48)[:, None])
    return sae


def as_tensors(x, sets, fill):
    width = max(map(len, sets))
    ids = torch.tensor([[*s, *[fill] * (width - len(s))] for s in sets])
    return torch.from_numpy(x), ids, torch.tensor([[i < len(s) for i in range(width)] for s in sets])


@pytest.mark.parametrize("fill", [0, 9])
def test_one_set_for_each_row(sae, fill):
    x, sets = vectors(sae), [s or (40,) for s in SETS]
    arguments = as_tensors(x, sets, fill)
    p = np.stack([projected(sae, z, s) for z, s in zip(x, sets)])
    with torch.no_grad():
        np.testing.assert_allclose(erase(sae, *arguments), x - p, atol=1e-5)
        np.testing.assert_allclose(keep_only(sae, *arguments), weights_of(sae)[1] + p, atol=1e-5)
    each = np.linspace(-1, 3, 48)
    for alpha, factors in ((1.7, np.full(48, 1.7)), (torch.from_numpy(each.astype(np.float32)), each)):
        with torch.no_grad():
            kept, plain = scale(sae, *arguments, alpha), scale(sae, *arguments, alpha, reconstruct=True)
        for z, s, a, b in zip(x, sets, kept, plain):
            w, bias = weights_of(sae)
            code, chosen = code_of(sae, z), np.isin(np.arange(48), s)
            edited = np.where(chosen, factors, 1) * code
            np.testing.assert_allclose(a, z + (edited - code) @ w, atol=1e-5)
            np.testing.assert_allclose(b, edited @ w + bias, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 256])
@pytest.mark.parametrize("mode", ["erase", "keep_only"])
@pytest.mark.parametrize("around", ["bias", "origin"])
def test_projections_keep_the_length(sae, mode, batch_size, around):
    x = vectors(sae)
    before = x.copy()
    found = intervene(sae, x, SETS, mode, around=around, batch_size=batch_size)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(x, before)
    centre = weights_of(sae)[1] if around == "bias" else 0
    for z, s, edited in zip(x, SETS, found):
        if not s:
            assert edited.tobytes() == z.tobytes()
            continue
        apart = (z - projected(sae, z, s) if mode == "erase" else weights_of(sae)[1] + projected(sae, z, s)) - centre
        expected = centre + apart * np.linalg.norm(z - centre) / np.linalg.norm(apart)
        np.testing.assert_allclose(edited, expected, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 256])
@pytest.mark.parametrize("alpha", [0.0, 2.5, np.linspace(-1, 3, 48, dtype=np.float32)])
def test_scaling_keeps_the_error_of_the_dictionary(sae, alpha, batch_size):
    x, (w, b) = vectors(sae), weights_of(sae)
    factors = np.broadcast_to(alpha, 48)
    found = intervene(sae, x, SETS, "scale", alpha=alpha, batch_size=batch_size)
    decoded = intervene(sae, x, SETS, "scale", alpha=alpha, reconstruct=True, batch_size=batch_size)
    for z, s, edited, plain in zip(x, SETS, found, decoded):
        code = code_of(sae, z)
        changed = np.where(np.isin(np.arange(48), s), factors, 1) * code
        np.testing.assert_allclose(edited, z + (changed - code) @ w, atol=1e-5)
        np.testing.assert_allclose(plain, changed @ w + b, atol=1e-5)
        assert s or edited.tobytes() == z.tobytes()


@pytest.mark.parametrize("alpha", [0.5, -2.0, np.linspace(-1, 3, 48, dtype=np.float32)])
def test_adding_takes_the_largest_activation(sae, alpha):
    x, w = vectors(sae), weights_of(sae)[0]
    maxima = np.random.default_rng(1).uniform(0.5, 3, 48).astype(np.float32)
    found = intervene(sae, x, SETS, "add", alpha=alpha, maxima=maxima)
    strength = np.broadcast_to(alpha, 48) * maxima
    expected = [z + sum((strength[j] * w[j] for j in s), np.zeros(16)) for z, s in zip(x, SETS)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_no_edit_would_do_is_refused(sae):
    x = vectors(sae)
    with pytest.raises(ValueError, match=r"mode to be one of \('erase', 'keep_only', 'scale', 'add'\), found 'ablate'"):
        intervene(sae, x, SETS, "ablate")
    with pytest.raises(ValueError, match=r"around to be one of \('bias', 'origin'\), found 'mean'"):
        intervene(sae, x, SETS, "erase", around="mean")
    with pytest.raises(ValueError, match=r"mode 'add' expects maxima of shape \(48,\), found none"):
        intervene(sae, x, SETS, "add", alpha=1.0)
    with pytest.raises(ValueError, match=r"mode 'add' expects maxima of shape \(48,\), found shape \(3,\)"):
        intervene(sae, x, SETS, "add", alpha=1.0, maxima=np.ones(3, np.float32))


def test_scaling_by_1_changes_no_bit_unless_decoded(sae):
    x, every = vectors(sae), [range(48)] * len(SETS)
    for alpha in (1, 1.0, np.ones(48, np.float32)):
        assert intervene(sae, x, every, "scale", alpha=alpha).tobytes() == x.tobytes()
    assert intervene(sae, x, every, "scale", alpha=1) is not x
    decoded = intervene(sae, x, every, "scale", alpha=1, reconstruct=True)
    np.testing.assert_allclose(decoded, reconstruct(sae, x, refit=False, batch_size=3), atol=1e-5)
    part = np.ones(48, np.float32)
    part[5] = 3
    assert not np.array_equal(intervene(sae, x, every, "scale", alpha=part), x)
    moved = intervene(sae, x, every, "add", alpha=1, maxima=np.ones(48, np.float32))  # 1 is no strength of nothing here
    assert np.abs(moved - x).max() > 0.1


def test_without_a_strength_a_feature_is_taken_out(sae):
    x = vectors(sae)
    np.testing.assert_array_equal(intervene(sae, x, SETS, "scale"), intervene(sae, x, SETS, "scale", alpha=0.0))
    np.testing.assert_array_equal(intervene(sae, x, SETS, "scale"), intervene(sae, x, SETS, "scale", reconstruct=False))


def test_what_is_left_of_a_vector_is_noise_below_a_ten_thousandth():
    sae = identity_sae()
    for left, kept in ((2e-4, True), (5e-5, False)):
        for length in (1.0, 8.0):
            x = np.float32([[length, left * length, 0, 0, 0, 0]])
            found = intervene(sae, x, [(0,)], "erase")[0]
            # λ leaves a millionth of what is erased
            np.testing.assert_allclose(found, [0, length, 0, 0, 0, 0] if kept else np.zeros(6), atol=0.01 * length)
    assert (intervene(sae, np.zeros((1, 6), np.float32), [(0,)], "erase") == 0).all()


def test_sets_of_like_size_are_edited_together(monkeypatch):
    seen = []
    monkeypatch.setattr(edits, "erase", lambda sae, x, ids, mask: seen.append((ids.shape, mask.sum(1).tolist())) or x)
    sae = random_sae()
    intervene(sae, vectors(sae), SETS, "erase", batch_size=2)
    assert seen == [((2, 2), [1, 2]), ((2, 4), [3, 4]), ((1, 6), [6])]
    seen.clear()
    intervene(sae, vectors(sae, 300), [(1,)] * 300, "erase")
    assert [shape[0] for shape, _ in seen] == [256, 44]


def test_sets_are_filled_up():
    ids, mask = edits._padded([(3, 1), (), (2, 5, 4)])
    assert ids.dtype == np.int64 and ids.tolist() == [[3, 1, 0], [0, 0, 0], [2, 5, 4]]
    assert mask.tolist() == [[True, True, False], [False] * 3, [True] * 3]
    ids, mask = edits._padded([(), ()])
    assert ids.shape == mask.shape == (2, 1) and not mask.any()


@pytest.mark.parametrize("batch_size", [1, 4, 100])
@pytest.mark.parametrize("rule", ["topk", "thresholds", "gated"])
def test_reconstructed_is_the_decoded_code_or_the_closest_its_features_come(rule, batch_size):
    sae = sae_of_rule(rule, 16, 48, 6)
    x, (w, b) = vectors(sae), weights_of(sae)
    plain = reconstruct(sae, x, refit=False, batch_size=batch_size)
    np.testing.assert_allclose(plain, [code_of(sae, z) @ w + b for z in x], atol=1e-5)
    refitted = reconstruct(sae, x, refit=True, batch_size=batch_size)
    expected = [projected(sae, z, np.flatnonzero(code_of(sae, z))) + b for z in x]
    np.testing.assert_allclose(refitted, expected, atol=5e-3)
    assert reconstruct(sae, x[:0], refit=True, batch_size=2).shape == (0, 16)
