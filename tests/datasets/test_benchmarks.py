"""Tests of the benchmarks: real ir_datasets datasets over local files, and downloads and files that are not there."""

from typing import NamedTuple

import ir_datasets
import pyterrier as pt
import pytest
from ir_datasets.formats import TrecQrels, TsvDocs, TsvQueries
from ir_datasets.util.download import Download, LocalDownload, RequestsDownload

from pyterrier_xetrieval.datasets import BRIGHT_DOMAINS, Collection, PyDocs, benchmark, benchmarks
from pyterrier_xetrieval.datasets.benchmarks import IrCollection
from pyterrier_xetrieval.datasets.provider import Provider


class TitledDoc(NamedTuple):
    doc_id: str
    title: str
    text: str

    def default_text(self):
        return f"{self.title} {self.text}"


class LinkedQuery(NamedTuple):
    query_id: str
    title: str
    doc_id: str


@pytest.fixture
def dataset(tmp_path):
    """Three titled documents; a query made from document a; BRIGHT's -100 marks what is excluded."""
    files = {
        "docs": "a\tCats\tpurr\nb\tDogs\tbark\nc\t\tfly\n",
        "queries": "q1\twho barks\ta\n",
        "qrels": "q1 0 b 1\nq1 0 c -100\nq1 0 a 0\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    local = {name: LocalDownload(tmp_path / name) for name in files}
    docs = TsvDocs(local["docs"], TitledDoc)
    return ir_datasets.Dataset(docs, TsvQueries(local["queries"], LinkedQuery), TrecQrels(local["qrels"], {}))


def test_parts(dataset):
    collection = IrCollection(dataset, name="pets", query_text=benchmarks._title, made_from=lambda query: query.doc_id)
    assert [tuple(doc.values()) for doc in collection.get_corpus_iter(verbose=True)] == [
        ("a", "Cats purr"),
        ("b", "Dogs bark"),
        ("c", "fly"),
    ]
    topics, qrels = collection.get_topicsqrels()
    assert topics.to_dict("list") == {"qid": ["q1"], "query": ["who barks"]}
    assert qrels.values.tolist() == [["q1", "b", 1], ["q1", "a", 0]]
    assert collection.get_excluded().values.tolist() == [["q1", "c"], ["q1", "a"]]
    assert IrCollection(dataset, name="pets").get_excluded().values.tolist() == [["q1", "c"]]


def test_the_title_of_the_article_behind_a_query(dataset):
    assert IrCollection(dataset, name="news", query_text=benchmarks._article_title).get_topics()["query"].tolist() == ["Cats"]


def test_a_failed_download_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("IR_DATASETS_DL_TRIES", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    nobody = [RequestsDownload("http://127.0.0.1:9/docs.tsv")]  # the discard port: a real request, refused at once
    for mirrors in (nobody, nobody * 2):  # ir_datasets raises one error, or a RuntimeError over several
        source = Download(mirrors, cache_path=tmp_path / "cached")
        collection = IrCollection(ir_datasets.Dataset(TsvDocs(source, TitledDoc), TsvQueries(source)), name="pets")
        for part, read in (("documents", collection.get_corpus_iter), ("queries", collection.get_topics)):
            with pytest.raises(
                FileNotFoundError, match=f"^the {part} of pets are not on this machine .*connect to the network"
            ) as error:
                list(read())
            assert "\n" not in str(error.value) and error.value.__cause__ is not None


def test_licensed_documents_say_what_to_do(tmp_path):
    missing = ir_datasets.Dataset(TsvDocs(LocalDownload(tmp_path / "disks"), TitledDoc))
    collection = IrCollection(missing, name="robust04", licence="TREC disks, from NIST under an agreement")
    with pytest.raises(FileNotFoundError, match=r"need TREC disks, from NIST.*: place it at .*disks.*ir-datasets\.com") as error:
        next(collection.get_corpus_iter())
    assert isinstance(error.value.__cause__, FileNotFoundError)


def test_every_benchmark_is_one_that_ir_datasets_knows():
    assert len(BRIGHT_DOMAINS) == 12
    for name, (id, _) in benchmarks._SOURCES.items():
        collection = benchmark(name)
        assert isinstance(collection, Collection) and collection.name == name and repr(collection) == f"benchmark({name!r})"
        assert all(hasattr(collection.dataset, part) for part in ("docs_iter", "queries_iter", "qrels_iter")), id


def test_query_fields_are_those_of_the_registry():
    for name, (_, options) in benchmarks._SOURCES.items():
        query = benchmark(name).dataset.queries_cls()
        needed = {benchmarks._title: "title", benchmarks._article_title: "doc_id"}.get(options.get("query_text"), "text")
        assert needed in query._fields, name
        assert hasattr(benchmark(name).dataset.docs_cls(), "default_text"), name


def test_arguana_excludes_the_own_id():
    made_from = {name: options.get("made_from") for name, (_, options) in benchmarks._SOURCES.items()}
    assert made_from["arguana"](LinkedQuery("q1", "", "a")) == "q1"
    assert made_from["trec-news"](LinkedQuery("q1", "", "a")) == "a" and made_from["nq"] is None


def test_bright_is_its_domains_pooled():
    bright = benchmark("bright")
    assert bright.name == "bright" and [prefix for prefix, _ in bright._parts] == [f"{domain}/" for domain in BRIGHT_DOMAINS]


@pytest.mark.parametrize("name", ["mutual", "signal-1m"])
def test_what_ir_datasets_lacks_goes_through_a_folder(name):
    with pytest.raises(ValueError, match=rf"{name}.*download it \(https://.*beir_folder\(path\)"):
        benchmark(name)


def test_unknown_name():
    with pytest.raises(ValueError, match="expects one of bright, nq.*found 'nope'"):
        benchmark("nope")


def test_by_name_through_pyterrier():
    assert isinstance(pt.get_dataset("xetrieval:pydocs"), PyDocs)
    assert repr(pt.get_dataset("xetrieval:bright/biology")) == "benchmark('bright/biology')"
    with pytest.raises(KeyError, match="'xetrieval:nothing' not found"):
        pt.get_dataset("xetrieval:nothing")
    assert {"pydocs", "bright", "nq"} <= set(Provider().list_dataset_names())
