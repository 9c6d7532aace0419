import numpy as np
import pytest
import torch
from conftest import identity_sae, random_sae, unit

from pyterrier_xetrieval import SparseAutoencoder, SparseCodes


def literal_code(sae, x):
    """TopK_k(ReLU(W_e (x − b) + b_e)), one coordinate at a time, as a dense vector."""
    w, b_e, b = sae.w_enc.tolist(), sae.b_enc.tolist(), sae.b_dec.tolist()
    pre = [sum(w[j][i] * (x[i] - b[i]) for i in range(len(x))) + b_e[j] for j in range(len(w))]
    relu = [max(p, 0.0) for p in pre]
    keep = sorted(range(len(relu)), key=lambda j: -relu[j])[: sae.k]
    return [relu[j] if j in keep else 0.0 for j in range(len(relu))]


def test_identity_dictionary_keeps_the_largest_coordinates():
    x = torch.tensor([[0.5, 0.1, 0.9, 0.2, 0.0, 0.3]])
    codes = identity_sae(k=3).encode(x)
    assert codes.dense(6).tolist() == [pytest.approx([0.5, 0, 0.9, 0, 0, 0.3])]
    assert identity_sae(k=3).decode(codes).tolist() == [pytest.approx([0.5, 0, 0.9, 0, 0, 0.3])]


def test_fewer_than_k_positive_activations_means_fewer_active_features():
    codes = identity_sae(k=3).encode(torch.tensor([[0.5, -0.1, -0.9, -0.2, -1.0, -0.3]]))
    assert codes.active().sum() == 1
    assert codes.dense(6)[0].tolist() == pytest.approx([0.5, 0, 0, 0, 0, 0])


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
        np.testing.assert_allclose(refit[i][active], expected, atol=1e-4)
        assert (refit[i][~active] == 0).all()
    plain = ((sae.decode(codes) - t) ** 2).sum()
    assert ((sae.decode(codes, torch.from_numpy(refit)) - t) ** 2).sum() < plain


def test_refit_of_nothing():
    sae = random_sae()
    assert sae.refit(torch.empty(0, 16), sae.encode(torch.empty(0, 16))).shape == (0, 5)


def test_rows_of_codes():
    codes = SparseCodes(torch.tensor([[1, 2], [3, 4]]), torch.tensor([[1.0, 0.0], [0.5, 0.25]]))
    assert len(codes[1:]) == 1 and codes[[1]].ids.tolist() == [[3, 4]]


@pytest.mark.parametrize("k", [0, 49])
def test_impossible_k(k):
    with pytest.raises(ValueError, match=f"k={k}"):
        SparseAutoencoder(16, 48, k)
