"""Generators of matched pairs: what differs, by how much, and what a placebo leaves to chance."""

import pandas as pd
import pytest

from pyterrier_xetrieval.evaluation import boilerplate_pairs, length_pairs, spelling_pairs
from pyterrier_xetrieval.evaluation.pair_wording import FILLER, FOOTERS, HEADERS, SPELLINGS, SYNONYMS

TEXTS = ["The COLOUR of a tumour often changes.", "Big tumors", "Nothing of the sorted kind.", "Tea for two."]
ROWS = pd.DataFrame({"qid": list("1234"), "query": "tea", "docno": list("abcd"), "text": TEXTS}, index=[7, 7, 8, 9])
MAKERS = [length_pairs, spelling_pairs, boilerplate_pairs]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("placebo", [False, True])
def test_pairs_are_the_same_for_a_seed_and_differ_in_their_texts(make, placebo):
    pairs = make(ROWS, placebo=placebo, seed=3)
    assert list(pairs.columns) == ["qid", "query", "docno", "text_a", "text_b"] and list(pairs.index) == list(range(len(pairs)))
    assert pairs.equals(make(ROWS, placebo=placebo, seed=3)) and (pairs.text_a != pairs.text_b).all()
    drawn = [make(ROWS, placebo=placebo, seed=seed) for seed in range(5)]
    assert all(pairs.equals(other) for other in drawn) == (make is spelling_pairs and not placebo)
    with pytest.raises(ValueError, match=f"{make.__name__} expects columns query and text, found no text in"):
        make(ROWS.drop(columns="text"))
    with pytest.raises(ValueError, match=f"{make.__name__} found no text in document 'b': its text is (None|nan)"):
        make(ROWS.assign(text=["x", None, "y", "z"]))


def test_paddings_have_the_length_that_is_asked_for():
    assert {len(sentence.split()) for sentence in FILLER} == {8} and len(set(FILLER)) == 16
    pairs, placebo = (length_pairs(ROWS, sentences=8, placebo=p) for p in (False, True))
    assert pairs.text_a.tolist() == TEXTS
    added = [b.removeprefix(a) for a, b in zip(pairs.text_a, pairs.text_b)]
    assert [len(text.split()) for text in added] == [64] * 4 and len(set(added)) == 4
    for text, a, b in zip(TEXTS, placebo.text_a, placebo.text_b):
        assert a.startswith(text) and b.startswith(text) and len(a.split()) == len(b.split()) == len(text.split()) + 64
        assert sorted(s for s in FILLER if s in a) == sorted(s for s in FILLER if s not in b)
    with pytest.raises(ValueError, match="at most 8 sentences, found 9"):
        length_pairs(ROWS, sentences=9)


def test_spelling_is_american_and_british_whatever_it_was():
    pairs = spelling_pairs(ROWS)
    assert pairs.docno.tolist() == ["a", "b"]
    assert pairs.text_a.tolist() == ["The COLOR of a tumor often changes.", "Big tumors"]
    assert pairs.text_b.tolist() == ["The COLOUR of a tumour often changes.", "Big tumours"]


def test_a_word_has_one_other_spelling_and_no_chain_of_them():
    for words in (SPELLINGS, SYNONYMS):
        both = [*words, *words.values()]
        assert len(set(both)) == len(both) and all(word == word.lower() for word in both)


def test_synonyms_change_sides_by_chance():
    rows = pd.DataFrame({"query": "tea", "text": ["Big cups are often used."] * 200})
    found = spelling_pairs(rows, placebo=True)
    assert set(map(frozenset, zip(found.text_a, found.text_b))) == {
        frozenset({"Big cups are frequently used.", "Large cups are often employed."})
    }
    assert (found.text_a == "Big cups are frequently used.").sum() == 100


def test_boilerplate_stands_around_the_text():
    pairs, placebo = boilerplate_pairs(ROWS), boilerplate_pairs(ROWS, placebo=True)
    assert pairs.text_a.tolist() == TEXTS
    for text, around, a, b in zip(TEXTS, pairs.text_b, placebo.text_a, placebo.text_b):
        ends = [tuple(own.split(text)) for own in (around, a, b)]
        assert all(head in HEADERS and foot in FOOTERS for head, foot in ends)
        assert ends[1][0] != ends[2][0] and ends[1][1] != ends[2][1]


@pytest.mark.parametrize("make", MAKERS)
def test_two_texts_of_a_placebo_share_a_draw_with_the_sides_changed(make):
    """Else a sentence that is on one side more often by chance would look like a preference."""
    rows = pd.DataFrame({"query": "tea", "text": ["Big cups are often used."] * 6})
    pairs = make(rows, placebo=True)
    a, b = pairs.text_a.tolist(), pairs.text_b.tolist()
    assert a[::2] == b[1::2] and b[::2] == a[1::2] and len(set(a)) > 1
