"""Which of five pairs, from a folder of collections to the scores of judges' answers."""

import json

import pytest
from click.testing import CliRunner

from pyterrier_xetrieval import Xetrieval
from recipes.identification import main
from tests.helpers.reading import TEXTS, write_collections


def run(*arguments, code=0):
    found = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)
    assert found.exit_code == code, found.output
    return found.output


@pytest.fixture(scope="module")
def on(tmp_path_factory):
    data = write_collections(tmp_path_factory.mktemp("data"), Xetrieval.default().encoder())
    return ["--data", data, "--vectors", data / "vectors", "--collections", "animals", "--collections", "kitchen"]


def test_from_sheets_to_scores(on, tmp_path):
    forms = [("shown", "words-and-label"), ("label", "label"), ("untrained", "untrained")]
    given = [part for name, kind in forms for part in ("--form", name, kind, "default")]
    told = run("sheets", *on, "--pairs", 4, *given, "--original", "shown", "--min-confidence", 0.2, "--out", tmp_path / "out")
    folder = tmp_path / "out"
    key = [json.loads(line) for line in (folder / "identify_key.jsonl").read_text().splitlines()]
    assert f"with {len(key)} sections" in told and {row["among"] for row in key} == {"page", "queries"}
    facts = json.loads((folder / "run.json").read_text())
    assert facts["min_confidence"] == 0.2 and facts["forms"]["shown"]["original"] and not facts["forms"]["label"]["original"]
    text = (folder / "identify_01.md").read_text()
    first = next(row for row in key if row["among"] == "page" and row["sheet"] == 1)
    own = text.split(f"## Section {first['section']}\n")[1].split("## Section")[0]
    assert own.count("**Query.** ") == 5 and len({line for line in own.splitlines() if line.startswith("**Query.**")}) == 1
    right = list(TEXTS[first["collection"]].values())[int(first["docno"][1:])]
    assert own.split("### Pair ")[first["answer"]].strip().endswith(right)
    answers = tmp_path / "anna.txt"
    answers.write_text("".join(f"{row['section']} {row['answer']}\n" for row in key))
    told = run("score", "--folder", folder, "--answers", answers, "--out", tmp_path / "within.json")
    report = json.loads((tmp_path / "within.json").read_text())
    assert "1 judges" in told and "anna" in told and {row["value"] for row in report["scores"]} == {1}
    assert len(report["rows"]) == len(key) and report["rows"][0]["right"] is True and report["key"]["options"] == facts
    assert not any(text[:15] in json.dumps(report) for texts in TEXTS.values() for text in texts.values())


def test_what_is_refused(on, tmp_path):
    told = run("sheets", *on, "--form", "a", "label", "default", "--original", "b", "--out", tmp_path / "x", code=2)
    assert "--original some of them" in told
    assert "  7 3\n" in run("score", "--help")  # the form of an answers file
