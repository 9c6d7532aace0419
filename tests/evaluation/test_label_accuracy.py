"""Fig. 5: planted words with known scores, and the keyword measures against loops."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import FeatureLabels
from pyterrier_xetrieval.evaluation.dictionaries import untrained
from pyterrier_xetrieval.evaluation.label_accuracy import keyword_scores, label_scores, texts_by_stem
from pyterrier_xetrieval.labelling.keywords import stem, tokens
from tests.helpers.builders import DIM, make_model, unit
from tests.helpers.planted import WORDS, planted
from tests.helpers.retrieval import make_collection


def oracle(prompt: str) -> str:
    """Reads a prompt as a careful person would, by the words in it."""
    if "Answer with YES or NO" in prompt:
        text, label = re.search(r"^Text: (.*)\n\n.*of this kind: (.*)\? Answer", prompt).groups()
        return "Yes." if label in text.split() else "NO"
    active = [set(t.split()) for t in re.findall(r"^\[\d+\] (.*)$", prompt, re.M)]
    silent = {word for t in re.findall(r"^- (.*)$", prompt, re.M) for word in t.split()}
    return " ".join(set.intersection(*active) - silent)


def test_planted_words_are_found_on_the_other_half():
    model, collection = planted(n=240)
    table = label_scores(model, collection, saes={"planted": model.sae, "random": untrained(model.sae, k=1, seed=1)})
    own = table[table["sae"] == "planted"].pivot(index="feature", columns="measure", values="value")
    assert own.index.tolist() == list(range(DIM))
    assert (own[["hits", "balanced_accuracy", "auc_strongest"]] == 1).all(axis=None) and (own["false_alarms"] == 0).all()
    assert table[table["sae"] == "planted"].drop_duplicates("feature")["label"].tolist() == list(WORDS)
    assert (table["labels"] == "keywords").all() and (table["collection"] == "planted").all()
    assert (table[table["measure"] == "balanced_accuracy"]["n"] == 120).all()
    again = label_scores(model, collection, saes={"planted": model.sae}, seed=0)
    assert again.equals(table[table["sae"] == "planted"].reset_index(drop=True))


def test_the_keyword_measures_are_those_of_loops():
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("bdgklmnprt"), 3)) + "o" + str(chr(97 + i % 26)) for i in range(30)]
    texts = [" ".join(rng.choice(words, 6)) for _ in range(70)]
    n, dict_size, k = 70, 12, 4
    ids = np.stack([rng.permutation(dict_size)[:k] for _ in range(n)])
    values = np.maximum(rng.normal(0.5, 0.6, (n, k)), 0).astype(np.float32)  # some slots are empty
    labels = [", ".join(rng.choice(words, size=j % 4, replace=False)) for j in range(dict_size)]
    labels[5] = "unheard"
    table = keyword_scores(labels, texts_by_stem(texts), ids, values, min_active=15)
    found = table.pivot(index="feature", columns="measure", values="value")
    scored = []
    for j in range(dict_size):
        strength = {i: float(v) for i in range(n) for f, v in zip(ids[i], values[i]) if f == j and v > 0}
        if len(strength) < 15:
            continue
        scored.append(j)
        wanted = {stem(w) for w in tokens(labels[j])}
        holds = [bool(wanted & {stem(w) for w in tokens(text)}) for text in texts]
        hits = np.mean([holds[i] for i in strength])
        false = np.mean([holds[i] for i in range(n) if i not in strength])
        strongest = np.mean([holds[i] for i in sorted(strength, key=strength.get, reverse=True)[:10]])
        assert found.loc[j, "hits"] == pytest.approx(hits) and found.loc[j, "false_alarms"] == pytest.approx(false)
        assert found.loc[j, "balanced_accuracy"] == pytest.approx((hits + 1 - false) / 2)
        assert found.loc[j, "auc_strongest"] == pytest.approx((strongest + 1 - false) / 2)
        counts = table[table["feature"] == j].set_index("measure")["n"]
        assert counts.to_dict() == {
            "hits": len(strength), "false_alarms": n - len(strength), "balanced_accuracy": n, "auc_strongest": n - len(strength) + 10
        }  # fmt: skip
    assert found.index.tolist() == scored and 5 < len(scored) < dict_size
    for j in {0, 4, 5, 8} & set(scored):  # no label, or one that no text holds, tells nothing
        assert found.loc[j, "balanced_accuracy"] == 0.5 and found.loc[j, "hits"] == 0


def test_a_language_model_writes_and_judges(tmp_path):
    model, collection = planted(n=240)
    saes, options = {"planted": model.sae}, {"min_docs": 20, "n_texts": 6}
    table = label_scores(model, collection, saes=saes, llm=oracle, folder=tmp_path, n_features=4, **options)
    own = table[table["labels"] == "hypotheses"].pivot(index="feature", columns="measure", values="value")
    assert len(own) == 4 and (own == 1).all(axis=None) and sorted(own.columns) == ["detection", "hits", "rejections"]
    assert {p.name for p in tmp_path.iterdir()} >= {"hypotheses.planted.jsonl", "detection.planted.jsonl"}
    assert set(table["labels"]) == {"keywords", "hypotheses"}
    # hypotheses of one's own, each the word of the next feature: never true of an activating text
    shifted = pd.DataFrame({"feature": range(DIM), "label": [*WORDS[1:], WORDS[0]], "method": "shifted"})
    wrong = label_scores(model, collection, saes=saes, llm=oracle, labels={"planted": FeatureLabels(shifted, DIM)}, **options)
    wrong = wrong[wrong["labels"] == "hypotheses"].pivot(index="feature", columns="measure", values="value")
    assert len(wrong) == DIM and (wrong["hits"] == 0).all() and (wrong["detection"] <= 0.5).all()


def test_what_cannot_be_scored_is_refused():
    model, collection = planted(n=24)
    with pytest.raises(ValueError, match="collection with texts"):
        label_scores(model, replace(collection, texts=None))
    with pytest.raises(ValueError, match=r"labels of \['a'\], found \['b'\]"):
        label_scores(model, collection, saes={"a": model.sae}, labels={"b": FeatureLabels.empty(DIM)})
    small = replace(
        make_collection(n=3, q=1), docs=unit(np.random.default_rng(0), 3, 16), texts=lambda rows: ["word"] * len(rows)
    )
    with pytest.raises(ValueError, match="at least 4 documents"):
        label_scores(make_model(), small)
