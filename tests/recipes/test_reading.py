"""The reading test from a folder of collections to its report."""

import json
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from pyterrier_xetrieval import Xetrieval
from recipes.confidence import ROW
from recipes.reading import main, spread
from recipes.reading_pairs import ReadingPair
from recipes.reading_report import confidence_table, read_run, rows_for_confidence
from recipes.tables import Results
from tests.helpers.llm_server import completion
from tests.helpers.reading import TEXTS, write_collections

FORMS = [["whole", "words-and-label"], ["label", "label"], ["random", "untrained"], ["overlap", "overlap"]]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_collections(tmp_path_factory.mktemp("data"), Xetrieval.default().encoder())


def on(data):
    return ["--data", data, "--vectors", data / "vectors", "--collections", "animals", "--collections", "kitchen"]


def run(*arguments):
    found = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
    """Sheets with verdicts by hand: of the words-and-label form 2 for the largest row of each section, else 1; decoys 0."""
    out = tmp_path_factory.mktemp("run")
    forms = [part for name, kind in FORMS for part in ("--form", name, kind, "default")]
    options = ["--pairs", 10, "--original", "random", "--fewer", "label", 8, "--identify", "whole", "--out", out]
    told = run("sheets", *on(data), *forms, *options)
    assert "whole: 10 pairs" in told and "label: 8 pairs" in told and "38 sections and 10 choices" in told
    key = pd.read_json(out / "key.jsonl", lines=True)
    largest = key.groupby("section")["contribution"].transform("max") == key["contribution"]
    for (sheet, judge), own in ((both, key[key["sheet"] == both[0]]) for both in [(s, j) for s in (1, 2, 3, 4) for j in "ab"]):
        verdicts = np.where(own["decoy"], 0, 1 + largest[own.index])
        lines = [f"{s} {r} {v}\n" for s, r, v in zip(own["section"], own["row"], verdicts)]
        (out / f"sheet_{sheet:02}.{judge}.txt").write_text("".join(lines))
    return out


def test_the_run_says_what_was_asked(folder):
    facts = json.loads((folder / "run.json").read_text())
    assert (
        facts["collections"] == ["animals", "kitchen"] and facts["pairs"] == 10 and list(facts["forms"]) == [n for n, _ in FORMS]
    )
    weights = facts["forms"]["whole"]["model"]
    assert weights["view_weights"] and facts["forms"]["random"]["model"]["view_weights"] == weights["view_weights"]
    assert facts["forms"]["random"]["original"] and facts["forms"]["overlap"]["model"] is None


def test_a_report_from_hand_made_verdicts(folder, tmp_path):
    told = run("score", "--folder", folder, "--out", tmp_path / "reading.toy.json")
    assert "sheets by judge: a 4, b 4" in told and "decoys_nonsense" in told and "by collection" in told
    report = json.loads((tmp_path / "reading.toy.json").read_text())
    scores = {(row["form"], row["measure"]): row for row in report["scores"] if row["collection"] == "all"}
    assert scores["whole", "nonsense"]["value"] == 0 and scores["whole", "first_nonsense"]["value"] == 0
    assert scores["whole", "clear"]["value"] == pytest.approx(0.1) and scores["whole", "clear"]["n"] == 10
    assert scores["label", "decoys_nonsense"]["value"] == 1 and scores["label", "clear"]["n"] == 8
    assert [row["value"] for row in report["judges"] if (row["form"], row["measure"]) == ("whole", "vague")] == pytest.approx(
        [0.9, 0.9]
    )
    assert {row["kappa"] for row in report["agreement"] if row["rows"] == "all"} == {1}
    assert len(report["rows"]) == len((folder / "key.jsonl").read_text().splitlines()) and report["key"]["seed"] == 0
    whole = [row for row in report["rows"] if row["form"] == "whole" and not row["decoy"]]
    assert all(row["verdicts"] in ([1, 1], [2, 2]) for row in whole) and sum(row["verdicts"] == [2, 2] for row in whole) == 10
    assert Results.read(tmp_path).files[0]["key"]["collection"] == "toy"
    assert all(("feature" in row) == (row["form"] != "overlap") for row in report["rows"])  # its features are words of texts
    kept = (tmp_path / "reading.toy.json").read_text()
    texts = [text for own in TEXTS.values() for both in own.items() for text in both]
    assert not any(text[:20] in kept for text in texts)


def test_rows_for_the_confidence_of_labels(folder, tmp_path):
    run("score", "--folder", folder, "--rows", tmp_path / "rows.tsv", "--rows-of", "whole")
    rows = pd.read_csv(tmp_path / "rows.tsv", sep="\t")
    assert list(rows.columns) == list(ROW) and len(rows) == 10 * 10 * 2 and rows["pair"].nunique() == 10
    assert Counter(rows["verdict"]) == {2: 20, 1: 180} and rows["contribution"].notna().all()
    with pytest.raises(ValueError, match="expects a form among"):
        rows_for_confidence(read_run(folder).verdicts, "nobody")


def test_reliability_of_the_confidence():
    frame = pd.DataFrame(
        {"form": "a", "decoy": False, "confidence": [0.05] * 10 + [0.85] * 10, "verdict": [0] * 10 + [2] * 8 + [1] * 2}
    )
    table = confidence_table(frame)
    assert table["observed"].tolist() == pytest.approx([0, 0.8, 0.4]) and table["cases"].tolist() == [10, 10, 20]
    assert table["error"].iloc[-1] == pytest.approx(0.05) and table["error"].isna().sum() == 2
    assert confidence_table(frame.assign(confidence=np.nan)).empty


class Model(BaseHTTPRequestHandler):
    """Says that all rows are vague, and that the first pair is the one."""

    def do_POST(self):
        prompt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][0]["content"]
        rows = re.findall(r"^(\d+)\. ", prompt, re.M)
        body = json.dumps(completion("1" if "Which pair is it?" in prompt else "\n".join(f"{row} 1" for row in rows))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_language_model_judges(folder):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        told = run("judge", "--folder", folder, "--judge", "toy", "--model", "m", "--base-url", url, "--workers", 2)
        assert "6 files of verdicts" in told and (folder / "sheet_03.toy.txt").is_file()
        assert "which of five pairs" in run("score", "--folder", folder)
        verdicts = read_run(folder).verdicts
        assert (verdicts.loc[verdicts["judge"] == "toy", "verdict"] == 1).all()
    finally:
        server.shutdown()
        server.server_close()
        for path in folder.glob("*.toy.*"):
            path.unlink()


def test_erasing_and_labels(data, tmp_path):
    told = run("erase", *on(data), "--pairs", 6, "--out", tmp_path / "erased.tsv")
    table = pd.read_csv(tmp_path / "erased.tsv", sep="\t")
    assert "moves_more" in told and set(table["erased"]) >= {"rows", "equal_number"} and table["pair"].nunique() == 6


def test_pairs_of_a_smaller_form_are_the_first_of_each_collection():
    pairs = [ReadingPair(name, f"q{i}", "d", "", "", i, i) for name in "abc" for i in range(4)]
    chosen = spread(pairs, 7, seed=0)
    counts = Counter(pair.collection for pair in chosen)
    assert sorted(counts.values()) == [2, 2, 3] and all(pair.query_row < counts[pair.collection] for pair in chosen)


def test_names_that_no_form_has(data, tmp_path):
    found = CliRunner().invoke(
        main, ["sheets", *map(str, on(data)), "--form", "a", "label", "default", "--fewer", "b", "2", "--out", str(tmp_path)]
    )
    assert found.exit_code == 2 and "expect names of forms, found b" in found.output


def test_words_are_taken_out_collection_by_collection(data, tmp_path):
    file, options = tmp_path / "words.json", ["--texts", 2, "--word-share", 0.2]
    told = run("words", *on(data)[:-2], *options, "--out", file)
    first = json.loads(file.read_text())
    assert "animals: 2 texts" in told and {row["collection"] for row in first["rows"]} == {"animals"}
    told = run("words", *on(data), *options, "--out", file)
    both = json.loads(file.read_text())
    assert "animals: 2" not in told and "kitchen: 2 texts" in told  # what the file has is not asked again
    assert both["rows"][:10] == first["rows"] and len(both["rows"]) == 20 and both["key"] == first["key"]
    value = {(r["collection"], r["method"], r["measure"]): r["value"] for r in both["scores"]}
    mean = np.mean([row["deletion"] for row in both["rows"] if row["method"] == "evidence"])
    assert value["all", "evidence", "deletion"] == pytest.approx(mean, rel=1e-4)
    assert f"| evidence | {mean:.2f} [" in told and "| random | " in told
    run("words", *on(data)[:-2], "--texts", 1, "--out", file)  # other options: begun anew
    assert len(json.loads(file.read_text())["rows"]) == 5
    found = CliRunner().invoke(main, ["words", "--data", str(data), "--out", str(file)])
    assert found.exit_code == 2 and "--data and --vectors go together" in found.output


def test_a_second_run_leaves_out_the_pairs_of_the_first(data, folder, tmp_path):
    run("score", "--folder", folder, "--out", tmp_path / "first.json")
    asked = ["sheets", *on(data), "--form", "label", "label", "default", "--without", tmp_path / "first.json"]
    refused = CliRunner().invoke(main, [str(a) for a in [*asked, "--pairs", 10, "--out", tmp_path / "none"]])
    assert refused.exit_code == 2 and "leaves no pair to read" in refused.output
    report = json.loads((tmp_path / "first.json").read_text())
    report["rows"] = [row for row in report["rows"] if row["qid"] in ("q0", "q1")]
    (tmp_path / "first.json").write_text(json.dumps(report))
    assert "4 of 10 pairs were read before" in run(*asked, "--pairs", 10, "--out", tmp_path / "second")
    explained = pd.read_json(tmp_path / "second" / "explained.jsonl", lines=True)
    assert sorted(explained["pair"].str.split("/").str[1]) == sorted(2 * ["q2", "q3", "q4"])
    assert json.loads((tmp_path / "second" / "run.json").read_text())["pairs"] == 6


def test_forms_are_compared_on_the_pairs_that_all_have(folder, tmp_path):
    run("score", "--folder", folder, "--common", "--out", tmp_path / "reading.toy.json")
    report = json.loads((tmp_path / "reading.toy.json").read_text())
    counts = {row["form"]: row["n"] for row in report["scores"] if (row["collection"], row["measure"]) == ("all", "clear")}
    assert counts == dict.fromkeys(["whole", "label", "random", "overlap"], 8)
