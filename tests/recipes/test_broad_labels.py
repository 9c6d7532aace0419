"""Labels from texts of every strength: from sheets to the table in which each feature has the better one."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from recipes.broad_labels import JUDGED, SHOWN, main
from recipes.broad_verdicts import by_text, qualities, read_labels, read_verdicts, table_of, with_broad_labels
from tests.helpers.label_sheets import run

FEATURES = 20


def verdict(feature, old, new, *, strengths=(0.6, 0.4, 0.3, 0.2, 0, 0), labels=("dogs", "pets"), clarity=1):
    docnos = [f"t{i}" for i in range(len(strengths))]
    return {
        "feature": feature, "old": labels[0], "new": labels[1], "clarity": clarity, "docnos": docnos,
        "strengths": list(strengths), "fits_old": old, "fits_new": new,
    }  # fmt: skip


def hypotheses(*features):
    rows = [
        {"feature": j, "hypothesis": "dogs", "clarity": 2, "max": 1, "hits": 0.5, "false": 0, "detection": 0.75} for j in features
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def work(label_data, tmp_path_factory):
    """Sheets, and answers by hand: all features become "a thing", which fits every active text and no silent one."""
    out = tmp_path_factory.mktemp("sheets")
    told = run(
        main,
        "sheets",
        "--data",
        label_data,
        "--collections",
        "animals",
        "--collections",
        "kitchen",
        "--features",
        FEATURES,
        "--work",
        out,
    )
    drawn = json.loads((out / "texts.json").read_text())["features"]
    assert 2 < len(drawn) <= FEATURES and f"{len(drawn)} features in" in told
    (out / "labels.me.tsv").write_text("".join(f"{f['feature']}\ta thing\t2\n" for f in drawn))
    run(main, "judge", "--work", out)
    key = json.loads((out / "key.json").read_text())
    lines = []
    for j, asked in key.items():
        for name, which in zip("AB", asked["order"]):
            lines.append(f"{j}\t{name}\t" + "".join(str(int(which == "new" and s > 0)) for s in asked["strengths"]) + "\n")
    (out / "verdicts.me.tsv").write_text("".join(lines))
    return out


def test_a_writer_sees_marked_words_and_a_judge_sees_other_texts_and_no_strengths(work):
    drawn = json.loads((work / "texts.json").read_text())["features"]
    written, judged = ("\n".join(p.read_text() for p in sorted(work.glob(f"{kind}_*.md"))) for kind in ("write", "judge"))
    assert written.count("present label") == len(drawn) and "**" in written
    assert "present label" not in judged and not re.search(r"^- \d+% ", judged, re.M) and re.search(r"^- \d+% ", written, re.M)
    for feature in drawn:
        shown, asked = ({row for row, _ in feature[name]} for name in ("shown", "judged"))
        assert shown and not shown & asked and len(shown) <= sum(SHOWN) and len(asked) <= sum(JUDGED)
        assert not (shown | asked) & {*feature["silent"], *feature["near"]}


def test_the_label_that_judges_prefer_is_kept(work, tmp_path):
    chosen = [f["feature"] for f in json.loads((work / "texts.json").read_text())["features"]]
    hypotheses(*chosen, 4095).to_csv(tmp_path / "old.tsv", sep="\t", index=False)
    options = ["--kept", tmp_path / "kept.json", "--hypotheses", tmp_path / "old.tsv"]
    told = run(main, "keep", "--work", work, *options, "--out", tmp_path / "new.tsv")
    assert "silent" in told
    table = pd.read_csv(tmp_path / "new.tsv", sep="\t").set_index("feature")
    assert set(table.loc[chosen, "hypothesis"]) == {"a thing"} and table.loc[4095, "hypothesis"] == "dogs"
    assert (table.loc[chosen, "detection"] > 0.75).all()
    assert run(main, "keep", *options) == told  # the verdicts that were kept say the same without the sheets
    assert not {"text", "texts"} & set(json.loads((tmp_path / "kept.json").read_text())[0])


def test_lines_that_are_wrong_are_refused(work, tmp_path):
    (tmp_path / "labels.a.tsv").write_text("3\tdogs\t2\n3\tcats\t2\n")
    with pytest.raises(ValueError, match="found 3 'cats' '2'"):
        read_labels(tmp_path)
    (tmp_path / "labels.a.tsv").write_text("3 dogs 2\n")
    with pytest.raises(ValueError, match="three columns"):
        read_labels(tmp_path)
    (tmp_path / "key.json").write_text((work / "key.json").read_text())
    with pytest.raises(ValueError, match="verdicts of feature"):
        read_verdicts(tmp_path)


def test_quality_is_apart_from_strength():
    strong, weak = (0.9, 0.8, 0.8, 0.7, 0, 0), (0.3, 0.2, 0.2, 0.1, 0, 0)
    same_hits = [verdict(1, "110000", "110000", strengths=strong), verdict(2, "110000", "110000", strengths=weak)]
    others = [verdict(j, "111100", "111100", strengths=strong) for j in (3, 4)] + [
        verdict(j, "000000", "000000", strengths=weak) for j in (5, 6)
    ]
    found = qualities(same_hits + others)
    assert found.loc[2, "new"] > found.loc[1, "new"] and np.allclose(found["old"], found["new"])


def test_a_label_that_fits_more_silent_texts_by_as_much_is_not_kept():
    better, broad, worse = verdict(1, "110000", "111100"), verdict(2, "110000", "111111"), verdict(3, "111000", "100000")
    equal = verdict(4, "110000", "110000")
    table = with_broad_labels(hypotheses(1, 2, 3, 4), [better, broad, worse, equal]).set_index("feature")
    assert table["hypothesis"].to_dict() == {1: "pets", 2: "dogs", 3: "dogs", 4: "dogs"}
    assert table.loc[1, "clarity"] == 2 and table.loc[1, "hits"] > 0.5 and (table.loc[[2, 3, 4], "hits"] == 0.5).all()
    shares = table_of([better])
    assert shares.loc["silent", "new"] == 0 and shares["texts"].sum() == 6 and len(by_text([better])) == 12
