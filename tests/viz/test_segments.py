"""Texts with marked words: where they are cut, what is marked, and that everything is escaped."""

from hypothesis import given
from hypothesis import strategies as st

from pyterrier_xetrieval.viz.segments import marked, segments

SPANS = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted).map(tuple).filter(lambda span: span[0] < span[1])


@given(st.lists(st.lists(SPANS, max_size=4), max_size=4))
def test_pieces_make_the_text_and_each_character_has_its_features(places):
    text = "abcdefghijkl"
    found = segments(text, places)
    assert "".join(piece for piece, _ in found) == text and all(piece for piece, _ in found)
    each = [numbers for piece, numbers in found for _ in piece]
    for at, numbers in enumerate(each):
        assert numbers == tuple(n for n, spans in enumerate(places) if any(start <= at < stop for start, stop in spans))


def test_words_of_several_features_carry_all_their_classes():
    html = marked("sort a list", [[(0, 11)], [(0, 4)], []], ["lists", "<order>", "none"])
    assert '<mark class="f0 f1" title="lists · &lt;order&gt;" style="--second:var(--bar1)">sort</mark>' in html
    assert html.endswith('<mark class="f0" title="lists"> a list</mark>')


def test_all_else_is_escaped():
    assert marked('a < b & "c"', [[(0, 1)]], ["x"]) == '<mark class="f0" title="x">a</mark> &lt; b &amp; &#34;c&#34;'
    assert marked("", [], []) == ""
