"""Hypotheses and their quality on planted features, asked of functions that really read the prompts."""

import json
import random

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import FeatureLabels, Xetrieval
from pyterrier_xetrieval.labelling import EvidencePassages, feature_samples
from pyterrier_xetrieval.labelling.hypotheses import check_label, clean_label, describe, read_clarity
from pyterrier_xetrieval.labelling.quality import DETECT, detection_scores, intruder_detection
from pyterrier_xetrieval.llm.endpoints import EndpointLLM, FunctionLLM, TeacherError
from pyterrier_xetrieval.llm.prompts import fill
from pyterrier_xetrieval.token_vectors import TokenEncoder
from tests.helpers.llm_server import lines, real_server
from tests.helpers.planted import WORDS, oracle, planted_samples


@pytest.fixture(scope="module")
def planted():
    return planted_samples()


def test_an_oracle_finds_the_planted_words(planted, tmp_path):
    samples, texts = planted
    before = pd.DataFrame({"feature": [0, 5], "label": ["old", "kept"], "method": "keywords", "mine": [1.0, 2.0]})
    llm = FunctionLLM(oracle, name="oracle")
    labels = describe(samples, texts, llm, tmp_path / "h.jsonl", features=range(5), labels=FeatureLabels(before, 6))
    assert [labels[j] for j in range(6)] == [*WORDS[:5], "kept"] and labels.methods == ["hypothesis (oracle)", "keywords"]
    row = labels.table.iloc[2]
    assert json.loads(row.examples) == [f"d{d}" for d in samples.examples(2, 10)[0]] and len(json.loads(row.contrast)) == 5
    assert row.firing_rate == pytest.approx(1 / 6) and row.max_activation == samples.values[2, 0]
    assert labels.table["clarity"].tolist()[:5] == [2] * 5 and labels.facts(2).clarity == 2  # of the kept label nobody knows it
    assert np.isnan(labels.facts(5).clarity)
    labels.write(tmp_path / "labels.tsv")
    again = FeatureLabels.read(tmp_path / "labels.tsv", 6)
    assert again.table.examples[2] == row.examples and again[5] == "kept" and again.table.examples[5] == ""

    table = detection_scores(samples, texts, labels, llm, tmp_path / "d.jsonl", n_texts=16, min_docs=40)
    assert sorted(table.feature) == list(range(6)) and set(table.label) == {*WORDS[:5], "kept"}
    assert (table.set_index("feature").accuracy == [0.5 if label == "kept" else 1.0 for label in table.label]).all()
    assert table.set_index("label").loc["kept", ["hits", "rejections"]].tolist() == [0, 1] and (table.unparsable == 0).all()
    for seen in lines(tmp_path / "d.jsonl"):
        assert seen["active"] == (WORDS[seen["feature"]] in texts[int(seen["docno"][1:])]) == (seen["activation"] > 0)
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
        "'feature': 0.* was asked about before, .*with other samples, texts or labels": lambda: describe(
            samples, texts, oracle, path, examples=3
        ),
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
    for text in ("Label: sorting lists\nClarity: 2", "clarity = 1\nLabel: Sorting lists", "sorting lists (clarity: **0**)"):
        assert clean_label(text).lower() == "sorting lists" and read_clarity(text) in (2, 1, 0)
    assert read_clarity("clarity of diamonds") is None and clean_label("clarity of diamonds") == "clarity of diamonds"
    assert read_clarity("sorting lists") is None and read_clarity("<think>Clarity: 2</think>Label: x\nClarity: 1") == 1
    assert check_label("a b c d e f g h") is None and check_label("…") and check_label("漢" * 200)
    assert fill("{a} {b} {c}", a="{b}", b="x") == "{b} x {c}"


CORPUS = [
    f"{a} {b}"
    for a in ("The oak tree", "A migraine headache", "Sorting numbers", "The stock market")
    for b in ("in detail.", "and what to do.", "explained simply.", "for beginners.", "with examples.", "every day.", "at last.")
]
TELLS = "Label: putting things in order\nClarity: 1"


@pytest.fixture(scope="module")
def real():
    """The bundled model's samples of a few texts, one of them long with its sorting in the middle, and what marks words."""
    model, filler = Xetrieval.default(), "The committee met again and the minutes were approved by all who were present. "
    texts = [*CORPUS, f"{filler * 4}Numbers were sorted. {filler * 4}"]
    encoder = model.encoder()
    return feature_samples(model, encoder.encode_docs(texts)), texts, EvidencePassages(model, TokenEncoder(encoder))


def test_the_prompt_shows_where_the_feature_is(real, tmp_path):
    samples, texts, evidence = real
    asked = []

    def llm(prompt):
        asked.append(prompt)
        return TELLS

    options = {"features": [461], "examples": 2, "contrast": 2, "evidence": evidence}
    labels = describe(samples, texts, llm, tmp_path / "h.jsonl", **options)
    shown, values = samples.examples(461, 2)
    passages = evidence.read([texts[d] for d in shown], [461, 461], 500)
    assert passages[0].text.startswith("**Sorting numbers") and values[1] < values[0]
    second = int(np.ceil(10 * values[1] / samples.values[461, 0]))
    silent = [texts[d] for d in samples.others[461, :2]]
    assert asked == [
        "A feature of a text embedding model is active in some texts and silent in others. Find out what it stands for.\n\n"
        "Texts in which the feature is active, each with its strength from 1 (weak) to 10 (strongest), the words that carry it "
        f"most between two **asterisks**:\n\n[10] {passages[0].text}\n[{second}] {passages[1].text}\n\n"
        f"Texts in which the feature is silent:\n\n- {silent[0]}\n- {silent[1]}\n\n"
        "What do the active texts have in common that the silent ones lack? It may be a topic, an intention, a kind of question "
        "or a style. Find the phrase that is true of as many active texts as possible, the weak ones included, and still says "
        "something definite. Answer with two lines and nothing else:\nLabel: one phrase of 1 to 8 words\nClarity: 2 if nearly "
        "all active texts fit the label, 1 if most do, 0 if they have nothing in common"
    ]
    row = lines(tmp_path / "h.jsonl")[0]
    assert (row["label"], row["clarity"]) == ("putting things in order", 1) and {"sorting", "numbers"} <= set(row["words"][:2])
    assert labels.facts(461).clarity == 1
    with pytest.raises(ValueError, match="was asked about before"):  # without marks it is another question
        describe(samples, texts, llm, tmp_path / "h.jsonl", **{**options, "evidence": None})


def test_a_run_with_evidence_goes_on_and_tells_equal_labels_apart(real, tmp_path):
    samples, texts, evidence = real
    trees = next(j for j in np.argsort(-samples.max_activation).tolist() if "oak" in texts[samples.docs[j, 0]])
    llm, features, read = FunctionLLM(lambda prompt: TELLS, name="same"), [461, trees], []

    class Counting(EvidencePassages):
        def read(self, texts, features, max_chars, *, mark=True):
            read.append(sorted(set(features)))
            return super().read(texts, features, max_chars, mark=mark)

    counting, path = Counting(evidence.model, evidence.reader), tmp_path / "h.jsonl"
    first = describe(samples, texts, llm, path, features=features[:1], evidence=counting)
    assert first[461] == "putting things in order"
    both = describe(samples, texts, llm, path, features=features, evidence=counting)
    assert read[0] == [461] and read[1] == [features[1]]  # of an answered feature no text is read again
    assert both[461].startswith("putting things in order (") and both[features[1]].startswith("putting things in order (")
    assert both[461] != both[features[1]] and [row["label"] for row in lines(path)] == ["putting things in order"] * 2


def test_detection_looks_at_the_whole_range_and_cuts_long_texts_to_the_feature(real, tmp_path):
    samples, texts, evidence = real
    labels = FeatureLabels(pd.DataFrame({"feature": [461], "label": ["order"], "method": "m"}), samples.dict_size)
    asked, n = [], 2 * int(samples.counts[461])
    assert 28 in samples.docs[461]  # the long text

    def judge(prompt):
        asked.append(prompt)
        return "yes"

    options = {"n_texts": n, "min_docs": 1, "max_chars": 80, "evidence": evidence}
    table = detection_scores(samples, texts, labels, judge, tmp_path / "d.jsonl", **options)
    rows = {row["docno"]: row for row in lines(tmp_path / "d.jsonl")}
    active = {d: float(v) for d, v in zip(samples.docs[461].tolist(), samples.values[461].tolist()) if d >= 0}
    assert {int(d) for d, row in rows.items() if row["active"]} == set(active) and table["hits"].tolist() == [1]
    assert all(rows[str(d)]["activation"] == pytest.approx(value, rel=1e-3) for d, value in active.items())
    window = evidence.read([texts[28]], [461], 80, mark=False)[0].text
    assert "sorted" in window and fill(DETECT, text=window, label="order") in asked and not any("**" in p for p in asked)


def test_a_real_model_on_a_real_server_reads_marked_texts(real, tmp_path):
    samples, texts, evidence = real
    llm = EndpointLLM("smollm2", base_url=f"{real_server().listening_address}/v1", max_tokens=8, temperature=0)
    options = {"examples": 2, "contrast": 1, "max_chars": 80, "attempts": 1, "evidence": evidence}
    labels = describe(samples, texts, llm, tmp_path / "h.jsonl", features=[461], **options)
    row = lines(tmp_path / "h.jsonl")[0]
    assert labels[461] == row["label"] and row["clarity"] in (None, 0, 1, 2) and "sorting" in row["words"]


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
