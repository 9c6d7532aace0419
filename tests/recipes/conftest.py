"""Data that several recipes name features by."""

import pytest

from pyterrier_xetrieval import Xetrieval
from tests.helpers.label_sheets import write_data


@pytest.fixture(scope="session")
def label_data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), Xetrieval.default().encoder())
