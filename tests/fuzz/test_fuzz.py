"""A few cases of every public entry: the right answer, or an error that says why there is none. ``benchmarks/fuzz.py`` runs many."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyterrier_xetrieval import FeatureLabels
from pyterrier_xetrieval.labels import feature_ids
from tests.helpers.fuzz.entries import ENTRIES, run
from tests.helpers.fuzz.outcomes import Defect, QuickSource, Source

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", ENTRIES)
def test_the_right_answer_or_an_error_that_says_why(name):
    @settings(max_examples=12, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def case(data):
        ENTRIES[name](Source(data))

    case()


def test_no_case_ends_a_run():
    """A case that the harness cannot build is told as such, and never as one that the package has passed or failed."""

    def entry(src):
        kind = src.pick(["right", "refused", "defect", "unbuilt", "in the package"])
        if kind == "defect":
            raise Defect("a wrong answer")
        if kind == "unbuilt":
            "\ud800".encode()
        if kind == "in the package":
            feature_ids([48], FeatureLabels.empty(48), stage="demo")
        return kind == "right"

    tally = run(entry, 50, name="demo")
    assert tally.valid and tally.refused and tally.cases == 50
    assert [what.partition(":")[0] for what in tally.unbuilt] == ["UnicodeEncodeError"]
    assert {what.partition(":")[0] for what in tally.defects} == {"a wrong answer", "ValueError"}
    for what in (*tally.unbuilt, *tally.defects):
        with pytest.raises((Defect, ValueError)):
            entry(QuickSource(tally.first[what]))
