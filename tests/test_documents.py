"""What a document is, is the same wherever one is read: titles, texts, docnos, and what is missing."""

import json

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval.datasets import beir_folder
from pyterrier_xetrieval.datasets.corpus_file import CorpusFile, Documents
from pyterrier_xetrieval.documents import as_texts, docno_of, filled
from pyterrier_xetrieval.labelling.evidence_words import _sampled
from pyterrier_xetrieval.training import Teacher
from tests.helpers.builders import make_model

NAN = float("nan")


def from_file(rows, folder, **options):
    path = folder / "corpus.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(CorpusFile(path, **options))


def from_folder(rows, folder, **options):
    path = folder / "corpus.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(beir_folder(folder).get_corpus_iter(**options))


def by_teacher(rows, folder):
    teacher = Teacher(lambda prompt: "text")
    return [{"docno": docno_of(row, where="s"), "text": teacher.text_of(row)} for row in rows]


def by_relabel(rows, folder):
    texts = _sampled(pd.DataFrame(rows), 10, np.random.default_rng(0))
    return [{"docno": docno_of(row, where="s"), "text": text} for row, text in zip(rows, texts)]


@pytest.mark.parametrize("read", [from_file, from_folder, by_teacher, by_relabel])
def test_a_title_that_is_missing_leaves_no_trace(tmp_path, read):
    rows = [{"_id": "a", "title": NAN, "text": "bread"}, {"_id": "b", "title": None, "text": "bread"}]
    rows += [{"_id": 3, "text": "bread"}, {"_id": "d", "title": 1984, "text": "bread"}]
    found = read(rows, tmp_path)
    assert [d["text"] for d in found] == ["bread", "bread", "bread", "1984 bread"]
    assert [d["docno"] for d in found] == ["a", "b", "3", "d"]


@pytest.mark.parametrize("read", [from_file, from_folder])
@pytest.mark.parametrize("wrong", [None, NAN, 3])
def test_a_document_without_text_is_named_or_dropped(tmp_path, read, wrong):
    rows = [{"_id": "a", "text": "bread"}, {"_id": "b", "title": "Cake", "text": wrong}, {"_id": "c"}, {"_id": "d", "text": ""}]
    with pytest.raises(ValueError, match=r"no text in document 'b', line 2 of .*corpus.jsonl: .*missing='drop'"):
        read(rows, tmp_path)
    with pytest.warns(UserWarning, match="dropped 2 of 4 documents without a text, the first is document 'b', line 2"):
        assert [d["docno"] for d in read(rows, tmp_path, missing="drop")] == ["a", "d"]


def test_a_frame_is_a_corpus(tmp_path):
    frame = pd.DataFrame({"docno": [1.0, 2, 3], "text": pd.Series(["tea", None, "half \ud83d"], dtype=object)})
    with pytest.raises(ValueError, match="train found no text in document '2': its text is None; give it one, or leave"):
        Documents.store(frame, tmp_path / "a", stage="train")
    with pytest.warns(UserWarning, match="train dropped 1 of 3 documents without a text, the first is document '2'"):
        stored = Documents.store(frame, tmp_path / "a", stage="train", missing="drop")
    assert list(stored) == [{"docno": "1", "text": "tea"}, {"docno": "3", "text": "half \ufffd"}]
    with pytest.raises(ValueError, match="train expects documents as dicts or the rows of a data frame, found str 'tea'"):
        Documents.store(["tea", "milk"], tmp_path / "b", stage="train")
    with pytest.raises(ValueError, match="train expects missing to be 'error' or 'drop', found 'skip'"):
        Documents.store(frame, tmp_path / "b", stage="train", missing="skip")


def test_numbers_are_the_same_docnos_everywhere():
    assert as_texts([7, 7.0, np.int64(7), "7", "007"], stage="s") == ["7", "7", "7", "7", "007"]
    assert [docno_of({"docno": d}, where="s") for d in (7, 7.0, np.float32(7), "7")] == ["7"] * 4
    for missing in (None, NAN, pd.NA):
        with pytest.raises(ValueError, match="missing docno in row 1"):
            as_texts(["d1", missing], stage="s")


@pytest.mark.parametrize(
    "docno", [[1], b"x", {"a": 1}, ("a",), np.array(["d1"]), np.bytes_(b"x"), np.datetime64("2026-01-01"), object()]
)
def test_what_is_neither_a_text_nor_a_number_is_no_docno(tmp_path, docno):
    """Its ``str`` was taken: ``"[1]"``, ``"b'x'"``, the address of an object."""
    told = f"expects a text or a number as docno, found {type(docno).__name__} "
    documents = [{"docno": docno, "text": "tea", "doc_vec": np.ones(8, np.float32)}, {"docno": "d2", "text": "tea"}]
    with pytest.raises(ValueError, match=f"^train {told}"):
        Documents.store(documents, tmp_path / "a", stage="train")
    with pytest.raises(ValueError, match=f"^XetrievalIndexer {told}"):
        make_model().indexer(tmp_path / "index").index(documents)
    with pytest.raises(ValueError, match=f"^Teacher {told}"):
        Teacher(lambda prompt: "text").write(documents, tmp_path / "reasons.jsonl")
    with pytest.raises(ValueError, match=f"^demo {told}"):
        as_texts(["d1", docno], stage="demo")


@pytest.mark.parametrize("read", [from_file, from_folder])
def test_an_id_that_is_a_list_is_named_with_its_line(tmp_path, read):
    with pytest.raises(ValueError, match=r"^line 2 of .*corpus.jsonl expects a text or a number as _id, found list \['b'\]"):
        read([{"_id": "a", "text": "bread"}, {"_id": ["b"], "text": "bread"}], tmp_path)
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": {"a": 1}, "text": "tea"}))
    with pytest.raises(ValueError, match=r"^line 1 of .*queries.jsonl expects a text or a number as _id, found dict"):
        beir_folder(tmp_path).get_topics()


@pytest.mark.parametrize("missing", [None, NAN, pd.NA])
def test_rows_without_a_qid_are_not_of_one_query(missing):
    """The one's vector was taken for the other's, and two of them were told to be of one query."""
    one, two = np.ones(2), np.zeros(2)
    assert [x is y for x, y in zip(filled([missing, missing], [one, None], "query_vec", stage="s"), [one, None])] == [True, True]
    cells = filled([missing, missing, "q", "q"], [one, two, None, two], "query_vec", stage="s")
    assert all(x is y for x, y in zip(cells, [one, two, two, two]))
