"""Tests of BEIR-style folders."""

import gzip
import json

import pandas as pd
import pytest

from pyterrier_xetrieval.datasets import beir_folder

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
        ("[1]", "_id and text"),
    ],
)
def test_a_bad_line_is_named(folder, line, said):
    path = next(folder.glob("queries*"))
    with (gzip.open if path.suffix == ".gz" else open)(path, "ab") as file:
        file.write(f"\n{line}\n".encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=f"line 5 of .*{path.name}.*{said}"):
        beir_folder(folder).get_topics()


@pytest.mark.parametrize(
    "text, said", [("a\tb\tc\nq\td\t1\n", "header"), ("query-id\tcorpus-id\tscore\nq\td\tx\n", "whole numbers")]
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
