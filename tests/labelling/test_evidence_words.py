"""Labels by evidence on texts that are about trees or rivers, with features that are active for one of the two."""

import json

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import FeatureLabels, Xetrieval
from pyterrier_xetrieval.core.evidence import WordVectors
from pyterrier_xetrieval.labelling.evidence_words import (
    METHOD,
    UNJUDGED,
    UNJUDGED_FLOOR,
    EvidenceCounts,
    _detection,
    evidence_labels,
    relabelled,
)
from pyterrier_xetrieval.words import spans
from tests.helpers.builders import identity_sae, make_model

WORDS = {"oak": 0, "oaks": 0, "elm": 0, "birch": 0, "river": 1, "stream": 1}  # and all others: coordinate 5, a little of each


def read(text: str) -> WordVectors:
    found = spans(text, "word")
    rows = np.zeros((len(found) + 3, 6), np.float32)
    for i, (a, b) in enumerate(found.tolist()):
        word = text[a:b].lower()
        rows[i, WORDS.get(word, 5)] = 1 / len(found)
        rows[i, 2] = 0.1 / len(found)
    return WordVectors(found, rows)


def test_features_are_called_by_the_words_that_carry_them():
    texts = [
        "Oaks grow tall here",
        "an oak by the elm there",
        "the river runs fast",
        "a stream runs slow",
        "elm and oak stand",
        "river water from a stream",
        "a birch by the river",
    ]
    counts = EvidenceCounts(identity_sae())
    counts.add(texts, [read(text) for text in texts])
    labels = counts.labels(min_texts=2)
    assert set(labels[0].split(", ")) == {"oak", "elm"} and set(labels[1].split(", ")) == {"river", "stream"}
    assert labels.table.set_index("feature").loc[0, "texts"] == 4 and set(labels.table["method"]) == {METHOD}
    assert not set(labels[0].split(", ")) & {"the", "by", "an", "and", "birch"}  # which one text has


def test_features_of_the_same_words_are_told_apart():
    sae = identity_sae(k=6)
    sae.w_enc.data[3] = sae.w_enc.data[0]  # a twin of feature 0 that also likes the river a little
    sae.w_enc.data[3, 1] = 0.5
    texts = ["oak oak oak", "oak oak river", "oak river oak", "elm oak oak", "oak elm", "elm elm oak"]
    counts = EvidenceCounts(sae)
    counts.add(texts, [read(text) for text in texts])
    labels = counts.labels(min_texts=2)
    assert labels[0] != labels[3]


def test_nothing_was_read():
    assert len(EvidenceCounts(identity_sae()).labels()) == 0


@pytest.fixture(scope="module")
def model():
    return Xetrieval.default()


CORPUS = [f"{a} {b} {c}" for a in ("The oak tree", "A migraine headache", "Sorting a list of numbers", "The stock market")
          for b in ("in detail", "and what to do", "explained simply", "for beginners", "with examples", "every day", "at last")
          for c in ("now.", "again.", "for free.", "in winter.", "and more.", "at home.", "with friends.", "at work.")]  # fmt: skip


def test_a_real_encoder_names_features_by_the_words_of_its_texts(model):
    labels = evidence_labels(model.sae, CORPUS, model.shared_encoder)
    table = labels.table
    known = table[table["detection"].notna()]
    assert len(known) > 10 and known["detection"].between(0, 1).all() and known["detection"].mean() > 0.6
    assert (known["detection_low"] < known["detection"]).all() and table["detection_low"].notna().sum() == len(known) < len(table)
    names = " ".join(table["label"])
    assert "oak" in names and "migraine" in names
    with pytest.raises(ValueError, match="at least 20 texts, found 3"):
        evidence_labels(model.sae, CORPUS[:3], model.shared_encoder)


def test_only_labels_that_say_little_are_replaced(model):
    found = evidence_labels(model.sae, CORPUS, model.shared_encoder).table.set_index("feature")
    good = found[found["detection_low"] >= 0.8].index[:2].tolist()
    old = pd.DataFrame(
        {"feature": [*good, 17], "label": ["stays", "goes", "silent"], "method": "m", "detection": [0.95, 0.5, 0.5]}
    )
    labels = relabelled(model.sae, FeatureLabels(old, model.sae.dict_size), CORPUS, model.shared_encoder)
    assert labels[good[0]] == "stays" and labels[good[1]] == found.loc[good[1], "label"]
    table = labels.table.set_index("feature")
    assert table["method"][good[1]] == METHOD and table["detection"][good[1]] == found["detection_low"][good[1]] < 1
    new = table[table["method"] == METHOD]
    assert set(new.index) == set(found.index) - {good[0]}  # all that had no label have one now
    strict = relabelled(model.sae, FeatureLabels(old, model.sae.dict_size), CORPUS, model.shared_encoder, min_detection=1.0)
    assert strict[good[1]] == "goes" and strict[good[0]] == "stays"
    named = model.relabel(CORPUS)
    assert (named.labels.table["method"] == METHOD).any() and named.sae.k == model.sae.k
    assert named.labels.dictionary == model.labels.dictionary


def test_a_dictionary_without_labels_is_named_whole_and_its_labels_are_doubted(model, tmp_path):
    bare = Xetrieval.from_parts(internalizers={}, sae=model.sae, encoder=model.meta["encoder"])
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"docno": str(i), "text": text}) + "\n" for i, text in enumerate(CORPUS)))
    named = bare.relabel(corpus)  # the path of a file, not its characters
    found = evidence_labels(model.sae, CORPUS, model.shared_encoder).table
    assert len(named.labels) == len(found) > 50 and named.labels.confidence == UNJUDGED
    assert named.min_confidence == UNJUDGED_FLOOR and named.meta["judged"] is False and bare.labels.confidence is None
    e = named.explain("an oak tree", "The oak tree explained simply in winter.")
    assert 0 < len(e.rows) < len(e)
    with pytest.raises(FileNotFoundError):
        bare.relabel(tmp_path / "nothing.jsonl")


def test_detection_needs_two_strong_texts_and_its_bound_is_newcombes():
    labels = FeatureLabels(pd.DataFrame({"feature": [0], "label": ["oak"], "method": "m", "max_activation": [1.0]}), 6)
    vectors = np.repeat(np.eye(6, dtype=np.float32)[[0, 1]], [8, 100], axis=0)
    texts = [*["an oak"] * 7, "a bush", *["the oak"] * 10, *["a river"] * 90]
    found = _detection(identity_sae(), labels, texts, vectors).iloc[0]
    assert found.tolist()[:3] == pytest.approx([7 / 8, 0.1, 0.8875])
    # Wilson's bounds at z = 1.645: .5888 of 7 in 8, .1603 of 10 in 100
    assert found["detection_low"] == pytest.approx(0.8875 - np.hypot(7 / 8 - 0.5888, 0.1603 - 0.1) / 2, abs=1e-3)
    two, one = (_detection(identity_sae(), labels, texts[n:], vectors[n:]) for n in (6, 7))
    assert two.notna().all(axis=None) and one.isna().all(axis=None)


def test_words_that_have_nothing_to_do_with_the_features_do_not_pass():
    rng = np.random.default_rng(0)
    vectors = rng.random((200, 6)).astype(np.float32) * (rng.random((200, 6)) < 0.06)
    texts = [" ".join(rng.choice([f"word{i}" for i in range(40)], 8)) for _ in range(200)]
    passed = []
    for i in range(40):
        table = pd.DataFrame({"feature": range(6), "label": f"word{i}", "method": "m", "max_activation": 1.0})
        passed += (_detection(identity_sae(k=6), FeatureLabels(table, 6), texts, vectors)["detection_low"] >= 0.6).tolist()
    assert np.mean(passed) < 0.01


def test_an_encoder_whose_vector_is_no_sum_is_refused():
    class Opaque:
        batch_size = 8

        def encode_docs(self, texts):
            return np.ones((len(texts), 16), np.float32)

        encode_queries = encode_docs

    with pytest.raises(ValueError, match="averages its token vectors, but it is no sentence-transformers model"):
        evidence_labels(make_model().sae, CORPUS, Opaque())
