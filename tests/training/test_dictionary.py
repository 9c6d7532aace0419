"""The training of dictionaries: exact sparse gradients, dead features, starts, and what is refused."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pyterrier_xetrieval.core.sae import SparseAutoencoder
from pyterrier_xetrieval.training import fraction_of_variance_explained, train_sae
from pyterrier_xetrieval.training.dictionary import _split
from pyterrier_xetrieval.training.dictionary_loop import geometric_median
from pyterrier_xetrieval.training.k_sparse import TopK
from pyterrier_xetrieval.training.sparse_decoding import ActiveFeatures, decode_active
from pyterrier_xetrieval.training.vector_rows import VectorRows
from tests.helpers.builders import random_internalizer
from tests.helpers.training import small

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_planted_dictionary_is_found_far_better_than_by_the_random_one(sums_of_three):
    directions, vectors = sums_of_three
    sae, history = small(vectors)
    random, nothing = train_sae(vectors, variant="random", dict_size=32, k=3)
    fve, l0 = fraction_of_variance_explained(sae, torch.from_numpy(vectors))
    assert fve > 0.8 and fve > fraction_of_variance_explained(random, torch.from_numpy(vectors))[0] + 0.5
    assert l0 <= 3 and nothing == [] and random.k == 3
    found = (torch.from_numpy(directions) @ sae.w_dec.detach().T).max(1).values
    assert found.median() > 0.9
    assert [entry["step"] for entry in history][-2:] == [250, 300] and history[-1]["fve"] > history[0]["fve"]


def decode_dense(x, active, w_enc, b_enc, w_dec, b_dec):
    """:func:`~pyterrier_xetrieval.training.sparse_decoding.decode_active` through dense ``[n · parts, D]`` matrices and plain autograd."""
    pre = torch.addmm(b_enc, x - b_dec, w_enc.T)
    codes = torch.zeros(len(x) * active.parts, len(w_enc), dtype=x.dtype)
    return codes.index_put((active.bags, active.ids), torch.relu(pre[active.rows, active.ids])) @ w_dec


@pytest.mark.parametrize("dict_size", [40, 70_000])  # 16-bit sort keys and wider ones
@pytest.mark.parametrize("parts", [1, 3])
def test_sparse_gradients_equal_dense_autograd(dict_size, parts):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(17, 6, dtype=torch.float64, generator=generator)
    shapes = [(dict_size, 6), (dict_size,), (dict_size, 6), (6,)]
    params = [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]
    with torch.no_grad():
        if dict_size == 40:
            params[1].sub_(4)  # some of the selected slots are not active
        pre = torch.addmm(params[1], x - params[3], params[0].T)
        values, ids = pre.topk(5, dim=1)
        active = ActiveFeatures.from_slots(ids.sort(dim=1).values, torch.relu(pre.gather(1, ids.sort(dim=1).values)))
    if dict_size == 40:
        assert (active.values == 0).any() and (active.values > 0).any()
    if parts > 1:
        active = ActiveFeatures(active.ids, active.values, active.rows, parts, active.ids * parts // dict_size)
    weight = torch.randn(17 * parts, 6, dtype=torch.float64, generator=generator)
    results = []
    for function in (decode_active, decode_dense):
        out = function(x, active, *params)
        results.append([out, *torch.autograd.grad((out.sin() * weight).sum(), params)])
    for sparse, dense in zip(*results, strict=True):
        assert torch.allclose(sparse, dense, rtol=1e-9, atol=1e-9)
    assert torch.equal(active.counts(dict_size), torch.bincount(active.ids[active.values > 0], minlength=dict_size))


def dead_start(directions, *, bias):
    """12 of 32 features that never come among the three largest."""
    init = SparseAutoencoder(24, 32, 3)
    with torch.no_grad():
        init.w_dec.copy_(torch.from_numpy(directions))
        init.w_dec[:12] = F.normalize(torch.randn(12, 24, generator=torch.Generator().manual_seed(0)), dim=1)
        init.w_enc.copy_(init.w_dec)
        init.w_enc[:12] *= 0.1
        init.b_enc[:12] = bias
    return init


@pytest.mark.parametrize(
    ("bias", "cure"),
    # below zero on all rows AuxK has no gradient
    [(0.0, {"settings": {"aux_k": 12}}), (-3.0, {"settings": {"aux_k": 0}, "revive_every": 25})],
)
def test_dead_features_come_back(sums_of_three, bias, cure):
    directions, vectors = sums_of_three
    shares = []
    for options in ({"settings": {"aux_k": 0}}, cure):
        options = {"init": dead_start(directions, bias=bias), "steps": 150, "dead_after": 1000} | options
        shares.append(small(vectors, **options)[1][-1]["dead_share"])
    assert shares[0] > 0.3 and shares[1] < shares[0] / 2


def test_auxk_is_detached_from_living_features_and_follows_its_formula(sums_of_three):
    objective = TopK(small(sums_of_three[1], steps=20)[0], k=3, aux_k=24)
    batch = torch.from_numpy(sums_of_three[1][:50])
    dead = torch.tensor([1, 5])
    residual = torch.randn(50, 24, generator=torch.Generator().manual_seed(0))
    loss = objective.auxiliary(batch, residual, dead)
    loss.backward()
    living = [j for j in range(32) if j not in (1, 5)]
    assert not objective.w_dec.grad[living].any() and not objective.w_enc.grad[living].any() and objective.w_dec.grad[dead].any()
    assert objective.b_dec.grad is None or not objective.b_dec.grad.any()
    with torch.no_grad():
        codes = torch.relu((batch - objective.b_dec) @ objective.w_enc[dead].T + objective.b_enc[dead])
        expected = (residual - codes @ objective.w_dec[dead]).pow(2).sum() / (residual - residual.mean(0)).pow(2).sum()
    assert torch.allclose(loss, expected, rtol=1e-4)


def test_geometric_median_ignores_an_outlier():
    x = torch.cat([torch.randn(99, 3, generator=torch.Generator().manual_seed(0)) * 0.1 + 1, torch.full((1, 3), 1000.0)])
    assert torch.allclose(geometric_median(x), torch.ones(3), atol=0.1)


def test_errors_name_what_was_expected(sums_of_three):
    with pytest.raises(ValueError, match=r"train_sae: expected vectors of shape \[n, m\].*\(5,\)"):
        small(np.zeros(5))
    with pytest.raises(ValueError, match="train_sae: expected internalizers of the vectors' dimension 24, found \\[7\\]"):
        small(sums_of_three[1], internalizers=[random_internalizer(7, 0)])
    with pytest.raises(ValueError, match="directions of shape"):
        small(sums_of_three[1], init=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="2000 or 4000 weights >= 0.*\\(5,\\)"):
        small(sums_of_three[1], weights=np.ones(5), internalizers=[random_internalizer(24, 0)])
    with pytest.raises(ValueError, match=r"validation of shape \[v, 24\], found \(3, 5\)"):
        small(sums_of_three[1], validation=np.zeros((3, 5)))
    broken = sums_of_three[1].copy()
    broken[1500] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity in row 1500"):
        small(broken)
    with pytest.raises(ValueError, match="at least four vectors that differ, found 1 among 2000"):
        small(np.ones((2000, 24), np.float32))
    with pytest.raises(ValueError, match="steps to be a positive whole number, found 0"):
        small(sums_of_three[1], steps=0)
    with pytest.raises(ValueError, match="settings of TopK: .*unexpected keyword argument 'aux'"):
        small(sums_of_three[1], settings={"aux": 1})
    with pytest.raises(ValueError, match="loss is not finite at step .*lower lr"):
        small(sums_of_three[1], lr=1e30)


def test_a_vector_is_never_held_out_while_its_copy_is_trained_on(sums_of_three):
    distinct = sums_of_three[1][:40]
    vectors = np.repeat(distinct, 50, axis=0)[np.random.default_rng(0).permutation(2000)]
    rows = VectorRows(vectors, [random_internalizer(24, 0)])
    training, held = _split(rows, None, 0, 0.1)
    assert len(held) == 2 * 4 and len(training) == 2 * 36 * 50
    seen = {row.tobytes() for row in rows.take(training).numpy()}
    assert not seen & {row.tobytes() for row in held.numpy()} and len(seen) == 2 * 36
    _, history = train_sae(vectors, variant="topk", dict_size=64, k=8, steps=300, batch_size=256, held_out=0.1)
    assert history[-1]["train_fve"] > 0.9 > 0.7 > history[-1]["fve"]  # of copies of what was trained on it is .98
    few = np.repeat(distinct[:3], 100, axis=0)
    with pytest.raises(ValueError, match="at least four vectors that differ, found 3 among 300"):
        train_sae(few, variant="topk", dict_size=8, k=2)


def test_vectors_that_all_differ_are_split_by_the_number_of_documents_alone(sums_of_three):
    chosen = np.random.default_rng([3, 1]).choice(2000, 40, replace=False)
    training, held = _split(VectorRows(sums_of_three[1]), None, 3, 0.02)
    assert training.tolist() == np.setdiff1d(np.arange(2000), chosen).tolist()
    assert np.array_equal(held.numpy(), sums_of_three[1][chosen])


def test_a_start_from_an_autoencoder_of_any_scale_is_that_autoencoder(sums_of_three):
    init, _ = small(sums_of_three[1], steps=100)
    scaled = SparseAutoencoder(24, 32, 3)
    with torch.no_grad():
        for name, factor in (("w_enc", 1 / 5), ("b_enc", 1 / 5), ("w_dec", 5), ("b_dec", 1)):
            getattr(scaled, name).copy_(factor * getattr(init, name))
    found = [small(sums_of_three[1], init=start, steps=1, lr=1e-12)[1][-1]["fve"] for start in (init, scaled)]
    assert found[0] == pytest.approx(found[1], abs=1e-4) and found[0] > 0.5
