import json
import pickle

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import Explanation, QueryCalibration, explanation_frame
from pyterrier_xetrieval.core.calibration import CorpusStatistics
from pyterrier_xetrieval.vector_cells import unstack
from tests.helpers.builders import make_model, random_sae


@pytest.fixture(scope="module")
def model():
    return make_model(random_sae(), aspects=("qa",))


def corpus(shift=1.0, n=200):
    x = np.random.default_rng(0).normal(size=(n, 16)) * np.linspace(0.5, 2, 16)
    return (x + 4 * shift).astype(np.float32)


def page(n=4, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2 + n, 16)).astype(np.float32)
    return pd.DataFrame({
        "qid": np.repeat(["1", "2"], n), "docno": [f"d{i}" for i in range(n)] * 2, "query_vec": [*[x[0]] * n, *[x[1]] * n],
        "doc_vec": [x[2 + i] for i in range(n)] * 2,
    })  # fmt: skip


def test_queries_are_mapped_and_the_encoders_vectors_kept(model):
    stage, frame = model.with_check("off").calibrated(corpus(), strength=0.3), page()
    out = stage(frame)
    variance, directions = np.linalg.eigh(np.cov(corpus().T.astype(np.float64), bias=True))
    expected = np.stack(frame["query_vec"]) @ ((directions * variance**-0.3) @ directions.T)
    found = np.stack(out["query_vec"])
    np.testing.assert_allclose(found / found[0, 0], expected / expected[0, 0], rtol=1e-3, atol=1e-4)
    assert (np.stack(out["query_vec_0"]) == np.stack(frame["query_vec"])).all()
    assert out.drop(columns=["query_vec", "query_vec_0"]).equals(frame.drop(columns="query_vec"))


def test_a_feature_in_the_middle_keeps_its_contribution(model):
    gains = model.calibrated(corpus(), strength=0.3).features()["gain"]
    assert np.median(gains) == pytest.approx(1, abs=1e-6) and len(gains) == 48


def test_nothing_changes_for_a_corpus_like_any_other(model):
    own = corpus(shift=0) + model.sae.b_dec.detach().numpy()
    stage, frame = model.calibrated(own), page()
    assert stage.topicality < 0.2 and stage.exponent == 0 and not len(stage.features())
    assert stage(frame) is frame


def test_a_corpus_about_one_thing_is_calibrated_without_being_told(model):
    stage = model.calibrated(corpus())
    assert stage.topicality > 0.8 and stage.exponent == 0.2


def test_contributions_of_the_calibrated_score_add_up_and_say_what_was_changed(model):
    model = model.with_check("off")
    stage, frame = model.calibrated(corpus(), strength=0.3), page()
    plain = (model.internalizer() >> model.explainer())(frame)["explanation"]
    explained = (stage >> model.internalizer() >> model.explainer())(frame)
    folded = np.stack(frame["doc_vec"]) + np.stack(model.internalizer()(frame)["doc_vec_qa"])
    scores = np.einsum("nm,nm->n", np.stack(explained["query_vec"]), folded)
    for e, before, score in zip(explained["explanation"], plain, scores):
        assert e.score == pytest.approx(score, abs=1e-4)
        assert e.shared + e.other + e.bias + e.residual == pytest.approx(score, abs=1e-4)
        assert set(e.features) == set(before.features)  # what a query shows does not depend on the map
        own = dict(zip(before.features.tolist(), before.contributions.tolist()))
        np.testing.assert_allclose([own[j] for j in e.features.tolist()], e.contributions - e.changes, atol=1e-5)
        for part in ("score", "other", "bias", "residual"):
            assert getattr(e.before, part) == pytest.approx(getattr(before, part), abs=1e-4)
        assert before.before is None and not before.changes.any()
        assert list(e.contributions) == sorted(e.contributions, reverse=True)
        again = pickle.loads(pickle.dumps(e))
        assert again == e and again.before == e.before and e != before


def test_queries_encoded_again_beside_an_old_vector_are_refused(model):
    model, frame = model.with_check("off"), page()
    vectors = np.stack(frame["query_vec"].iloc[[0, 4]])
    told = [frozenset({"tea"}), frozenset({"coffee"})]
    frame["query_vec"] = unstack(vectors, np.repeat([0, 1], 4), texts=told)
    out = model.calibrated(corpus(), strength=0.3)(frame)
    out["query_vec"] = unstack(vectors.copy(), np.repeat([1, 0], 4), texts=told)
    with pytest.raises(ValueError, match="drop query_vec_0"):
        model.explainer()(out)


def test_two_changes_keep_the_first_vector(model):
    model = model.with_check("off")
    out = (model.calibrated(corpus(), strength=0.3) >> model.calibrated(corpus(), strength=0.1))(page())
    assert (np.stack(out["query_vec_0"]) == np.stack(page()["query_vec"])).all()


def test_an_empty_frame_stays_empty(model):
    assert not len(model.calibrated(corpus())(page().iloc[:0]))


@pytest.mark.parametrize("strength", [-0.1, 0.6, "much"])
def test_strengths_outside_are_refused(model, strength):
    with pytest.raises(ValueError, match=r"strength between 0 and 0\.5, found"):
        model.calibrated(corpus(), strength=strength)


@pytest.mark.parametrize("given", ["corpus.flex", np.ones(3), CorpusStatistics.from_vectors([np.eye(4)])])
def test_something_else_than_statistics_of_this_dimension_is_refused(model, given):
    with pytest.raises(ValueError, match="expects statistics of 16-dimensional vectors, found"):
        QueryCalibration(model, given)


def test_something_else_than_a_corpus_is_refused(model):
    with pytest.raises(ValueError, match="expected an XetrievalIndex, a FlexIndex, or vectors"):
        model.calibrated("corpus.flex")


def test_equal_calibrations_are_one_prefix(model):
    one, same, other = model.calibrated(corpus()), model.calibrated(corpus()), model.calibrated(corpus(), strength=0.1)
    assert one == same and hash(one) == hash(same) and one != other
    assert repr(other).startswith("QueryCalibration(") and "strength=0.1" in repr(other)


def test_tables_and_records_keep_what_was_changed(model):
    model = model.with_check("off")
    explained = (model.calibrated(corpus(), strength=0.3) >> model.explainer())(page())
    table = explanation_frame(explained)
    by_pair = table.groupby(["qid", "docno"], sort=False)
    assert by_pair["contribution"].sum().tolist() == pytest.approx([e.score for e in explained["explanation"]], abs=1e-5)
    differences = [e.score - e.before.score for e in explained["explanation"]]
    assert by_pair["change"].sum().tolist() == pytest.approx(differences, abs=1e-5)
    assert not explanation_frame(model.explainer()(page()))["change"].any()
    for e in explained["explanation"]:
        again = Explanation.from_dict(json.loads(e.to_json()))
        assert again == e and again.before.score == e.before.score and (again.changes == e.changes).all()


def test_text_and_card_say_what_was_changed(model):
    model = model.with_check("off")
    explained = (model.calibrated(corpus(), strength=0.3) >> model.explainer())(page())["explanation"]
    e = max(explained, key=len)
    largest = int(np.abs(e.changes).argmax())
    told = f"a score of {e.score:.3f}, the encoder's {e.before.score:.3f}: *{e.labels[e.features[largest]]}* {e.changes[largest]:+.3f}"
    assert told in e.to_text()
    assert f"{e.changes[largest]:+.3f}" in e.to_html() and "The changed query" in e.to_html()
    plain = model.explainer()(page())["explanation"][0]
    assert "The changed query" not in plain.to_text() + plain.to_html()
