"""Tests of the pydocs collection."""

import os
import re
import subprocess
import sys
import time

import pandas as pd
import pytest

from pyterrier_xetrieval.datasets import PyDocs, docstrings, pydocs, python_docs


@pytest.fixture(scope="module")
def docs():
    return list(pydocs().get_corpus_iter())


@pytest.fixture
def shipped(monkeypatch):
    """Lets a test change the queries and judgements that the package ships, as two frames."""
    original = python_docs._shipped()

    def change(topics=None, qrels=None):
        monkeypatch.setattr(
            python_docs, "_shipped", lambda: (original[0] if topics is None else topics, original[1] if qrels is None else qrels)
        )
        python_docs._topics_qrels.cache_clear()

    yield original, change
    python_docs._topics_qrels.cache_clear()


def test_corpus_size_and_shape(docs):
    assert len(docs) > 1000
    assert len(docs) == len(pydocs())
    assert all(set(doc) == {"docno", "text"} for doc in docs)
    assert all(isinstance(value, str) for doc in docs for value in doc.values())


def test_docnos_and_texts_do_not_repeat(docs):
    docnos = [doc["docno"] for doc in docs]
    assert len(set(docnos)) == len(docs)
    assert len({doc["text"] for doc in docs}) == len(docs)
    assert docnos == sorted(docnos)
    assert not any(re.search(r"\s", docno) for docno in docnos)


@pytest.mark.parametrize(
    "docno, start",
    [
        ("json", "json module: JSON"),
        ("itertools.groupby", "itertools.groupby(iterable, key): make an iterator"),
        ("str.split", "str.split("),
        ("property", "property("),
        ("random.choice", "random.choice("),
        ("asyncio.gather", "asyncio.gather("),
        ("topic:lambda", "lambda: Lambdas. "),
        ("topic:function.2", "function: Function definitions. "),
    ],
)
def test_expected_documents(docs, docno, start):
    text = next(doc["text"] for doc in docs if doc["docno"] == docno)
    assert text.startswith(start)


@pytest.mark.parametrize(
    "docno",
    [
        "random.Random.choice",  # the method behind random.choice
        "posixpath.join",
        "ntpath.join",  # the platform's side of os.path.join
        "bool.bit_length",  # inherited from int
        "builtins.sorted",
        "importlib.__import__",
    ],
)
def test_no_second_name_for_the_same_object(docs, docno):
    assert docno not in {doc["docno"] for doc in docs}


def test_texts_are_clean(docs):
    for doc in docs:
        assert not re.search(r"\bat 0x[0-9a-fA-F]+", doc["text"]), doc
        assert doc["text"] == " ".join(doc["text"].split()), doc["docno"]
        assert 6 <= len(doc["text"].split()) <= 200, doc


def test_clean():
    assert docstrings._clean("<object object at 0x7f00Ab> x") == "<object object> x"
    assert docstrings._clean("Title\n*****\n\n  a +----+\n| b |") == "Title a | b |"


def test_corpus_is_the_same_in_every_process():
    code = (
        "from pyterrier_xetrieval.datasets import pydocs; d = pydocs(); "
        "print(d.fingerprint, d.get_topics().shape, d.get_qrels().shape)"
    )
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
    command = [sys.executable, "-c", code]
    both = [subprocess.Popen(command, env=env | {"PYTHONHASHSEED": s}, stdout=subprocess.PIPE, text=True) for s in "01"]
    outputs = [process.communicate()[0].strip().splitlines()[-1] for process in both]
    assert outputs[0] == outputs[1]
    if "ray" not in sys.modules:  # which replaces inspect.isgenerator
        assert outputs[0].split()[0] == pydocs().fingerprint


def test_replaced_and_added_functions_leave_no_trace(monkeypatch):
    def foreign(*args):
        """A function that some other package puts into the standard library at run time."""

    foreign.__module__ = "some_package.hooks"
    before = docstrings.documents()
    docstrings.documents.cache_clear()
    try:
        monkeypatch.setattr("inspect.getfile", foreign)
        monkeypatch.setattr("builtins.display", foreign, raising=False)
        assert docstrings.documents() == before
    finally:
        docstrings.documents.cache_clear()


def test_building_is_quiet_and_fast(recwarn):
    docstrings.documents.cache_clear()
    start = time.perf_counter()
    built = docstrings.documents()
    assert time.perf_counter() - start < 15
    assert len(built) > 1000
    assert not recwarn.list


def test_fingerprint_follows_the_content(monkeypatch):
    before = pydocs().fingerprint
    assert re.fullmatch("[0-9a-f]{64}", before)
    changed = docstrings.documents()[:-1] + (("zzz", "something else"),)
    monkeypatch.setattr(python_docs, "documents", lambda: changed)
    assert pydocs().fingerprint != before


def test_topics():
    topics = pydocs().get_topics()
    assert list(topics.columns) == ["qid", "query"]
    assert all(pd.api.types.is_string_dtype(dtype) for dtype in topics.dtypes)
    assert len(topics) >= 120
    assert topics["qid"].is_unique
    assert topics["query"].is_unique
    assert topics["query"].str.split().str.len().between(3, 15).all()
    # nothing that the query parsers of search engines take for an operator
    assert topics["query"].str.fullmatch(r"[A-Za-z0-9' ]+").all()


def test_qrels():
    topics, qrels = pydocs().get_topicsqrels()
    assert list(qrels.columns) == ["qid", "docno", "label"]
    assert pd.api.types.is_string_dtype(qrels["qid"]) and pd.api.types.is_string_dtype(qrels["docno"])
    assert pd.api.types.is_integer_dtype(qrels["label"])
    assert set(qrels["label"]) == {1, 2}
    assert not qrels.duplicated(["qid", "docno"]).any()
    assert set(qrels["qid"]) == set(topics["qid"])
    assert qrels.groupby("qid").size().between(1, 8).all()


def test_every_topic_has_a_direct_answer():
    topics, qrels = python_docs._shipped()
    assert set(topics["qid"]) == set(qrels.loc[qrels["label"] == 2, "qid"])


def test_shipped_judgements_are_found(docs):
    _, qrels = python_docs._shipped()
    found = qrels["docno"].isin([doc["docno"] for doc in docs])
    if sys.version_info[:2] == (3, 11) and sys.platform == "linux":
        assert found.all(), qrels[~found]
    else:
        assert found.mean() >= 0.9, qrels[~found]


def test_unknown_documents_are_dropped(shipped):
    (topics, qrels), change = shipped
    before = pydocs().get_topicsqrels()
    extra_topics = pd.DataFrame({"qid": ["gone"], "query": ["what is not there"]})
    extra_qrels = pd.DataFrame({"qid": ["gone", topics["qid"][0]], "docno": ["no.such", "no.such"], "label": [2, 2]})
    change(pd.concat([topics, extra_topics]), pd.concat([extra_qrels, qrels]))
    after = pydocs().get_topicsqrels()
    pd.testing.assert_frame_equal(before[0], after[0])
    pd.testing.assert_frame_equal(before[1], after[1])


def test_topics_without_relevant_documents_are_dropped(shipped):
    (topics, qrels), change = shipped
    first = topics["qid"][0]
    change(qrels=qrels.assign(label=qrels["label"].where(qrels["qid"] != first, 0)))
    assert first not in set(pydocs().get_topics()["qid"])
    assert first not in set(pydocs().get_qrels()["qid"])


def test_returned_frames_are_copies():
    topics, qrels = pydocs().get_topicsqrels()
    topics["query"] = "changed"
    qrels["label"] = 0
    assert pydocs().get_topics()["query"].is_unique
    assert (pydocs().get_qrels()["label"] > 0).all()


def test_dataset_interface():
    import pyterrier as pt

    dataset = pydocs()
    assert isinstance(dataset, PyDocs) and isinstance(dataset, pt.datasets.Dataset)
    assert repr(dataset) == "PyDocs()"
    assert dataset.info_url() is None
    assert dataset.name == "pydocs"
    assert list(dataset.get_excluded().columns) == ["qid", "docno"] and not len(dataset.get_excluded())
    for method in dataset.get_topics, dataset.get_qrels:
        with pytest.raises(ValueError, match="variant"):
            method("test")
    assert len(list(dataset.get_corpus_iter(verbose=True))) == len(dataset)
