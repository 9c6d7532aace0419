"""What an encoder's stages do with texts that are missing or broken, and what is known of the vectors that they make."""

import pickle

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_xetrieval import MiniLM, Xetrieval
from pyterrier_xetrieval.token_vectors import TokenEncoder
from pyterrier_xetrieval.vector_cells import encoded_texts

NAN = float("nan")


@pytest.fixture(scope="module")
def model():
    return Xetrieval.default().with_views(())


@pytest.fixture(scope="module")
def encoder():
    return MiniLM()


@pytest.fixture(scope="module")
def documents(encoder):
    return encoder(pd.DataFrame({"docno": ["a", "b"], "text": ["Return a sorted list.", "Boil water."]}))


@pytest.fixture
def results(encoder, documents):
    return encoder.query_encoder()(pd.DataFrame({"qid": ["1"], "query": ["Sort a list!"]})).merge(documents, how="cross")


@pytest.mark.parametrize("wrong", [None, NAN, pd.NA, 42])
def test_a_missing_text_is_named(encoder, wrong):
    frame = pd.DataFrame({"docno": ["a", "b"], "text": pd.Series(["tea", wrong], dtype=object)})
    with pytest.raises(
        ValueError, match=r"MiniLM\(\).doc_encoder\(\) found no text in document 'b': its text is .*missing='drop'"
    ):
        encoder(frame)
    asked = pd.DataFrame({"qid": ["1", "2"], "query": pd.Series(["tea", wrong], dtype=object)})
    with pytest.raises(ValueError, match=r"MiniLM\(\).query_encoder\(\) found no text in query '2'"):
        encoder(asked)
    with pytest.raises(ValueError, match=r"MiniLM\(\) found no text in text 1 of 2"):
        encoder.encode_docs(["tea", wrong])


def test_a_joined_row_without_a_query_takes_that_of_its_query(encoder):
    joined = pd.DataFrame({"qid": ["1", "1"], "docno": ["a", "b"], "query": ["tea", NAN]})
    first, second = encoder.query_encoder()(joined)["query_vec"]
    assert first is second


def test_equal_texts_are_encoded_once(encoder, monkeypatch):
    asked = []
    monkeypatch.setattr(encoder, "encode_docs", lambda texts, batch_size=None: asked.append(texts) or np.ones((len(texts), 384)))
    vectors = encoder.doc_encoder()(pd.DataFrame({"docno": list("abc"), "text": ["tea", "milk", "tea"]}))["doc_vec"]
    assert asked == [["tea", "milk"]] and vectors[0] is vectors[2]
    assert encoder.doc_encoder()(pd.DataFrame({"docno": [], "text": []}))["doc_vec"].dtype == object


def test_half_of_a_character_is_read_as_the_replacement_character(encoder):
    broken, whole = "sort \ud83d a list", "sort \ufffd a list"
    np.testing.assert_array_equal(encoder.encode_docs([broken]), encoder.encode_docs([whole]))
    encoded = encoder(pd.DataFrame({"docno": ["a"], "text": pd.Series([broken], dtype=object)}))["doc_vec"][0]
    np.testing.assert_array_equal(encoded, encoder.encode_docs([whole])[0])
    for text, words in zip((broken, whole), TokenEncoder(encoder).words([broken, whole])):
        assert [text[a:b] for a, b in words.spans.tolist()] == ["sort", "a", "list"]


def test_words_of_a_broken_text_are_where_they_are(model):
    e = model.explain("sort a list \udc00", "Return \ud83d a sorted list.")
    assert e.evidence.document == "Return \ufffd a sorted list." and "sorted list" in e.sentence()
    e.to_html().encode()


@pytest.mark.parametrize("rewrite", [
    pt.model.push_queries,
    lambda frame: frame.assign(query="sort"),
    lambda frame: pd.concat([frame, frame.sort_values("docno")]).assign(query="sort").reset_index(drop=True),
    lambda frame: frame.merge(pd.DataFrame({"docno": ["b"], "more": [1]})).assign(query="sort"),
])  # fmt: skip
def test_a_vector_of_another_text_than_the_query_is_refused(model, results, rewrite):
    rewritten = rewrite(results)
    if "query" not in rewritten:
        rewritten["query"] = "sort"
    for stage in (model.explainer(), model.scorer(), model.intervention(features=[1], target="query", mode="erase")):
        with pytest.raises(
            ValueError, match=r"query_vec of 'Sort a list!' where the query is 'sort' \(row 0\).*pt.rewrite.reset"
        ):
            stage(rewritten)


def test_the_cures_of_the_message_cure(model, encoder, results):
    rewritten = pt.model.push_queries(results).assign(query="sort")
    again = (encoder.query_encoder() >> model.explainer())(rewritten)
    assert again["explanation"][0].score == pytest.approx(float(np.dot(again["query_vec"][0], again["doc_vec"][0])), abs=1e-5)
    back = (pt.rewrite.reset() >> model.explainer())(rewritten)
    assert back["explanation"][0] == model.explainer()(results)["explanation"][0]


def test_what_a_vector_is_of_outlives_the_stages_between(model, encoder, results):
    other = encoder.query_encoder()(pd.DataFrame({"qid": ["2"], "query": ["sort a list!"]}))  # the same words, so the same vector
    both = pd.concat([results, results.assign(qid="2", query="sort a list!", query_vec=[other["query_vec"][0]] * 2)])
    scored = model.scorer()(both.reset_index(drop=True))
    assert encoded_texts(scored["query_vec"][0]) == {"Sort a list!", "sort a list!"}
    edited = model.intervention("scale", features=[461], alpha=0.0, target="query")(results)
    assert encoded_texts(edited["query_vec"][0]) == {"Sort a list!"}
    with pytest.raises(ValueError, match="query_vec of 'Sort a list!' where the query is 'sort'"):
        model.scorer()(edited.assign(query="sort"))


@pytest.mark.parametrize("elsewhere", [
    lambda frame: frame.assign(query_vec=[vector.copy() for vector in frame["query_vec"]]),
    lambda frame: frame.assign(query_vec=[vector.tolist() for vector in frame["query_vec"]]),
    lambda frame: pickle.loads(pickle.dumps(frame)),
    lambda frame: frame.assign(query_vec=[frame["query_vec"][0], frame["query_vec"][0].copy()]),
])  # fmt: skip
def test_no_alarm_for_vectors_from_elsewhere(model, results, elsewhere):
    frame = elsewhere(results).assign(query=["Sort a list!", "sort"])
    assert len(model.scorer()(model.explainer()(frame))) == 2
