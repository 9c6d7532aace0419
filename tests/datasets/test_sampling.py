"""Tests of samples and pools."""

import pandas as pd
import pytest

from pyterrier_xetrieval.datasets import Collection, pool, pydocs, sample


class Numbers(Collection):
    """Documents 0 to n-1; query i finds document 2i, and judges 2i+1 as not relevant."""

    def __init__(self, n=100, queries=10, *, name="numbers", reverse=False, excluded=()):
        self.n, self.queries, self.name, self.reverse, self.excluded = n, queries, name, reverse, list(excluded)
        self.passes = 0

    def get_corpus_iter(self, *, verbose=False):
        self.passes += 1
        for i in sorted(range(self.n), reverse=self.reverse):
            yield {"docno": f"d{i}", "text": f"text {i}"}

    def get_topics(self, variant=None):
        return pd.DataFrame([(f"q{i}", f"number {i}") for i in range(self.queries)], columns=["qid", "query"], dtype=str)

    def get_qrels(self, variant=None):
        rows = [(f"q{i}", f"d{2 * i + grade}", 1 - grade) for i in range(self.queries) for grade in (0, 1)]
        return pd.DataFrame(rows, columns=["qid", "docno", "label"])

    def get_excluded(self):
        return pd.DataFrame(self.excluded, columns=["qid", "docno"], dtype=str)


def docnos(dataset):
    return [doc["docno"] for doc in dataset.get_corpus_iter(verbose=False)]


def test_gold_documents_and_a_random_fill():
    sampled = sample(Numbers(), documents=30)
    found = docnos(sampled)
    assert len(found) == len(set(found)) == 30
    assert {f"d{2 * i}" for i in range(10)} < set(found)
    assert found == [d for d in docnos(Numbers()) if d in set(found)]  # the collection's order
    assert next(sampled.get_corpus_iter())["text"] == f"text {found[0][1:]}"
    assert len(sampled.get_topics()) == 10
    qrels = sampled.get_qrels()
    assert set(qrels["docno"]) <= set(found) and qrels["label"].sum() == 10
    assert sampled.name == "numbers"


def test_the_choice_depends_on_seed_and_name_but_not_on_order():
    def chosen(seed=0, **options):
        return set(docnos(sample(Numbers(1000, **options), documents=30, seed=seed)))

    assert chosen() == chosen() == chosen(reverse=True)
    assert len(chosen() & chosen(seed=1)) < 15
    # collections that share their documents, as two domains of BRIGHT do, are filled differently
    assert len(chosen() & chosen(name="others")) < 15


def test_the_fill_is_uniform():
    counts = pd.Series([d for seed in range(200) for d in docnos(sample(Numbers(50, 5), documents=20, seed=seed))]).value_counts()
    fill = counts.drop([f"d{2 * i}" for i in range(5)])
    assert len(fill) == 45 and fill.sum() == 200 * 15
    assert fill.between(35, 100).all()  # binomial(200, 1/3): 67 on average, standard deviation 6.7


def test_sizes_at_the_ends():
    assert len(docnos(sample(Numbers(), documents=3))) == 10  # the relevant ones alone are more
    assert docnos(sample(Numbers(), documents=1000)) == docnos(Numbers())
    # queries whose documents are not in the corpus go, and the fill makes up for what is missing
    short = sample(Numbers(n=10, queries=20), documents=8)
    assert len(docnos(short)) == 8 and len(short.get_topics()) == 5
    with pytest.raises(ValueError, match="documents to be a positive whole number, found 0"):
        sample(Numbers(), documents=0)
    with pytest.raises(ValueError, match="found 2.5"):
        sample(Numbers(), documents=2.5)


def test_nothing_is_read_before_it_is_asked_for():
    dataset = Numbers()
    sampled = sample(dataset, documents=30)
    assert dataset.passes == 0
    sampled.get_qrels(), sampled.get_topics()
    assert dataset.passes == 1


def test_excluded_documents_stay():
    dataset = Numbers(excluded=[("q0", "d99"), ("q1", "not there")])
    assert sample(dataset, documents=12).get_excluded().values.tolist() == [["q0", "d99"], ["q1", "not there"]]
    assert not len(sample(pydocs(), documents=300).get_excluded())


def test_pool_with_prefixes():
    math = Numbers(4, 2, name="math", excluded=[("q0", "d5"), ("q0", "d3"), ("q1", "gone")])
    more = Numbers(6, 1, name="more")
    pooled = pool({"math": math, "more": more}, name="both")
    assert docnos(pooled) == [f"math/d{i}" for i in range(4)] + [f"more/d{i}" for i in range(6)]
    assert pooled.get_topics().values.tolist() == [["math/q0", "number 0"], ["math/q1", "number 1"], ["more/q0", "number 0"]]
    qrels = pooled.get_qrels()
    assert qrels[qrels["label"] > 0][["qid", "docno"]].values.tolist() == [
        ["math/q0", "math/d0"], ["math/q1", "math/d2"], ["more/q0", "more/d0"],
    ]  # fmt: skip
    # what a query excludes is excluded under the name that the other collection has for it, too
    assert sorted(map(tuple, pooled.get_excluded().values)) == [
        ("math/q0", "math/d3"), ("math/q0", "math/d5"), ("math/q0", "more/d3"), ("math/q0", "more/d5"), ("math/q1", "math/gone"),
    ]  # fmt: skip
    assert pooled.name == "both"


def test_pool_of_samples_is_the_protocol_for_bright():
    parts = {name: sample(Numbers(1000, name=name), documents=50) for name in ("x", "y")}
    pooled = pool(parts)
    assert len(docnos(pooled)) == 100 and len(pooled.get_topics()) == 20
    assert set(pooled.get_qrels()["docno"]) <= set(docnos(pooled))
    assert len(docnos(sample(pooled, documents=60))) == 60


def test_pool_without_prefixes():
    class Letters(Numbers):
        def get_corpus_iter(self, *, verbose=False):
            yield from ({"docno": c, "text": c} for c in "abc")

        def get_topics(self, variant=None):
            return pd.DataFrame({"qid": ["qa"], "query": ["a"]})

        def get_qrels(self, variant=None):
            return pd.DataFrame({"qid": ["qa"], "docno": ["a"], "label": [1]})

    pooled = pool([Numbers(2, 1, excluded=[("q0", "d1")]), Letters(name="letters")])
    assert docnos(pooled) == ["d0", "d1", "a", "b", "c"]
    assert pooled.get_topics()["qid"].tolist() == ["q0", "qa"]
    assert pooled.get_excluded().values.tolist() == [["q0", "d1"]]


def test_docnos_that_are_no_ids():
    class Bytes(Numbers):
        def get_corpus_iter(self, *, verbose=False):
            yield {"docno": b"d0", "text": "text"}

    for collection in (sample(Bytes(4, 2)), pool([Bytes(4, 2)])):
        with pytest.raises(ValueError, match="expects a text or a number as docno, found bytes b'd0'"):
            docnos(collection)


def test_names_that_clash():
    twice = pool([Numbers(4, 2), Numbers(4, 2)])
    with pytest.raises(ValueError, match="docnos.*'d0'.*dict"):
        docnos(twice)
    with pytest.raises(ValueError, match="qids.*'q0'.*dict"):
        twice.get_topics()
    with pytest.raises(ValueError, match="at least one"):
        pool([])
