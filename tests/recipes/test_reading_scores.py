"""Verdicts written by hand, and the shares, agreement and tables that follow from them."""

import json

import numpy as np
import pandas as pd
import pytest

from recipes.reading_scores import reading_levels, reading_scores, resampled, shown_rows
from recipes.reading_verdicts import read_explained, read_verdicts, reading_agreement, weighted_kappa

# pair, contribution, confidence, and what two judges say; a contribution of None: a decoy
ROWS = [
    ("x/1", 3.0, 0.9, 2, 2),
    ("x/1", 2.0, 0.2, 0, 0),
    ("x/1", 1.0, 0.6, 1, 0),
    ("x/1", None, 0.0, 0, 0),
    ("y/2", 1.0, 0.1, 0, 1),
    ("y/2", 0.5, 0.8, 2, 2),
    ("y/2", 0.5, 0.4, 2, 1),
    ("y/2", 0.25, 0.7, 0, 0),
    ("y/2", None, 0.0, 0, 2),
]


@pytest.fixture
def folder(tmp_path):
    key, verdicts = [], {"a": [], "b": []}
    for number, (pair, contribution, confidence, *said) in enumerate(ROWS, start=1):
        section = 1 if pair == "x/1" else 2
        key.append({
            "sheet": section, "row": number, "section": section, "pair": pair, "collection": pair[0], "qid": pair[2], "docno": "d",
            "form": "words", "feature": number, "decoy": contribution is None, "contribution": contribution, "confidence": confidence,
            "query_activation": 0.5, "document_activation": 0.5, "clarity": None, "detection": 0.8, "query_support": 1.0,
        })  # fmt: skip
        for judge, verdict in zip("ab", said):
            verdicts[judge].append((section, number, verdict))
    (tmp_path / "key.jsonl").write_text("".join(json.dumps(row) + "\n" for row in key))
    for judge, lines in verdicts.items():
        for sheet in (1, 2):
            own = [f"{s} {r} {v}" for s, r, v in lines if s == sheet]
            (tmp_path / f"sheet_0{sheet}.{judge}.txt").write_text("\n".join(own) + "\n")
    explained = [
        {"section": 1, "pair": "x/1", "form": "words", "contribution": [3, 2, 1, 2], "confidence": [0.9, 0.2, 0.6, 0.5]},
        {"section": 2, "pair": "y/2", "form": "words", "contribution": [1, 0.5, 0.5, 0.25], "confidence": [0.1, 0.8, 0.4, 0.7]},
    ]
    lines = [json.dumps({**row, "feature": [1, 2, 3, 4], "score": 9.0}) + "\n" for row in explained]
    (tmp_path / "explained.jsonl").write_text("".join(lines))
    return tmp_path


def values(table, **conditions):
    for column, value in conditions.items():
        table = table[table[column] == value]
    return table.set_index("measure")["value"]


def test_shares_over_rows_and_by_contribution(folder):
    scores = reading_scores(read_verdicts(folder))
    found = values(scores, collection="all")
    assert found[["clear", "vague", "nonsense"]].tolist() == pytest.approx([5 / 14, 3 / 14, 6 / 14])
    # by contribution, both judges: 2 of rows 3 + 3 + .5 + .5 + .5, 1 of 1 + 1 + .5, 0 of the rest of 2 · 8.25
    weighted = found[["clear_weighted", "vague_weighted", "nonsense_weighted"]].tolist()
    assert weighted == pytest.approx([7.5 / 16.5, 2.5 / 16.5, 6.5 / 16.5])
    # the surest rows: of both pairs 2 and 2; among the three surest of each is one that both judges call nonsense
    assert found["first_nonsense"] == 0 and found["one_of_three_nonsense"] == 1
    # where nobody measured confidence, those of largest contribution: of x/1 2 and 2, of y/2 0 and 1
    unknown = values(reading_scores(read_verdicts(folder).assign(confidence=np.nan)), collection="all")
    assert unknown["first_nonsense"] == 0.25 and unknown["one_of_three_nonsense"] == 0.75
    assert found[["decoys_clear", "decoys_vague", "decoys_nonsense"]].tolist() == [0.25, 0, 0.75]
    assert values(scores, collection="x")["clear"] == 2 / 6 and values(scores, collection="y")["decoys_clear"] == 0.5
    one = scores[(scores["collection"] == "x") & (scores["measure"] == "clear")].iloc[0]
    assert one["n"] == 1 and np.isnan(one["low"])


def test_only_confident_rows_are_shown(folder):
    found = values(reading_scores(read_verdicts(folder), min_confidence=0.5), collection="all")
    # x/1: (2, 2), (1, 0); y/2: (2, 2), (0, 0), and as a third one that of .4, which is sure by half: (2, 1)
    assert found[["clear", "vague", "nonsense"]].tolist() == [5 / 10, 2 / 10, 3 / 10]
    assert found["first_nonsense"] == 0 and found["one_of_three_nonsense"] == 0.75 and found["decoys_nonsense"] == 0.75
    nothing = values(reading_scores(read_verdicts(folder), min_confidence=1.9), collection="all")
    assert nothing[["clear", "first_nonsense"]].isna().all() and nothing["decoys_nonsense"] == 0.75
    unknown = read_verdicts(folder).assign(confidence=np.nan)
    assert len(shown_rows(unknown, 0.5)) == 14  # where nobody measured it, every row is shown


def test_what_each_level_shows(folder):
    table = reading_levels(read_verdicts(folder), read_explained(folder), levels=(0.0, 0.5, 0.65, 0.9)).set_index(
        "min_confidence"
    )
    # up to three are shown from half of it on: with .5 of y/2 also the row of .4, with .9 only those of .8 and .7
    assert table["rows"].tolist() == [4, 3, 3, 2.5] and table["three_rows"].tolist() == [1, 1, 1, 0.5]
    assert table["carried"].tolist() == pytest.approx([1, *[(6 / 8 + 1.25 / 2.25) / 2] * 2, (6 / 8 + 0.75 / 2.25) / 2])
    assert table.loc[0.5, "nonsense"] == 0.3 and table.loc[0.65, "clear"] == 0.5 and table.loc[0.5, "none"] == 0
    assert reading_levels(read_verdicts(folder).assign(confidence=np.nan), read_explained(folder)).empty


def test_agreement_of_two_judges(folder):
    table = reading_agreement(read_verdicts(folder)).set_index(["form", "rows"])
    assert table.loc[("words", "shown"), "n"] == 7 and table.loc[("words", "shown"), "same"] == pytest.approx(4 / 7)
    assert table.loc[("words", "decoys"), "apart"] == 0.5 and table.loc[("all", "all"), "n"] == 9
    first, second = (np.array([row[i] for row in ROWS if row[1]]) for i in (3, 4))
    assert table.loc[("all", "shown"), "kappa"] == pytest.approx(weighted_kappa(first, second))
    (folder / "sheet_01.b.txt").unlink()  # a sheet with one judge says nothing of agreement
    assert reading_agreement(read_verdicts(folder)).set_index(["form", "rows"]).loc[("all", "all"), "n"] == 5


def test_weighted_kappa_is_cohens():
    """Against the formula with tables of proportions, and at its ends."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 3, (2, 200))
    observed, weights = np.zeros((3, 3)), np.abs(np.subtract.outer(np.arange(3), np.arange(3)))
    np.add.at(observed, (first, second), 1 / 200)
    expected = np.outer(observed.sum(axis=1), observed.sum(axis=0))
    assert weighted_kappa(first, second) == pytest.approx(1 - (weights * observed).sum() / (weights * expected).sum())
    assert weighted_kappa(first, first) == 1 and np.isnan(weighted_kappa(np.ones(3, int), np.ones(3, int)))
    assert weighted_kappa(np.array([0, 2] * 50), np.array([2, 0] * 50)) == -1


def test_intervals_are_over_pairs():
    rng = np.random.default_rng(0)
    pairs = np.repeat(np.arange(200), 10)
    of_pair = (rng.random(200) < 0.4)[pairs].astype(float)  # rows of a pair are all alike: as good as one row
    value, low, high, n = resampled(of_pair, np.ones(2000), pairs)
    assert n == 200 and value == of_pair.mean() and 0.1 < high - low < 0.17
    assert resampled(of_pair, np.ones(2000), np.arange(2000))[2] - low < high - low
    weights = np.where(of_pair > 0, 3.0, 1.0)
    assert resampled(of_pair, weights, pairs)[0] == pytest.approx(3 * value / (3 * value + 1 - value))
    assert np.isnan(resampled(np.array([]), np.array([]), [])[0])
    assert resampled(of_pair, np.ones(2000), pairs, seed=1) == resampled(of_pair, np.ones(2000), pairs, seed=1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1 1 2\n", "lacks 3 of 4 verdicts"),
        ("1 1 2\n1 2 3\n", "line 2, found '1 2 3'"),
        ("1 1 2\n1 1 0\n", "two verdicts on section 1, row 1: 2 and 0"),
        ("1 1 2\n9 9 0\n", "section 9, row 9, which its sheet has not"),
        ("1, 1\n", "line 1, found '1, 1'"),
    ],
)
def test_files_of_verdicts_that_are_wrong(folder, text, told):
    (folder / "sheet_01.c.txt").write_text(text)
    with pytest.raises(ValueError, match=told):
        read_verdicts(folder)


def test_other_ways_to_write_a_line(folder):
    before = read_verdicts(folder)
    path = folder / "sheet_01.a.txt"
    path.write_text("\n| " + path.read_text().replace(" ", ", ").replace("\n", " |\n\n", 1))
    pd.testing.assert_frame_equal(read_verdicts(folder), before)


def test_nothing_to_read(folder):
    for path in folder.glob("*.txt"):
        path.unlink()
    with pytest.raises(ValueError, match=r"sheet_01\.JUDGE\.txt"):
        read_verdicts(folder)
    with pytest.raises(FileNotFoundError, match="the key of the sheets"):
        read_verdicts(folder / "nothing")
