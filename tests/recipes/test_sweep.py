"""Dictionaries of several kinds and sparsities: trained, measured, shown."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.evaluation import reconstruction
from pyterrier_xetrieval.evaluation.embedding import read_embedded
from pyterrier_xetrieval.training import train_sae
from pyterrier_xetrieval.training.dictionary import OBJECTIVES
from recipes.results_page import render_page
from recipes.sections_sweep import at_equal, averages, spanned, sweep
from recipes.sweep import LEVELS, RAW, main
from recipes.tables import Results
from tests.helpers.builders import unit

pytestmark = pytest.mark.usefixtures("one_thread")
FEW = ["--dict-size", "160", "--steps", "2", "--batch-size", "16"]


def command(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Training vectors in two files, and a collection ``few`` with its vectors, of the bundled model's dimension."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("data")
    for name, n in (("a", 60), ("b", 40)):
        np.save(folder / f"{name}.npy", unit(rng, n, 384).astype(np.float16))
    (folder / "few").mkdir()
    lines = {"corpus": [{"_id": f"d{i}", "title": "", "text": f"word{i}"} for i in range(30)]}
    lines["queries"] = [{"_id": f"q{i}", "text": f"word{i}"} for i in range(6)]
    for name, rows in lines.items():
        (folder / "few" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = "".join(f"q{i}\td{i}\t1\nq{i}\td{i + 12}\t1\n" for i in range(6))
    (folder / "few" / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + pairs)
    docs = unit(rng, 30, 384)
    np.save(folder / "few.f16.npy", docs.astype(np.float16))
    np.save(folder / "few.q.f16.npy", docs[:6].astype(np.float16))
    return folder


def train(place, out, *more):
    return command("train", "--vectors", place / "a.npy", "--vectors", place / "b.npy", *FEW, "--out", out, *more)


@pytest.fixture(scope="module")
def trained(place, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "dictionaries"
    done = train(place, out, "--variant", "topk", "--variant", "gated")
    assert done.exit_code == 0, done.output
    return out


def measure(place, dictionaries, out, *more):
    arguments = ["--data", place, "--vectors", place, "--collections", "few", "--out", out]
    return command("measure", "--dictionaries", dictionaries, *arguments, *more)


class TestTrain:
    def test_every_variant_of_the_trainer_has_levels_that_fit_it(self):
        assert set(LEVELS) == set(OBJECTIVES) and set(RAW) < set(LEVELS)
        assert {name: list(levels) for name, levels in LEVELS.items()} == {n: [kind.needs] for n, kind in OBJECTIVES.items()}

    def test_a_dictionary_is_that_of_train_sae(self, place, trained):
        model = Xetrieval.default()
        vectors = np.concatenate([np.load(place / "a.npy"), np.load(place / "b.npy")])
        for name, views in (("topk.reasoned.k16", model.internalizers), ("topk.raw.k16", {})):
            alone, _ = train_sae(vectors, internalizers=views, dict_size=160, k=16, steps=2, batch_size=16)
            made = Xetrieval(trained / name)
            assert torch.equal(made.sae.w_enc, alone.w_enc) and made.aspects == tuple(views)
            assert made.meta["training"]["documents"] == 100 and made.meta["outcome"]["l0"] <= 16

    def test_reasoned_for_all_and_raw_for_some(self, trained):
        names = [path.name for path in trained.iterdir()]
        ks, lambdas = ("k16", "k32", "k64", "k128"), [f"sparsity{value:g}" for value in LEVELS["gated"]["sparsity"]]
        expected = [f"topk.{on}.{k}" for on in ("reasoned", "raw") for k in ks] + [f"gated.reasoned.{value}" for value in lambdas]
        assert sorted(names) == sorted(expected)

    def test_what_is_there_is_kept_and_only_the_rest_is_trained(self, place, trained, tmp_path):
        (tmp_path / "some").mkdir()
        for name in ("topk.reasoned.k16", "topk.raw.k64"):
            (tmp_path / "some" / name).symlink_to(trained / name)
        lines = train(place, tmp_path / "some", "--variant", "topk").output.splitlines()
        assert [line for line in lines if "kept" in line] == ["topk.reasoned.k16: kept", "topk.raw.k64: kept"]
        assert sum(": l0 " in line for line in lines) == 6

    def test_other_options_or_vectors_are_refused(self, place, trained):
        for more in (["--lr", "0.01"], ["--seed", "1"], ["--vectors", place / "a.npy"]):
            done = train(place, trained, "--variant", "topk", *more)
            assert done.exit_code == 2 and "topk.reasoned.k16 to be trained with the same options" in done.output


class TestMeasure:
    @pytest.fixture(scope="class")
    def out(self, place, trained, tmp_path_factory):
        out = tmp_path_factory.mktemp("results")
        done = measure(place, trained, out)
        assert done.exit_code == 0, done.output
        return out

    def test_the_rows_are_those_of_reconstruction(self, place, trained, out):
        file = json.loads((out / "sweep.few.json").read_text())
        rows = pd.DataFrame(file["rows"])
        saes = {name: Xetrieval(trained / name).sae for name in ("topk.raw.k16", "gated.reasoned.sparsity0.4")}
        found = reconstruction(Xetrieval.default(), read_embedded(place, "few", vectors=place), saes=saes, refit=False)
        for name, measured, view in [
            (n, m, v) for n in saes for m in ("mse", "l0", "features_active") for v in ("original", "qa")
        ]:
            (own,) = rows[(rows["sae"] == name) & (rows["measure"] == measured) & (rows["view"] == view)]["value"]
            (expected,) = found[(found["sae"] == name) & (found["measure"] == measured) & (found["view"] == view)]["value"]
            assert own == pytest.approx(expected, rel=1e-5)
        first = rows[rows["sae"] == "topk.raw.k16"].iloc[0]
        assert (first["variant"], first["trained_on"], first["k"]) == ("topk", "raw", 16) and pd.isna(first["sparsity"])
        assert set(rows["reconstructed"].dropna()) == {"none", "docs"} and "query" not in set(rows["view"])

    def test_the_file_says_how_it_was_made(self, place, trained, out):
        file = json.loads((out / "sweep.few.json").read_text())
        assert file["key"]["options"]["steps"] == 2 and file["key"]["options"]["documents"] == 100
        assert len(file["key"]["dictionaries"]) == 12 and str(place) not in json.dumps(file)
        assert "--dict-size 160 --steps 2 --batch-size 16" in file["facts"]["training_command"]

    def test_kept_while_nothing_changed(self, place, trained, out):
        written = (out / "sweep.few.json").read_bytes()
        assert "kept" in measure(place, trained, out).output and (out / "sweep.few.json").read_bytes() == written

    def test_dictionaries_that_cannot_be_compared(self, place, trained, tmp_path):
        mixed = tmp_path / "mixed"
        assert train(place, mixed, "--variant", "topk", "--seed", "1").exit_code == 0
        (mixed / "gated").symlink_to(trained / "gated.reasoned.sparsity0.4")
        done = measure(place, mixed, tmp_path / "out")
        assert done.exit_code == 2 and "trained alike" in done.output
        (mixed / "gated").unlink()
        (mixed / "whole").symlink_to(Xetrieval.default().path)
        done = measure(place, mixed, tmp_path / "out")
        assert done.exit_code == 2 and "another artifact" in done.output
        done = measure(place, tmp_path, tmp_path / "out")
        assert done.exit_code == 2 and "found none" in done.output and not (tmp_path / "out").exists()

    def test_the_page_has_the_section_only_with_the_files(self, out, tmp_path):
        page = tmp_path / "page"
        assert "1 sections, 4 figures" in render_page(out, page)
        text = (page / "results.md").read_text()
        assert "12 dictionaries of 160 features" in text and "nan" not in text.lower()
        assert len(list((page / "figures").glob("sweep*.svg"))) == text.count("](figures/sweep") == 4
        file = json.loads((out / "sweep.few.json").read_text())
        file["key"]["question"] = "other"
        (tmp_path / "without").mkdir()
        (tmp_path / "without" / "other.few.json").write_text(json.dumps(file))
        assert "0 sections, 0 figures" in render_page(tmp_path / "without", page.with_name("empty"))


# active features, variance explained, error, distinct features; of original vectors, then of views; nDCG as rebuilt and scaled
KNOWN = {
    ("topk", "reasoned", "k", 10): ((10, 0.5, 0.5, 90), (10, 0.6, 0.4, 80), (0.6, 0.7)),
    ("topk", "reasoned", "k", 1000): ((1000, 0.9, 0.1, 99), (1000, 1.0, 0.2, 99), (0.8, 0.8)),
    ("relu", "reasoned", "sparsity", 0.5): ((1, 0.1, 0.9, 50), (1, 0.1, 0.8, 60), (0.2, 0.4)),
    ("relu", "reasoned", "sparsity", 0.1): ((10_000, 0.8, 0.3, 100), (10_000, 0.8, 0.2, 100), (0.8, 0.8)),
    ("topk", "raw", "k", 10): ((10, 0.6, 0.4, 70), (10, 0.5, 0.5, 80), (0.6, 0.7)),
    ("topk", "raw", "k", 1000): ((1000, 1.0, 0.1, 90), (1000, 0.7, 0.2, 90), (0.8, 0.8)),
}


def results(known=KNOWN, original=0.8) -> Results:
    rows = []
    for (variant, trained_on, control, level), (*sides, kept) in known.items():
        own = {"collection": "c", "variant": variant, "trained_on": trained_on, control: level, "low": np.nan, "high": np.nan}
        for view, values in (("original", sides[0]), ("summary", sides[1]), ("qa", sides[1])):
            for measured, value in zip(("l0", "variance_explained", "mse", "features_active"), values, strict=True):
                rows.append({**own, "view": view, "measure": measured, "value": value})
        rows.append({**own, "view": "reasoned", "measure": "features_active", "value": 1e6})  # of all views: not among the means
        rows.append({**own, "view": "original", "reconstructed": "none", "measure": "nDCG@10", "value": original})
        for unscaled, value in zip((False, True), kept, strict=True):
            docs = {**own, "view": "original", "reconstructed": "docs", "unit": unscaled}
            rows.append({**docs, "measure": "nDCG@10", "value": value})
            rows.append(
                {
                    **docs,
                    "measure": "change",
                    "value": value - original,
                    "low": value - original - 0.03,
                    "high": value - original + 0.03,
                }
            )
    training = {"dict_size": 2048, "steps": 10, "batch_size": 4, "lr": 0.001, "documents": 5000}
    facts = {"training_command": "train"}
    key = {"question": "sweep", "options": training, "dictionaries": {"topk.reasoned.k10": "digest"}}
    return Results([{"key": key, "facts": facts}], {"sweep": pd.DataFrame(rows)})


class TestSection:
    def test_between_two_dictionaries_in_the_logarithm(self):
        points = pd.DataFrame({"l0_original": [1000.0, 10.0, 0.0], "y": [0.9, 0.5, -1.0]})
        assert at_equal(points, 100, "y") == pytest.approx(0.7) and at_equal(points, 10, "y") == pytest.approx(0.5)
        assert np.isnan(at_equal(points, 9, "y")) and np.isnan(at_equal(points[:0], 9, "y"))

    def test_the_means_of_each_dictionary(self):
        means = averages(sweep_levels())
        first = means.iloc[0]
        assert (first["variant"], first["level"], first["control"], first["l0_original"]) == ("topk", 10, "k", 10)
        assert (
            first["active_reasoned"] == 80 and first["kept"] == pytest.approx(0.75) and first["kept_unit"] == pytest.approx(0.875)
        )
        assert means["variant"].tolist() == ["topk", "topk", "relu", "relu", "topk", "topk"]
        assert spanned(means, ["topk", "relu"]) == 100

    def test_the_sentences_follow_the_numbers(self):
        text, drawn = sweep(results())
        assert "6 dictionaries of 2,048 features: topk and relu" in text and "topk also on these documents' vectors alone" in text
        # topk between .5 and .9; relu between .1 at 1 and .8 at 10,000
        assert (
            "At 100 active features" in text
            and "original vectors: topk 0.700, relu 0.450; nDCG@10 kept: topk 87.5%, relu 62.5%" in text
        )
        assert "number 1 of 2 in variance explained of original vectors and number 1 of 2 in nDCG@10 kept" in text
        assert "is ±3.0 points" in text and "by +0.0 to +25.0 points" in text
        of_reasoned = "of 4 dictionaries trained on reasoned vectors 3 with a lower error"
        assert f"{of_reasoned}, 2 with a larger share of variance explained and 1 with more distinct" in text
        assert "of 2 dictionaries trained on raw vectors 0 with a lower error, 0 with a larger" in text
        assert (
            "topk at 100 active features 0.700 against 0.800 of original vectors and 0.800 against 0.600 of internalised" in text
        )
        assert "| topk | reasoned | k = 10 | 10.0 | 10.0 | 0.500 | 0.600 | 0.500 | 0.400 | 90 | 80 | 75.0 | 87.5 |" in text
        assert list(drawn) == ["sweep", "sweep_ndcg", "sweep_mse", "sweep_active"]

    def test_a_dictionary_without_active_features_is_shown_and_not_ranked(self):
        dead = {("jumprelu", "reasoned", "sparsity", level): ((0, 0.0, 1.0, 0), (0, 0.0, 1.0, 0), (0.1, 0.1)) for level in (1, 2)}
        text, _ = sweep(results(KNOWN | dead))
        assert "any active feature: jumprelu." in text and "topk 0.700, relu 0.450;" in text
        assert "| jumprelu | reasoned | λ = 1 | 0.0 |" in text

    def test_kinds_that_share_no_sparsity_are_not_ranked(self):
        apart = {key: value for key, value in KNOWN.items() if key[0] == "topk"}
        apart |= {("relu", "reasoned", "sparsity", n): ((n, 0.1, 0.9, 5), (n, 0.1, 0.9, 5), (0.2, 0.4)) for n in (2, 4)}
        text, _ = sweep(results(apart))
        assert "left open" in text and "number 1 of" not in text

    def test_numbers_of_active_features_too_close_to_name_one_between(self):
        means = pd.DataFrame({"variant": ["relu", "relu"], "l0_original": [10.6, 10.9]})
        assert np.isnan(spanned(means, ["relu"]))

    def test_files_of_different_dictionaries_are_refused(self):
        mixed = results()
        other = {**mixed.files[0]["key"], "dictionaries": {"topk.reasoned.k10": "another"}}
        mixed.files.append({"key": other, "facts": mixed.files[0]["facts"]})
        with pytest.raises(ValueError, match="of the same dictionaries"):
            sweep(mixed)

    def test_without_raw_dictionaries_nothing_is_said_of_them(self):
        text, drawn = sweep(results({key: value for key, value in KNOWN.items() if key[1] == "reasoned"}))
        assert list(drawn) == ["sweep", "sweep_ndcg"] and "trained on raw" not in text and "(raw)" not in text


def sweep_levels() -> pd.DataFrame:
    from recipes.sections_sweep import _levels

    return _levels(results().frames["sweep"])
