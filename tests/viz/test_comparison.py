"""What the card of two explanations says: its numbers are those of Explanation.compare."""

import re

import pytest

import pyterrier_xetrieval as ptx
from pyterrier_xetrieval.viz.comparison import SPELT_OUT, comparison_of
from pyterrier_xetrieval.viz.templates import signed
from tests.helpers.builders import make_model, result_frame
from tests.helpers.cards import explained


def test_the_rows_add_up_to_the_difference_of_the_scores():
    a, b = explained(), explained(place=1)
    card, table = comparison_of(a, b), a.compare(b)
    assert [row["feature"] for row in card["rows"]] == table["feature"][:SPELT_OUT].tolist()
    everything = [*card["rows"], *card["rest"]]
    assert sum(row["difference"] for row in everything) == pytest.approx(a.score - b.score, abs=1e-5)
    assert sum(row["left"] for row in everything) == pytest.approx(a.score, abs=1e-5)
    assert card["rest"][0]["label"] == f"{len(table) - 3 - SPELT_OUT} more shared features"
    assert card["widest"] == max(abs(row["difference"]) for row in everything)


def test_two_documents_stand_side_by_side_with_their_words():
    a, b = explained(), explained(place=1, document="No list of rivers here")
    html = ptx.show(a, b)._repr_html_()
    assert html.index("Return a") < html.index("No ") and html.count("<style>") == 1
    assert re.search(r"No <mark[^>]*>list</mark>", html) and html.count('class="ptx-docno"') == 2
    more = "more" if a.score > b.score else "less"
    said = f"{a.docno} scores {abs(a.score - b.score):.3f} {more} than {b.docno}"
    assert said in html and str(ptx.show(a, b)).startswith(said)
    assert a.to_text() in str(ptx.show(a, b)) and b.to_text() in str(ptx.show(a, b))


def test_the_sentence_names_what_makes_the_difference():
    a, b = explained(), explained(place=1)
    for left, right in ((a, b), (b, a)):
        card = comparison_of(left, right)
        sign = 1 if left.score > right.score else -1
        named = [row for row in card["rows"] if sign * row["difference"] > max(abs(r["difference"]) for r in card["rows"]) / 10][
            :2
        ]
        told = sum(row["difference"] for row in named)
        how = "mainly for" if abs(told) >= abs(card["difference"]) / 2 else "of the features shown, most speaks for it"
        assert f"{how} *{named[0]['label']}* ({signed(named[0]['difference'])})" in card["plain"]
        assert "other features" not in card["plain"] and "not explained" not in card["plain"]  # they have no name


def test_one_document_twice_is_before_and_after():
    model = make_model()
    frame = model.explainer()(result_frame())
    row = next(i for i, e in enumerate(frame["explanation"]) if len(e))
    after = (model.intervention("erase", features="shared") >> model.explainer())(frame)
    a, b = frame["explanation"][row], after["explanation"][row]
    html = ptx.show(a, b)._repr_html_()
    assert "Before, the score was" in html and ">before</th>" in html and ">after</th>" in html
    assert html.count("model.evidence()") == 2
    assert "The scores before and after are the same." in ptx.show(a, a)._repr_html_()


def test_labels_that_may_not_fit_say_so():
    a, b = explained(), explained(place=1)
    assert "label uncertain" not in ptx.show(a, b)._repr_html_()
    a.min_confidence = b.min_confidence = 0.9
    for e in (a, b):
        e._confidence = e.contributions * 0.0
    card = comparison_of(a, b)
    assert not any(row["shown"] for row in card["rows"]) and "label uncertain" in ptx.show(a, b)._repr_html_()
    assert "word" not in card["plain"]
