"""A few cases of every public entry: the right answer, or an error that says why there is none. ``benchmarks/fuzz.py`` runs many."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.fuzz.entries import ENTRIES
from tests.helpers.fuzz.outcomes import Source

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", ENTRIES)
def test_the_right_answer_or_an_error_that_says_why(name):
    @settings(max_examples=12, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def case(data):
        ENTRIES[name](Source(data))

    case()
