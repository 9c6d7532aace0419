"""JSON lines: those of others, and our own after their writer was killed."""

import gzip
import json
import os
import signal

import pytest

from pyterrier_xetrieval.store.jsonl import appending, json_lines, records, write_line
from tests.helpers.children import in_child


def test_rows_of_several_runs(tmp_path):
    path = tmp_path / "in" / "rows.jsonl"
    assert list(json_lines(path)) == []
    for i in range(3):
        with appending(path) as file:
            write_line(file, {"i": i, "text": "größer\n\ud800"})
    assert list(json_lines(path)) == [(i + 1, {"i": i, "text": "größer\n?"}) for i in range(3)]
    assert os.listdir(tmp_path / "in") == ["rows.jsonl"]


def test_another_run_has_it_open(tmp_path):
    with appending(tmp_path / "rows.jsonl") as file:
        with pytest.raises(RuntimeError, match="rows.jsonl is being written by another run"), appending(tmp_path / "rows.jsonl"):
            pass
        write_line(file, {"i": 0})
    assert [row for _, row in json_lines(tmp_path / "rows.jsonl")] == [{"i": 0}]


@pytest.mark.parametrize("torn", [b'{"i": 1', b"\xff", b"{", b"7", b'{"text": "' + b"x" * 200_000])
def test_a_torn_last_line_is_cut_off(tmp_path, torn):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"i": 0}\n' + torn)
    assert list(json_lines(path)) == [(1, {"i": 0})]
    with appending(path) as file:
        write_line(file, {"i": 2})
    assert path.read_bytes() == b'{"i": 0}\n{"i": 2}\n'


def test_a_whole_last_line_without_its_end_is_kept(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"i": 0}')
    with appending(path) as file:
        write_line(file, {"i": 1})
    assert path.read_bytes() == b'{"i": 0}\n{"i": 1}\n'


def test_a_killed_run_loses_no_row_and_blocks_nobody(tmp_path):
    path = tmp_path / "rows.jsonl"

    def killed():
        with appending(path) as file:
            write_line(file, {"i": 0})
            file.write(b'{"i": 1')
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(killed) == -signal.SIGKILL
    with appending(path) as file:
        write_line(file, {"i": 1})
    assert [row["i"] for _, row in json_lines(path)] == [0, 1]
    assert os.listdir(tmp_path) == ["rows.jsonl"]


def test_a_damaged_line_that_is_not_the_last_one(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"i": 0}\n[]\n{"i": 2}\n')
    with pytest.raises(ValueError, match="line 2 of .* is no JSON object: repair or remove it"):
        list(json_lines(tmp_path / "rows.jsonl"))


def test_records_of_somebody_else(tmp_path):
    text = '\ufeff{"a": 1}\n\n{"b": "\\ud800"}\n'
    (tmp_path / "rows.jsonl").write_text(text, encoding="utf-8")
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(text)
    for path in (tmp_path / "rows.jsonl", tmp_path / "rows.jsonl.gz"):
        assert list(records(path)) == [(f"line 1 of {path}", {"a": 1}), (f"line 3 of {path}", {"b": "\ufffd"})]
    whole = (tmp_path / "rows.jsonl.gz").read_bytes()
    (tmp_path / "cut.gz").write_bytes(whole[:-9])
    with pytest.raises(ValueError, match="cut.gz is damaged"):
        list(records(tmp_path / "cut.gz"))
    for line, told in (("[1]", r"expects an object, found \[1\]"), ("{", "is no JSON"), ('{"a": \x80}', "is no JSON")):
        (tmp_path / "other.jsonl").write_bytes(json.dumps({}).encode() + b"\n" + line.encode("latin-1"))
        with pytest.raises(ValueError, match=f"line 2 of .*{told}"):
            list(records(tmp_path / "other.jsonl"))
