"""Tests of embedded collections: encoded into a cache, and read from a folder of vectors."""

import gzip
import json

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.datasets import beir_folder, encoded_corpus, pydocs, sample
from pyterrier_xetrieval.evaluation import embed, ndcg, rank, read_embedded
from tests.helpers.letters import LetterCounts, Letters


def no_leftovers(cache):
    return not [path for path in cache.rglob("*") if path.name.endswith(".unfinished")]


def test_vectors_judgements_and_texts(tmp_path):
    found = embed(Letters(), LetterCounts(), cache=tmp_path / "new" / "cache")
    assert found.name == "letters" and found.docnos.tolist() == ["d0", "d1", "d2", "d3"]
    assert found.docs.tolist() == [[2, 1, 0], [0, 3, 0], [1, 1, 1], [0, 0, 3]] and found.docs.dtype == np.float32
    assert isinstance(found.docs, np.memmap)
    # q2's relevant document is excluded for it, q3 has none
    assert found.qids.tolist() == ["q1", "q4"] and found.query_texts.tolist() == ["ab", "bb"]
    assert found.queries.tolist() == [[1, 1, 0], [0, 2, 0]] and found.queries.dtype == np.float32
    assert list(found.judged) == [{0: 2, 3: 0}, {1: 1, 2: 1}]
    assert [rows.tolist() for rows in found.excluded] == [[1, 2], []]
    assert found.texts([3, 0, 3]) == ["ccc", "aab", "ccc"] and found.texts([]) == []
    rows, _ = rank(found.queries, found.docs, 4, excluded=found.excluded)
    assert rows[0].tolist() == [0, 3, -1, -1]
    assert ndcg(found, rows)[0] == 1.0
    assert no_leftovers(tmp_path)


def test_what_is_in_the_cache_is_not_encoded_again(tmp_path):
    first = embed(Letters(), LetterCounts(), cache=tmp_path)
    again = LetterCounts()
    second = embed(Letters(), again, cache=tmp_path)
    assert again.encoded == ["aab", "ab"]  # one document and one query, to see that the encoder is the same
    assert (first.docs == second.docs).all() and (first.queries == second.queries).all()
    assert second.texts([2]) == ["cab"]


def test_other_documents_encoders_and_queries_are_encoded(tmp_path):
    embed(Letters(), LetterCounts(), cache=tmp_path)

    def encoded(texts=("aab", "bbb", "cab", "ccc"), **attributes):
        encoder = LetterCounts()
        vars(encoder).update(attributes)
        embed(Letters(texts), encoder, cache=tmp_path)
        return len(encoder.encoded)

    assert encoded(("aab", "bbb", "cab", "ccb")) == 4 + 2
    assert encoded(model_name="other") == encoded(max_length=3) == 4 + 2
    other_queries = Letters()
    other_queries.get_topics = lambda: pd.DataFrame({"qid": ["q1"], "query": ["aaa"]})
    encoder = LetterCounts()
    assert embed(other_queries, encoder, cache=tmp_path).queries.tolist() == [[3, 0, 0]]
    assert encoder.encoded == ["aab", "aaa"]  # the documents are there


def test_a_model_that_changed_under_its_name_is_noticed(tmp_path):
    embed(Letters(), LetterCounts(), cache=tmp_path)
    changed = LetterCounts()
    changed.vector = lambda text: np.array([text.count(c) for c in "cba"], np.float32)
    with pytest.raises(ValueError, match="has changed"):
        embed(Letters(), changed, cache=tmp_path)


@pytest.mark.parametrize("what", ["fails", "killed", "nan"])
def test_an_unfinished_run_leaves_nothing_to_load_and_goes_on(tmp_path, monkeypatch, what):
    monkeypatch.setattr(encoded_corpus, "BLOCK", 1)
    encoder, vector = LetterCounts(), LetterCounts().vector

    def broken(text):
        if text != "ccc":
            return vector(text)
        if what == "nan":
            return np.array([0, np.nan, 0], np.float32)
        raise KeyboardInterrupt if what == "killed" else RuntimeError("out of memory")

    encoder.vector = broken
    with pytest.raises({"nan": ValueError, "killed": KeyboardInterrupt, "fails": RuntimeError}[what]):
        embed(Letters(), encoder, cache=tmp_path)
    assert not list(tmp_path.rglob("corpus.flex")) and no_leftovers(tmp_path)
    again = LetterCounts()
    assert embed(Letters(), again, cache=tmp_path).docs.tolist() == [[2, 1, 0], [0, 3, 0], [1, 1, 1], [0, 0, 3]]
    # the first document to see that the encoder is the same, the one that is missing, and the queries
    assert again.encoded == ["aab", "ccc", "ab", "bb"]


def test_a_dataset_that_changes_while_it_is_read(tmp_path):
    class Changing(Letters):
        def get_corpus_iter(self, *, verbose=False):
            self.texts = (*self.texts, "a")
            return super().get_corpus_iter(verbose=verbose)

    with pytest.raises(ValueError, match="same documents each time"):
        embed(Changing(), LetterCounts(), cache=tmp_path)
    assert not list(tmp_path.rglob("documents")) and no_leftovers(tmp_path)


def test_collections_and_encoders_that_cannot_be_embedded(tmp_path):
    class Twice(Letters):
        def get_corpus_iter(self, *, verbose=False):
            yield from [{"docno": "d1", "text": "a"}] * 2

    def raises(said, dataset=None, encoder=None):
        with pytest.raises(ValueError, match=said):
            embed(dataset or Letters(), encoder or LetterCounts(), cache=tmp_path)

    raises("'d1' more than once", Twice())
    raises("at least two documents, found 1", Letters(("a",)))
    raises("no query with a relevant document among its 2", _unjudged())
    raises("bi-encoder", encoder=pt.Transformer.identity())
    nameless = LetterCounts()
    nameless.model_name = None
    raises("model_name", encoder=nameless)
    field = LetterCounts()
    field.text_field = "body"
    raises("'body' in the documents of letters, found.*'more'", encoder=field)
    assert list(tmp_path.iterdir()) == []


def _unjudged():
    dataset = Letters(("c", "a"))
    dataset.get_qrels = lambda: pd.DataFrame({"qid": ["q1"], "docno": ["d1"], "label": [0]})
    return dataset


def test_the_bundled_encoder_over_a_sample(tmp_path):
    dataset = sample(pydocs(), documents=1)  # all relevant documents
    docnos = sorted(dataset.docnos)[:30]
    small = Letters()
    small.get_corpus_iter = lambda verbose=False: (doc for doc in pydocs().get_corpus_iter() if doc["docno"] in docnos)
    small.get_topics, small.get_qrels, small.get_excluded = dataset.get_topics, dataset.get_qrels, dataset.get_excluded
    encoder = Xetrieval.default().encoder()
    found = embed(small, encoder, cache=tmp_path, name="py/docs")
    assert found.docs.shape == (30, 384) and found.docnos.tolist() == docnos and 0 < len(found.qids) < 40
    texts = [doc["text"] for doc in pydocs().get_corpus_iter() if doc["docno"] in docnos]
    assert found.texts(range(30)) == texts
    np.testing.assert_allclose(found.docs, encoder.encode_docs(texts), atol=1e-5)
    np.testing.assert_allclose(found.queries, encoder.encode_queries(found.query_texts.tolist()), atol=1e-5)
    rows, _ = rank(found.queries, found.docs, 10, excluded=found.excluded)
    assert ndcg(found, rows).mean() > 0.7
    again = embed(small, encoder, cache=tmp_path, name="py/docs")
    assert (again.docs == found.docs).all() and len(list(tmp_path.iterdir())) == 1


@pytest.fixture
def folder(tmp_path):
    """Three documents, of which the second is q2's own; vectors of another length, as float16 leaves them."""
    path = tmp_path / "pets"
    path.mkdir()
    documents = [{"_id": "a", "title": "T", "text": "one"}, {"_id": "q2", "text": "ünï\ntwo"}, {"_id": "c", "text": ""}]
    with gzip.open(path / "corpus.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write("".join(json.dumps(d, ensure_ascii=False) + "\n" for d in documents))
    queries = [{"_id": "q0", "text": "x"}, {"_id": "q1", "text": "y"}, {"_id": "q2", "text": "z"}]
    (path / "queries.jsonl").write_text("".join(json.dumps(q) + "\n" for q in queries))
    (path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq0\ta\t0\nq1\tq2\t3\nq2\tc\t1\n")
    np.save(tmp_path / "pets.f16.npy", np.array([[2, 0], [0.6, 0.8], [0, 1]], np.float16))
    np.save(tmp_path / "pets.q.f16.npy", np.array([[9, 9], [0, 3], [0.6, 0.8]], np.float16))
    return tmp_path


def test_vectors_in_a_folder(folder):
    found = read_embedded(folder, "pets", vectors=folder, exclude_own_id=True)
    assert found.qids.tolist() == ["q1", "q2"] and found.query_texts.tolist() == ["y", "z"]  # q0 has nothing relevant
    assert found.docs.dtype == found.queries.dtype == np.float32
    np.testing.assert_allclose(found.docs, [[1, 0], [0.6, 0.8], [0, 1]], atol=1e-3)
    np.testing.assert_allclose(found.queries, [[0, 1], [0.6, 0.8]], atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(found.docs, axis=1), 1, atol=1e-6)
    assert list(found.judged) == [{1: 3}, {2: 1}]
    assert [rows.tolist() for rows in found.excluded] == [[], [1]]
    assert found.texts([1, 0, 2]) == ["ünï\ntwo", "T one", ""]
    rows, _ = rank(found.queries, found.docs, 2, excluded=found.excluded)
    assert rows.tolist() == [[2, 1], [2, 0]]
    np.testing.assert_allclose(ndcg(found, rows), [1 / np.log2(3), 1])
    # without the rule, the query finds itself
    open_ = read_embedded(folder, "pets", vectors=folder)
    assert rank(open_.queries, open_.docs, 2, excluded=open_.excluded)[0].tolist() == [[2, 1], [1, 2]]


def test_the_same_collection_through_an_encoder(folder, tmp_path):
    read = read_embedded(folder, "pets", vectors=folder, exclude_own_id=True)
    encoded = embed(beir_folder(folder / "pets", exclude_own_id=True), LetterCounts(), cache=tmp_path / "cache")
    assert encoded.judged == read.judged and encoded.qids.tolist() == read.qids.tolist()
    assert all((a == b).all() for a, b in zip(encoded.excluded, read.excluded))
    assert encoded.texts([0, 1, 2]) == read.texts([0, 1, 2])


@pytest.mark.parametrize(
    "file, vectors, error, said",
    [
        ("pets.f16.npy", np.ones((2, 2)), ValueError, r"each of 3 documents in .*pets.f16.npy, found an array \(2, 2\)"),
        ("pets.q.f16.npy", np.ones((4, 2)), ValueError, r"each of 3 queries"),
        ("pets.f16.npy", np.eye(3, 2), ValueError, "zero or not finite"),
        ("pets.f16.npy", np.full((3, 2), np.nan), ValueError, "zero or not finite"),
        ("pets.q.f16.npy", None, FileNotFoundError, "vectors of the queries at .*pets.q.f16.npy"),
    ],
)
def test_vectors_that_do_not_fit(folder, file, vectors, error, said):
    (folder / file).unlink()
    if vectors is not None:
        np.save(folder / file, vectors.astype(np.float16))
    with pytest.raises(error, match=said):
        read_embedded(folder, "pets", vectors=folder)
