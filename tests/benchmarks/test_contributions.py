"""What contributions are made of adds up, and scaling takes the contribution, in a dictionary of random directions."""

import numpy as np
import pytest

from benchmarks.contributions import measured
from tests.helpers.builders import random_sae, unit


def test_parts_of_contributions_add_up_and_scaling_takes_them():
    rng = np.random.default_rng(0)
    q = unit(rng, 60, 16)
    found = measured(random_sae(k=9), q, q + 0.5 * unit(rng, 60, 16))
    assert sum(value for name, value in found.items() if name.startswith("share of the summed")) == pytest.approx(1)
    assert found["scale: largest difference from a contribution without refit"] < 1e-5
    assert found["erase, length not restored: share of the activation that remains"] < 0.1
