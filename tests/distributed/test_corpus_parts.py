"""How a corpus is cut into parts, and how stages of a job are told apart; no cluster."""

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval.distributed import OnWorker
from pyterrier_xetrieval.distributed.corpus_parts import ROWS, cut, digest_of, documents_of, parquet_rows
from tests.helpers.cluster import Hashes, texts


def test_stages_made_on_workers_are_told_apart():
    one, same, other = (OnWorker(make) for make in (lambda: Hashes("a"), lambda: Hashes("a"), lambda: Hashes("b")))
    assert "Hashes, 'a'" in repr(one) and repr(one) == repr(same) != repr(other)
    assert repr(OnWorker(Hashes)) == "OnWorker(Hashes)"


def test_corpora_are_cut_alike(tmp_path):
    documents = [{"docno": f"d{i}", "text": f"text {i}", "doc_vec": np.float32([i, 1 / 3])} for i in range(25)]
    frame = pd.DataFrame(documents)
    (tmp_path / "parquet").mkdir()
    for name, rows in {"a": slice(0, 3), "b": slice(3, 22), "c": slice(22, 25)}.items():
        frame[rows].to_parquet(tmp_path / "parquet" / f"{name}.parquet", row_group_size=4)
    for i, corpus in enumerate((tmp_path / "parquet", documents, frame, lambda: iter(documents))):
        parts = cut(corpus, 10, tmp_path / str(i), stage="test")
        assert [(p.start, p.stop) for p in parts] == [(0, 10), (10, 20), (20, 25)]
        found = [document for part in parts for document in part.documents()]
        assert [(d["docno"], d["text"]) for d in found] == [(d["docno"], d["text"]) for d in documents]
        assert all(d["doc_vec"].dtype == np.float32 for d in found)
        np.testing.assert_array_equal([d["doc_vec"] for d in found], frame["doc_vec"].to_list())
        assert [docno for part in parts for docno in part.docnos()] == frame.docno.to_list()
    assert (tmp_path / "1" / "000002.parquet").exists() and not (tmp_path / "0").exists()  # Parquet stays where it is
    assert [row["docno"] for row in parquet_rows(tmp_path / "parquet" / "b.parquet", 5, 9)] == ["d8", "d9", "d10", "d11"]
    assert len(list(documents_of(frame, stage="s"))) == 25
    before = digest_of(cut(tmp_path / "parquet", 10, tmp_path, stage="test"))
    frame[3:22].assign(text="another").to_parquet(tmp_path / "parquet" / "b.parquet")
    assert digest_of(cut(tmp_path / "parquet", 10, tmp_path, stage="test")) != before
    (tmp_path / "tree" / "lang=en").mkdir(parents=True)
    frame.assign(docno=[*frame.docno[:24], None]).to_parquet(tmp_path / "tree" / "lang=en" / "a.parquet")
    (part,) = cut(tmp_path / "tree", 30, tmp_path, stage="test")
    with pytest.raises(ValueError, match="expects a docno for each document, found none in .*a.parquet"):
        list(part.docnos())
    frame.assign(docno=range(25)).to_parquet(tmp_path / "numbers.parquet")
    with pytest.raises(ValueError, match="docno of strings in .*numbers.parquet, found int64"):
        cut(tmp_path / "numbers.parquet", 10, tmp_path, stage="test")
    for wrong, told in (([], "found none"), ([{"text": "x"}], "string as docno"), (documents[:1] + texts(1), "the fields")):
        with pytest.raises(ValueError, match=told):
            cut(wrong, 10, tmp_path / f"wrong {told}", stage="test")


def test_parts_deep_in_a_row_group(tmp_path):
    """A row group is read in batches; a part may begin behind the first of them."""
    docnos = [f"d{i}" for i in range(2 * ROWS + 100)]
    for name, own in {"a": docnos[:10], "b": [], "c": docnos[10:]}.items():
        frame = pd.DataFrame({"docno": pd.Series(own, dtype="str"), "tags": [["x", "y"]] * len(own), "n": [[1, 2]] * len(own)})
        frame.to_parquet(tmp_path / f"{name}.parquet", row_group_size=len(docnos))
    for size in (ROWS - 5, ROWS, 3000):
        parts = cut(tmp_path, size, tmp_path, stage="test")
        assert [docno for part in parts for docno in part.docnos()] == docnos
        assert [document["docno"] for part in parts for document in part.documents()] == docnos
    assert len(cut(tmp_path, 10, tmp_path, stage="test")[0].pieces) == 1  # files without rows have no share
    (document,) = parquet_rows(tmp_path / "c.parquet", ROWS + 7, ROWS + 8)
    assert document["tags"] == ["x", "y"] and document["n"].tolist() == [1, 2]
