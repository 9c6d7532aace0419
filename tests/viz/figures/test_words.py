"""The bars of words: they add up to the score, whole or not."""

from dataclasses import replace

import pytest

from pyterrier_xetrieval import viz
from pyterrier_xetrieval.core.evidence import Evidence
from pyterrier_xetrieval.word_evidence import WordEvidence
from tests.helpers.builders import make_model, result_frame
from tests.helpers.figures import bars, check_files

REST = ["punctuation", "special tokens, constants"]


@pytest.mark.parametrize("side", ["query", "document"])
def test_words_add_up_to_the_score(page, side):
    for e in page["explanation"]:
        drawn = bars(viz.plot_words(e, side))
        assert all(start == 0 for _, start, _ in drawn)
        assert sum(end for *_, end in drawn) == pytest.approx(e.score, abs=1e-5)  # as exact as the evidence itself
        assert sum(end for *_, end in drawn) == pytest.approx(e.evidence.table(side).to_numpy().sum(), abs=1e-6)
        assert [name for name, *_ in drawn][-2:] == REST
        words = [abs(end) for name, _, end in drawn if name not in REST and not name.endswith("other words")]
        assert words == sorted(words, reverse=True) and len(words) <= 20


def test_a_word_that_occurs_twice_is_one_bar(page):
    e = next(e for e in page["explanation"] if e.docno == "list.sort")
    sums = e.evidence.table("document").sum()
    own = sums[[name.rpartition("@")[0].casefold() == "sort" for name in sums.index]]
    drawn = {name: end for name, _, end in bars(viz.plot_words(e))}
    assert len(own) > 1 and drawn[f"sort ({len(own)}×)"] == pytest.approx(own.sum(), abs=1e-9)
    check_files(viz.plot_words(e))


def test_dollars_are_no_formula(page):
    ax = viz.plot_words(page["explanation"].iloc[0], "query")
    check_files(ax)
    assert {"5", "6"} <= {name for name, *_ in bars(ax)}


def test_leave_out_adds_up_to_nothing_and_says_so(page):
    e = page["explanation"].iloc[0]
    tables = e.evidence.tables
    loose = Evidence(tables.features, tables.query, replace(tables.document, exact=False))
    ax = viz.plot_words(e.with_evidence(WordEvidence(e.evidence.query, e.evidence.document, loose)))
    assert not {*REST} & {name for name, *_ in bars(ax)} and ax.get_xlabel().startswith("lost from the score without the word")


def test_the_strongest_words_of_an_index_are_parts_of_contributions(page):
    e = page["explanation"].iloc[0]
    kept = WordEvidence(e.evidence.query, e.evidence.document, e.evidence.tables, strongest_only=True)
    ax = viz.plot_words(e.with_evidence(kept))
    name, _, end = bars(ax)[0]
    table = e.evidence.table("document").iloc[: len(e)]
    word = name.partition(" (")[0].casefold()
    assert end == pytest.approx(sum(table[c].sum() for c in table if c.rpartition("@")[0].casefold() == word), abs=1e-9)
    assert not {*REST} & {name for name, *_ in bars(ax)} and "contributions" in ax.get_xlabel()


def test_errors(page):
    with pytest.raises(ValueError, match=r"add model.evidence\(\)"):
        viz.plot_words(make_model().explainer()(result_frame())["explanation"][0])
    with pytest.raises(ValueError, match="found 'title'"):
        viz.plot_words(page["explanation"].iloc[0], "title")
