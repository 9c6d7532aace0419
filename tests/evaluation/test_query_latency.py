"""Fig. 6: what is timed is what is said, and what is extrapolated says so."""

import time
from dataclasses import replace

import numpy as np
import pytest

from pyterrier_xetrieval.evaluation.query_latency import cot_seconds, latency, sample_corpus
from tests.helpers.builders import make_model
from tests.helpers.retrieval import make_collection, slow_ndcg, slow_views


def test_a_corpus_keeps_what_is_relevant_and_grows():
    collection = make_collection(n=60, q=4)
    relevant = {int(d) for judged in collection.judged for d, grade in judged.items() if grade > 0}
    smaller: set[str] = set()
    for size in (len(relevant), 30, 45, 60):
        corpus, copies = sample_corpus(collection, size, seed=3)
        names = corpus.docnos.tolist()
        assert copies == 0 and len(set(names)) == size and smaller <= set(names)
        smaller = set(names)
        assert {f"d{d}" for d in relevant} <= smaller
        for docno, vector in zip(names, corpus.docs):
            np.testing.assert_array_equal(vector, collection.docs[int(docno[1:])])
        for i in range(4):
            judged = {names[d]: grade for d, grade in corpus.judged[i].items()}
            assert judged == {f"d{d}": g for d, g in collection.judged[i].items() if f"d{d}" in smaller}
            excluded = {names[d] for d in corpus.excluded[i]}
            assert excluded == {f"d{d}" for d in collection.excluded[i]} & smaller
    with pytest.raises(ValueError, match=f"its {len(relevant)} relevant documents, found size 2"):
        sample_corpus(collection, 2, seed=3)


def test_what_a_collection_lacks_is_made_of_moved_copies():
    collection = make_collection(n=60, q=4, dim=64)
    corpus, copies = sample_corpus(collection, 500, seed=0)
    assert copies == 440 and corpus.docs.shape == (500, 64) and corpus.docs.dtype == np.float32
    np.testing.assert_array_equal(corpus.docs[:60], collection.docs)
    assert corpus.judged == [dict(j) for j in collection.judged] and len(set(corpus.docnos.tolist())) == 500
    source = np.array([int(name[1 : name.index("~")]) for name in corpus.docnos[60:]])
    assert len(set(source.tolist())) > 50
    np.testing.assert_allclose(np.linalg.norm(corpus.docs, axis=1), 1, atol=1e-5)
    moved = np.linalg.norm(corpus.docs[60:] - collection.docs[source], axis=1)
    assert 0.05 < moved.min() < moved.max() < 0.2


def test_the_table_has_a_time_for_everything_and_ndcg_where_documents_are_real():
    model, collection = make_model(), make_collection(n=60, q=12)
    table = latency(model.with_views(weights=[0.5, 0.5, 0]), collection, sizes=[60, 100], max_queries=5, num_results=4)
    assert table.groupby("size")["copies"].first().to_dict() == {60: 0, 100: 40}
    times = table[table["measure"].isin(["median_ms", "p95_ms"])]
    assert len(times) == 2 * 3 * 2 and (times["value"] > 0).all() and (times["n"] == 5).all()
    wide = times.pivot(index=["size", "system"], columns="measure", values="value")
    assert (wide["median_ms"] <= wide["p95_ms"]).all()
    offline = table[table["measure"] == "corpus_seconds"]
    assert offline["system"].tolist() == ["internalizer"] * 2 and (offline["value"] > 0).all()
    found = table[table["measure"] == "nDCG@4"].set_index("system")["value"]
    assert (table[table["measure"] == "nDCG@4"]["size"] == 60).all() and not table["extrapolated"].any()
    chosen = collection.select(np.sort(np.random.default_rng(0).permutation(12)[:5]))
    views = slow_views(model, collection.docs)
    assert found["dense"] == pytest.approx(slow_ndcg(chosen, chosen.docs, 4).mean(), abs=1e-6)
    assert found["multi-view"] == pytest.approx(
        slow_ndcg(chosen, chosen.docs + 0.5 * (views["summary"] + views["purpose"]), 4).mean(), abs=1e-6
    )


def test_the_language_model_is_really_asked_and_the_rest_is_proportional():
    prompts = []

    def slow(prompt: str) -> str:
        prompts.append(prompt)
        time.sleep(0.02)
        return "" if "third" in prompt else "A text?"

    texts = ["a first text", "a second text", "a third text", "a fourth text"]
    table = cot_seconds(slow, texts, sizes=[4, 1000])
    assert len(prompts) == 1 + 12 and all(sum(text in p for p in prompts[1:]) == 3 for text in texts)
    assert table["extrapolated"].tolist() == [False, True, True] and table["size"].tolist() == [4, 4, 1000]
    measured, same, large = table["value"]
    assert 0.24 <= measured < 2 and same == measured and large == pytest.approx(250 * measured)
    with pytest.raises(ValueError, match="2, 1 empty"):
        cot_seconds(slow, ["text", " "], sizes=[10])


def test_the_language_model_stands_in_the_same_table():
    model, collection = make_model(), make_collection(n=60, q=12)
    collection = replace(collection, texts=lambda rows: [f"text {i}" for i in rows])
    table = latency(model, collection, sizes=[60], max_queries=2, llm=lambda prompt: "text?", n_texts=5)
    cot = table[table["system"] == "CoT reasoner"]
    assert cot["size"].tolist() == [5, 60] and cot["extrapolated"].tolist() == [False, True] and (cot["n"] == 5).all()
    assert (cot["collection"] == "tiny").all()
    with pytest.raises(ValueError, match="latency expects a collection with texts"):
        latency(model, replace(collection, texts=None), sizes=[60], llm=lambda prompt: "text?")
    with pytest.raises(ValueError, match="positive whole number"):
        latency(model, collection, sizes=[0])
