"""What a language model makes of features: judges whose scores are known, the command, and the page."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from pyterrier_xetrieval import FeatureLabels, Xetrieval
from pyterrier_xetrieval.evaluation.dictionaries import untrained
from pyterrier_xetrieval.llm.endpoints import FunctionLLM
from recipes.judge_controls import TOPICS, controls
from recipes.judged_labels import Source, _differences, judged
from recipes.result_files import write_result
from recipes.results import main
from recipes.sections_judged import _controls
from recipes.sections_judged import judged as section
from recipes.tables import Results
from tests.helpers.builders import DIM, unit
from tests.helpers.gguf import write_tiny_gguf
from tests.helpers.planted import WORDS, planted

SIZES = {"n_texts": 6, "n_intruders": 9, "examples": 5, "contrast": 3, "max_chars": 200, "min_docs": 20}
FACTS = {"documents": 1, "queries": 1, "versions": {}, "cpu": "", "threads": 1, "date": "", "seconds": 1, "command": ""}


def kind(text: str) -> str:
    """The control topic or the planted word of a text."""
    return next((topic for topic, own in TOPICS.items() if text in own), None) or next(w for w in WORDS if w in text.split())


def careful(prompt: str) -> str:
    if "YES or NO" in prompt:
        text, label = re.search(r"^Text: (.*)\n\n.*of this kind: (.*)\? Answer", prompt).groups()
        return "Yes." if label == kind(text) else "NO"
    if "does not belong" in prompt:
        kinds = [kind(text) for text in re.findall(r"^\d+\. (.*)$", prompt, re.M)]
        return str(1 + next(i for i, k in enumerate(kinds) if kinds.count(k) == 1))
    return kind(re.search(r"^\[\d+\] (.*)$", prompt, re.M)[1])


def agreeable(prompt: str) -> str:
    return "YES" if "YES or NO" in prompt else "1" if "does not belong" in prompt else "everything"


@pytest.fixture(scope="module")
def world():
    """The planted model, each of its features labelled with the word of the next, a collection, and texts of the same kind."""
    model, collection = planted(n=240)
    shifted = pd.DataFrame({"feature": range(DIM), "label": [*WORDS[1:], WORDS[0]], "method": "shifted"})
    model = Xetrieval.from_parts(
        internalizers={}, sae=model.sae, encoder={"name": "", "dim": DIM}, labels=FeatureLabels(shifted, DIM)
    )
    others = [f"{text} besides" for text in collection.texts(range(240))]
    return model, collection, Source("other", [f"s{i}" for i in range(240)], np.asarray(collection.docs), others)


def ask(world, llm, folder, **changed):
    model, collection, source = world
    saes = {"explainer": model.sae, "random": untrained(model.sae, k=1, seed=1)}
    return judged(model, collection, source, llm, folder, saes=saes, n_features=4, **{**SIZES, **changed})


def one(table, measure, **conditions):
    table = table[table["measure"] == measure]
    for column, wanted in conditions.items():
        table = table[table[column] == wanted]
    (found,) = table.to_dict("records")
    return found


def test_a_careful_judge_finds_planted_features_and_rejects_wrong_labels(world, tmp_path):
    table = ask(world, careful, tmp_path)
    first = {"sae": "explainer", "labels": "hypotheses"}
    assert one(table, "detection", **first)["value"] == one(table, "hits", **first)["value"] == 1
    assert one(table, "detection", **first)["counts"] == [0] * 6 + [4] and one(table, "detection", **first)["n"] == 4
    assert one(table, "described", **first)["value"] == 1 and one(table, "unparsable", **first)["value"] == 0
    assert one(table, "constant", **first)["value"] == 0 and one(table, "constant", sae="explainer", labels="keywords")["n"] == 4
    single = table[(table["measure"] == "feature") & (table["labels"] == "hypotheses") & (table["sae"] == "explainer")]
    assert [WORDS[j] for j in single["feature"]] == single["label"].tolist() and len(single) == 4
    keywords = table[(table["measure"] == "feature") & (table["labels"] == "keywords")]
    assert set(keywords["feature"]) == set(single["feature"])  # the same features
    assert one(table, "hits", labels="keywords")["value"] == 0
    difference = one(table, "difference", labels="keywords")
    assert difference["value"] == pytest.approx(1 - one(table, "detection", labels="keywords")["value"]) and difference["low"] > 0
    apart = one(table, "difference", labels="hypotheses")
    assert apart["sae"] == "random"
    assert apart["value"] == pytest.approx(1 - one(table, "detection", sae="random", labels="hypotheses")["value"])
    assert apart["low"] <= apart["value"] <= apart["high"]
    assert one(table, "mono_semanticity", sae="explainer")["value"] == 1
    control = table[table["sae"] == "control"]
    assert one(control, "detection")["value"] == one(control, "mono_semanticity")["value"] == 1
    assert one(control, "hits", labels="wrong")["value"] == 0


def test_a_judge_that_cannot_tell_the_controls_intruders_is_not_asked_for_the_features(world, tmp_path):
    table = ask(world, agreeable, tmp_path)
    assert one(table, "detection", sae="explainer", labels="hypotheses")["value"] == 0.5
    assert one(table, "constant", sae="explainer", labels="hypotheses")["value"] == 1
    control = table[table["sae"] == "control"]
    assert one(control, "detection")["value"] == 0.5 and one(control, "hits", labels="wrong")["value"] == 1
    assert set(table[table["measure"] == "mono_semanticity"]["sae"]) == {"control"}
    assert not (tmp_path / "intruder.explainer.jsonl").exists()


def test_answers_are_kept_and_more_features_go_on_with_them(world, tmp_path):
    asked = []

    def counts(prompt):
        asked.append(prompt)
        return careful(prompt)

    llm = FunctionLLM(counts, name="counts")
    table = ask(world, llm, tmp_path)
    first = len(asked)
    pd.testing.assert_frame_equal(ask(world, llm, tmp_path), table)
    assert len(asked) == first
    model, collection, source = world
    judged(model, collection, source, llm, tmp_path, saes={"explainer": model.sae}, n_features=5, **SIZES)
    assert len(asked) == first + 1 + 2 * 6 + 1  # a hypothesis, two labels on six texts, an intruder


def test_controls_are_asked_in_the_words_of_real_features(tmp_path):
    seen = []
    controls(lambda prompt: seen.append(prompt) or "NO", tmp_path, n_texts=2)
    assert len(seen) == 2 * 2 * len(TOPICS) + len(TOPICS)
    assert all(len(set(own)) == 10 for own in TOPICS.values())


def test_labels_of_the_same_features_are_compared_feature_by_feature():
    scores = {
        ("explainer", kind): pd.DataFrame({"feature": range(4), "accuracy": accuracy})
        for kind, accuracy in {"hypotheses": [1, 0.5, 1, 0.5], "keywords": [0.5, 0, 0.5, 0]}.items()
    }
    (row,) = _differences(scores, seed=0).to_dict("records")
    assert (row["value"], row["low"], row["high"]) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("low, high, said", [(0.1, 0.3, "higher than"), (-0.3, -0.1, "lower than"), (-0.1, 0.1, "not signif")])
def test_the_page_says_which_way_mono_semanticity_differs(world, tmp_path, low, high, said):
    table = ask(world, careful, tmp_path)
    table.loc[table["measure"] == "mono_difference", ["low", "high"]] = low, high
    assert f"The explainer's is {said}" in _controls(table, {**SIZES})


def test_source_and_collection_may_number_their_documents_alike(world, tmp_path):
    model, collection, source = world
    asked = {}
    for name, docnos in (("apart", source.docnos), ("alike", collection.docnos.tolist())):
        seen = asked[name] = []
        (tmp_path / name).mkdir()
        ask((model, collection, replace(source, docnos=docnos)), lambda p, s=seen: s.append(p) or careful(p), tmp_path / name)
    assert asked["apart"] == asked["alike"]


def test_too_few_features_are_refused(world, tmp_path):
    with pytest.raises(ValueError, match="41 documents of .planted."):
        ask(world, careful, tmp_path, min_docs=41)


def test_the_section_says_what_the_numbers_say(world, tmp_path):
    options = {"llm": "careful", "source": "other", "n_features": 4, **SIZES}
    for name, llm in (("good", careful), ("poor", agreeable)):
        (tmp_path / name).mkdir()
        table = ask(world, llm, tmp_path / name / "answers")
        key = {"model": {}, "seed": 0, "question": "judged", "collection": "planted", "options": options}
        write_result(tmp_path / name / "judged.planted.json", key, FACTS, table)
    (good, figures), (poor, _) = (section(Results.read(tmp_path / name)) for name in ("good", "poor"))
    assert list(figures) == ["judged_planted"] and "nan" not in good + poor
    assert "the hypotheses are better than them (+" in good and "It can judge such labels" in good
    assert "names the intruder among 10 such texts for 1.00" in good and "explainer 1.000 [1.000, 1.000] of 4 features" in good
    assert "no better than chance: what follows means nothing" in poor and "cannot measure mono-semanticity" in poor
    assert (
        "right in half of them: explainer 0.00, random" in good and "right in half of them: explainer 1.00, random 1.00" in poor
    )
    assert "above chance: none" in poor and "not significantly different from them" in poor
    assert f"| 2 | {WORDS[2]} | 1.00 | {WORDS[3]} | 0." in good


def test_a_judge_that_answers_alike_measures_nothing(world, tmp_path):
    """It tells the made-up topics apart, but says yes to all texts of a real feature."""
    topics = {text for texts in TOPICS.values() for text in texts}

    def alike(prompt):
        return careful(prompt) if any(text in prompt for text in topics) else agreeable(prompt)

    options = {"llm": "alike", "source": "other", "n_features": 4, **SIZES}
    table = ask(world, alike, tmp_path / "answers")
    key = {"model": {}, "seed": 0, "question": "judged", "collection": "planted", "options": options}
    write_result(tmp_path / "judged.planted.json", key, FACTS, table)
    text, _ = section(Results.read(tmp_path))
    assert "100% of the explainer's features it said the same of all texts" in text
    assert "not measurable with this judge" in text and "It can judge such labels" not in text


class TestCommand:
    @pytest.fixture
    def data(self, tmp_path):
        """A collection of 110 documents around two vectors, so that some features are active in 50; other texts of the kind."""
        rng, place = np.random.default_rng(0), tmp_path / "data"
        centres = unit(rng, 2, 384)
        docs = np.stack([centres[i % 2] + 0.1 * unit(rng, 1, 384)[0] for i in range(110)])
        docs /= np.linalg.norm(docs, axis=1, keepdims=True)
        (place / "few").mkdir(parents=True)
        lines = {"corpus": [{"_id": f"d{i}", "text": f"word {i}"} for i in range(110)], "queries": [{"_id": "q", "text": "word"}]}
        for name, rows in lines.items():
            (place / "few" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (place / "few" / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\td0\t1\n")
        (place / "more").mkdir()
        others = (json.dumps({"_id": f"m{i}", "text": f"term {i}"}) for i in range(110))
        (place / "more" / "corpus.jsonl").write_text("\n".join(others))
        np.save(place / "more.f16.npy", docs.astype(np.float16))
        np.save(place / "few.f16.npy", docs.astype(np.float16))
        np.save(place / "few.q.f16.npy", docs[:1].astype(np.float16))
        return place

    def measure(self, data, out, *more):
        arguments = ["measure", "--data", str(data), "--vectors", str(data), "--collections", "few", "--out", str(out)]
        return CliRunner().invoke(main, [*arguments, *more])

    @pytest.mark.filterwarnings("ignore:.*are missing")
    def test_a_local_model_is_asked_once(self, data, tmp_path):
        write_tiny_gguf(tmp_path / "tiny.gguf")
        more = ["--judge", str(tmp_path / "tiny.gguf"), "--judge-texts", "more", "--judge-features", "2", "--questions", "judged"]
        done = self.measure(data, tmp_path / "out", *more)
        assert done.exit_code == 0 and "judged.few.json: " in done.output
        file = json.loads((tmp_path / "out" / "judged.few.json").read_text())
        assert file["key"]["options"]["llm"] == "tiny" and file["key"]["options"]["source"] == "more"
        assert "--judge FILE --judge-texts more" in file["facts"]["command"] and str(tmp_path) not in json.dumps(file)
        assert [path.name for path in (tmp_path / "out").glob("*.json")] == ["judged.few.json"]  # nothing else was asked
        assert {row["sae"] for row in file["rows"]} == {"explainer", "random", "control"}
        assert (tmp_path / "out" / "judged" / "few" / "control_intruder.jsonl").is_file()
        assert "judged.few.json: kept" in self.measure(data, tmp_path / "out", *more).output
        assert Results.read(tmp_path / "out").frames["judged"]["measure"].isin(["detection"]).any()

    @pytest.mark.parametrize(
        "more, said",
        [
            (["--judge-model", "m"], "need --data and --judge-texts"),
            (["--base-url", "http://localhost:1/v1"], "these with --judge-model"),
            (["--judge-model", "m", "--judge-texts", "none", "--questions", "judged"], "no such file"),
            (["--judge-model", "m", "--judge-texts", "few", "--questions", "judged"], "found 110 of 'few' in 'few'"),
            (["--questions", "judged"], "needs --judge or --judge-model"),
        ],
    )
    def test_what_a_user_can_get_wrong(self, data, tmp_path, more, said):
        done = self.measure(data, tmp_path / "out", *more)
        assert done.exit_code == 2 and said in " ".join(done.output.split())


def test_texts_without_their_vectors_are_refused(tmp_path):
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "corpus.jsonl").write_text('{"_id": "a", "text": "x"}\n')
    np.save(tmp_path / "few.f16.npy", np.ones((2, 4), np.float16))
    with pytest.raises(ValueError, match=r"each of 1 texts of few in .*, found an array \(2, 4\)"):
        Source.read(tmp_path, "few", vectors=tmp_path)
    np.save(tmp_path / "few.f16.npy", np.ones((1, 4), np.float16))
    source = Source.read(tmp_path, "few", vectors=tmp_path)
    assert (
        source.texts == ["x"] and np.allclose(source.docs, 0.5) and source.digest() != replace(source, docs=np.eye(1, 4)).digest()
    )
