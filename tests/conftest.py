"""A hand-made model whose every number is known: an identity dictionary in six dimensions, two linear-ish views."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pandas as pd
import pytest
import torch

from pyterrier_xetrieval import Xetrieval
from tests.helpers.browser import chromium
from tests.helpers.builders import make_model, result_frame, unit


@pytest.fixture
def model() -> Xetrieval:
    return make_model()


@pytest.fixture
def results() -> pd.DataFrame:
    return result_frame()


@pytest.fixture(scope="session")
def browser():
    """Chromium, for ``tests.helpers.browser.opened``."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def one_thread():
    """Matrices this small are not worth the handing over."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def sums_of_three():
    """2,000 vectors of dimension 24, each made of 3 of 32 directions."""
    rng = np.random.default_rng(0)
    directions = unit(rng, 32, 24)
    codes = np.zeros((2000, 32), np.float32)
    for row in codes:
        row[rng.choice(32, 3, replace=False)] = rng.uniform(0.5, 1.5, 3)
    return directions, codes @ directions
