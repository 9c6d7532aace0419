"""What becomes of a distributed job when somebody gets in its way, and of a corpus that is repaired."""

import numpy as np
import pytest
from pyterrier_dr import FlexIndex

ray = pytest.importorskip("ray")

from test_distributed import DIM, SHARD, cluster, files, vectors  # noqa: E402, F401  (the cluster is started for this file too)

from pyterrier_xetrieval.distributed import index_corpus  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def broken(n, at):
    corpus = vectors(n)
    corpus[at]["doc_vec"] = np.full(DIM, np.nan, np.float32)
    return corpus


@pytest.mark.parametrize("kind", ["xetrieval", "flex"])
def test_another_index_at_the_path_is_not_taken_for_the_result(model, tmp_path, monkeypatch, kind):
    path, corpus = tmp_path / "i", vectors(300)

    def target():
        return model.indexer(path, shard_size=SHARD) if kind == "xetrieval" else FlexIndex(str(path), verbose=False)

    def cut_off(*_, **__):
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(f"pyterrier_xetrieval.distributed.kinds.{kind.capitalize()}Kind.join", cut_off)
        with pytest.raises(InterruptedError):
            index_corpus(target(), corpus, part_size=100)
    for other in (corpus[:200], [*corpus[:299], {**corpus[299], "docno": "other"}]):
        target().index(other)
        with pytest.raises(FileExistsError, match="found another index; move it away to go on with the parts in .*i.parts"):
            index_corpus(target(), corpus, part_size=100)
        assert len(list((tmp_path / "i.parts" / "done").iterdir())) == 3
        (tmp_path / "i.parts" / "joined.json").rename(tmp_path / "joined.json")  # as before the joining began
        with pytest.raises(FileExistsError, match="found another index"):
            index_corpus(target(), corpus, part_size=100)
        (tmp_path / "joined.json").rename(tmp_path / "i.parts" / "joined.json")
        path.rename(tmp_path / f"other of {len(other)}")
    with monkeypatch.context() as patch:  # when all is done but the parts are still there
        patch.setattr("pyterrier_xetrieval.distributed.indexing.put_away", cut_off)
        with pytest.raises(InterruptedError):
            index_corpus(target(), corpus, part_size=100)
    before = files(path)
    assert len(index_corpus(target(), corpus, part_size=100)) == 300
    assert files(path) == before and not (tmp_path / "i.parts").exists()
    if kind == "flex":
        return
    with monkeypatch.context() as patch:
        patch.setattr("pyterrier_xetrieval.distributed.indexing.put_away", cut_off)
        with pytest.raises(InterruptedError):
            index_corpus(model.indexer(tmp_path / "j"), corpus, part_size=100)
    (tmp_path / "j").rename(tmp_path / "moved")
    model.indexer(tmp_path / "j", refit=False).index(corpus)  # other settings
    with pytest.raises(FileExistsError, match="found another index"):
        index_corpus(model.indexer(tmp_path / "j"), corpus, part_size=100)
