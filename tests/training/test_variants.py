"""The variants of the sparse autoencoder: each finds a planted dictionary, and is used as it was trained."""

import warnings

import numpy as np
import pytest
import torch

from pyterrier_xetrieval.core.sae import SparseAutoencoder
from pyterrier_xetrieval.training import firing_statistics, fraction_of_variance_explained, train_sae
from pyterrier_xetrieval.training.dictionary import OBJECTIVES

DIM, SIZE = 16, 32
CONTROL = {  # what each is given, and for how sparse a code it then settles
    "topk": {"k": 3},
    "batch_topk": {"k": 3},
    "matryoshka": {"k": 3, "settings": {"prefixes": (0.5, 1)}},  # the planted directions know no hierarchy
    "relu": {"sparsity": 0.3},
    "p_anneal": {"sparsity": 0.3},
    "gated": {"sparsity": 0.5},
    "gated_anneal": {"sparsity": 0.4},
    "jumprelu": {"sparsity": 0.07},
}
PENALISED = [name for name in OBJECTIVES if "sparsity" in CONTROL[name]]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def planted():
    """32 directions in 16 dimensions, and 3,000 vectors each made of 3 of them."""
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((SIZE, DIM)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    codes = np.zeros((3000, SIZE), np.float32)
    for row in codes:
        row[rng.choice(SIZE, 3, replace=False)] = rng.uniform(0.5, 1.5, 3)
    return directions, codes @ directions


def small(vectors, variant, **options):
    options = (
        CONTROL[variant]
        | dict(steps=500, batch_size=128, lr=1e-2, dead_after=2000, revive_every=0, eval_every=100, seed=3)
        | options
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the odd dead feature of so short a training
        return train_sae(vectors, variant=variant, dict_size=SIZE, **options)


def recovery(directions, sae):
    """Mean over the planted directions of the cosine to the most similar one found."""
    return (torch.from_numpy(directions) @ sae.w_dec.detach().T).amax(1).mean().item()


@pytest.mark.parametrize("variant", OBJECTIVES)
def test_every_variant_recovers_the_planted_dictionary_and_is_used_as_trained(planted, variant):
    directions, vectors = planted
    sae, history = small(vectors, variant)
    random = SparseAutoencoder(DIM, SIZE, 3)
    random.reset_parameters(torch.Generator().manual_seed(0))
    assert recovery(directions, sae) > max(0.8, recovery(directions, random) + 0.3)
    assert torch.allclose(sae.w_dec.norm(dim=1), torch.ones(SIZE), atol=1e-5)
    fve, l0 = fraction_of_variance_explained(sae, torch.from_numpy(vectors))
    assert fve > 0.8 and 1.5 < l0 < 5.5
    assert not sae.training
    assert l0 == pytest.approx(history[-1]["train_l0"], rel=0.04)
    rates = history[-1]["firing_rates"]
    assert rates == sorted(rates) and rates[2] * SIZE == pytest.approx(l0, rel=0.4)
    assert [entry["step"] for entry in history] == [100, 200, 300, 400, 500]


@pytest.mark.parametrize("variant", ["relu", "p_anneal", "jumprelu", "gated", "gated_anneal"])
def test_the_exported_rule_gives_the_codes_of_training(variant):
    generator = torch.Generator().manual_seed(0)
    start = SparseAutoencoder(DIM, SIZE, 1)
    objective = OBJECTIVES[variant](start, sparsity=0.1)
    with torch.no_grad():
        for name, parameter in objective.named_parameters():
            size = 0.3 if "log" in name else 1
            parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
        x = torch.randn(200, DIM, generator=generator)
        expected = 2.5 * objective.activate(x / 2.5)[0]
        sae = objective.export(2.5)
        found = sae.encode(x).dense(SIZE)
        reconstruction = 2.5 * objective(x / 2.5, 1.0, torch.empty(0, dtype=torch.int64)).decoded
        assert torch.allclose(found, expected, atol=1e-4) and 0.02 < (found > 0).float().mean() < 0.9
        assert torch.allclose(sae(x), reconstruction, atol=1e-3)


@pytest.mark.parametrize("variant", ["batch_topk", "matryoshka"])
def test_batch_topk_keeps_k_a_row_on_average_and_its_threshold_is_the_mean_smallest_value(variant):
    objective = OBJECTIVES[variant](SparseAutoencoder(DIM, SIZE, 1), k=3, momentum=0.5)
    x = torch.randn(50, DIM, generator=torch.Generator().manual_seed(0))
    smallest = []
    for batch in (x[:30], x[30:]):
        active = objective.select(batch)
        counts = torch.bincount(active.rows, minlength=len(batch))
        assert counts.sum() == 3 * len(batch) and counts.min() < 3 < counts.max()
        with torch.no_grad():
            dense = torch.relu(objective.pre_activations(batch))
        assert active.values.min() == dense.flatten().topk(3 * len(batch)).values[-1] and (active.values > 0).all()
        assert torch.equal(active.values, dense[active.rows, active.ids])
        smallest.append(active.values.min().item())
    sae = objective.export(2.0)
    expected = 2.0 * (0.25 * smallest[0] + 0.5 * smallest[1]) / 0.75
    assert sae.threshold.detach().numpy() == pytest.approx(np.full(SIZE, expected), rel=1e-5)


@pytest.mark.parametrize("variant", PENALISED)
def test_sparsity_rises_with_the_penalty(planted, variant):
    base, options = CONTROL[variant]["sparsity"], dict(steps=150, eval_every=150)
    l0 = [small(planted[1], variant, sparsity=factor * base, **options)[1][-1]["l0"] for factor in (0.1, 1)]
    assert l0[0] > 1.3 * l0[1]


@pytest.mark.parametrize("variant", OBJECTIVES)
def test_same_seed_same_weights_whatever_the_scale(planted, variant):
    options = dict(steps=20, dead_after=300, revive_every=5, weights=np.linspace(0.2, 2, 3000))
    first, second = (small(planted[1], variant, **options)[0].state_dict() for _ in range(2))
    other = small(planted[1], variant, **options | {"seed": 4})[0].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["w_dec"], other["w_dec"])
    scaled = small(8 * planted[1], variant, **options)[0].state_dict()
    for name, factor in {"w_enc": 1, "w_dec": 1, "b_enc": 8, "b_dec": 8, "threshold": 8, "gain": 1, "b_mag": 8}.items():
        assert name not in first or torch.allclose(scaled[name], factor * first[name], rtol=1e-3, atol=1e-3)


def test_jumprelu_learns_its_thresholds_through_the_pseudo_derivatives():
    objective = OBJECTIVES["jumprelu"](SparseAutoencoder(DIM, SIZE, 1), sparsity=0.3, bandwidth=0.5, threshold=0.4)
    x = torch.randn(40, DIM, generator=torch.Generator().manual_seed(0))
    counts, decoded, terms = objective(x, 0.5, torch.empty(0, dtype=torch.int64))
    sum(terms.values()).backward()
    with torch.no_grad():
        pre, theta = objective.pre_activations(x), 0.4
        assert torch.equal(counts, (pre > theta).sum(0))
        near = ((pre - theta).abs() < 0.25) / 0.5
        slope = -2 * (x - decoded) @ objective.w_dec.T / len(x)  # of the squared error by the codes
        wanted = -(slope * theta + 0.5 * 0.3 / len(x)) * near
        assert torch.allclose(objective.threshold.grad, wanted.sum(0), atol=1e-5)
        assert torch.allclose(objective.b_enc.grad, (slope * (pre > theta)).sum(0), atol=1e-4)


def test_the_auxiliary_term_of_gated_leaves_the_decoder_alone():
    objective = OBJECTIVES["gated"](SparseAutoencoder(DIM, SIZE, 1), sparsity=0.3)
    terms = objective(torch.randn(40, DIM, generator=torch.Generator().manual_seed(0)), 1.0, None).terms
    terms["aux_loss"].backward()
    assert objective.w_dec.grad is None and objective.w_enc.grad.any() and objective.b_mag.grad is None


@pytest.mark.parametrize("variant", ["p_anneal", "gated_anneal"])
def test_annealing_changes_the_shape_of_the_penalty_and_not_its_size(variant):
    objective = OBJECTIVES[variant](SparseAutoencoder(DIM, SIZE, 1), sparsity=0.3, p_end=0.2, updates=4)
    f = torch.rand(40, SIZE, generator=torch.Generator().manual_seed(0))
    sizes, penalties = [], []
    for progress in np.linspace(0, 1, 41):
        objective.schedule(progress)
        penalties.append(objective.sparsity)
        sizes.append(penalties[-1] * objective.penalty(f).item())
    assert sizes == pytest.approx([sizes[0]] * 41, rel=1e-4)
    assert len(set(penalties)) == 5 and objective.powers[objective.stage] == pytest.approx(0.2)
    assert objective.penalty(f).item() == pytest.approx(f.pow(0.2).sum(1).mean().item(), rel=0.02)


def test_the_first_features_of_matryoshka_reconstruct_alone(planted):
    x = torch.from_numpy(planted[1])

    def half(variant):
        sae = small(planted[1], variant, steps=150)[0]
        codes = sae.encode(x).dense(SIZE)[:, : SIZE // 2]
        with torch.no_grad():
            error = (x - codes @ sae.w_dec[: SIZE // 2] - sae.b_dec).pow(2).sum()
        return 1 - (error / (x - x.mean(0)).pow(2).sum()).item()

    assert half("matryoshka") > half("batch_topk") + 0.05


def test_dead_features_are_warned_about_and_come_back(planted):
    init = SparseAutoencoder(DIM, SIZE, 3)
    init.reset_parameters(torch.Generator().manual_seed(0))
    with torch.no_grad():
        init.b_enc[:12] = -50
    options = dict(
        variant="relu", dict_size=SIZE, sparsity=0.1, init=init, steps=60, batch_size=128, dead_after=1000, revive_every=0
    )
    with pytest.warns(UserWarning, match=r"'relu'.*3\d% of 32 features.*revive_every"):
        sae, history = train_sae(planted[1], **options)
    assert history[-1]["never_active"] == history[-1]["dead_share"] == 12 / 32 == history[-1]["firing_rates"].count(0) * 6 / 32
    assert (firing_statistics(sae, planted[1], most=500)[0][:12] == 0).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert train_sae(planted[1], **options | {"revive_every": 10})[1][-1]["never_active"] < 0.1


def test_errors_say_what_is_expected_and_what_was_found(planted):
    def train(**options):
        return train_sae(planted[1], dict_size=SIZE, steps=1, **options)

    with pytest.raises(ValueError, match=r"variant to be one of.*'matryoshka'.*found 'lista'"):
        train(variant="lista", k=3)
    with pytest.raises(ValueError, match="'relu' expects sparsity > 0 and nothing else, found k=3$"):
        train(variant="relu", k=3)
    with pytest.raises(ValueError, match="'batch_topk' expects 0 < k <= dict_size=32 .*found k=3, sparsity=0.1"):
        train(variant="batch_topk", k=3, sparsity=0.1)
    with pytest.raises(ValueError, match="'topk' expects.*found neither k nor sparsity"):
        train()
    with pytest.raises(ValueError, match="found k=40"):
        train(variant="matryoshka", k=40)
    with pytest.raises(ValueError, match="prefixes that rise to 1"):
        train(variant="matryoshka", k=3, settings={"prefixes": (0.5, 0.25)})
    with pytest.raises(ValueError, match="0 < p_end < 1"):
        train(variant="p_anneal", sparsity=0.1, settings={"p_end": 2})
    with pytest.raises(ValueError, match="bandwidth > 0"):
        train(variant="jumprelu", sparsity=0.1, settings={"bandwidth": 0})
    with pytest.raises(ValueError, match="init: expected m=16, D=32, found m=16, D=8"):
        train(variant="relu", sparsity=0.1, init=SparseAutoencoder(16, 8, 2))


def test_jumprelu_starts_at_a_share_of_the_encoders_rows(planted):
    x = planted[1]
    sae, _ = train_sae(x, variant="jumprelu", sparsity=0.07, dict_size=SIZE, steps=1, lr=1e-12, batch_size=128)
    scale = np.sqrt(np.square(x - x.mean(0)).sum(1).mean())
    assert (sae.threshold / sae.w_enc.norm(dim=1)).detach().numpy() == pytest.approx(0.04 * scale, rel=0.05)


def test_a_revived_jumprelu_feature_gets_its_first_threshold():
    objective = OBJECTIVES["jumprelu"](SparseAutoencoder(DIM, SIZE, 1), sparsity=0.1)
    with torch.no_grad():
        objective.threshold.fill_(9.0)
    objective.revived(torch.tensor([3]))
    threshold = objective.threshold.detach()
    assert threshold[3].item() == pytest.approx(0.04 * objective.w_enc[3].norm().item()) and (threshold[:3] == 9).all()


def test_a_jumprelu_threshold_comes_back_from_below_zero():
    objective = OBJECTIVES["jumprelu"](SparseAutoencoder(DIM, SIZE, 1), sparsity=0.3)
    with torch.no_grad():
        objective.threshold.fill_(-0.001)
    x = torch.randn(64, DIM, generator=torch.Generator().manual_seed(0))
    objective(x, 1.0, torch.empty(0, dtype=torch.int64)).terms["sparsity_loss"].backward()
    assert (objective.threshold.grad < 0).any() and (objective.thresholds() == 0).all()
