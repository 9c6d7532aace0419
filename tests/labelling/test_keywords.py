"""Keyword labels: the planted word of each topic."""

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import FeatureLabels
from pyterrier_xetrieval.labelling import keyword_labels, keyword_quality
from pyterrier_xetrieval.labelling.keywords import stem, terms

TOPICS = {"beer": "hops malt brewery", "court": "judge verdict lawyer", "heart": "artery valve surgery"}


def topic_texts(seed, n):
    rng = np.random.default_rng(seed)
    filler = [a + b for a in ("ran", "tol", "mig", "sper", "lun") for b in ("do", "ka", "mu", "ti", "pa")]
    topic = rng.integers(3, size=n)
    texts = [
        " ".join(
            [rng.choice(list(TOPICS.values())[t].split()), list(TOPICS)[t] + "s" * int(rng.integers(2)), *rng.choice(filler, 5)]
        )
        for t in topic
    ]
    ids = np.stack([topic, np.full(n, 3)], axis=1)
    values = np.stack([rng.uniform(1, 2, n), rng.uniform(0.1, 1, n)], axis=1).astype(np.float32)
    return texts, ids, values


def labels_of(*names):
    return FeatureLabels(pd.DataFrame({"feature": range(len(names)), "label": names, "method": "by hand"}), len(names))


def test_labels_name_the_planted_word_of_each_topic():
    texts, ids, values = topic_texts(0, 300)
    found = keyword_labels(texts, ids, values, dict_size=5, tops=(60,))
    rows = found.table.to_dict("records")
    assert found.dict_size == 5 and len(found) >= 3
    assert [row["feature"] for row in rows] == [0, 1, 2, 3, 4]
    for row, word in zip(rows[:3], TOPICS, strict=True):
        first = row["label"].split(", ")[0]
        allowed = {stem(w) for w in (word, *TOPICS[word].split())}
        assert {stem(w) for w in row["label"].replace(",", "").split()} <= allowed, row
        assert first and len(row["label"].split(", ")) <= 3
        stems = [stem(w) for part in row["label"].split(", ") for w in part.split()]
        assert len(stems) == len(set(stems))  # "judge" and "judges" are one
    assert rows[4]["label"] == "" and rows[4]["firing_rate"] == 0  # never active
    assert rows[3]["firing_rate"] == 1 and rows[3]["max_activation"] == pytest.approx(values[:, 1].max())
    held = topic_texts(1, 200)
    labels = [row["label"] for row in rows]
    good = keyword_quality(labels_of(*labels[:3], "", ""), *held)
    bad = keyword_quality(labels_of(labels[1], labels[2], labels[0], "", ""), *held)
    assert good["features"] == 3 and good["auc"] > 0.7 > 0.52 > bad["auc"]


def test_terms_leave_out_numbers_codes_and_stop_words():
    words = ["dogs", "ran", "mitral", "valve", "mice"]
    assert terms("The 3 dogs ran x2 http, mitral valve: of mice!") == [*words, "dogs ran", "mitral valve"]
    assert stem("studies") == stem("study") and stem("cats") == stem("cat")


def test_a_feature_that_is_active_everywhere_proves_nothing():
    texts = [f"apple number{i}" for i in range(40)]
    found = keyword_quality(
        labels_of("apple"), texts, np.zeros((40, 1), np.int64), np.linspace(1, 2, 40, dtype=np.float32)[:, None]
    )
    assert found["features"] == 0 and np.isnan(found["auc"])
