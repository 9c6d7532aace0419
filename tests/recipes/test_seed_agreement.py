import numpy as np
import pytest
import torch

from pyterrier_xetrieval.core.attribution import explain_vectors
from recipes.seed_agreement import agreement, best_matches
from tests.helpers.builders import random_sae, unit


def explained(sae):
    rng = np.random.default_rng(0)
    q, z, rows = unit(rng, 30, 16), unit(rng, 30, 16), np.arange(30)
    return explain_vectors(sae, q + z, rows, [z], rows, weights=(1.0,))


def test_the_same_dictionary_in_another_order_agrees_in_everything():
    first, second = random_sae(k=9), random_sae(k=9)
    order = torch.randperm(48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for name in ("w_enc", "b_enc", "w_dec"):
            getattr(second, name).copy_(getattr(first, name)[order])
    cosine, match = best_matches(first, second)
    assert cosine == pytest.approx(np.ones(48), abs=1e-6) and (order.numpy()[match] == np.arange(48)).all()
    found = agreement(explained(first), explained(second), match)
    assert found["largest_found"] == 1 and found["contribution_found"] == pytest.approx(1)
    assert found["correlation_of_shared"] == pytest.approx(1) and found["pairs"] == 30


def test_another_dictionary_agrees_in_little():
    cosine, match = best_matches(random_sae(k=9), random_sae(k=9, seed=5))
    found = agreement(explained(random_sae(k=9)), explained(random_sae(k=9, seed=5)), match)
    assert cosine.mean() < 0.7 and found["largest_found"] < 0.7
