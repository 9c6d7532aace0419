from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from pyterrier_xetrieval import SparseAutoencoder, SparseCodes
from pyterrier_xetrieval.core.sae import _packed
from pyterrier_xetrieval.core.top_k import top_k
from tests.helpers.builders import identity_sae, make_model, random_sae, result_frame, unit
from tests.helpers.literal import literal_code


def test_identity_dictionary_keeps_the_largest_coordinates():
    x = torch.tensor([[0.5, 0.1, 0.9, 0.2, 0.0, 0.3]])
    codes = identity_sae(k=3).encode(x)
    assert codes.dense(6).tolist() == [pytest.approx([0.5, 0, 0.9, 0, 0, 0.3])]
    assert identity_sae(k=3).decode(codes).tolist() == [pytest.approx([0.5, 0, 0.9, 0, 0, 0.3])]


def test_fewer_than_k_positive_activations_means_fewer_active_features():
    codes = identity_sae(k=3).encode(torch.tensor([[0.5, -0.1, -0.9, -0.2, -1.0, -0.3]]))
    assert codes.active().sum() == 1
    assert codes.dense(6)[0].tolist() == pytest.approx([0.5, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("k", [1, 5, 47, 48])
def test_choice_of_k_with_and_without_ties(k):
    sae = SparseAutoencoder(16, 48, k)
    for x in (unit(np.random.default_rng(0), 7, 16), np.zeros((3, 16), np.float32)):
        pre = sae.pre_activations(torch.from_numpy(x)).detach()
        codes = sae.encode(torch.from_numpy(x))
        torch.testing.assert_close(codes.values.sort(1).values, pre.topk(k).values.sort(1).values.relu())
        assert all(len(set(row)) == k for row in codes.ids.tolist())
        with torch.no_grad():
            torch.testing.assert_close(sae.encode(torch.from_numpy(x)).dense(48), codes.dense(48))


def test_rows_chosen_in_threads_are_the_same():
    sae, x = random_sae(), torch.from_numpy(unit(np.random.default_rng(4), 301, 16))
    threads = torch.get_num_threads()
    with torch.no_grad():
        torch.set_num_threads(2)
        many = sae.encode(x).dense(48)
        torch.set_num_threads(1)
        one = sae.encode(x).dense(48)
        torch.set_num_threads(threads)
        single = torch.cat([sae.encode(row[None]).dense(48) for row in x])
    torch.testing.assert_close(many, one)
    torch.testing.assert_close(many, single)


def test_gradients_reach_the_encoder():
    sae, x = random_sae(dict_size=64, k=2), torch.from_numpy(unit(np.random.default_rng(4), 5, 16))
    (sae(x) - x).pow(2).sum().backward()
    assert sae.w_enc.grad.norm() > 0 and sae.w_dec.grad.norm() > 0


def test_not_a_number_is_the_largest():
    x = torch.zeros(1, 80)
    x[0, [0, 12, 24, 30]] = torch.tensor([5.0, 4, float("nan"), 3])  # three in one group of columns
    values, ids = top_k(x, 3)
    assert set(ids[0].tolist()) == {0, 12, 24}
    x = torch.arange(101.0)[None].repeat(2, 1)
    x[1, 100] = float("nan")  # beyond the last whole group of columns
    assert top_k(x, 4)[0].isnan().sum(dim=1).tolist() == [0, 1]


def test_threshold_selects_by_activation():
    codes = identity_sae(k=3).encode(torch.tensor([[0.5, 0.1, 0.9, 0.2, 0.0, 0.3]]))
    assert sorted(codes.ids[codes.active(0.4)].tolist()) == [0, 2]


def test_k_is_taken_over_all_features():
    sae = SparseAutoencoder(4, 64, 5)
    with torch.no_grad():
        sae.b_enc.copy_(torch.arange(64.0))  # the five largest all lie at the end of the dictionary
    assert sorted(sae.encode(torch.zeros(1, 4)).ids[0].tolist()) == [59, 60, 61, 62, 63]


def test_agrees_with_the_literal_equation():
    sae, x = random_sae(), unit(np.random.default_rng(1), 20, 16)
    codes = sae.encode(torch.from_numpy(x)).dense(48).detach().numpy()
    np.testing.assert_allclose(codes, [literal_code(sae, row.tolist()) for row in x], atol=1e-6)
    decoded = sae(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(decoded, codes @ sae.w_dec.detach().numpy() + sae.b_dec.detach().numpy(), atol=1e-6)


def test_refit_is_least_squares_on_the_active_features():
    sae, x = random_sae(), unit(np.random.default_rng(2), 10, 16)
    t = torch.from_numpy(x)
    codes = sae.encode(t)
    refit = sae.refit(t, codes).detach().numpy()
    for i in range(len(x)):
        active = codes.active()[i].numpy()
        w = sae.w_dec.detach().numpy()[codes.ids[i].numpy()[active]].astype(np.float64)
        expected = np.linalg.lstsq(w.T, x[i] - sae.b_dec.detach().numpy(), rcond=None)[0]
        np.testing.assert_allclose(refit[i][active], expected, atol=5e-3)
        assert (refit[i][~active] == 0).all()
    plain = ((sae.decode(codes) - t) ** 2).sum()
    assert ((sae.decode(codes, torch.from_numpy(refit)) - t) ** 2).sum() < plain


def test_refit_whatever_the_length_of_directions():
    sae = random_sae()
    x = torch.from_numpy(unit(np.random.default_rng(0), 40, sae.dim))
    codes = sae.encode(x)
    expected = sae.refit(x, codes)
    lengths = torch.from_numpy(np.random.default_rng(1).lognormal(0, 1.5, sae.dict_size).astype(np.float32))
    with torch.no_grad():
        sae.w_dec.mul_(lengths.unsqueeze(1))
    found = sae.refit(x, codes)
    torch.testing.assert_close(found * lengths[codes.ids], expected, atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(sae.decode(codes, found), sae.decode(codes, expected / lengths[codes.ids]), atol=1e-3, rtol=0)


def test_refit_does_not_wait_for_the_slowest_rows():
    sae, rng = random_sae(k=12), np.random.default_rng(5)
    x = torch.from_numpy(unit(rng, 40, 16))
    with torch.no_grad():
        x[7:38] = sae.b_dec + 3 * sae.w_dec[torch.arange(31)]  # near the end from the start; the others are not
        codes = sae.encode(x)
        exact = torch.zeros_like(codes.values)
        exact[codes.ids == torch.arange(-7, 33)[:, None]] = 3
        codes.values[7:38] = torch.where(codes.values[7:38] > 0, exact[7:38], 0) + 1e-6 * (codes.values[7:38] > 0)
    together = sae.refit(x, codes)
    for i in range(len(x)):
        torch.testing.assert_close(together[i : i + 1], sae.refit(x[i : i + 1], codes[i : i + 1]), atol=1e-5, rtol=1e-4)


def test_refit_of_nothing():
    sae = random_sae()
    assert sae.refit(torch.empty(0, 16), sae.encode(torch.empty(0, 16))).shape == (0, 5)


def test_rows_of_codes():
    codes = SparseCodes(torch.tensor([[1, 2], [3, 4]]), torch.tensor([[1.0, 0.0], [0.5, 0.25]]))
    assert len(codes[1:]) == 1 and codes[[1]].ids.tolist() == [[3, 4]]


def rule(activation):
    """The random dictionary under another rule, with numbers of its own in every further parameter."""
    sae, source = SparseAutoencoder(16, 48, activation=activation), random_sae()
    sae.load_state_dict(source.state_dict(), strict=False)
    with torch.no_grad():
        if activation == "threshold":
            sae.threshold.copy_(torch.linspace(0, 0.4, 48))
            sae.b_enc[0] = 1  # feature 0, which empty slots are padded with, is active everywhere
        else:
            sae.gain.copy_(torch.linspace(0.5, 2, 48))
            sae.b_mag.copy_(torch.linspace(-0.2, 0.2, 48))
    return sae


def test_threshold_rule():
    sae, x = rule("threshold"), torch.from_numpy(unit(np.random.default_rng(3), 9, 16))
    pre = (x - sae.b_dec) @ sae.w_enc.T + sae.b_enc
    expected = torch.where(pre > sae.threshold, pre, 0.0)
    codes = sae.encode(x)
    assert codes.ids.shape[1] == (expected > 0).sum(1).max() < 48
    np.testing.assert_allclose(codes.dense(48).detach(), expected.detach(), atol=1e-6)


def test_gated_rule():
    sae, x = rule("gated"), torch.from_numpy(unit(np.random.default_rng(3), 9, 16))
    product = (x - sae.b_dec) @ sae.w_enc.T
    expected = (product + sae.b_enc > 0) * torch.relu(sae.gain * product + sae.b_mag)
    np.testing.assert_allclose(sae.encode(x).dense(48).detach(), expected.detach(), atol=1e-6)


@pytest.mark.parametrize("activation", ["threshold", "gated"])
def test_other_rules_explain_exactly(activation):
    model, results = make_model(rule(activation)), result_frame(4, 5)
    out = (model.internalizer() >> model.scorer() >> model.explainer(batch_size=3))(results)
    assert sum(map(len, out["explanation"])) > 20
    for score, e in zip(out["score"], out["explanation"]):
        assert e.shared + e.other + e.bias + e.residual == pytest.approx(score, abs=1e-4)
    sae, plain = model.sae, model.explainer(refit=False, batch_size=2)(results)["explanation"]
    for q, d, e in zip(results["query_vec"], results["doc_vec"], plain):
        code = sae.encode(torch.from_numpy(d[None])).dense(48)[0].numpy()
        expected = [code[j] * (sae.w_dec[j].numpy() @ q) for j in e.features]
        np.testing.assert_allclose(e.contributions, expected, atol=1e-6)
    whole = (model.internalizer() >> model.explainer())(results)["explanation"]
    assert [e.per_view for e in out["explanation"]] == [e.per_view for e in whole]


@pytest.mark.parametrize("activation", ["threshold", "gated"])
def test_other_rules_are_kept_in_the_artifact(activation, tmp_path):
    saved = make_model(rule(activation)).save(tmp_path / "model")
    x = torch.from_numpy(unit(np.random.default_rng(3), 5, 16))
    assert torch.equal(saved.sae(x), rule(activation)(x)) and saved.meta["sae"]["activation"] == activation


def test_rules_and_their_k():
    with pytest.raises(ValueError, match="one of .*'topk'.*found 'relu7'"):
        SparseAutoencoder(16, 48, activation="relu7")
    with pytest.raises(ValueError, match="k with activation 'topk' only"):
        SparseAutoencoder(16, 48, 5, activation="gated")


@pytest.mark.parametrize("k", [0, 49, None])
def test_impossible_k(k):
    with pytest.raises(ValueError, match=f"k={k}"):
        SparseAutoencoder(16, 48, k)


@pytest.mark.parametrize(("n", "width", "k"), [(300, 3072, 64), (70, 1001, 30), (5, 40, 3), (200, 1000, 499), (1, 6144, 96)])
@pytest.mark.parametrize("kind", ["plain", "ties", "negative"])
def test_the_k_largest_are_found_whatever_the_shape(n, width, k, kind):
    x = torch.randn(n, width, generator=torch.Generator().manual_seed(0))
    x = {"plain": x, "ties": (2 * x).round(), "negative": -1 - x.abs()}[kind]
    values, ids = top_k(x, k)
    assert torch.equal(values, x.gather(1, ids)) and (ids.diff(dim=1) > 0).all()
    assert torch.equal(values.sort(dim=1, descending=True).values, x.topk(k, dim=1).values)


def test_a_new_dictionary_is_random_directions_and_nothing_else():
    sae = SparseAutoencoder(16, 48, activation="gated")
    assert (sae.gain == 1).all() and (sae.b_mag == 0).all()
    assert (SparseAutoencoder(16, 48, activation="threshold").threshold == 0).all()
    with torch.no_grad():
        sae.b_enc.fill_(1)
        sae.b_dec.fill_(1)
    sae.reset_parameters(torch.Generator().manual_seed(3))
    drawn = torch.randn(48, 16, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(sae.w_dec.detach(), drawn / drawn.square().sum(1, keepdim=True).sqrt())
    assert torch.equal(sae.w_enc, sae.w_dec) and (sae.b_enc == 0).all() and (sae.b_dec == 0).all()
    assert all(p.requires_grad and p.dtype == torch.float32 for p in sae.parameters())


def test_active_is_above_the_threshold_and_not_at_it():
    sae = SparseAutoencoder(3, 3, activation="threshold")
    with torch.no_grad():
        sae.w_enc.copy_(torch.eye(3))
        sae.threshold.copy_(torch.tensor([0.5, 0.25, -1.0]))
    assert sae.encode(torch.tensor([[0.5, 0.5, -0.5]])).dense(3).tolist() == [[0, 0.5, 0]]  # and never below zero
    gated = SparseAutoencoder(3, 3, activation="gated")
    with torch.no_grad():
        gated.w_enc.copy_(torch.eye(3))
        gated.b_mag.fill_(0.5)
        gated.gain.copy_(torch.tensor([1.0, 2.0, -4.0]))
    assert gated.encode(torch.tensor([[0.0, 0.25, 0.5]])).dense(3).tolist() == [[0, 1, 0]]
    codes = SparseCodes(torch.tensor([[0, 1, 2]]), torch.tensor([[0.0, 0.5, 1.0]]))
    assert codes.active().tolist() == [[False, True, True]] and codes.active(0.5).tolist() == [[False, False, True]]
    with pytest.raises(FrozenInstanceError):
        codes.ids = codes.values


@pytest.mark.parametrize("counts", [[0, 0], [2, 0, 3], [1], [], [3, 1, 3]])
def test_slots_are_as_many_as_the_fullest_row_needs(counts):
    values, rng = torch.zeros(len(counts), 8), np.random.default_rng(0)
    for row, n in zip(values, counts):
        row[np.sort(rng.choice(8, n, replace=False))] = torch.rand(n) + 0.5
    codes = _packed(values)
    assert codes.ids.shape == codes.values.shape == (len(counts), max([1, *counts])) and codes.ids.dtype == torch.int64
    for row, ids, own, n in zip(values, codes.ids, codes.values, counts):
        assert ids[:n].tolist() == row.nonzero()[:, 0].tolist() and own[:n].tolist() == row[row > 0].tolist()
        assert (own[n:] == 0).all() and (ids[n:] == 0).all()


def projection(sae, x, features, ridge):
    w = torch.nn.functional.normalize(sae.w_dec.detach().double(), dim=1)[features].T
    inner = w.T @ w + ridge * torch.eye(len(features), dtype=torch.float64)
    return w @ torch.linalg.solve(inner, w.T @ (x.double() - sae.b_dec.detach().double()))


@pytest.mark.parametrize("ridge", [1e-6, 0.5])
@pytest.mark.parametrize("width", [1, 7, 16, 17, 30])
def test_projections_of_one_set_for_each_row(width, ridge):
    sae, rng = random_sae(), np.random.default_rng(width)
    with torch.no_grad():
        sae.w_dec.mul_(torch.linspace(0.5, 2, 48)[:, None])
    x = torch.from_numpy(3 * unit(rng, 6, 16))
    ids = torch.from_numpy(np.stack([rng.permutation(48)[:width] for _ in x]))
    ids[1] = ids[0]
    mask = torch.from_numpy(rng.random((6, width)) < 0.7)
    mask[0] = mask[1] = True
    mask[5] = False
    with torch.no_grad():
        found = sae.project(x, ids, mask, ridge)
    assert found.dtype == torch.float32 and (found[5] == 0).all()
    for z, own, kept, p in zip(x, ids, mask, found):
        torch.testing.assert_close(p.double(), projection(sae, z, own[kept], ridge), atol=2e-5, rtol=0)
    if ridge == 1e-6:
        assert torch.equal(sae.project(x, ids, mask), found)


def test_equal_sets_are_solved_once_where_they_are_large(monkeypatch):
    sae, x = random_sae(), torch.from_numpy(unit(np.random.default_rng(0), 5, 16))
    solved, solve = [], torch.cholesky_solve
    monkeypatch.setattr(torch, "cholesky_solve", lambda b, u: solved.append(b.shape) or solve(b, u))
    with torch.no_grad():
        sae.project(x, torch.arange(17).repeat(5, 1), torch.ones(5, 17, dtype=torch.bool))
        assert solved == [(16, 5)]
        sae.project(x, torch.arange(16).repeat(5, 1), torch.ones(5, 16, dtype=torch.bool))
        assert solved[1:] == [(5, 16, 1)]


@pytest.mark.parametrize("lengths", [(1, 1), (0.01, 0.02), (50, 100)])
def test_refit_comes_as_close_as_it_is_told(lengths):
    sae, x = random_sae(k=8), torch.from_numpy(unit(np.random.default_rng(2), 30, 16))
    with torch.no_grad():
        sae.w_dec.mul_(torch.linspace(*lengths, 48)[:, None])
    codes = sae.encode(x)
    w, target = sae.w_dec.detach().double(), (x - sae.b_dec).detach().double()
    unit_w = torch.nn.functional.normalize(w, dim=1)
    for tolerance in (1e-1, 1e-2, 1e-3):
        found = sae.refit(x, codes, tolerance)
        assert not found.requires_grad and (found[~codes.active()] == 0).all()
        for i, own in enumerate(codes.active()):
            ids = codes.ids[i][own]
            left = target[i] - found[i][own].double() @ w[ids]
            assert (unit_w[ids] @ left).norm() <= 1.1 * tolerance * (unit_w[ids] @ target[i]).norm() + 1e-5
    assert torch.equal(sae.refit(x, codes), sae.refit(x, codes, 1e-3))


def test_refit_is_done_at_once_where_nothing_is_left(monkeypatch):
    sae = random_sae(k=8)
    codes = sae.encode(torch.from_numpy(unit(np.random.default_rng(2), 30, 16)))
    x, asked, combine = sae.decode(codes).detach(), [], sae.combine
    monkeypatch.setattr(sae, "combine", lambda *args: asked.append(len(args[0])) or combine(*args))
    np.testing.assert_allclose(sae.refit(x, codes), codes.values.detach(), atol=1e-5)
    assert asked == [30]


def test_refit_takes_at_most_four_steps_a_feature_and_leaves_rows_that_are_done(monkeypatch):
    sae, x = random_sae(k=8), torch.from_numpy(unit(np.random.default_rng(2), 30, 16))
    codes = sae.encode(x)
    asked, combine = [], sae.combine
    monkeypatch.setattr(sae, "combine", lambda *args: asked.append(len(args[0])) or combine(*args))
    sae.refit(x, codes, 0.0)
    assert 8 < len(asked) <= 1 + 4 * 8
    asked.clear()
    sae.refit(x, codes, 1e-3)
    assert asked[0] == 30 and asked == sorted(asked, reverse=True) and 1 <= asked[-1] < 15  # at last those that are left
    whole = [n for n in asked if n == 30]
    assert len(whole) < len(asked) <= 1 + 8 + 2  # in exact numbers as many steps as features


def test_refit_where_no_gradient_may_be_asked_for():
    x = torch.from_numpy(unit(np.random.default_rng(2), 9, 16))
    expected = random_sae().refit(x, random_sae().encode(x))
    with torch.inference_mode():
        sae = random_sae()
        assert sae.w_dec.is_inference()
        torch.testing.assert_close(sae.refit(x, sae.encode(x)), expected, atol=1e-6, rtol=0)
    with torch.no_grad():
        torch.testing.assert_close(random_sae().refit(x, random_sae().encode(x)), expected, atol=1e-6, rtol=0)


def test_refit_changes_neither_vectors_nor_codes():
    sae, x = random_sae(), torch.from_numpy(unit(np.random.default_rng(2), 9, 16))
    codes = sae.encode(x)
    before = x.clone(), codes.ids.clone(), codes.values.detach().clone()
    sae.refit(x, codes)
    assert all(torch.equal(a, b) for a, b in zip((x, codes.ids, codes.values), before))


def test_refit_of_rows_without_features_and_of_directions_without_length():
    sae, x = random_sae(k=8), torch.from_numpy(unit(np.random.default_rng(2), 9, 16))
    codes = sae.encode(x)
    expected = sae.refit(x, codes)
    codes.values.detach()[[0, 4]] = 0
    found = sae.refit(x, codes)
    assert (found[[0, 4]] == 0).all()
    torch.testing.assert_close(found[[1, 2, 3, 5]], expected[[1, 2, 3, 5]], atol=1e-5, rtol=0)
    with torch.no_grad():
        sae.w_dec[codes.ids[1, 0]] = 0
    decoded = sae.decode(codes, sae.refit(x, codes))
    ids = codes.ids[1, codes.active()[1]]
    torch.testing.assert_close((decoded[1] - sae.b_dec).detach().double(), projection(sae, x[1], ids, 1e-9), atol=2e-3, rtol=0)
    assert decoded.isfinite().all()
