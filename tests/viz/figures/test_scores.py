"""The bars of a score and of a difference: their numbers, names and order."""

import pytest

from pyterrier_xetrieval import viz
from tests.helpers.builders import make_model, result_frame
from tests.helpers.figures import bars, check_files


@pytest.fixture
def hand_made():
    """Explanations of one query by a model without words and without known confidences."""
    return make_model().explainer()(result_frame(n_queries=1, n_docs=8))["explanation"].tolist()


def check_waterfall(e, ax):
    *parts, (last, start, score) = bars(ax)
    assert parts[0][1] == 0 and all(b[1] == pytest.approx(a[2], abs=1e-9) for a, b in zip(parts, parts[1:]))
    assert parts[-1][2] == pytest.approx(e.score, abs=1e-6) and (last, start) == ("score", 0) and score == pytest.approx(e.score)
    return [name for name, *_ in parts]


def test_a_waterfall_ends_at_the_score(page):
    for e in page["explanation"]:
        ax = e.plot("waterfall")
        names = check_waterfall(e, ax)
        assert len(names) == len(e.rows) + bool(e.weakly_shared[0]) + 3
        assert names[-3:] == ["other features", "bias", "not explained by the dictionary"]
        assert names[-4] == f"{e.weakly_shared[0]} weakly shared features"
        for row, name in zip(e.rows, names):
            label, words = name.split("\n")
            assert label.endswith(f"[{row.feature}]") and label[:15] == row.label[:15] and words.startswith("“")
    check_files(page["explanation"].iloc[0].plot())


def test_a_waterfall_of_signed_parts_and_more_rows_than_are_spelled_out(hand_made):
    assert min(e.residual for e in hand_made) < 0 and max(map(len, hand_made)) > 1
    for e in hand_made:
        check_waterfall(e, e.plot())
    e = max(hand_made, key=len)
    e.top = 1
    names = check_waterfall(e, e.plot())
    assert names[1] == f"{len(e) - 1} more shared features"


def test_differences_add_up(page, hand_made):
    first, second = page["explanation"].iloc[:2]
    for a, b in ((first, second), (second, first), (first, first), *zip(hand_made, hand_made[1:])):
        *parts, (name, start, total) = bars(viz.plot_compare(a, b))
        assert all(start == 0 for _, start, _ in parts)
        assert sum(end for *_, end in parts) == pytest.approx(a.score - b.score, abs=1e-6)
        assert (name, start) == ("difference of the scores", 0) and total == pytest.approx(a.score - b.score)
    ax = viz.plot_compare(first, second)
    assert len(bars(ax)) == first.top + 5 and ax.get_xlabel() == f"part of the score: {first.docno} less {second.docno}"
    assert [label for label, *_ in bars(ax)][0].endswith(f"[{first.compare(second)['feature'][0]}]")
    hatched = {patch.get_hatch() or "" for patch, (*_, end) in zip(ax.patches, bars(ax)) if end < 0}
    assert hatched == {"////"}  # told apart without colour
    check_files(ax)


def test_drawn_where_it_is_told(page):
    from matplotlib import pyplot

    ours = pyplot.figure().subplots()
    assert page["explanation"].iloc[0].plot(ax=ours) is ours and len(ours.patches) > 4


def test_errors(page, hand_made, monkeypatch):
    with pytest.raises(ValueError, match=r"among \['waterfall'\], found 'pie'.*pip install .pyterrier-xetrieval\[figures\]"):
        hand_made[0].plot("pie")
    with pytest.raises(ValueError, match="same dictionary"):
        viz.plot_compare(page["explanation"].iloc[0], hand_made[0])
    with pytest.raises(ValueError, match="two explanations, found DataFrame"):
        viz.plot_compare(page, page)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    monkeypatch.delattr("matplotlib.pyplot", raising=False)
    with pytest.raises(ImportError, match=r'pip install "pyterrier-xetrieval\[figures\]"'):
        hand_made[0].plot()
