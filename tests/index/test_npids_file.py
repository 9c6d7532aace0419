"""The lookup of docnos, as the installed npids reads it."""

import hashlib

import npids
import numpy as np
import pytest

from pyterrier_xetrieval.index import npids_file
from pyterrier_xetrieval.index.npids_file import write_lookup

NAMES = ["7", "007", "d", "d" * 300, "ä ö/ü", "new\nline", "日本", *map(str, range(1000, 1300)), "a"]


def blocks_of(names, size):
    def blocks():
        for start in range(0, len(names), size):
            yield start, np.array([name.encode() for name in names[start : start + size]], dtype=np.bytes_)

    return blocks


@pytest.mark.parametrize("size", [1, 100, 1000])
@pytest.mark.parametrize("at_once", [1 << 22, 64])  # in one pass, and in many
@pytest.mark.parametrize("names", [NAMES, [f"d{i:02d}" for i in range(1, 21)], ["one"]], ids=["any", "padded", "one"])
def test_npids_finds_every_docno(tmp_path, monkeypatch, names, size, at_once):
    monkeypatch.setattr(npids_file, "_AT_ONCE", at_once)
    write_lookup(tmp_path / "docnos", len(names), blocks_of(names, size))
    lookup = npids.Lookup(tmp_path / "docnos")
    assert list(lookup) == names and lookup.fwd[np.arange(len(names))].tolist() == names
    assert lookup.inv[names] == list(range(len(names))) and lookup.inv[np.array(["x", "07"])].tolist() == [-1, -1]


def test_the_bytes_stay_what_they_were(tmp_path):
    """A merge of parts equals the whole, whichever version of this package wrote them."""
    write_lookup(tmp_path / "docnos", len(NAMES), blocks_of(NAMES, 1000))
    digest = hashlib.sha256((tmp_path / "docnos").read_bytes()).hexdigest()
    assert digest == "6e3d333928a4403a085a602c667bf8df47a5261e81be02723aea1d818f804fd9"


def test_an_npids_that_reads_something_else(tmp_path, monkeypatch):
    (tmp_path / "docnos").write_text("of before")

    class Other(npids.Lookup):
        def __len__(self):
            return 1

    def broken(path):
        raise KeyError("codec")

    for lookup in (Other, broken):
        monkeypatch.setattr(npids, "Lookup", lookup)
        with pytest.raises(RuntimeError, match="installed npids .* does not read the lookup of docnos .* install npids 0.1.3"):
            write_lookup(tmp_path / "docnos", len(NAMES), blocks_of(NAMES, 1000))
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [("docnos", "of before")]
