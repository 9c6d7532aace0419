"""One model, and one index of the whole corpus, for the tests of a file."""

import pytest

from tests.helpers.builders import make_model
from tests.helpers.children import OPTIONS
from tests.helpers.index import corpus


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """One pass over the corpus: what every other way has to end in."""
    return model.indexer(tmp_path_factory.mktemp("whole") / "index", **OPTIONS).index(corpus())
