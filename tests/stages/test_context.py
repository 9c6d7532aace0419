"""The context of a prompt: numbered passages with their words, and the way back from a citation to words and features."""

import json

import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_xetrieval import ContextBuilder, Explanation
from pyterrier_xetrieval.stages.context import cited
from pyterrier_xetrieval.word_evidence import KeptPhrases
from pyterrier_xetrieval.words import Phrase
from tests.helpers.builders import make_model, result_frame

MODEL = make_model()
TestPyTerrier = pt.testing.transformer_test_class(ContextBuilder)


def explained() -> pd.DataFrame:
    """Three queries with four documents each, of which the first query's have words."""
    frame = MODEL.with_views(()).explainer()(result_frame()).assign(rank=[3, 1, 0, 2] * 3, note="x")
    return frame.assign(query="what is " + frame["qid"], text="\nThe text of " + frame["docno"] + " ")


def with_words(e: Explanation, words: list[str]) -> Explanation:
    """The explanation with a phrase of the document for each of its features in turn."""
    text = " ".join(words)
    phrases = [[Phrase(w, 1.0, ((text.index(w), text.index(w) + len(w)),))] for w in (words * len(e))[: len(e)]]
    return e.with_evidence(KeptPhrases("query", text, [[] for _ in phrases], phrases, None))


def test_each_query_has_a_context_of_its_best_passages():
    inp = explained()
    out = ContextBuilder(num_results=2)(inp.sample(frac=1, random_state=0).sort_values("qid", ascending=False))
    assert list(out.columns) == ["qid", "query", "query_vec", "qcontext", "qpassages"]
    assert out["qid"].tolist() == ["q2", "q1", "q0"] and out["query"].tolist() == [f"what is {qid}" for qid in out["qid"]]
    assert out["qcontext"].tolist() == ["[1] The text of d2\n\n[2] The text of d1"] * 3
    by_pair = inp.set_index(["qid", "docno"])["explanation"]
    for qid, passages in zip(out["qid"], out["qpassages"]):
        assert [(p.number, p.docno, p.words) for p in passages] == [(1, "d2", ()), (2, "d1", ())]
        assert all(p.explanation is by_pair[qid, p.docno] for p in passages)


def test_passages_stand_by_score_without_a_rank_and_else_as_they_come():
    inp = explained().drop(columns="rank")
    by_score = ContextBuilder()(inp.assign(score=[1.0, 4.0, 3.0, 2.0] * 3))
    assert [p.docno for p in by_score["qpassages"][0]] == ["d1", "d2", "d3", "d0"]
    assert [p.docno for p in ContextBuilder()(inp.drop(columns="score"))["qpassages"][0]] == ["d0", "d1", "d2", "d3"]


def test_words_are_the_strongest_phrase_of_each_feature_that_counts_for_the_document():
    inp = explained()
    row = max(inp.index, key=lambda i: (inp["explanation"][i].contributions > 0).sum())
    inp = inp.loc[[row]].assign(docno="d0")
    e = inp["explanation"].iloc[0]
    positive = int((e.contributions > 0).sum())
    assert positive >= 2  # else this shows nothing
    words = ["green tea", "Tea", "black coffee", "cold black coffee", "milk"]
    inp["explanation"] = [with_words(e, words)]
    expected = [w for w in words[:positive] if w not in ("Tea", "cold black coffee")]  # a part of one before, and more of one
    (passage,) = ContextBuilder()(inp)["qpassages"][0]
    assert list(passage.words) == expected and str(passage) == "[1] d0 (" + ", ".join(f"“{w}”" for w in expected) + ")"
    out = ContextBuilder(words=1)(inp)
    assert out["qcontext"][0] == f"[1] {inp['text'].iloc[0].strip()}\nFound by: “green tea”"
    record = json.loads(out.to_json(orient="records"))[0]["qpassages"][0]
    assert (record["number"], record["docno"], record["words"]) == (1, "d0", ["green tea"])
    kept = json.loads(json.dumps(passage.to_dict()))["explanation"]
    assert Explanation.from_dict(kept) == e


def test_a_citation_leads_to_its_passage():
    passages = ContextBuilder()(explained())["qpassages"][0]
    assert [p.number for p in cited("So it is [3], and [1; 2] says so too [3].", passages)] == [3, 1, 2]
    assert [p.docno for p in cited("[2][4,1]", passages)] == ["d1", "d0", "d2"]
    assert cited("None [7], [x], 3, [-1], [0].", passages) == []


def test_empty_in_empty_out():
    out = ContextBuilder()(explained().head(0))
    assert list(out.columns) == ["qid", "query", "query_vec", "qcontext", "qpassages"] and not len(out)


def test_what_is_missing_is_named():
    inp = explained()
    with pytest.raises(ValueError, match=r"ContextBuilder\(\) found no text in document 'd2'"):
        ContextBuilder()(inp.assign(text=[None] + ["x"] * 11)[lambda df: df["docno"] != "d1"].assign(docno="d2"))
    with pytest.raises(ValueError, match="expects an Explanation in every row, found none; put model.explainer"):
        ContextBuilder()(inp.assign(explanation=None))
    with pytest.raises(ValueError, match="found no text in query 'q1'"):
        ContextBuilder()(inp.assign(query=inp["query"].where(inp["qid"] != "q1", None)))
    with pytest.raises(ValueError, match="num_results to be a positive whole number, found 0"):
        ContextBuilder(num_results=0)


def test_a_query_that_one_row_lacks_is_that_of_the_others():
    inp = explained()
    gaps = inp.assign(query=inp["query"].where(inp["rank"] > 0, None))
    assert ContextBuilder()(gaps)["query"].tolist() == ["what is q0", "what is q1", "what is q2"]


def test_identity():
    variants = [ContextBuilder(), ContextBuilder(words=3), ContextBuilder(num_results=3), ContextBuilder(text_field="body")]
    assert len({*variants, ContextBuilder()}) == 4 and repr(variants[2]) == "ContextBuilder(num_results=3)"
