"""What cards say: one explanation, a page of results, and the page that holds a card alone."""

import re

import numpy as np
import pandas as pd
import pytest

import pyterrier_xetrieval as ptx
from pyterrier_xetrieval.viz.card import card_of
from tests.helpers.builders import make_model, result_frame
from tests.helpers.cards import DOCUMENT, explained


def text_of(html: str) -> str:
    """What a reader sees without styles."""
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", "", html, flags=re.S).split())


def rows_of(html: str) -> list[str]:
    return re.findall(r"<tr.*?</tr>", html, re.S)


@pytest.fixture
def results() -> pd.DataFrame:
    frame = make_model().explainer()(result_frame())
    return frame.assign(query="query of " + frame["qid"])


def test_a_card_says_everything_of_an_explanation():
    e = explained()
    html, text = e._repr_html_(), text_of(e._repr_html_())
    assert "sort a list of rivers" in text and DOCUMENT in text and e.docno in text and f"score {e.score:.3f}" in text
    assert e.sentence().replace("*", "") in text
    first = rows_of(html)[1]
    assert f"word{e.features[0]}" in first and f"{e.contributions[0]:+.3f}" in first
    assert all(f"“<bdi>{word}</bdi>”" in first for word in ("sort a list", "sorted list"))
    assert "confidence" not in text and "views" not in text  # nobody measured it, and there is one
    assert "<script" not in html and html.count("<style>") == 1 and "tex2jax_ignore" in html
    assert not re.search(r"(?:src|href)=|@import|url\(", html)


def test_words_have_the_colours_of_their_rows():
    html = explained()._repr_html_()
    assert '<mark class="f0 f1"' in html and re.search(r'<mark class="f2"[^>]*>rivers</mark>', html)
    assert all(f'<tr class="f{n}" tabindex="0">' in html for n in range(3))


def test_the_bar_is_the_whole_score_with_the_negative_parts_hatched():
    e = explained()
    card = card_of(e)
    values = [value for _, _, value, _ in card["stack"]]
    assert sum(values) == pytest.approx(e.score, abs=1e-5) and min(values) < 0
    assert sum(width for *_, width in card["stack"]) == pytest.approx(100)
    html = e._repr_html_()
    bar = re.search(r'<div class="ptx-stack" role="img" aria-label="([^"]+)">(.*?)</div>', html).groups()
    assert all(
        name in bar[0] for name in (f"word{e.features[0]} ", "other features ", "bias ", "not explained by the dictionary ")
    )
    assert bar[1].count(" minus") == sum(value < 0 for value in values)


def test_the_rest_is_folded_and_has_no_bars():
    frame = (make_model().internalizer() >> make_model().explainer(top=1))(result_frame())
    e = next(e for e in frame["explanation"] if len(e) > 1)
    html = e._repr_html_()
    details = re.search(r"<details>(.*)</details>", html, re.S)[1]
    assert len(rows_of(html.partition("<details>")[0])) == 2  # the head and one row
    assert f"{len(e) - 1} more shared" in details and "not explained by the dictionary" in details
    assert all(f"word{feature}<" in details for feature in e.features[1:]) and "ptx-bar" not in details
    assert f"From the views {', '.join(e.views)}." in html


def test_without_evidence_a_card_says_which_stage_adds_it(results):
    html = results["explanation"][0]._repr_html_()
    assert "model.evidence()" in html and "<mark" not in html and 'ptx-text"' not in html
    assert "model.evidence()" not in explained()._repr_html_()


def test_a_cut_text_says_so():
    text = text_of(explained(stopped_at=20)._repr_html_())
    assert f"did not read the last {len(DOCUMENT) - 20} characters" in text and "the rivers that run here" in text
    assert "did not read" not in explained()._repr_html_()


def test_an_explanation_without_shared_features_has_a_card():
    e = make_model().explainer(threshold=1e6)(result_frame())["explanation"][0]
    text = text_of(e._repr_html_())
    assert "Retrieved for nothing that the dictionary finds in both texts." in text and "not explained by the dictionary" in text


def test_html_of_a_file_is_a_whole_document(tmp_path):
    e = explained()
    page = e.to_html()
    assert page.startswith("<!doctype html>") and page.count("<style>") == 1 and "</html>" in page
    assert e.to_html(tmp_path / "why.html") is None and (tmp_path / "why.html").read_text(encoding="utf-8") == page
    with pytest.raises(FileNotFoundError):
        e.to_html(tmp_path / "no" / "why.html")


def test_a_page_shows_each_query_s_results_by_rank(results):
    page = ptx.show(results.sample(frac=1, random_state=0), num_results=2)
    html, text = page._repr_html_(), text_of(page._repr_html_())
    assert html.count('class="ptx-card"') == 6 and html.count("<style>") == 1
    for qid, own in results.groupby("qid"):
        first, second = own.sort_values("rank")["docno"][:2]
        part = text.partition(f"query of {qid}")[2]
        assert 0 < part.index(f"1 {first} score") < part.index(f"2 {second} score")
    assert "query_vec" not in html
    assert repr(page) == str(page) and f"query of q0\n\n1. {results['explanation'][0].to_text()}" in str(page)


def test_a_page_without_ranks_or_queries_keeps_the_order_of_the_frame(results):
    text = text_of(ptx.show(results.drop(columns=["rank", "query"]).iloc[::-1])._repr_html_())
    assert text.startswith("query q2 document d3 score")
    assert "No results" in ptx.show(results.iloc[:0])._repr_html_() and str(ptx.show(results.iloc[:0])) == "no results"


def test_one_explanation_is_shown_as_in_a_notebook():
    e = explained()
    assert ptx.show(e)._repr_html_() == e._repr_html_() and str(ptx.show(e)) == e.to_text()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (lambda frame: ["text"], "expects a result frame or an explanation, found str"),
        (lambda frame: [frame.drop(columns="explanation")], r"add model.explainer\(\) to the pipeline"),
        (lambda frame: [frame.assign(explanation=None)], "found none"),
        (lambda frame: [frame, frame["explanation"][0]], "found a frame and Explanation"),
        (lambda frame: [frame["explanation"][0], "b"], "expects another explanation, found str"),
        (lambda frame: [frame["explanation"][0], frame["explanation"].iloc[-1]], "across_queries"),
    ],
)
def test_what_cannot_be_shown_is_refused(results, arguments, message):
    with pytest.raises(ValueError, match=message):
        ptx.show(*arguments(results))


def test_num_results_is_a_number(results):
    with pytest.raises(ValueError, match="show expects num_results to be a positive whole number, found 0"):
        ptx.show(results, num_results=0)


def test_labels_of_a_confidence_say_it():
    e = explained()
    e._confidence = np.linspace(0.984, 0.5, len(e))
    html = e._repr_html_()
    assert "confidence" in html and "98\u202f%" in rows_of(html)[1]


def test_a_page_whose_scores_were_changed_since_says_which_score_is_explained(results):
    # by the scores that are explained, the first of each query stands where it does; then a later stage turns all around
    own = results.assign(score=[e.score for e in results["explanation"]])
    turned = own.assign(score=-own["score"], rank=own.groupby("qid")["score"].rank().astype(int) - 1)
    assert all(e.ranking is not None for e in results["explanation"])  # the fixture ranks by another score
    for shown, told in ((own, 0), (results, len(results)), (turned, len(turned))):
        page = ptx.show(shown)
        assert str(page).count("ranked by another score") == page._repr_html_().count("ranked by another score") == told
    e = turned["explanation"][0]
    assert f"This explains the score {e.score:.4f}" in str(ptx.show(turned)) and f"({-e.score:.4f})" in str(ptx.show(turned))
    assert e.ranking.score == results["score"][0]  # nothing was written into the frame's own
