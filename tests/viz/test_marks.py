"""Texts with marked words: what is marked, and that everything else is escaped."""

import numpy as np
import pytest

from pyterrier_xetrieval.core.evidence import Evidence, WordTable
from pyterrier_xetrieval.viz.marks import marked_text
from pyterrier_xetrieval.word_evidence import WordEvidence
from pyterrier_xetrieval.words import spans
from tests.helpers.builders import make_model, result_frame


def explained(text, carries):
    """An explanation whose features are all carried by one word of the text."""
    e = next(e for e in make_model().explainer()(result_frame())["explanation"] if len(e) > 1)
    own = spans(text, "word")
    values = np.zeros((len(e) + 3, len(own) + 4))
    values[: len(e), [text[a:b] for a, b in own.tolist()].index(carries)] = 1
    table = WordTable(own, values)
    return e.with_evidence(WordEvidence(text, text, Evidence(e.features, table, table)))


def test_words_are_marked_and_all_else_is_escaped():
    text = 'if a < b: print("<script>alert(1)</script>") & rivers'
    html = marked_text(explained(text, "rivers"), "document")
    assert html.count("<mark") == 1 and ">rivers</mark>" in html and "<script>" not in html
    assert "&lt;script&gt;" in html and "&amp; <mark" in html


def test_the_text_is_whole():
    html = marked_text(explained("many rivers run here", "rivers"), "query")
    assert str(html).split("<mark")[0] == "many " and str(html).endswith("</mark> run here")


def test_an_explanation_without_words():
    with pytest.raises(ValueError, match=r"add model.evidence\(\)"):
        marked_text(make_model().explainer()(result_frame())["explanation"][0], "query")
