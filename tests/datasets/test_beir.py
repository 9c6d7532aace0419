"""Tests of BEIR-style folders."""

import gzip
import json

import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_xetrieval.datasets import beir_folder
from pyterrier_xetrieval.datasets.base import TextLoader

CORPUS = [
    {"_id": "a", "title": "Cats", "text": "purr"},
    {"_id": "b", "text": " bark "},
    {"_id": "3", "title": None, "text": "fly"},
]
QUERIES = [
    {"_id": "q1", "text": "who\npurrs", "excluded_ids": ["b", "b"]},
    {"_id": "a", "text": "own", "metadata": {"excluded_ids": ["3"]}},
    {"_id": "q3", "text": "none", "excluded_ids": ["N/A"]},
]
QRELS = 'query-id\tcorpus-id\tscore\nq1\ta\t2\nq1\t"b\t0\na\tNA\t1\n'


def write_lines(path, rows):
    (gzip.open if path.suffix == ".gz" else open)(path, "wt", encoding="utf-8").write("".join(json.dumps(r) + "\n" for r in rows))


@pytest.fixture(params=["", ".gz"])
def folder(tmp_path, request):
    path = tmp_path / "pets"
    path.mkdir()
    write_lines(path / f"corpus.jsonl{request.param}", CORPUS)
    write_lines(path / f"queries.jsonl{request.param}", QUERIES)
    (path / "qrels.tsv").write_text(QRELS)
    return path


def test_parts(folder):
    dataset = beir_folder(folder)
    assert dataset.name == "pets" and beir_folder(folder, name="x").name == "x"
    expected = [{"docno": "a", "text": "Cats purr"}, {"docno": "b", "text": "bark"}, {"docno": "3", "text": "fly"}]
    assert list(dataset.get_corpus_iter()) == list(dataset.get_corpus_iter(verbose=True)) == expected
    topics, qrels = dataset.get_topicsqrels()
    assert topics.values.tolist() == [["q1", "who\npurrs"], ["a", "own"], ["q3", "none"]]
    # an id that csv readers take for a quote or for a missing value stays what it is
    assert qrels.values.tolist() == [["q1", "a", 2], ["q1", '"b', 0], ["a", "NA", 1]]
    assert pd.api.types.is_integer_dtype(qrels["label"]) and list(qrels.columns) == ["qid", "docno", "label"]


def test_excluded(folder):
    assert beir_folder(folder).get_excluded().values.tolist() == [["q1", "b"], ["a", "3"]]
    own = beir_folder(folder, exclude_own_id=True).get_excluded()
    assert own.values.tolist() == [["q1", "b"], ["q1", "q1"], ["a", "3"], ["a", "a"], ["q3", "q3"]]


def test_judgements_of_the_test_split(folder):
    (folder / "qrels").mkdir()
    (folder / "qrels.tsv").rename(folder / "qrels" / "test.tsv")
    assert len(beir_folder(folder).get_qrels()) == 3


@pytest.mark.parametrize("part, file", [("get_corpus_iter", "corpus"), ("get_topics", "queries"), ("get_qrels", "qrels")])
def test_a_missing_file_is_missed_only_when_asked_for(folder, part, file):
    for path in folder.glob(f"{file}*"):
        path.unlink()
    dataset = beir_folder(folder)
    for other in {"get_corpus_iter", "get_topics", "get_qrels"} - {part}:
        getattr(dataset, other)()
    with pytest.raises(FileNotFoundError, match=f"has no {file}.* in .*pets"):
        getattr(dataset, part)()


@pytest.mark.parametrize(
    "line, said",
    [
        ("{", "is no JSON"),
        ('{"_id": "1", "text": "caf\udce9"}', "is no JSON"),
        ('{"text": "x"}', "_id and text"),
        ("[1]", "expects an object"),
    ],
)
def test_a_bad_line_is_named(folder, line, said):
    path = next(folder.glob("queries*"))
    with (gzip.open if path.suffix == ".gz" else open)(path, "ab") as file:
        file.write(f"\n{line}\n".encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=f"line 5 of .*{path.name}.*{said}"):
        beir_folder(folder).get_topics()


@pytest.mark.parametrize(
    "text, said", [("a\tb\tc\nq\td\t1\n", "header"), ("query-id\tcorpus-id\tscore\nq\td\tx\n", "whole number")]
)
def test_judgements_of_another_form(folder, text, said):
    (folder / "qrels.tsv").write_text(text)
    with pytest.raises(ValueError, match=said):
        beir_folder(folder).get_qrels()


def test_no_folder_and_no_variants(folder):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        beir_folder(folder / "nowhere")
    with pytest.raises(ValueError, match="variant"):
        beir_folder(folder).get_topics("dev")


def test_splits_and_whole_numbers_with_a_point(folder):
    (folder / "qrels").mkdir()
    (folder / "qrels/dev.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tb\t1.0\n")
    assert beir_folder(folder).get_qrels("dev").values.tolist() == [["q1", "b", 1]]
    with pytest.raises(FileNotFoundError, match="has no qrels/train.tsv"):
        beir_folder(folder).get_qrels("train")


def test_a_torn_gzip_file(tmp_path):
    write_lines(tmp_path / "corpus.jsonl.gz", CORPUS * 100)
    (tmp_path / "corpus.jsonl.gz").write_bytes((tmp_path / "corpus.jsonl.gz").read_bytes()[:-20])
    with pytest.raises(ValueError, match="corpus.jsonl.gz is damaged"):
        list(beir_folder(tmp_path).get_corpus_iter())


def test_a_byte_order_mark(folder):
    path = folder / "corpus.jsonl"
    path.write_text("\ufeff" + json.dumps(CORPUS[0]) + "\r\n", encoding="utf-8")
    assert list(beir_folder(folder).get_corpus_iter()) == [{"docno": "a", "text": "Cats purr"}]


def test_texts_beside_a_ranking(folder):
    dataset = beir_folder(folder)
    ranking = pd.DataFrame({"qid": ["1", "1", "2"], "docno": ["3", "a", "3"], "score": 1.0}, index=[5, 5, 7])
    found = pt.text.get_text(dataset, "text")(ranking)
    assert found["text"].tolist() == ["fly", "Cats purr", "fly"] and found.index.equals(ranking.index)
    loader = dataset.text_loader()
    assert loader == TextLoader(dataset) and list(loader(ranking.iloc[:0]).columns) == [*ranking.columns, "text"]
    assert pt.inspect.transformer_inputs(loader) == [["docno"]]
    with pytest.raises(ValueError, match="has no document 'z'"):
        loader(ranking.assign(docno="z"))
    with pytest.raises(ValueError, match="expects fields among .*'docno', 'text'.*found 'title'"):
        dataset.text_loader(["title"])(ranking)


@pytest.mark.parametrize("wrong", ["NaN", "null", "7"])
def test_a_query_without_text_is_named(folder, wrong):
    path = next(folder.glob("queries*"))
    with (gzip.open if path.suffix == ".gz" else open)(path, "ab") as file:
        file.write(f'{{"_id": "q9", "text": {wrong}}}\n'.encode())
    with pytest.raises(ValueError, match="no text in query 'q9', line 4 of .*queries"):
        beir_folder(folder).get_topics()
