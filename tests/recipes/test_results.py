"""What is measured as files, and the page made of them."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from pyterrier_xetrieval import Xetrieval, evaluation
from pyterrier_xetrieval.evaluation import QUESTIONS
from recipes.measured_collections import digest
from recipes.page_questions import BINS, histograms, measure_one
from recipes.result_files import write_result
from recipes.results import main
from tests.helpers.builders import WORDS, make_model, random_sae, toy, unit

FACTS = {
    "documents": 300, "queries": 12, "versions": {"python": "3"}, "cpu": "abacus", "threads": 1, "date": "2026-01-02",
    "seconds": 1.5, "command": "measure",
}  # fmt: skip


@pytest.fixture(scope="module")
def large() -> Xetrieval:
    """Enough active features for two sets of 256."""
    return make_model(random_sae(16, 1024, 24))


@pytest.fixture(scope="module")
def folder(large, tmp_path_factory):
    """Result files of two collections."""
    out = tmp_path_factory.mktemp("results")
    for name, seed in (("one", 0), ("two", 1)):
        collection = toy(name, seed)
        for question in QUESTIONS:
            options = (
                {"sizes": [200, 400]} if question == "latency" else {"weights": [0.3, 0, 0.5]} if question == "retrieval" else {}
            )
            if name == "two" and question not in ("retrieval", "steering", "stability"):
                continue
            key = {
                "model": {"encoder": "none", "sae": "0" * 64},
                "seed": 0,
                "question": question,
                "collection": name,
                "options": options,
            }
            found = measure_one(question, large, collection, options, {"seed": 0})
            write_result(out / f"{question}.{name}.json", key, FACTS, found.drop(columns="collection", errors="ignore"))
    return out


def render(results, out):
    done = CliRunner().invoke(main, ["render", "--results", str(results), "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def part(folder, to, *questions, change=lambda name, file: file):
    """A folder of the files of these questions only, changed."""
    to.mkdir()
    for path in folder.glob("*.json"):
        if path.name.split(".")[0] in questions:
            (to / path.name).write_text(json.dumps(change(path.stem, json.loads(path.read_text()))))
    return to


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """The page of all files, and its figures."""
    return render(folder, tmp_path_factory.mktemp("page"))


class TestMeasuring:
    def test_label_scores_become_a_mean_and_a_histogram(self):
        scores = pd.DataFrame({"sae": "s", "labels": "keywords", "measure": "hits", "value": [0.0, 0.011, 0.5, 1.0]})
        (row,) = histograms(scores, seed=0).to_dict("records")
        assert (row["value"], row["n"], sum(row["counts"])) == (pytest.approx(1.511 / 4), 4, 4)
        assert [i for i, count in enumerate(row["counts"]) if count] == [0, BINS // 2, BINS - 1]
        assert row["counts"][0] == 2

    def test_queries_are_sampled_only_above_the_limit(self, large):
        whole, part = (measure_one("shares", large, toy(), {"max_queries": m}, {"seed": 0}) for m in (12, 5))
        assert set(whole[whole["measure"] == "mean"]["n"]) == {12} and set(part[part["measure"] == "mean"]["n"]) == {5}

    def test_the_digest_tells_collections_apart(self):
        from dataclasses import replace

        one = toy()
        assert digest(one) == digest(toy()) != digest(toy(seed=1))
        assert digest(replace(one, judged=[{0: 1}, *one.judged[1:]])) != digest(one)
        assert digest(replace(one, excluded=[np.array([3]), *one.excluded[1:]])) != digest(one)


class TestCommand:
    @pytest.fixture
    def data(self, tmp_path):
        """A folder of one collection with vectors of the bundled model's dimension."""
        rng, place = np.random.default_rng(0), tmp_path / "data"
        (place / "few").mkdir(parents=True)
        lines = {"corpus": [{"_id": f"d{i}", "title": "", "text": WORDS[i % 12]} for i in range(30)]}
        lines["queries"] = [{"_id": f"d{i}", "text": WORDS[i]} for i in range(6)]
        for name, rows in lines.items():
            (place / "few" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (place / "few" / "qrels.tsv").write_text(
            "query-id\tcorpus-id\tscore\n" + "".join(f"d{i}\td{i + 12}\t1\n" for i in range(6))
        )
        docs = unit(rng, 30, 384)
        np.save(place / "few.f16.npy", docs.astype(np.float16))
        np.save(place / "few.q.f16.npy", docs[:6].astype(np.float16))
        return place

    def measure(self, data, out, *more):
        arguments = ["measure", "--data", str(data), "--vectors", str(data), "--collections", "few", "--out", str(out)]
        return CliRunner().invoke(main, [*arguments, "--questions", "retrieval", *more], catch_exceptions=False)

    def test_kept_while_nothing_changed(self, data, tmp_path):
        out = tmp_path / "out"
        assert self.measure(data, out, "--exclude-own-id", "few").output.endswith(" s\n")  # seconds, not "kept"
        written = (out / "retrieval.few.json").read_bytes()
        assert "kept" in self.measure(data, out, "--exclude-own-id", "few").output
        assert (out / "retrieval.few.json").read_bytes() == written
        for more in (["--seed", "1"], ["--weights", "0.5,0,1"], []):  # the last: own ids are retrieved, another collection
            assert "kept" not in self.measure(data, out, *more).output
        assert [path.name for path in out.iterdir()] == ["retrieval.few.json"]

    def test_the_file_says_what_was_measured(self, data, tmp_path):
        self.measure(data, tmp_path / "out", "--weights", "0.5,0,1")
        file = json.loads((tmp_path / "out" / "retrieval.few.json").read_text())
        assert file["key"]["options"] == {"weights": [0.5, 0.0, 1.0]}
        assert file["key"]["model"]["sae.safetensors"] == Xetrieval.default().meta["sha256"]["sae.safetensors"]
        assert (file["facts"]["documents"], file["facts"]["queries"]) == (30, 6)
        assert str(tmp_path) not in json.dumps(file)
        dense = next(row for row in file["rows"] if row["enhancement"] == "none")
        assert dense["value"] < 0.9 and dense["n"] == 6  # a query's own id comes first and is not relevant

    def test_a_raw_dictionary_is_described_by_the_answers_it_is_part_of(self, data, tmp_path):
        model = Xetrieval.default()
        facts = {"training": {"steps": 7, "note": "trained on few vectors"}}
        raw = Xetrieval.from_parts(internalizers={}, sae=model.sae, encoder=model.meta["encoder"], facts=facts)
        raw.save(tmp_path / "raw")
        arguments = [
            "measure",
            "--data",
            str(data),
            "--vectors",
            str(data),
            "--collections",
            "few",
            "--out",
            str(tmp_path / "out"),
        ]
        more = ["--raw-sae", str(tmp_path / "raw"), "--questions", "erasure", "--questions", "shares"]
        assert CliRunner().invoke(main, [*arguments, *more], catch_exceptions=False).exit_code == 0
        files = {q: json.loads((tmp_path / "out" / f"{q}.few.json").read_text()) for q in ("erasure", "shares")}
        assert files["erasure"]["facts"]["raw_sae"] == facts["training"] and "raw_sae" not in files["shares"]["facts"]
        assert "trained on few vectors" in render(tmp_path / "out", tmp_path / "page")["results.md"].decode()

    def test_weights_chosen_elsewhere(self, data, tmp_path):
        for name in ("few", "few.q"):
            (data / f"{name.replace('few', 'other')}.f16.npy").write_bytes((data / f"{name}.f16.npy").read_bytes())
        (data / "other").mkdir()
        for path in (data / "few").iterdir():
            (data / "other" / path.name).write_bytes(path.read_bytes())
        assert self.measure(data, tmp_path / "out", "--weights-from", "other").exit_code == 0
        tried = json.loads((tmp_path / "out" / "weights.other.json").read_text())["rows"]
        best = max(tried, key=lambda row: row["value"])
        (chosen,) = {tuple(row[f"weight_{a}"] for a in Xetrieval.default().aspects) for row in tried if row["chosen"]}
        file = json.loads((tmp_path / "out" / "retrieval.few.json").read_text())
        assert tuple(file["key"]["options"]["weights"]) == chosen
        assert best["value"] in [row["value"] for row in tried if row["chosen"]]

    @pytest.mark.parametrize(
        "more, said",
        [
            (["--weights", "1,2"], "summary, purpose, qa"),
            (["--weights", "a,b,c"], "numbers"),
            (["--weights", "1,1,1", "--weights-from", "few"], "without"),
            (["--collections", "none"], "none"),
        ],
    )
    def test_what_a_user_can_get_wrong(self, data, tmp_path, more, said):
        done = self.measure(data, tmp_path / "out", *more)
        assert done.exit_code == 2 and said in done.output
        assert not list((tmp_path / "out").glob("*unfinished*"))


class TestPage:
    def test_the_same_bytes_twice(self, folder, whole, tmp_path):
        assert render(folder, tmp_path) == whole

    def test_every_figure_is_shown(self, whole):
        linked = [line.split("](")[1].rstrip(")") for line in whole["results.md"].decode().splitlines() if line.startswith("![")]
        assert sorted(linked) == sorted(name for name in whole if name.endswith(".svg")) and len(linked) == 12

    def test_no_value_is_missing_from_the_text(self, whole):
        page = whole["results.md"].decode()
        assert "nan" not in page.replace("explanation", "").lower()
        assert page.count("\n## ") == len(QUESTIONS)

    def test_a_changed_number_changes_the_sentence(self, folder, tmp_path):
        def harmful(better):
            def change(name, file):
                if name.startswith("retrieval"):
                    for row in file["rows"]:
                        if row["measure"] == "nDCG@10_minus_dense":
                            row.update(value=0.05 if better else -0.05, low=0.01, high=0.09)
                        elif row["measure"] == "p_holm":
                            row["value"] = 0.001 if better or name == "retrieval.one" else 0.4
                return file

            return change

        pages = [
            render(part(folder, tmp_path / str(b), "retrieval", change=harmful(b)), tmp_path / f"{b}.page")["results.md"].decode()
            for b in (True, False)
        ]
        good, bad = (next(line for line in page.splitlines() if "With weights 1" in line) for page in pages)
        assert (
            "significantly worse than dense retrieval on 0 of 2 collections, significantly better on 2; the mean difference is +5.0"
            in good
        )
        assert "Here the mean rises too" in good
        assert (
            "significantly worse than dense retrieval on 1 of 2 collections, significantly better on 0; the mean difference is -5.0"
            in bad
        )
        assert "not reproduced" in bad and "weights 0.3, 0, 0.5" in bad

    def test_the_claim_on_steering_is_judged_by_the_numbers(self, folder, tmp_path):
        def raised(name, file):
            for row in file["rows"]:
                if row["measure"] == "change" and row["set"] == "key" and row["alpha"] == 2:
                    row.update(value=0.02, low=0.01, high=0.03)
            return file

        page = render(part(folder, tmp_path / "up", "steering", change=raised), tmp_path / "page")["results.md"].decode()
        assert "raises nDCG holds at α = 2: it rises on 2 of 2 collections and falls on 0" in page

    def test_what_takes_no_training_is_said_beside_the_drop(self, folder, tmp_path):
        changes = {"overlap": -0.5, "untrained": -0.2, "overlap_cut_untrained": -0.4, "untrained_cut": -0.1}

        def known(name, file):
            for row in file["rows"]:
                if row["measure"] == "change" and row["set"] in changes:
                    row.update(value=changes[row["set"]], low=-0.6, high=-0.05)
                elif row["measure"] == "size":
                    row.update(value={"overlap": 44, "untrained": 21, "untrained_cut": 20}.get(row["set"], 30))
                elif row["measure"] == "overlap_minus_set":
                    row.update(low=-0.4, high=-0.2 if row["set"] == "untrained" else 0.1)
            return file

        page = render(part(folder, tmp_path / "known", "erasure", change=known), tmp_path / "page")["results.md"].decode()
        assert "the shared features, 44 of them, lowers that of relevant documents among the top 32 by 0.500, and" in page
        assert (
            "sparsity, 21 of them, are selected in the same way, and erasing them lowers the cosine by 0.200: 40% of the model's"
            in page
        )
        assert "20 features, the drops are 0.400 and 0.100: 25% takes no training" in page
        assert "larger on 1 of 1 collections, at equal size on 0 of 1" in page
        assert "direct decomposition is left out" in page
        row = next(line for line in page.splitlines() if line.startswith("| one | 44.0 |"))
        assert row.startswith("| one | 44.0 | 30.0 | 21.0 |") and "| 20.0 | -0.400 [-0.600, -0.050] | -0.100 [" in row

    def test_means_are_given_without_collections_of_training_text_too(self, folder, whole, tmp_path):
        def renamed(name, file):
            file["key"]["collection"] = {"one": "msmarco_dl21"}.get(file["key"]["collection"], file["key"]["collection"])
            return file

        results = part(folder, tmp_path / "named", "erasure", change=renamed)
        alone = render(results, tmp_path / "alone")["results.md"].decode()
        assert "without msmarco_dl21" not in alone and "without msmarco_dl21" not in whole["results.md"].decode()
        file = json.loads((results / "erasure.one.json").read_text())
        file["key"]["collection"] = "two"
        for row in file["rows"]:
            row["value"] = -0.111 if row["measure"] == "change" else row["value"]
        (results / "erasure.two.json").write_text(json.dumps(file))
        page = render(results, tmp_path / "both")["results.md"].decode()
        assert "; 0.111 without msmarco_dl21), and that of other results" in page

    def test_steering_is_judged_in_both_readings(self, folder, tmp_path):
        def one_reading(name, file):
            for row in file["rows"]:
                if row["set"] == "key" and row["alpha"] == 2 and row["measure"].startswith("change"):
                    sign = 1 if row["measure"] == "change" else -1
                    row.update(value=sign * 0.02, low=sign * 0.02 - 0.01, high=sign * 0.02 + 0.01)
            return file

        page = render(part(folder, tmp_path / "up", "steering", change=one_reading), tmp_path / "page")["results.md"].decode()
        plain, at_length = (
            next(line for line in page.splitlines() if line.startswith(s)) for s in ("Change of nDCG", "At the orig")
        )
        assert "holds at α = 2: it rises on 2 of 2 collections and falls on 0" in plain
        assert "does not hold on most collections here at α = 2: it rises on 0 of 2 collections and falls on 2" in at_length
        assert "appears in neither" not in page

    def test_the_floor_of_stability_is_said(self, large, folder, tmp_path):
        results = part(folder, tmp_path / "results", "stability")
        table = evaluation.stability(large, toy("one"), other_rank=2).drop(columns="collection")
        file = json.loads((results / "stability.one.json").read_text())
        write_result(results / "stability.one.json", file["key"], FACTS, table)
        page = render(results, tmp_path / "page")["results.md"].decode()
        assert (
            "different documents, ranks 1 and 2: 0." in page
            and "two different documents of the same query, at a cosine of" in page
        )

    @pytest.mark.parametrize("missing, figure", [("latency", "figure6"), ("shares", "shares"), ("stability", "stability")])
    def test_without_its_files_a_section_is_left_out(self, missing, figure, folder, whole, tmp_path):
        some = {"latency", "shares", "stability"} - {missing}
        found = render(part(folder, tmp_path / "some", *some), tmp_path / "page")
        page = found["results.md"].decode()
        assert page.count("\n## ") == len(found) - 1 == 2
        assert f"figures/{figure}.svg" in whole and f"{figure}.svg" not in page and f"--questions {missing}" not in page

    def test_the_time_of_a_cot_reasoner_is_part_of_the_command(self, folder, tmp_path):
        results = part(folder, tmp_path / "results", "latency")
        file = json.loads((results / "latency.one.json").read_text())
        file["key"] |= {"question": "cot", "options": {"llm": "m", "max_tokens": 9, "sizes": [200, 400]}}
        file["facts"] |= {"command": "measure --cot FILE", "seconds": 40.0}
        rows = [
            {"size": size, "system": "CoT reasoner", "extrapolated": size > 24, "value": 2.0 * size} for size in (24, 200, 400)
        ]
        file["rows"] = [{**row, "measure": "corpus_seconds", "n": 24} for row in rows]
        (results / "cot.one.json").write_text(json.dumps(file))
        page = render(results, tmp_path / "page")["results.md"].decode()
        assert "`measure --cot FILE` (42 s in all)" in page and "`measure` (" not in page

    def test_results_of_two_models_are_refused(self, folder, tmp_path):
        def other(name, file):
            file["key"]["seed"] = 3 if name == "shares.one" else 0
            return file

        arguments = [
            "render",
            "--results",
            str(part(folder, tmp_path / "mixed", "shares", "labels", change=other)),
            "--out",
            str(tmp_path / "page"),
        ]
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 2 and "one model and seed" in done.output and not (tmp_path / "page").exists()
