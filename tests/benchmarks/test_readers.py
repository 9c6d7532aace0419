"""The benchmark of readers beside a writer, as small as it goes: no wrong answer."""

import pytest

from benchmarks.readers import measure


@pytest.mark.usefixtures("one_thread")
def test_no_wrong_answer():
    found = measure(documents=200, readers=2, seconds=1.0)
    assert found["wrong_answers"] == 0 and found["pages"] > 0 and found["deleted_rows"] > 0
