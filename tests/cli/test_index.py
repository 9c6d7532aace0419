"""From a file of documents to answers in the terminal: ``index``, then ``search``, ``explore`` and ``diagnose``."""

import json
import re

import pytest

from pyterrier_xetrieval import XetrievalIndex
from tests.helpers.commands import one_line, run, write

DOCS = [
    {"docno": "sorted", "text": "Return a new sorted list from the items in iterable."},
    {"_id": "tea", "title": "Tea", "text": "Hot water on leaves."},
    {"docno": "list.sort", "text": "Sort the list in ascending order and return None."},
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    write(folder / "corpus.jsonl.gz", *DOCS)
    done = run("index", folder / "corpus.jsonl.gz", folder / "corpus.xetrieval")
    assert done.exit_code == 0 and "3 documents, views original, summary, purpose, qa" in done.stdout
    return folder / "corpus.xetrieval"


def test_results_are_those_of_the_pipeline(made):
    index = XetrievalIndex(made)
    expected = (index.encoder() >> index.retriever(num_results=2) >> index.explainer() >> index.evidence()).search("sort a list")
    done = run("search", made, "sort a list", "-k", 2, "--parts")
    assert done.exit_code == 0
    for row in expected.itertuples():
        assert f"{row.rank + 1}. {row.docno} ({row.score:.4f}): {row.explanation.sentence()}\n" in done.stdout
        assert row.explanation.to_text() in done.stdout
    assert "“sort a list” ↔ " in done.stdout and "Tea" not in done.stdout and len(expected) == 2


def test_each_result_as_json(made):
    found = [json.loads(line) for line in run("search", made, "sort a list", "--json", "--dense").stdout.splitlines()]
    assert [row["rank"] for row in found] == [0, 1, 2] and {row["doc_id"] for row in found} == {"sorted", "list.sort", "tea"}
    assert all(sum(row["parts"].values()) == pytest.approx(row["score"], abs=1e-4) for row in found)
    assert found[0]["per_view_shared_features"].keys() == {"original"} and found[0]["sentence"].startswith("Retrieved mainly for")


def test_the_index_is_what_the_other_commands_take(made, tmp_path):
    assert run("explore", made, "--query", "sort a list", "-o", tmp_path / "page.html").exit_code == 0
    assert "Hot water on leaves" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert run("diagnose", made).exit_code == 0


def test_an_index_without_words_has_texts_and_sentences(tmp_path):
    write(tmp_path / "corpus.jsonl", *DOCS, {"docno": "none", "text": None})
    assert "none" in one_line(run("index", tmp_path / "corpus.jsonl", tmp_path / "i"))
    done = run("index", tmp_path / "corpus.jsonl", tmp_path / "i", "--no-words", "--missing", "drop")
    assert done.exit_code == 0 and "3 documents" in done.stdout
    index = XetrievalIndex(tmp_path / "i")
    found = (index.encoder() >> index.retriever() >> index.text_loader()).search("a cup of tea")
    assert found["text"][0] == "Tea Hot water on leaves."
    told = run("search", tmp_path / "i", "sort a list").stdout
    assert re.match(r"1\. \S+ \(\d\.\d+\): Retrieved \w+ for \*", told) and "↔" not in told


def test_what_is_refused_is_told_in_one_line(made, tmp_path):
    write(tmp_path / "corpus.jsonl", *DOCS)
    assert "is a finished index of 3 documents" in one_line(run("index", tmp_path / "corpus.jsonl", made))
    assert "QUERY: is empty" in one_line(run("search", made, " "))
    assert "no finished XetrievalIndex" in one_line(run("search", tmp_path, "sort"))
    write(tmp_path / "empty.jsonl")
    assert "expects documents" in run("index", tmp_path / "empty.jsonl", tmp_path / "e").stderr
