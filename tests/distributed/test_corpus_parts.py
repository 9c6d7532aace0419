"""How a corpus is cut into parts, and how stages of a job are told apart; no cluster."""

import numpy as np
import pandas as pd
import pytest

ray = pytest.importorskip("ray")

from pyterrier_xetrieval.distributed import OnWorker  # noqa: E402
from pyterrier_xetrieval.distributed.corpus_parts import cut, digest_of, documents_of, parquet_rows  # noqa: E402
from tests.helpers.cluster import Hashes, texts  # noqa: E402


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
    assert len(list(documents_of(tmp_path / "parquet"))) == 25
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
