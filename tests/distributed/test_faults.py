"""What becomes of a distributed job when somebody gets in its way, and of a corpus that is repaired."""

import numpy as np
import pandas as pd
import pytest
from pyterrier_dr import FlexIndex

from pyterrier_xetrieval.distributed import index_corpus
from tests.helpers.cluster import DIM, SHARD, files, vectors

pytestmark = pytest.mark.usefixtures("one_thread", "cluster")


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

    def cut_off_in(name):
        with monkeypatch.context() as patch, pytest.raises(InterruptedError):
            patch.setattr(f"pyterrier_xetrieval.distributed.{name}", cut_off)
            index_corpus(target(), corpus, part_size=100)

    # before the parts are joined, and when all is done but they are still there
    for name in (f"part_jobs.{kind.capitalize()}PartJob.join", "shared_folder.remove"):
        cut_off_in(name)
        joined = path.exists()
        if joined:
            path.rename(tmp_path / "result")
        for other in (corpus[:200], [*corpus[:299], {**corpus[299], "docno": "other"}], corpus):
            target().index(other)
            with pytest.raises(FileExistsError, match="found another index; move it away to go on with the parts in .*i.parts"):
                index_corpus(target(), corpus, part_size=100)
            assert len(list((tmp_path / "i.parts" / "done").iterdir())) == 3
            path.rename(tmp_path / f"other of {len(list(tmp_path.iterdir()))}")
    (tmp_path / "result").rename(path)
    before = files(path)
    assert len(index_corpus(target(), corpus, part_size=100)) == 300
    assert files(path) == before and not (tmp_path / "i.parts").exists()
    path.rename(tmp_path / "finished")
    cut_off_in("shared_folder.remove")  # and then the same call, with nothing moved
    assert len(index_corpus(target(), corpus, part_size=100)) == 300 and files(path) == before


@pytest.mark.parametrize("parquet", [False, True])
def test_one_bad_document_costs_its_part_alone(model, tmp_path, parquet):
    def given(corpus):
        if not parquet:
            return corpus
        (tmp_path / "corpus").mkdir(exist_ok=True)
        for i in range(3):
            pd.DataFrame(corpus[100 * i : 100 * i + 100]).to_parquet(tmp_path / "corpus" / f"{i}.parquet")
        return tmp_path / "corpus"

    def indexed(corpus, name="i"):
        return index_corpus(model.indexer(tmp_path / name, shard_size=50), given(corpus), part_size=100, workers=1)

    corpus, bad = vectors(300), broken(300, 260)
    with pytest.raises(ValueError, match="d260"):
        indexed(bad)
    done = tmp_path / "i.parts" / "done"
    assert [(done / f"00000{i}" / "pt_meta.json").exists() for i in range(3)] == [True, True, False]
    assert (done / "000002" / "shards.jsonl").read_bytes().count(b"\n") == 2  # one shard of the last part is finished
    other = [{**d, "text": "x"} for d in corpus]  # where there is a result, documents stay what they were
    with pytest.raises(ValueError, match="other documents among 0 … 99"):
        indexed(other)
    first = dict(corpus[201], docno="corrected")  # in the shard that is finished, too
    for wrong, told in (({**first, "docno": "d3"}, "found 'd3' again"), ({**first, "docno": "d\0"}, "no NUL")):
        with pytest.raises(ValueError, match=told):
            indexed([*corpus[:201], wrong, *corpus[202:]])
    corrected = [*corpus[:201], first, *corpus[202:]]
    expected = model.indexer(tmp_path / "one", shard_size=50).index(corrected)
    assert files(indexed(corrected).path) == files(expected.path)
    with pytest.raises(ValueError, match="string as docno|not empty"):
        indexed([*corpus[:200], {**corpus[200], "docno": ""}, *corpus[201:]], "j")
    assert not (tmp_path / "j.parts" / "done").exists()
