"""The benchmark of readers beside a writer, as small as it goes: no wrong answer."""

import pytest

from benchmarks.readers import measure


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("given", [False, True])
def test_no_wrong_answer(given, tmp_path):
    found = measure(documents=400, readers=2, requests=40, given=given, path=tmp_path / "index")
    assert found["wrong_answers"] == 0 and found["pages"] >= 40 and found["deleted_rows"] > 0
    assert len(found["memory_mb_by_tenths"]) <= 10
