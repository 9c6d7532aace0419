"""Labels of several readings: from the sheets of a writer and of judges to the table of labels."""

import json

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import Xetrieval
from recipes.label_readings import JUDGED, SHOWN, main
from tests.helpers.label_sheets import run


@pytest.fixture(scope="module")
def work(label_data, tmp_path_factory):
    """Answers by hand: each feature gets "a thing", which fits every active text and no silent one, and "nothing", which fits none."""
    out = tmp_path_factory.mktemp("sheets")
    names = ["--collections", "animals", "--collections", "kitchen"]
    assert "features carry" in run(main, "sheets", "--data", label_data, *names, "--features", 12, "--work", out)
    drawn = json.loads((out / "texts.json").read_text())["features"]
    assert 2 < len(drawn) <= 12
    first, *_ = drawn[0]["label"].split(" / ")
    lines = [f"{f['feature']}\ta thing / nothing\t2\n" for f in drawn[1:]]
    (out / "labels.me.tsv").write_text(f"{drawn[0]['feature']}\ta thing / {first.upper()}\t2\n" + "".join(lines))
    assert f"{len(drawn)} sections" in run(main, "judge", "--work", out)
    lines = [
        f"{j}\t{chr(65 + i)}\t" + "".join(str(int(reading == "a thing" and s > 0)) for s in asked["strengths"]) + "\n"
        for j, asked in json.loads((out / "key.json").read_text()).items() for i, reading in enumerate(asked["readings"])
    ]  # fmt: skip
    (out / "verdicts.me.tsv").write_text("".join(lines))
    return out


@pytest.fixture(scope="module")
def kept(label_data, work):
    assert "features; then: table" in run(main, "keep", "--data", label_data, "--work", work, "--out", work / "kept.json")
    return work / "kept.json"


def test_judges_see_every_reading_once_and_texts_that_the_writer_did_not_see(work):
    texts = json.loads((work / "texts.json").read_text())
    drawn, key = {str(f["feature"]): f for f in texts["features"]}, json.loads((work / "key.json").read_text())
    sections = {}
    for path in sorted(work.glob("judge_*.md")):
        for section in path.read_text().split("## ")[1:]:
            j, *lines = section.splitlines()
            sections[j] = [line for line in lines if line]
    assert set(sections) == set(key) == set(drawn)
    for j, asked in key.items():
        wanted = {reading.lower() for reading in f"{drawn[j]['label']} / {asked['new']}".split(" / ")}
        assert sorted(reading.lower() for reading in asked["readings"]) == sorted(wanted)  # whatever its case, once
        assert sections[j][: len(wanted)] == [f"{chr(65 + i)}: {reading}" for i, reading in enumerate(asked["readings"])]
        places = {docno: row for row, (docno, _) in texts["texts"].items()}
        rows = [int(places[docno]) for docno in asked["docnos"]]
        assert sections[j][len(wanted) :] == [f"{i}. {texts['texts'][str(row)][1]}" for i, row in enumerate(rows, 1)]
        strengths = dict(drawn[j]["judged"]) | dict.fromkeys(drawn[j]["silent"], 0.0)
        assert asked["strengths"] == [strengths[row] for row in rows]
        assert not set(rows) & {row for row, _ in drawn[j]["shown"]}
        assert len(drawn[j]["shown"]) <= sum(SHOWN) and len(drawn[j]["judged"]) <= sum(JUDGED)


def test_verdicts_are_kept_with_the_cosines_of_readings_and_texts(work, kept):
    rows, texts = json.loads(kept.read_text()), dict(json.loads((work / "texts.json").read_text())["texts"].values())
    encoder = Xetrieval.default().encoder()
    for row in rows[:4]:
        readings, own = encoder.encode_docs(row["readings"]), encoder.encode_docs([texts[docno] for docno in row["docnos"]])
        np.testing.assert_allclose(row["near"], readings @ own.T, atol=0.01)  # texts' vectors are packed in eight bits
    assert rows[0].keys() == {
        "feature",
        "verdicts",
        "near",
        *json.loads((work / "key.json").read_text())[str(rows[0]["feature"])],
    }
    assert not any(text in kept.read_text() for text in texts.values())


def test_the_table_gives_features_the_reading_that_fits(kept, tmp_path):
    rows, model = json.loads(kept.read_text()), Xetrieval.default()
    model.labels.write(tmp_path / "before.tsv")
    told = run(main, "table", "--kept", kept, "--labels", tmp_path / "before.tsv", "--out", tmp_path / "new.tsv")
    chosen = [row["feature"] for row in rows]
    assert f"{len(chosen)} features with tested readings" in told
    shares = {line.split()[0]: line.split()[1:3] for line in told.splitlines() if line[:1].isdigit() or line.startswith("silent")}
    assert shares.pop("silent") == ["0.0", "0.0"] and shares and set(map(tuple, shares.values())) == {("1.0", "0.0")}
    table = pd.read_csv(tmp_path / "new.tsv", sep="\t", quoting=3, keep_default_na=False).set_index("feature")
    assert set(table.loc[chosen, "label"]) == {"a thing"}
    others = model.labels.table.set_index("feature").drop(index=chosen)["label"]
    assert (table.loc[others.index, "label"] == others).all()
