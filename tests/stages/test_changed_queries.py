"""Interventions on queries: what they did is told by the explanations behind them."""

import numpy as np
import pytest

from pyterrier_xetrieval import MultiViewScorer
from tests.helpers.builders import make_model, random_sae, result_frame


@pytest.fixture
def model():
    return make_model(random_sae(k=14), aspects=())


@pytest.fixture
def frame():
    return result_frame(n_queries=3, n_docs=12)


def explained(model, frame, *stages):
    for stage in stages:
        frame = stage(frame)
    return (MultiViewScorer(model) >> model.explainer())(frame)


def shared_by_all(model, frame):
    """A feature that many pairs share."""
    ids, counts = np.unique(np.concatenate([e.features for e in explained(model, frame)["explanation"]]), return_counts=True)
    return int(ids[counts.argmax()])


@pytest.mark.parametrize("mode, options", [("erase", {}), ("scale", {"alpha": 0.0})])
def test_what_was_taken_out_of_a_query_is_no_longer_its_feature(model, frame, mode, options):
    j = shared_by_all(model, frame)
    plain = explained(model, frame).set_index(["qid", "docno"])["explanation"]
    out = explained(model, frame, model.intervention(mode, features=[j], target="query", **options))
    assert any(j in e.features for e in plain)
    for row in out.itertuples():
        e, was = row.explanation, plain[row.qid, row.docno]
        assert e.score == pytest.approx(float(row.query_vec @ row.doc_vec), abs=1e-5) and e.ranking is None
        assert e.before.score == pytest.approx(was.score, abs=1e-5)
        assert set(e.features) == set(was.features) - {j}  # and nothing else came or went
        assert e.shared + e.other + e.bias + e.residual == pytest.approx(e.score, abs=1e-5)
        np.testing.assert_allclose(
            e.changes, e.contributions - [was.contributions[list(was.features).index(i)] for i in e.features], atol=1e-5
        )
        if j in was.features:
            assert "The changed query has a score of" in e.to_text()


def test_half_of_a_feature_stays_and_its_contribution_says_so(model, frame):
    j = shared_by_all(model, frame)
    plain = explained(model, frame).set_index(["qid", "docno"])["explanation"]
    out = explained(model, frame, model.intervention("scale", features={j: 0.5}, target="query"))
    seen = 0
    for row in out.itertuples():
        e, was = row.explanation, plain[row.qid, row.docno]
        assert set(e.features) == set(was.features)
        if j in was.features:
            at, before = e.features.tolist().index(j), was.features.tolist().index(j)
            assert e.query_activations[at] == pytest.approx(was.query_activations[before] / 2, rel=1e-4)
            assert e.changes[at] != 0
            seen += 1
    assert seen


def test_kept_features_are_the_only_ones_left(model, frame):
    j = shared_by_all(model, frame)
    out = explained(model, frame, model.intervention("keep_only", features=[j], target="query"))
    assert all(set(e.features) <= {j} for e in out["explanation"]) and any(len(e) for e in out["explanation"])


def test_what_was_added_is_a_feature_of_the_query(model, frame):
    model.labels._facts = {j: type(model.labels.facts(j))(max_activation=1.0) for j in range(model.sae.dict_size)}
    plain = explained(model, frame).set_index(["qid", "docno"])["explanation"]
    absent = next(j for j in range(model.sae.dict_size) if not any(j in e.features for e in plain))
    out = explained(model, frame, model.intervention("add", features=[absent], alpha=0.7, target="query"))
    found = [e for e in out["explanation"] if absent in e.features]
    for e in found:
        assert e.query_activations[e.features.tolist().index(absent)] == pytest.approx(0.7, abs=1e-5)
    assert found


def test_the_encoders_query_stays_through_two_edits_and_through_a_file(model, frame, tmp_path):
    j, rng = shared_by_all(model, frame), np.random.default_rng(0)
    other = int(rng.choice([i for i in range(model.sae.dict_size) if i != j]))
    twice = [model.intervention("scale", features={i: 0.0}, target="query") for i in (j, other)]
    out = explained(model, frame, *twice)
    for row, vector in zip(out.itertuples(), frame["query_vec"]):
        np.testing.assert_array_equal(row.query_vec_0, vector)
        assert j not in row.explanation.features and other not in row.explanation.features
    told = {(own["feature"], own["activation"] < 0) for cell in out["query_added"] for own in cell}
    assert (j, True) in told
    (twice[0] >> twice[1])(frame).drop(columns="doc_vec").to_parquet(tmp_path / "edited.parquet")


def test_documents_alone_leave_the_query_as_it_is(model, frame):
    out = model.intervention("erase", features=[3])(frame)
    assert not {"query_vec_0", "query_added"} & set(out.columns)
