"""Labels of several readings: what judges said of each, which are kept, and what a pair would be shown."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from pyterrier_xetrieval import FeatureLabels
from recipes.label_verdicts import LEAN, MOST, read_verdicts, shown, with_readings

STRENGTHS = (0.6, 0.4, 0.3, 0.2, 0, 0, 0, 0)


def judged(feature, old, verdicts, *, near=None, clarity=1, strengths=STRENGTHS):
    """What ``keep`` writes of a feature: ``verdicts`` by reading; ``near`` by reading, one number for all texts or one for each."""
    near = {} if near is None else near
    return {
        "feature": feature, "old": old, "new": " / ".join(verdicts), "clarity": clarity, "readings": list(verdicts),
        "docnos": [f"t{i}" for i in range(len(strengths))], "strengths": list(strengths), "verdicts": list(verdicts.values()),
        "near": [np.broadcast_to(near.get(reading, 0.0), len(strengths)).tolist() for reading in verdicts],
    }  # fmt: skip


# other features, whose verdicts do not follow the strength of texts alone: with few verdicts that do, no logit model has a finite slope
OTHERS = [
    judged(900 + n, "x", {"x": f"{x}0000", "y": f"{y}0000"})
    for n, (x, y) in enumerate([("0110", "1001"), ("1001", "0111"), ("0001", "1100"), ("1110", "0010"), ("1000", "1101")])
]


def before(*rows, clarity=1, hits=0.5, false=0.1):
    facts = {"clarity": clarity, "detection": (hits + 1 - false) / 2, "hits": hits, "false": false}
    return pd.DataFrame(
        [{"feature": row["feature"], "label": row["old"], "method": "m", "max_activation": 0.3, **facts} for row in rows]
    )


def after(*rows, **facts):
    rows = [*rows, *OTHERS]
    return with_readings(before(*rows, **facts), rows).set_index("feature").drop(index=[row["feature"] for row in OTHERS])


def qualities_by_hand(sheets):
    """``u`` of each (strengths, verdicts) under ``logit P = a + b ln(strength) + u``: a, b of all together, then ``u ~ N(0, 1)``."""
    sheets = [[(np.log(s), int(v)) for s, v in zip(strengths, verdicts) if s > 0] for strengths, verdicts in sheets]

    def loss(logits, fits):
        return np.sum(np.logaddexp(0, logits) - fits * logits)

    x, fits = np.array([pair for sheet in sheets for pair in sheet]).T
    a, b = minimize(lambda p: loss(p[0] + p[1] * x, fits), [0.0, 0.0], tol=1e-10).x
    own = [np.array(sheet).T for sheet in sheets]
    return [float(minimize(lambda u, x=x, y=y: loss(a + b * x + u[0], y) + u[0] ** 2 / 2, [0.0], tol=1e-10).x[0]) for x, y in own]


@pytest.fixture
def sheet(tmp_path):
    """A folder whose judges still have to write: feature 3 has two readings, feature 11 one, each with three texts."""
    key = {
        "11": {"readings": ["beer"], "docnos": ["a", "b", "c"], "strengths": [0.5, 0.0, 0.2], "old": "beer"},
        "3": {"readings": ["lists", "order"], "docnos": ["d", "e", "f"], "strengths": [0.0, 0.9, 0.4], "old": "lists"},
    }
    (tmp_path / "key.json").write_text(json.dumps(key))
    return tmp_path


def test_complete_verdicts_are_read_from_all_files(sheet):
    (sheet / "verdicts.a.tsv").write_text("3\tB\t011\n11\tA\t1 0 1\n")
    (sheet / "verdicts.b.tsv").write_text("\n3\tA\t010\n")
    first, second = read_verdicts(sheet)
    assert (first["feature"], first["verdicts"], first["readings"]) == (3, ["010", "011"], ["lists", "order"])
    assert (second["feature"], second["verdicts"], second["docnos"]) == (11, ["101"], ["a", "b", "c"])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("3\tA\t010\n11\tA\t101\n", "3 verdicts of feature 3, found ''"),  # B was forgotten
        ("3\tA\t010\n3\tB\t011\n", "3 verdicts of feature 11, found ''"),
        ("3\tA\t010\n3\tB\t01\n11\tA\t101\n", "3 verdicts of feature 3, found '01'"),
        ("3\tA\t0100\n3\tB\t011\n11\tA\t101\n", "3 verdicts of feature 3, found '0100'"),
        ("3\tA\t012\n3\tB\t011\n11\tA\t101\n", "3 verdicts of feature 3, found '012'"),
        ("3\tA\t010\n3\tB\t011\n11\tA\n", "three columns"),
        ("3\tA\t010\n3\tB\t011\n11\tA\t101\n3\tB\t000\n", "3 B is judged twice"),
        ("3\tA\t010\n3\tB\t011\n11\tA\t101\n11\tB\t000\n", "11 B is not on the sheets"),
    ],
)
def test_verdicts_that_are_wrong_are_refused(sheet, lines, message):
    (sheet / "verdicts.a.tsv").write_text(lines)
    with pytest.raises(ValueError, match=message):
        read_verdicts(sheet)


def test_readings_that_fit_are_kept_the_best_first():
    verdicts = {
        "dogs": "10000000", "nothing": "00000000", "pets": "11110000", "anything": "11001100", "noise": "10001111",
        "cats": "11000000",
    }  # fmt: skip
    table = after(judged(1, "dogs", verdicts), judged(2, "dogs", {"dogs": "11000000", "none": "00000000"}))
    assert table.loc[1, "label"] == "pets / cats / dogs"  # "anything" fits half of the active and of the silent texts
    assert table.loc[2, "label"] == "dogs" and table.loc[2, "detections"] == ""  # nothing new


def test_at_most_four_readings_are_kept():
    verdicts = {f"reading {n}": "1" * n + "0" * (8 - n) for n in (1, 3, 2, 4)} | {"dogs": "10100000"}
    label = after(judged(1, "dogs", verdicts)).loc[1, "label"].split(" / ")
    assert MOST == 4 and label[:2] == ["reading 4", "reading 3"] and "reading 1" not in label and len(label) == 4


def test_the_label_before_stays_where_the_readings_would_fit_less():
    verdicts = {"dogs": "11110000", "pets": "10000000"}
    hides = judged(1, "dogs", verdicts, near={"pets": 0.9})  # the new reading is nearest everywhere
    adds = judged(2, "dogs", verdicts)  # equally near: the one that is good on the other texts is shown
    table = after(hides, adds)
    assert table["label"].to_dict() == {1: "dogs", 2: "dogs / pets"}
    pd.testing.assert_frame_equal(table.loc[[1]].drop(columns="detections"), before(hides).set_index("feature"))
    assert table.loc[1, "detections"] == ""


def test_the_label_before_stays_where_silent_texts_gain_more():
    verdicts, nowhere = {"dogs": "11100000", "pets": "11000010"}, (0,) * 8
    at_silent = tuple(0.9 * (text == 6) for text in range(8))
    table = after(judged(1, "dogs", verdicts, near={"pets": at_silent}), judged(2, "dogs", verdicts, near={"pets": nowhere}))
    assert table["label"].to_dict() == {1: "dogs", 2: "dogs / pets"}


def test_each_reading_has_a_detection_score_that_is_moved_from_that_of_the_label_before():
    rows = [
        judged(1, "dogs", {"dogs": "10000000", "pets": "11100000", "cats": "01010100"}),
        judged(2, "Beer", {"wine": "11110010", "beer": "01100010"}),
        judged(3, "lists", {"lists": "11110000", "order": "10100000"}, near={"order": 0.5}),
    ]
    table = after(*rows, hits=0.6, false=0.2)
    sheets = [(STRENGTHS, own) for row in [*rows, *OTHERS] for own in row["verdicts"]]
    dogs, pets, cats, wine, beer, *_ = qualities_by_hand(sheets)
    old = ["10000000", "01100010", "11110000", *(row["verdicts"][0] for row in OTHERS)]  # each label before is one reading
    was = qualities_by_hand([(STRENGTHS, own) for own in old])
    for j, own, false in ((1, (pets, cats, dogs), (0, 0.25, 0)), (2, (wine, beer), (0, 0))):  # beyond those of the label before
        hits = 1 / (1 + np.exp(-(np.log(0.6 / 0.4) + np.array(own) - was[j - 1])))
        expected = (hits + 1 - (0.2 + np.array(false))) / 2
        order = np.argsort(-np.array(own), kind="stable")
        assert [float(d) for d in table.loc[j, "detections"].split(" / ")] == pytest.approx(expected[order], abs=6e-4)
        best = int(np.argmax(expected))
        assert table.loc[j, ["detection", "hits", "false"]].tolist() == pytest.approx([expected[best], hits[best], 0.2], abs=6e-4)
    assert table.loc[1, "label"] == "pets / cats / dogs" and table.loc[2, "label"] == "wine / beer"
    assert table.loc[3, "detections"] == "" and table.loc[3, "detection"] == pytest.approx(0.7)


@pytest.mark.parametrize(("hits", "false"), [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.5, 0.9)])
def test_scores_stay_between_0_and_1(hits, false):
    rng, rows = np.random.default_rng(4), []
    for j in range(40):
        fits = rng.random((5, 8)) < np.array([0.6] * 4 + [0.3] * 4)
        rows.append(judged(j, "a", {name: "".join(str(int(fit)) for fit in own) for name, own in zip("abcde", fits)}))
    table = after(*rows, hits=hits, false=false)
    changed = table[table["detections"] != ""]
    assert len(changed) > 10
    for label, told in zip(changed["label"], changed["detections"]):
        scores = [float(score) for score in told.split(" / ")]
        assert len(scores) == len(label.split(" / ")) and 0 <= min(scores) and max(scores) <= 1
    assert changed[["hits", "false", "detection"]].stack().between(0, 1).all()
    labels = FeatureLabels(table.reset_index(), 40)
    j = int(changed.index[changed["label"].str.contains(" / ")][0])
    assert [text for text, _ in labels.readings(j)] == table.loc[j, "label"].split(" / ")
    assert [score for _, score in labels.readings(j)] == [float(score) for score in table.loc[j, "detections"].split(" / ")]


def test_clarity_counts_a_point_more_and_does_not_fall():
    def clarity(known, told):
        return int(
            after(judged(1, "dogs", {"dogs": "10000000", "pets": "11110000"}, clarity=told), clarity=known).loc[1, "clarity"]
        )

    assert {(known, told): clarity(known, told) for known in (0, 1, 2) for told in (0, 1, 2)} == {
        (0, 0): 1, (0, 1): 2, (0, 2): 2, (1, 0): 1, (1, 1): 2, (1, 2): 2, (2, 0): 2, (2, 1): 2, (2, 2): 2,
    }  # fmt: skip


def test_verdicts_of_another_table_are_refused():
    row = judged(1, "dogs", {"dogs": "10000000", "pets": "11110000"})
    with pytest.raises(ValueError, match="'dogs' as the label of feature 1, found 'wolves'"):
        with_readings(before(row).assign(label="wolves"), [row])


def test_of_equally_good_readings_the_nearest_is_shown():
    verdicts = {"pets": "11000010", "dogs": "11001000"}
    near = {"pets": (0, 0, 0, 0, 0.3, 0.1, 0.2, 0.1), "dogs": (0, 0, 0, 0, 0.2, 0.1, 0.3, 0.1)}
    row = judged(1, "dogs", verdicts, near=near)
    (at_first,) = shown(before(row).assign(label="pets / dogs"), [row])
    assert at_first["fits_old"] == "11001000" and at_first["fits_new"] == "11000000"  # pets for text 4, dogs for text 6
    swapped = judged(1, "dogs", verdicts, near={"pets": near["dogs"], "dogs": near["pets"]})
    (then,) = shown(before(row).assign(label="Pets / dogs"), [swapped])
    assert then["fits_new"] == "11001010" and (then["feature"], then["strengths"]) == (1, list(STRENGTHS))


def test_what_is_shown_for_a_text_does_not_depend_on_the_verdict_on_it():
    rng, texts, seen = np.random.default_rng(7), len(STRENGTHS), set()
    for _ in range(60):
        fits = rng.integers(0, 2, (3, texts))
        near = rng.normal(0.3, 0.1, (3, texts))
        row = judged(1, "a", {n: "".join(map(str, own)) for n, own in zip("abc", fits.tolist())}, near=dict(zip("abc", near)))
        (found,) = shown(before(row).assign(label="c / a / b"), [row])
        for text in range(texts):
            others = [i for i in range(texts) if STRENGTHS[i] > 0 and i != text]
            hits = {n: (sum(fits[i, o] for o in others) + 0.3 * 2) / (len(others) + 2) for i, n in enumerate("abc")}
            # as in an explanation of the text with itself: two cosines, and a detection score of half of the hits
            likely = {n: 2 * near[i, text] + LEAN * hits[n] / 2 for i, n in enumerate("abc")}
            best = "abc".index(max(likely, key=likely.get))
            assert found["fits_new"][text] == str(fits[best, text])
            seen.add(best == int(np.argmax(near[:, text])))
    assert seen == {True, False}  # nearness decides, and sometimes the other texts do
