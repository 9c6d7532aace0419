"""A view is the two layers of Eq. 7, written out in float64, whatever the batch."""

import numpy as np
import pytest
import torch

from pyterrier_xetrieval.core.internalizer import Internalizer, internalize
from tests.helpers.builders import random_internalizer, unit


def literal(module, z):
    w1, b1, w2, b2 = (p.detach().double().numpy() for p in (*module.layer1.parameters(), *module.layer2.parameters()))
    out = w2 @ np.tanh(w1 @ z.astype(np.float64) + b1) + b2
    return out / np.linalg.norm(out)


@pytest.mark.parametrize("batch_size", [1, 7, 16, 17, 100])
def test_a_view_is_the_literal_equation(batch_size):
    module, z = random_internalizer(16, seed=0), unit(np.random.default_rng(0), 40, 16)
    found = internalize(module, z, batch_size=batch_size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [literal(module, row) for row in z], atol=1e-6)
    np.testing.assert_allclose(module(torch.from_numpy(z)).detach(), found, atol=1e-6)
    np.testing.assert_allclose(
        module(torch.from_numpy(z[0])).detach(), found[0], atol=1e-6
    )  # the last dimension, whatever comes before
    assert module.layer1.weight.grad is None and not torch.from_numpy(found).requires_grad


def test_no_vectors_have_no_views():
    assert internalize(random_internalizer(16, seed=0), np.empty((0, 16), np.float32), batch_size=4).shape == (0, 16)


def test_the_hidden_layer_has_512_units_unless_told_otherwise():
    assert Internalizer(6).hidden == 512 and Internalizer(6).layer1.weight.shape == (512, 6)
    small = Internalizer(6, 4)
    assert (small.dim, small.hidden) == (6, 4) and small.layer2.weight.shape == (6, 4)
