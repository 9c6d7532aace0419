import pickle

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import FeatureLabels
from pyterrier_xetrieval.core.confidence import Confidence
from pyterrier_xetrieval.feature_names import reading, supported_by
from pyterrier_xetrieval.labels import feature_ids


def table(**columns):
    return pd.DataFrame({"feature": [4, 1], "label": ['sorting, "order"', "files"], "method": "keywords", **columns})


def test_names_and_gaps():
    labels = FeatureLabels(table(), 6)
    assert labels[4] == 'sorting, "order"' and labels[0] == "feature 0" and labels.name(0) == "" and len(labels) == 2
    assert labels.methods == ["keywords"]
    assert labels.find("SORTING")["feature"].tolist() == [4]


def test_written_tables_read_back(tmp_path):
    labels = FeatureLabels(table(firing_rate=[0.25, 0.5]).assign(label=["a\tb\nc", "NA"]), 6)
    labels.write(tmp_path / "labels.tsv")
    read = FeatureLabels.read(tmp_path / "labels.tsv", 6)
    assert (read[4], read[1]) == ("a b c", "NA") and read.table["firing_rate"].tolist() == [0.25, 0.5]


def test_no_labels_at_all_read_back(tmp_path):
    FeatureLabels.empty(6).write(tmp_path / "labels.tsv")
    assert FeatureLabels.read(tmp_path / "labels.tsv", 6)[4] == "feature 4"


def test_quotes_survive(tmp_path):
    FeatureLabels(table(), 6).write(tmp_path / "labels.tsv")
    assert FeatureLabels.read(tmp_path / "labels.tsv", 6)[4] == 'sorting, "order"'


def test_hypotheses_file(tmp_path):
    path = tmp_path / "hypotheses.txt"
    path.write_text("ways to\u2028sort\n\nfiles é\n", encoding="utf-8")
    labels = FeatureLabels.read_hypotheses(path, 5)
    assert (labels[0], labels[1], labels[2]) == ("ways to\u2028sort", "feature 1", "files é")
    with pytest.raises(ValueError, match="3 hypotheses, the dictionary only 2"):
        FeatureLabels.read_hypotheses(path, 2)


@pytest.mark.parametrize(
    "frame, message",
    [
        (table().drop(columns="method"), "missing \\['method'\\]"),
        (table().assign(feature=1), "more than once"),
        (table().assign(feature=[1.5, 2]), "whole numbers"),
        (table().assign(feature=[1, 6]), "expects features 0 … 5"),
    ],
)
def test_bad_tables(frame, message):
    with pytest.raises(ValueError, match=message):
        FeatureLabels(frame, 6)


def test_numbers_with_gaps_read_back_as_numbers(tmp_path):
    labels = FeatureLabels(table(detection=[0.5, None], examples=["1", "x y"]), 6)
    labels.write(tmp_path / "labels.tsv")
    read = FeatureLabels.read(tmp_path / "labels.tsv", 6)
    assert read.table["detection"].mean() == 0.5 and read.table["examples"].tolist() == ["1", "x y"]


def test_a_word_is_no_feature():
    with pytest.raises(TypeError, match="expects one feature id, found 'sort'; find"):
        FeatureLabels(table(), 6)["sort"]


def test_whole_words_are_found():
    labels = FeatureLabels(table(label=["how to sort (lists)", "assorted files"]), 6)
    assert labels.find("sort")["feature"].tolist() == [4] and labels.find("LISTS)")["feature"].tolist() == [4]
    assert labels.find("sort files").empty


def test_labels_of_a_like_meaning_are_found():
    class Vowels:
        calls = 0

        def encode_docs(self, texts):
            self.calls += len(texts)
            return [[text.count(c) for c in "aeiou"] for text in texts]

    labels, encoder = FeatureLabels(table(label=["eels", "oxo"]), 6), Vowels()
    found = labels.find("booo", encoder=encoder, num_results=1)
    assert found["feature"].tolist() == [1] and found["similarity"].tolist() == [1]
    assert labels.find("eee", encoder=encoder)["feature"].tolist() == [4, 1]
    assert encoder.calls == 4  # the labels were encoded once
    assert pickle.loads(pickle.dumps(labels)).find("oxo")["feature"].tolist() == [1]


def test_features_by_label():
    labels = FeatureLabels(table(label=["word order", "files, order"]), 6)
    assert feature_ids(["order", 0], labels, stage="s").tolist() == [4, 1, 0]
    assert feature_ids("files", labels, stage="s").tolist() == [1]
    with pytest.raises(ValueError, match="s found no feature whose label contains 'ord'"):
        feature_ids(["ord"], labels, stage="s")


@pytest.mark.parametrize(
    "label, words, expected",
    [
        ("Joubert syndrome / words beginning with Jo-", ["Jonathan", "he"], "spelling: words beginning with Jo-"),
        ("Joubert syndrome / words beginning with Jo-", ["a rare syndrome"], "Joubert syndrome"),
        ("violins / violence", ["violin"], "violins"),
        ("violins / violence", ["violent"], "violence"),
        ("violins / violence", ["glacier"], "violins / violence"),
        ("input/output", ["output"], "input/output"),
        ("order: sort order, orders placed, court orders", ["sort a list", "ascending order"], "order: sort order"),
        ("heart: heart disease, hearts of palm", ["palm trees"], "heart: hearts of palm"),
        ("words beginning with rec-: recursion, rectal", ["recipes"], "spelling: words beginning with rec-"),
        ("the beginning of words and books", ["words"], "the beginning of words and books"),
        ("keys: keyboard keys, car keys", ["key"], "keys"),
        ("length: too long or too short", ["long"], "length: too long or too short"),
    ],
)
def test_of_two_readings_the_one_that_the_words_support(label, words, expected):
    assert reading(label, words) == expected


def test_confidence_needs_a_measured_label_and_a_known_maximum():
    columns = {"clarity": [2, 1], "detection": [0.9, None], "max_activation": [2.0, 4.0]}
    labels = FeatureLabels(table(**columns), 6, Confidence(intercept=-2, activation=3, clarity=1, detection=4))
    features, activations = np.array([4, 1, 0]), np.array([1.0, 1.0, 1.0])
    expected = [float(labels.confidence(0.5, 0.5, 2, 0.9)), float(labels.confidence(0.25, 0.25, 1, 0.5)), 0.0]
    np.testing.assert_allclose(labels.confidence_of(features, activations, activations, activations), expected, atol=1e-9)
    one = features[:1], activations[:1], activations[:1], activations[:1]
    np.testing.assert_allclose(labels.only([4]).confidence_of(*one), expected[:1])
    assert np.isnan(FeatureLabels(table(), 6).confidence_of(features, activations, activations, activations)).all()


def test_words_that_say_what_the_label_says_make_it_more_certain():
    labels = FeatureLabels(table(max_activation=1.0), 6, Confidence(intercept=0, activation=1, clarity=0, detection=0, support=2))
    one = np.array([4]), np.array([0.5]), np.array([0.5]), np.array([0.1])
    words = {"both": (["sort a list"], ["sort"]), "one": (["sort a list"], ["rivers"]), "none": (["water"], ["rivers"])}
    both, one_text, none = (float(labels.confidence_of(*one, [own])[0]) for own in words.values())
    unknown = float(labels.confidence_of(*one)[0])
    assert both > one_text > none and both > unknown > none
    assert supported_by("sorting, order", ["sort"], ["order of magnitude"]) == (True, True)
    assert supported_by("sorting, order", ["rivers"], ["sorts", "orders"]) == (False, True)
    assert (
        supported_by("words beginning with so-", ["sort"], ["sort"]) == supported_by("of the", ["the"], ["of"]) == (False, False)
    )
