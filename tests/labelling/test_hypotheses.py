"""Samples, hypotheses and their quality on planted features, judged by functions that really read the prompts."""

import json
import random
import re

import numpy as np
import pandas as pd
import pytest
import torch

from pyterrier_xetrieval import FeatureLabels, Xetrieval
from pyterrier_xetrieval.labelling.hypotheses import check_label, clean_label, describe
from pyterrier_xetrieval.labelling.quality import detection_scores, intruder_detection, read_number, read_yes_no
from pyterrier_xetrieval.labelling.samples import feature_samples
from pyterrier_xetrieval.llm.endpoints import EndpointLLM, FunctionLLM, TeacherError
from pyterrier_xetrieval.llm.prompts import fill
from tests.helpers.builders import identity_sae, make_model, unit
from tests.helpers.llm_server import lines, real_server

WORDS = ("rabbit", "violin", "harbour", "tax", "glacier", "yeast")
FILLER = "the and some about many here there which quite often".split()


@pytest.fixture(scope="module")
def planted():
    """Feature ``j`` is active in exactly the texts that hold ``WORDS[j]``; six features, 240 texts."""
    rng = np.random.default_rng(0)
    vectors, texts = np.zeros((240, 6), np.float32), []
    for i, vector in enumerate(vectors):
        vector[i % 6] = rng.uniform(1, 2)
        texts.append(" ".join([*rng.permutation(FILLER)[:5], WORDS[i % 6], *rng.permutation(FILLER)[:3]]))
    model = Xetrieval.from_parts(internalizers={}, sae=identity_sae(), encoder={"name": "", "dim": 6})
    samples = feature_samples(model, vectors, docnos=[f"d{i}" for i in range(240)], random=30, seed=1)
    return samples, texts


def oracle(prompt: str) -> str:
    """Reads a prompt as a careful person would, by the words in it."""
    if "Answer with YES or NO" in prompt:
        text, label = re.search(r"^Text: (.*)\n\n.*of this kind: (.*)\? Answer", prompt).groups()
        return "Yes." if label in text.split() else "NO"
    if "does not belong" in prompt:
        texts = dict(re.findall(r"^(\d+)\. (.*)$", prompt, re.M))
        common = {
            w for w in set(" ".join(texts.values()).split()) if sum(w in t.split() for t in texts.values()) == len(texts) - 1
        }
        common &= set(WORDS)
        return next(f"Text {n}" for n, t in texts.items() if not common & set(t.split()))
    active = [set(t.split()) for t in re.findall(r"^\[\d+\] (.*)$", prompt, re.M)]
    silent = {word for t in re.findall(r"^- (.*)$", prompt, re.M) for word in t.split()}
    return f'Label: "{" ".join(set.intersection(*active) - silent)}."'


def brute_force(model, vectors):
    """``[n, D]``: the maximum over views, one document at a time."""
    rows = []
    for z in torch.from_numpy(vectors):
        views = torch.stack([z, *(module(z) for module in model.internalizers.values())])
        rows.append(model.sae.encode(views).dense(model.sae.dict_size).amax(0).numpy())
    return np.stack(rows)


def test_samples_are_those_of_a_brute_force_computation_however_they_arrive():
    model, vectors = make_model(), unit(np.random.default_rng(0), 700, 16)
    expected = brute_force(model, vectors)
    arrivals = [vectors, *(np.array_split(vectors, n) for n in (1, 3, 8, 700)), iter([vectors[:0], vectors[:257], vectors[257:]])]
    all_samples = [feature_samples(model, a, top=20, random=15, pool=300, seed=3) for a in arrivals]
    samples = all_samples[0]
    for other in all_samples[1:]:
        for name in ("docs", "values", "active", "others", "counts"):
            assert np.array_equal(getattr(samples, name), getattr(other, name)), name
    order = np.argsort(-expected, axis=0, kind="stable")[:20].T
    values = np.take_along_axis(expected.T, order, 1)
    assert np.array_equal(samples.counts, (expected > 0).sum(0)) and samples.counts.min() < 100 < samples.counts.max()
    assert np.array_equal(samples.docs, np.where(values > 0, order, -1))
    np.testing.assert_allclose(samples.values, values, atol=1e-6)
    np.testing.assert_allclose(samples.firing_rate, (expected > 0).mean(0))
    np.testing.assert_allclose(samples.max_activation, expected.max(0), atol=1e-6)
    for j in range(model.sae.dict_size):
        active, others = samples.active[j], samples.others[j]
        assert len(set(active[active >= 0])) == (active >= 0).sum() == min(15, samples.counts[j])
        assert (expected[active[active >= 0], j] > 0).all() and (expected[others[others >= 0], j] == 0).all()
        assert len(set(others[others >= 0])) == (others >= 0).sum() <= 700 - samples.counts[j]
        assert (others >= 0).all() or samples.counts[j] > 600  # few in the pool, or none at all
    raw = feature_samples(model, vectors, aspects=[])
    assert np.array_equal(raw.counts, model.sae.encode(torch.from_numpy(vectors)).dense(48).gt(0).sum(0).numpy())
    assert raw.counts.sum() < samples.counts.sum()


def test_random_documents_are_uniform_and_seeded():
    model = Xetrieval.from_parts(internalizers={}, sae=identity_sae(), encoder={"name": "", "dim": 6})
    vectors = np.zeros((900, 6), np.float32)
    vectors[::3, 0] = 1.0  # a tie of 300 documents
    drawn = [feature_samples(model, vectors, random=30, pool=90, seed=seed) for seed in range(40)]
    assert drawn[0].docs[0].tolist() == list(range(0, 60, 3))  # of equal ones the first
    active, others = np.concatenate([s.active[0] for s in drawn]), np.concatenate([s.others[0] for s in drawn])
    assert (active % 3 == 0).all() and (others % 3 > 0).all()
    assert abs(active.mean() - 450) < 30 and abs(others.mean() - 450) < 30
    assert not np.array_equal(drawn[0].active, drawn[1].active) and not np.array_equal(drawn[0].others[1], drawn[0].others[2])
    assert (drawn[0].docs[1] == -1).all() and drawn[0].max_activation[1] == 0


def test_vectors_that_cannot_be_used_are_named():
    model, vectors = make_model(), unit(np.random.default_rng(0), 5, 16)
    broken = vectors.copy()
    broken[3, 2] = np.nan
    for message, given, options in (
        ("16-dimensional.*shape .5, 7", vectors[:, :7], {}),
        ("NaN or infinity in vector 3", np.array_split(broken, 2), {}),
        ("docno of its own for each of 5", vectors, {"docnos": list("abca")}),
        ("docno of its own for each of 5", vectors, {"docnos": list("abcda")}),
        ("top to be a positive whole number", vectors, {"top": 0}),
        ("threshold >= 0", vectors, {"threshold": -1.0}),
        ("aspects among", vectors, {"aspects": ["x"]}),
    ):
        with pytest.raises(ValueError, match=message):
            feature_samples(model, given, **options)
    assert feature_samples(model, vectors, top=np.int64(3)).docs.shape[1] == 3


def test_an_oracle_finds_the_planted_words(planted, tmp_path):
    samples, texts = planted
    before = pd.DataFrame({"feature": [0, 5], "label": ["old", "kept"], "method": "keywords", "mine": [1.0, 2.0]})
    llm = FunctionLLM(oracle, name="oracle")
    labels = describe(samples, texts, llm, tmp_path / "h.jsonl", features=range(5), labels=FeatureLabels(before, 6))
    assert [labels[j] for j in range(6)] == [*WORDS[:5], "kept"] and labels.methods == ["hypothesis (oracle)", "keywords"]
    row = labels.table.iloc[2]
    assert json.loads(row.examples) == [f"d{d}" for d in samples.docs[2, :10]] and len(json.loads(row.contrast)) == 5
    assert row.firing_rate == pytest.approx(1 / 6) and row.max_activation == samples.values[2, 0]
    labels.write(tmp_path / "labels.tsv")
    again = FeatureLabels.read(tmp_path / "labels.tsv", 6)
    assert again.table.examples[2] == row.examples and again[5] == "kept" and again.table.examples[5] == ""

    table = detection_scores(samples, texts, labels, llm, tmp_path / "d.jsonl", n_texts=16, min_docs=40)
    assert sorted(table.feature) == list(range(6)) and set(table.label) == {*WORDS[:5], "kept"}
    assert (table.set_index("feature").accuracy == [0.5 if label == "kept" else 1.0 for label in table.label]).all()
    assert table.set_index("label").loc["kept", ["hits", "rejections"]].tolist() == [0, 1] and (table.unparsable == 0).all()
    for seen in lines(tmp_path / "d.jsonl"):
        assert seen["active"] == (WORDS[seen["feature"]] in texts[int(seen["docno"][1:])])
        if seen["feature"] < 5:  # nothing that the label was made from
            assert seen["docno"] not in json.loads(labels.table.examples[seen["feature"]] or "[]")
            assert seen["docno"] not in json.loads(labels.table.contrast[seen["feature"]] or "[]")
    table = intruder_detection(samples, texts, llm, tmp_path / "i.jsonl", min_docs=40)
    assert table.correct.all() and len(table) == 6 and table.intruder.nunique() > 1
    for row in lines(tmp_path / "i.jsonl"):  # the number can be audited from the file alone
        fits = [WORDS[row["feature"]] in texts[int(docno[1:])] for docno in row["order"]]
        assert len(fits) == 10 and fits.count(False) == 1 and not fits[row["verdict"] - 1] and row["seed"] == 0
    assert len(intruder_detection(samples, texts, llm, tmp_path / "none.jsonl", min_docs=41)) == 0
    assert len(detection_scores(samples, texts, labels, llm, tmp_path / "none2.jsonl", min_docs=41)) == 0


def test_a_judge_that_guesses_is_right_by_chance(tmp_path):
    model = make_model()
    vectors = unit(np.random.default_rng(1), 1500, 16)
    samples, texts = feature_samples(model, vectors), [f"text {i}" for i in range(1500)]
    rng = random.Random(0)
    guess = FunctionLLM(lambda prompt: rng.choice(["YES", "NO"]) if "YES" in prompt else str(rng.randint(1, 10)), name="guess")
    table = detection_scores(samples, texts, model.labels, guess, tmp_path / "d.jsonl", n_texts=40)
    assert len(table) >= 30 and table.accuracy.mean() == pytest.approx(0.5, abs=0.04)
    chance = [
        intruder_detection(samples, texts, guess, tmp_path / f"{s}.jsonl", seed=s, min_docs=20).correct.mean() for s in range(20)
    ]
    assert np.mean(chance) == pytest.approx(0.1, abs=0.03)
    drawn = [intruder_detection(samples, texts, guess, tmp_path / f"n{n}.jsonl", n_features=n).feature for n in (5, 9)]
    assert drawn[0].tolist() == drawn[1].tolist()[:5] and len(drawn[1]) == 9


def test_a_verdict_that_cannot_be_read_is_wrong_and_recorded(planted, tmp_path):
    samples, texts = planted
    labels = FeatureLabels(pd.DataFrame({"feature": range(6), "label": WORDS, "method": "m"}), 6)
    mumble = FunctionLLM(lambda prompt: "It depends, yes or no.", name="mumble")
    table = detection_scores(samples, texts, labels, mumble, tmp_path / "d.jsonl", n_texts=4, min_docs=1)
    assert (table.accuracy == 0).all() and (table.unparsable == 4).all()
    rows = lines(tmp_path / "d.jsonl")
    assert len(rows) == 24 and all(row["verdict"] is None and row["answer"] == "It depends, yes or no." for row in rows)
    table = intruder_detection(samples, texts, mumble, tmp_path / "i.jsonl", min_docs=1)
    assert not table.correct.any() and table.verdict.isna().all()
    assert [read_yes_no(t) for t in ("**Yes**, it does", "Answer: no", "<think>yes</think>NO", "<think>yes", "", "Nothing")] == [
        True, False, False, None, None, None,
    ]  # fmt: skip
    answers = ("7", "Text 7.", "**The answer is: 10**", "7, as 3 is fine", "11", "0", "3 of 10 or 4", "between 3 and 4", "none")
    assert [read_number(t, 10) for t in answers] == [7, 7, 10, 7, None, None, 3, None, None]


@pytest.mark.parametrize("workers", [1, 3])
def test_an_interrupted_run_that_goes_on_gives_the_same_file(planted, tmp_path, workers):
    samples, texts = planted
    labels = FeatureLabels(pd.DataFrame({"feature": range(6), "label": WORDS, "method": "m"}), 6)
    jobs = {
        "h": lambda llm, path: describe(samples, texts, llm, path).table,
        "d": lambda llm, path: detection_scores(samples, texts, labels, llm, path, n_texts=6, min_docs=1),
        "i": lambda llm, path: intruder_detection(samples, texts, llm, path, min_docs=1),
    }
    rng, llm = random.Random(workers), FunctionLLM(oracle, name="oracle", workers=workers)
    for name, job in jobs.items():
        whole = tmp_path / f"{name}.jsonl"
        table = job(llm, whole)
        n = len(lines(whole))
        for attempt in range(3):
            left, path = [rng.randrange(n)], tmp_path / f"{name}{attempt}.jsonl"

            def dies(prompt, left=left):
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
                return oracle(prompt)

            with pytest.raises(KeyboardInterrupt):
                job(FunctionLLM(dies, name="oracle", workers=workers), path)
            assert whole.read_bytes().startswith(path.read_bytes())
            with open(path, "ab") as file:
                file.write(b'{"feature": 5, "lab')
            pd.testing.assert_frame_equal(job(llm, path), table)
            assert path.read_bytes() == whole.read_bytes()

        def silent(prompt):
            raise AssertionError("everything is in the file")

        pd.testing.assert_frame_equal(job(FunctionLLM(silent, name="oracle"), whole), table)


def test_answers_about_something_else_are_not_mixed(planted, tmp_path):
    samples, texts = planted
    path, other = tmp_path / "h.jsonl", FunctionLLM(oracle, name="other")
    describe(samples, texts, oracle, path)
    before = path.read_bytes()
    for message, call in {
        "of model 'oracle' .line 1., this call's is 'other'": lambda: describe(samples, texts, other, path),
        "of prompt": lambda: describe(samples, texts, oracle, path, prompt="{active} {silent}"),
        "other samples, texts or labels for .'feature': 0": lambda: describe(samples, texts, oracle, path, examples=3),
        "of test None": lambda: intruder_detection(samples, texts, oracle, path, min_docs=1),
        "a text for each of 240 documents, found 3": lambda: describe(samples, texts[:3], oracle, path),
        "active.*in the prompt": lambda: describe(samples, texts, oracle, path, prompt="{silent}"),
        "features of 0 … 5": lambda: describe(samples, texts, oracle, path, features=[6]),
        "labels of 7": lambda: describe(samples, texts, oracle, path, labels=FeatureLabels.empty(7)),
        "even number": lambda: detection_scores(samples, texts, FeatureLabels.empty(6), oracle, path, n_texts=3),
        "2 … 20 texts": lambda: intruder_detection(samples, texts, oracle, path, n_texts=21),
    }.items():
        with pytest.raises(ValueError, match=message):
            call()
    assert path.read_bytes() == before
    intruder_detection(samples, texts, oracle, tmp_path / "i.jsonl", min_docs=1)
    with pytest.raises(ValueError, match="of seed 0 .line 1., this call's is 1"):
        intruder_detection(samples, texts, oracle, tmp_path / "i.jsonl", min_docs=1, seed=1)


def test_malformed_hypotheses_are_asked_for_again_and_recorded(planted, tmp_path):
    samples, texts = planted
    answers = iter(["", "one two three four five six seven eight nine", "**Label:** animals.", *["..."] * 3, *map(str, range(4))])
    before = FeatureLabels(pd.DataFrame({"feature": [1], "label": ["kept"], "method": ["keywords"]}), 6)
    with pytest.warns(UserWarning, match="1 answer.* missing"):
        labels = describe(samples, texts, lambda prompt: next(answers), tmp_path / "h.jsonl", labels=before)
    assert [labels[j] for j in range(6)] == ["animals", "kept", "0", "1", "2", "3"]
    failures = lines(tmp_path / "h.failures.jsonl")
    assert [(row["feature"], row["attempt"]) for row in failures] == [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3)]
    assert failures[1]["reason"] == "9 words, expected 1 to 8" and failures[1]["answer"].endswith("nine")
    with pytest.raises(TeacherError, match="3 times in a row.*no phrase"):
        describe(samples, texts, lambda prompt: "", tmp_path / "x.jsonl", give_up=3)


def test_answers_are_cleaned():
    for text in (
        "sorting lists", " 'Sorting lists.' ", "Label: sorting lists", "**Hypothesis:** “sorting lists”.", "The label is:\nsorting lists",
        "<think>hm\n</think>\nsorting   lists\n\nBecause …", "# Final answer = sorting lists", "Here it is:\n\n- sorting lists",
    ):  # fmt: skip
        assert clean_label(text).lower().removeprefix("- ") == "sorting lists", text
    assert clean_label("<think>still") == "" and clean_label("C++ labels: a guide") == "C++ labels: a guide"
    assert check_label("a b c d e f g h") is None and check_label("…") and check_label("漢" * 200)
    assert fill("{a} {b} {c}", a="{b}", b="x") == "{b} x {c}"


def test_a_real_model_on_a_real_server(planted, tmp_path):
    samples, texts = planted
    url = f"{real_server().listening_address}/v1"
    llm = EndpointLLM("smollm2", base_url=url, max_tokens=5, temperature=0, workers=2)
    options = {"examples": 2, "contrast": 1, "max_chars": 40, "attempts": 1}
    labels = describe(samples, texts, llm, tmp_path / "h.jsonl", features=[0], **options)
    rows = lines(tmp_path / "h.jsonl")
    assert [row["feature"] for row in rows] == [0] and all(check_label(row["label"]) is None for row in rows)
    assert labels.methods == ["hypothesis (smollm2)"]
    found = detection_scores(samples, texts, labels, llm, tmp_path / "d.jsonl", n_features=1, n_texts=2, min_docs=1)
    assert len(found) == 1 and len(lines(tmp_path / "d.jsonl")) == 2
    found = intruder_detection(samples, texts, llm, tmp_path / "i.jsonl", n_features=1, n_texts=2, min_docs=1)
    row = lines(tmp_path / "i.jsonl")[0]
    assert len(found) == 1 and len(row["order"]) == 3 and row["verdict"] in (None, 1, 2, 3)
