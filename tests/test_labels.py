import pandas as pd
import pytest

from pyterrier_xetrieval import FeatureLabels


def table(**columns):
    return pd.DataFrame({"feature": [4, 1], "label": ['sorting, "order"', "files"], "method": "keywords", **columns})


def test_names_and_gaps():
    labels = FeatureLabels(table(), 6)
    assert labels[4] == 'sorting, "order"' and labels[0] == "feature 0" and labels.name(0) == "" and len(labels) == 2
    assert labels.methods == ["keywords"]
    assert labels.find("SORT")["feature"].tolist() == [4]


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
