from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from pyterrier_xetrieval.core.internalizer import internalize
from pyterrier_xetrieval.core.readings import activation_readings, secant
from tests.helpers.builders import random_internalizer, random_sae, sae_of_rule, unit

RULES = ["topk", "relu", "one threshold", "thresholds", "gated"]


def active(sae, x):
    codes = sae.encode(torch.from_numpy(x[None]))
    own = codes.active()[0]
    return codes, codes.ids[0][own].numpy(), codes.values[0][own].detach().numpy()


@pytest.mark.parametrize("rule", RULES)
def test_an_activation_moves_with_its_vector_as_its_reading_says(rule):
    sae, rng = sae_of_rule(rule, 16, 12, 4), np.random.default_rng(0)
    for x in unit(rng, 20, 16):
        _, ids, values = active(sae, x)
        rows, constants = activation_readings(sae, x, ids, values, refit=False)
        np.testing.assert_allclose(rows @ x + constants, values, atol=1e-6)
        near = (x + 1e-3 * rng.normal(size=16)).astype(np.float32)
        _, same, moved = active(sae, near)
        if sorted(same) == sorted(ids):
            np.testing.assert_allclose(rows @ near + constants, moved[[list(same).index(j) for j in ids]], atol=1e-5)
            break
    else:
        pytest.fail("no neighbour has the same active features")


def test_a_refitted_coefficient_is_a_row_of_the_pseudo_inverse():
    sae, rng = random_sae(), np.random.default_rng(1)
    with torch.no_grad():
        sae.w_dec.mul_(torch.linspace(0.5, 2, len(sae.w_dec))[:, None])  # directions need not have unit length
    x = unit(rng, 1, 16)[0]
    codes, ids, _ = active(sae, x)
    coefficients = sae.refit(torch.from_numpy(x[None]), codes, tolerance=1e-7)[0][codes.active()[0]].numpy()
    rows, constants = activation_readings(sae, x, ids, coefficients, refit=True)
    np.testing.assert_allclose(rows, np.linalg.pinv(sae.w_dec[ids].detach().double().numpy()).T, atol=1e-4)
    np.testing.assert_allclose(constants, -rows @ sae.b_dec.detach().numpy(), atol=1e-4)  # nothing but the bias

    # a vector elsewhere has other coefficients on the same directions, and the reading knows them
    other = unit(rng, 1, 16)
    refitted = sae.refit(torch.from_numpy(other), codes, tolerance=1e-7)[0][codes.active()[0]].numpy()
    np.testing.assert_allclose(rows @ other[0] + constants, refitted, atol=1e-4)


def test_what_a_refit_leaves_when_it_stops_is_in_the_constants():
    sae, x = random_sae(), unit(np.random.default_rng(2), 1, 16)[0]
    _, ids, values = active(sae, x)
    rows, constants = activation_readings(sae, x, ids, values + 0.01, refit=True)
    np.testing.assert_allclose(rows @ x + constants, values + 0.01, atol=1e-6)


def test_more_active_features_than_dimensions():
    sae, x = sae_of_rule("relu", 8, 64, None), unit(np.random.default_rng(3), 1, 8)[0]
    _, ids, values = active(sae, x)
    assert len(ids) > 8
    rows, constants = activation_readings(sae, x, ids, values, refit=True)
    directions = sae.w_dec[ids].double().numpy()
    # together they say all of the vector, with the least coefficients that do
    np.testing.assert_allclose(directions.T @ rows, np.eye(8), atol=1e-4)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    np.testing.assert_allclose(rows, np.linalg.pinv(directions / lengths).T / lengths, atol=1e-4)
    np.testing.assert_allclose(rows @ x + constants, values, atol=1e-5)


@pytest.mark.parametrize("refit", [True, False])
def test_combinations_are_read_at_once(refit):
    sae, rng = random_sae(), np.random.default_rng(4)
    x = unit(rng, 1, 16)[0]
    _, ids, values = active(sae, x)
    rows, constants = activation_readings(sae, x, ids, values, refit=refit)
    combine = rng.normal(size=(3, len(ids)))
    found = activation_readings(sae, x, ids, values, refit=refit, combine=combine)
    np.testing.assert_allclose(found[0], combine @ rows, atol=1e-10)
    np.testing.assert_allclose(found[1], combine @ constants, atol=1e-6)


@pytest.mark.parametrize("refit", [True, False])
def test_no_active_feature_has_no_reading(refit):
    rows, constants = activation_readings(
        random_sae(), np.zeros(16, np.float32), np.empty(0, np.int64), np.empty(0, np.float32), refit=refit
    )
    assert rows.shape == (0, 16) and constants.shape == (0,)


def test_a_view_is_its_secant_at_its_own_vector():
    module, rng = random_internalizer(16, seed=0), np.random.default_rng(5)
    for z in unit(rng, 5, 16):
        map_ = secant(module, z)
        np.testing.assert_allclose(map_(z), internalize(module, z[None], batch_size=1)[0], atol=1e-6)
        # parts of z have parts of the view that add up to it, the constant being one of its own
        parts, readings = rng.normal(size=(4, 16)), rng.normal(size=(3, 16))
        parts[-1] = z - parts[:-1].sum(axis=0)
        read = map_.pull_back(readings) @ parts.T
        np.testing.assert_allclose(read.sum(axis=1) + readings @ map_.constant, readings @ map_(z), atol=1e-5)
        np.testing.assert_allclose(read, readings @ np.stack([map_(p) - map_.constant for p in parts]).T, atol=1e-5)


def test_a_hidden_unit_at_zero_has_the_slope_of_tanh():
    module, z = random_internalizer(16, seed=1), np.eye(16, dtype=np.float32)[0]
    with torch.no_grad():
        module.layer1.weight[0] = 0.0
        module.layer1.bias[0] = 0.0
    np.testing.assert_allclose(secant(module, z)(z), internalize(module, z[None], batch_size=1)[0], atol=1e-6)


def test_a_secant_by_hand():
    module, z = random_internalizer(16, seed=2), unit(np.random.default_rng(6), 1, 16)[0]
    w1, b1, w2, b2 = (p.detach().double().numpy() for p in (*module.layer1.parameters(), *module.layer2.parameters()))
    a = w1 @ z.astype(np.float64) + b1
    length = np.linalg.norm(w2 @ np.tanh(a) + b2)
    linear = w2 @ np.diag(np.tanh(a) / a) @ w1 / length
    constant = (w2 @ (np.tanh(a) / a * b1) + b2) / length
    found, x = secant(module, z), np.random.default_rng(7).normal(size=(3, 16))
    np.testing.assert_allclose(found.constant, constant, atol=1e-6)
    np.testing.assert_allclose([found(row) for row in x], x @ linear.T + constant, atol=1e-6)
    np.testing.assert_allclose(found.pull_back(x), x @ linear, atol=1e-6)
    with pytest.raises(FrozenInstanceError):
        found.slopes = found.constant


@pytest.mark.parametrize("n", [3, 16, 17, 30])
def test_a_refitted_coefficient_by_hand(n):
    """(W Wᵀ + λI)⁻¹ W of directions at unit length, by its own length, whether n or m is the smaller side."""
    sae, rng = random_sae(), np.random.default_rng(n)
    with torch.no_grad():
        sae.w_dec.mul_(torch.linspace(0.5, 2, len(sae.w_dec))[:, None])
        sae.w_dec[5] = sae.w_dec[7] + 1e-4 * sae.w_dec[9]  # nearly parallel: here λ counts
    ids = np.concatenate([[5, 7], rng.permutation(np.arange(10, 48))[: n - 2]])
    x, values, combine = unit(rng, 1, 16)[0], rng.normal(size=n), rng.normal(size=(2, n))
    w = sae.w_dec.detach().double().numpy()[ids]
    lengths = np.linalg.norm(w, axis=1)
    w = w / lengths[:, None]
    expected = np.linalg.solve(w @ w.T + 1e-6 * np.eye(n), w) / lengths[:, None]
    rows, constants = activation_readings(sae, x, ids, values, refit=True)
    np.testing.assert_allclose(rows, expected, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_allclose(constants, values - expected @ x, atol=1e-5 * np.abs(expected).max())
    rows, constants = activation_readings(sae, x, ids, values, refit=True, combine=combine)
    np.testing.assert_allclose(rows, combine @ expected, atol=1e-5 * np.abs(expected).max())


def test_a_direction_without_length_reads_nothing():
    sae = random_sae()
    with torch.no_grad():
        sae.w_dec[5] = 0
    rows, constants = activation_readings(sae, np.ones(16, np.float32), np.array([5, 6]), np.zeros(2), refit=True)
    w = sae.w_dec[6].detach().double().numpy()
    assert (rows[0] == 0).all() and np.isfinite(constants).all()
    np.testing.assert_allclose(rows[1], w / (w @ w), atol=1e-5)
