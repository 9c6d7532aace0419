"""Which reading of a label is nearest to a pair, against a loop over pairs, features and readings."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import Explanation, FeatureLabels, Xetrieval
from pyterrier_xetrieval.core.confidence import Confidence
from pyterrier_xetrieval.feature_names import FeatureNames
from pyterrier_xetrieval.label_vectors import LabelVectors
from tests.helpers.builders import make_model, random_sae
from tests.helpers.index import assert_same, corpus, topics

DIM = 8
NAMES = {0: "sorting / lists / order", 1: "beer", 2: "wine / no vector", 4: "no vector", 5: "lists"}


class Letters:
    """Counts letters; says how many texts it has encoded."""

    def __init__(self):
        self.seen = []

    def encode_docs(self, texts):
        self.seen += texts
        return np.array([[text.count(letter) + 0.1 for letter in "abcdelis"] for text in texts], np.float32)


@pytest.fixture
def vectors():
    texts = ["sorting", "lists", "order", "beer", "wine"]
    return LabelVectors(texts, np.random.default_rng(0).normal(size=(5, DIM)))


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_nearest_reading_is_that_of_a_loop(vectors):
    rng = np.random.default_rng(1)
    queries, documents = rng.normal(size=(9, DIM)).astype(np.float32), 2 * rng.normal(size=(9, DIM)).astype(np.float32)
    features = rng.integers(0, 6, 200)
    of_query, of_document = rng.integers(0, 9, 200), rng.integers(0, 9, 200)
    names = FeatureNames(NAMES, 6)
    found = [vectors.fit(names, np.array([j]), queries[q], documents[d]) for j, q, d in zip(features, of_query, of_document)]
    chosen = set()
    for j, q, d, one in zip(features.tolist(), of_query, of_document, found):
        ((reading,), (near,)) = one.reading, one.similarity
        known = [(i, t) for i, t in enumerate(NAMES.get(j, "").split(" / ")) if t in vectors]
        if not known:
            assert reading == 0 and np.isnan(near).all()  # no label, or one without a vector
            continue
        each = {i: (cosine(vectors[t], queries[q]), cosine(vectors[t], documents[d])) for i, t in known}
        best = max(each, key=lambda i: sum(each[i]))
        assert reading == best and near == pytest.approx(each[best], abs=1e-6)
        chosen.add((j, best))
    assert {(0, 0), (0, 1), (0, 2)} <= chosen  # the pair decides
    nothing = vectors.fit(names, features[:0], queries[0], documents[0])
    assert len(nothing.reading) == 0 and nothing.similarity.shape == (0, 2)


def test_readings_are_the_same_however_many_features_are_asked_at_once(vectors):
    rng, names = np.random.default_rng(5), FeatureNames(NAMES, 6)
    (query, document), features = rng.normal(size=(2, DIM)).astype(np.float32), rng.integers(0, 6, 50)
    whole = vectors.fit(names, features, query, document)
    parts = [vectors.fit(names, features[[i]], query, document) for i in range(50)]
    np.testing.assert_array_equal(np.concatenate([part.reading for part in parts]), whole.reading)
    np.testing.assert_allclose(np.concatenate([part.similarity for part in parts]), whole.similarity, rtol=1e-5, atol=1e-6)


def test_each_reading_is_encoded_once_and_only_what_is_new():
    encoder = Letters()
    first = LabelVectors.of(NAMES.values(), encoder)
    assert encoder.seen == ["sorting", "lists", "order", "beer", "wine", "no vector"] and len(first) == 6
    again = LabelVectors.of(["lists / ladders"], encoder, first)
    assert encoder.seen[6:] == ["ladders"] and again.texts == ["lists", "ladders"]
    np.testing.assert_array_equal(again["lists"], first["lists"])
    np.testing.assert_allclose(np.linalg.norm(again.matrix, axis=1), 1, rtol=1e-6)


@pytest.fixture
def labelled():
    """A model with two readings for each feature, and vectors of them."""
    model = make_model(random_sae())
    n = model.sae.dict_size
    table = model.labels.table.assign(label=[f"first {j} / second {j}" for j in range(n)])
    texts = [text for j in range(n) for text in (f"first {j}", f"second {j}")]
    vectors = LabelVectors(texts, np.random.default_rng(2).normal(size=(2 * n, model.sae.dim)))
    parts = {"internalizers": model.internalizers, "sae": model.sae, "encoder": model.meta["encoder"]}
    return Xetrieval.from_parts(**parts, labels=FeatureLabels(table, n, vectors=vectors))


def test_an_artifact_keeps_the_vectors_and_a_label_written_by_hand_has_none(labelled, tmp_path):
    labelled.save(tmp_path / "model")
    again = Xetrieval(tmp_path / "model").labels
    assert again.vectors.texts == labelled.labels.vectors.texts
    np.testing.assert_allclose(again.vectors.matrix, labelled.labels.vectors.matrix, atol=0.004)  # eight bits
    Xetrieval(tmp_path / "model").save(tmp_path / "again")
    files = [(tmp_path / folder / "label_vectors.safetensors").read_bytes() for folder in ("model", "again")]
    assert files[0] == files[1]
    table = (tmp_path / "model" / "labels.tsv").read_text()
    (tmp_path / "model" / "labels.tsv").write_text(table.replace("first 3 / second 3", "written by hand"))
    edited = Xetrieval(tmp_path / "model").labels
    rng = np.random.default_rng(0)
    fit = edited.fit_pair(np.array([3, 4]), *rng.normal(size=(2, labelled.sae.dim)).astype(np.float32))
    assert np.isnan(fit.similarity[0]).all() and np.isfinite(fit.similarity[1]).all()
    assert edited.meant(np.array([3, 4]), fit)[0] == "written by hand" and edited.meant(np.array([4]))[0] == "first 4 / second 4"


def explained(model, n=12, seed=3):
    """Explanations of random pairs, and the frame that they are of."""
    rng, dim = np.random.default_rng(seed), model.sae.dim
    frame = pd.DataFrame({"qid": [f"q{i % 3}" for i in range(n)], "docno": [f"d{i}" for i in range(n)]})
    queries = rng.normal(size=(3, dim)).astype(np.float32)
    frame["query_vec"] = [queries[i % 3] for i in range(n)]
    frame["doc_vec"] = list(rng.normal(size=(n, dim)).astype(np.float32) + 0.7 * queries[np.arange(n) % 3])
    frame = model.internalizer()(frame)
    return model.explainer(min_confidence=0.0)(frame)["explanation"].tolist(), frame


def test_explanations_show_the_reading_that_is_nearest_to_query_and_folded_document(labelled):
    found, frame = explained(labelled)
    weights, vectors, seen = labelled.weights, labelled.labels.vectors, set()
    for e, (_, row) in zip(found, frame.iterrows()):
        folded = row["doc_vec"] + sum(w * row[f"doc_vec_{aspect}"] for aspect, w in weights.items())
        for i, j in enumerate(e.features.tolist()):
            texts = [f"first {j}", f"second {j}"]
            near = [cosine(vectors[t], row["query_vec"]) + cosine(vectors[t], folded) for t in texts]
            assert e.row(i).label == texts[int(np.argmax(near))]
            assert e.label_fit.similarity[i].sum() == pytest.approx(max(near), abs=1e-5)
            seen.add(e.row(i).label.split()[0])
    assert seen == {"first", "second"}


def test_similarity_counts_in_the_confidence_and_survives_every_copy(labelled):
    labels, known = labelled.labels, Confidence(intercept=1, activation=0, clarity=0, detection=0, similarity=3)
    labels.confidence = known
    for e in explained(labelled)[0]:
        of_query, of_document = e.label_fit.similarity.astype(np.float64).T
        expected = 1 / (1 + np.exp(-1 - 3 * of_query)) / (1 + np.exp(-1 - 3 * of_document))
        np.testing.assert_allclose(e.confidence, expected, rtol=1e-6)
        for again in (pickle.loads(pickle.dumps(e)), Explanation.from_dict(json.loads(json.dumps(e.to_dict())))):
            np.testing.assert_allclose(again.confidence, e.confidence, rtol=1e-6)
            assert [row.label for row in again.rows] == [row.label for row in e.rows]
    assert {tuple(row) for row in e.shown[["feature", "label"]].to_numpy().tolist()} <= {
        (j, f"{place} {j}") for j in e.features.tolist() for place in ("first", "second")
    }


def test_an_index_shows_the_readings_that_the_stages_show(labelled, tmp_path):
    index = labelled.indexer(tmp_path / "index").index(corpus(n=30))
    for own in (index, index.with_views(())):
        found = (own.retriever(num_results=5) >> own.explainer())(topics())
        stages = own.vec_loader() >> own.model.internalizer() >> own.model.explainer()
        assert found["explanation"][0].label_fit is not None
        assert_same(found["explanation"], stages(found)["explanation"])


def test_a_tested_reading_is_preferred_as_the_confidence_prefers_it():
    facts = {"feature": [0], "method": ["m"], "max_activation": [1.0]}
    table = pd.DataFrame({**facts, "label": ["near / tested"], "detections": ["0.5 / 0.9"]})
    vectors, text = LabelVectors(["near", "tested"], np.array([[1.0, 0.0], [0.6, 0.8]])), np.array([1.0, 0.0], np.float32)
    one = np.array([0])
    for detection, reading in ((0.0, 0), (1.9, 0), (2.1, 1)):  # 2 · .4 detection against 2 · .4 of cosine
        weights = Confidence(intercept=0, activation=1, clarity=0, detection=detection, similarity=2.0)
        labels = FeatureLabels(table, 1, weights, vectors)
        fit = labels.fit_pair(one, text, text)
        assert fit.reading.tolist() == [reading] and fit.detection[0] == pytest.approx([0.5, 0.9][reading])
        near = float(fit.similarity[0, 0])
        expected = weights(0.7, 0.7, detection=fit.detection, query_similarity=near, document_similarity=near)
        activation = np.array([0.7])
        assert labels.confidence_of(one, activation, activation, np.array([0.0]), None, fit) == pytest.approx(expected)


@pytest.mark.parametrize("changed", [{"reading": 2}, {"reading": -1}, {"reading": "x"}, {"query_similarity": float("inf")}])
def test_records_of_readings_that_a_label_has_not_are_refused(labelled, changed):
    record = next(e for e in explained(labelled)[0] if len(e)).to_dict()
    record["features"][0] |= changed
    with pytest.raises(ValueError, match=r"Explanation\.from_dict expects what Explanation\.to_dict made"):
        Explanation.from_dict(record)


def test_damaged_vectors_are_refused(labelled, tmp_path):
    labelled.save(tmp_path / "model")
    path = tmp_path / "model" / "label_vectors.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"abcd")
    with pytest.raises(ValueError, match=r"label_vectors\.safetensors"):
        Xetrieval(tmp_path / "model").labels  # noqa: B018


def test_labels_are_found_by_their_nearest_reading():
    table = make_model().labels.table.head(3).assign(label=["sassy / abba", "ladle", "dice"])
    encoder = Letters()
    labels = FeatureLabels(table, 3).encoded(encoder)
    encoded = len(encoder.seen)
    found = labels.find("abba", encoder=encoder, num_results=2)
    assert found["feature"].tolist()[0] == 0 and found["similarity"].tolist()[0] == pytest.approx(1)
    assert encoder.seen[encoded:] == ["abba"]  # labels have their vectors


def test_no_labels_have_no_vectors():
    labels = FeatureLabels.empty(3)
    assert labels.encoded(Letters()) is labels and labels.find("beer", encoder=Letters()).empty
