"""More of what goes wrong around an index: damaged facts, full disks, folders that may only be read, writers side by side."""

import os
import resource
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest

from pyterrier_xetrieval import XetrievalIndex
from pyterrier_xetrieval.index import merge
from tests.helpers.children import OPTIONS, in_child
from tests.helpers.index import content, corpus, topics


def test_a_flipped_bit_anywhere_in_the_facts(whole, tmp_path):
    index = merge([whole], tmp_path / "copy")
    for name, step in (("shards.jsonl", 13), ("pt_meta.json", 3)):
        data = (index.path / name).read_bytes()
        for at in range(0, len(data), step):
            (index.path / name).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            try:
                opened = XetrievalIndex(index.path)
            except ValueError as error:
                assert "damaged" in str(error) or "artifact" in str(error) or "layout" in str(error)
            else:  # a fact that nothing is computed from, or the checksum of another file
                assert name == "pt_meta.json" and opened.settings == whole.settings and len(opened) == len(whole)
        (index.path / name).write_bytes(data)
    XetrievalIndex(index.path).verify()


def limited(size: int, action) -> int:
    """How the action ends in a process that can write no file beyond so many bytes, as on a full disk."""

    def run():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        action()

    return in_child(run)


def test_a_full_disk_while_adding_or_merging_loses_nothing(model, whole, tmp_path):
    index = model.indexer(tmp_path / "i", **OPTIONS).index(corpus()[:20])
    more = [{**d, "docno": f"n{i}"} for i, d in enumerate(corpus() * 4)]
    before = content(index.path)
    for size in (2_000, 4_000, 8_000):  # in the first new shard, and in later ones
        assert limited(size, lambda: XetrievalIndex(index.path).indexer(batch_size=4).index(more)) == 1
        again = XetrievalIndex(index.path)
        again.verify()
        assert len(again) == 20 and content(index.path)["pt_meta.json"] == before["pt_meta.json"]
    grown = index.indexer(batch_size=4).index(more)
    grown.verify()
    assert len(grown) == 180
    assert limited(2_000, lambda: merge([whole], tmp_path / "merged")) == 1
    with pytest.raises(FileNotFoundError):
        XetrievalIndex(tmp_path / "merged")
    assert content(merge([whole], tmp_path / "merged").path) == content(whole.path)


def test_a_folder_that_may_only_be_read(model, whole):
    with TemporaryDirectory() as folder:  # pytest's own belong to one user alone
        path = Path(folder) / "index"
        merge([whole], path)
        (Path(folder) / "empty").mkdir()
        for place in (Path(folder), *Path(folder).rglob("*")):
            place.chmod(0o555 if place.is_dir() else 0o444)
        before = content(path)

        def as_nobody(action):
            def run():
                if os.geteuid() == 0:  # who may write everywhere
                    os.setuid(65534)
                action()

            return in_child(run)

        def denied(action):
            def run():
                with pytest.raises(PermissionError):
                    action()

            return as_nobody(run)

        def read():
            index = XetrievalIndex(path)
            index.verify()
            assert len((index.retriever(num_results=3) >> index.vec_loader() >> index.explainer())(topics(2))) == 6

        assert as_nobody(read) == 0
        assert denied(lambda: XetrievalIndex(path).indexer().index(corpus(3, prefix="x"))) == 0
        assert denied(lambda: model.indexer(Path(folder) / "empty").index(corpus(3))) == 0
        assert denied(lambda: model.indexer(Path(folder) / "new").index(corpus(3))) == 0
        assert denied(lambda: merge([XetrievalIndex(path)], Path(folder) / "new")) == 0
        assert content(path) == before and sorted(os.listdir(folder)) == ["empty", "index"]
        assert not os.listdir(Path(folder) / "empty")
        for place in (Path(folder), *Path(folder).rglob("*")):
            place.chmod(0o755)


def test_two_processes_that_write(model, tmp_path):
    def second():
        yield corpus()[0]
        assert in_child(lambda: model.indexer(tmp_path / "i", **OPTIONS).index(corpus())) == 1
        yield from corpus()[1:20]

    index = model.indexer(tmp_path / "i", **OPTIONS).index(second())
    index.verify()
    assert len(index) == 20

    def slow():
        yield corpus()[20]
        assert in_child(lambda: XetrievalIndex(index.path).indexer().index(corpus()[20:])) == 1
        assert len(XetrievalIndex(index.path)) == 20
        yield from corpus()[21:]

    assert len(index.indexer().index(slow())) == 40


def test_another_writer_finished_in_the_meantime(model, tmp_path, monkeypatch):
    index = model.indexer(tmp_path / "i", **OPTIONS).index(corpus()[:10])
    late = index.indexer()
    look = late._finished_shards

    def look_then_wait():  # between its look at the index and its lock, another one adds
        monkeypatch.setattr(late, "_finished_shards", look)
        found = look()
        index.indexer().index(corpus()[10:20])
        return found

    monkeypatch.setattr(late, "_finished_shards", look_then_wait)
    with pytest.raises(FileExistsError, match="in the meantime"):
        late.index(corpus()[20:30])
    now = XetrievalIndex(index.path)
    now.verify()
    assert len(now) == 20


def test_an_empty_frame_and_an_empty_iterator(model, tmp_path):
    for nothing in (pd.DataFrame(columns=["docno", "doc_vec"]), iter(())):
        with pytest.raises(ValueError, match="found none"):
            model.indexer(tmp_path / "i").index(nothing)
        assert not (tmp_path / "i").exists()
