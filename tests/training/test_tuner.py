import numpy as np
import pandas as pd
import pytest
import torch
from pyterrier_dr import FlexIndex

from pyterrier_xetrieval import FeatureTuner
from pyterrier_xetrieval.training.judged_candidates import JudgedCandidates
from pyterrier_xetrieval.training.link_path import Judged, link_path
from tests.helpers.builders import identity_sae, make_model

DIM = 12


@pytest.fixture(scope="module")
def model():
    return make_model(identity_sae(DIM, k=4), aspects=()).with_check("off")


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Queries show one topic (0 to 5); the relevant document has the topic and feature 11, wrong ones the topic and feature 10."""
    rng = np.random.default_rng(0)
    vectors, docnos, queries, qrels = [], [], [], []
    for topic in range(6):
        for i in range(20):
            x = 0.02 * rng.random(DIM)
            x[topic], x[10 if i else 11] = 0.7, 0.35 + 0.02 * rng.random()
            vectors.append(x / np.linalg.norm(x))
            docnos.append(f"t{topic}-{i}")
        for i in range(10):
            x = 0.05 * rng.random(DIM)
            x[topic], x[10] = 0.9, 0.2
            queries.append((f"q{topic}-{i}", (x / np.linalg.norm(x)).astype(np.float32)))
            qrels.append((f"q{topic}-{i}", f"t{topic}-0", 1))
    index = FlexIndex(str(tmp_path_factory.mktemp("planted") / "x.flex"), verbose=False)
    index.index({"docno": d, "doc_vec": v} for d, v in zip(docnos, np.float32(vectors)))
    topics = pd.DataFrame(queries, columns=["qid", "query_vec"])
    return index, topics, pd.DataFrame(qrels, columns=["qid", "docno", "label"])


def test_a_planted_error_is_found_and_mended_on_other_queries(model, planted):
    index, topics, qrels = planted
    own = topics["qid"].str[-1].astype(int)
    tuner = model.tuner(index, calibrate=False).fit(topics[own < 7], qrels)
    links = tuner.tuning.links
    assert links["target"].iloc[0] in (10, 11) and set(links["target"]) <= {10, 11}
    assert (np.sign(links["weight"]) == np.where(links["target"] == 11, 1, -1)).all()
    assert (links["helped"] > 0).any() and not links["hurt"].any() and tuner.penalties["chosen"].sum() == 1
    held_out = topics[own >= 7]
    before, after = (stage(held_out) for stage in (index.retriever(num_results=1), tuner >> index.retriever(num_results=1)))
    assert not before["docno"].str.endswith("-0").any() and after["docno"].str.endswith("-0").all()


def test_shuffled_judgements_teach_nothing(model, planted):
    """Relevant documents anywhere stand above the candidates of a query that avoids its own topic, and so does all of the corpus."""
    index, topics, qrels = planted
    rng = np.random.default_rng(0)
    others = [f"t{rng.integers(6)}-{rng.integers(20)}" for _ in range(len(qrels))]
    assert len(set(others)) > 30
    results = index.retriever(num_results=5)(topics)  # few candidates, among which nobody would see it
    for first_stage in (topics, results):
        tuner = model.tuner(index, calibrate=False).fit(first_stage, qrels.assign(docno=others))
        assert not len(tuner.tuning) and not tuner.penalties["chosen"].any() and str(tuner.tuning) == "no links"


def test_what_was_taken_out_of_the_results_of_a_first_stage_does_not_count(model, planted):
    index, topics, qrels = planted
    results = index.retriever(num_results=100)(topics)
    kept = results[results["rank"] > 0]  # as a query's own document
    q = np.stack(topics["query_vec"])
    found = JudgedCandidates.of(topics["qid"].tolist(), q, q, kept, qrels, index)
    expected = []
    for qid, own in kept.groupby("qid", sort=False):
        place = int(np.flatnonzero(own["docno"] == f"t{qid[1]}-0")[0])
        expected.append(1 / np.log2(place + 2) if place < 10 else 0.0)
    assert found.ndcg(q, np.arange(len(q))).tolist() == pytest.approx(expected)


def test_calibration_is_left_out_where_it_does_not_gain(model, planted):
    index, topics, qrels = planted
    tuner = model.tuner(index).fit(topics, qrels)
    assert tuner.calibration_gain is not None
    assert (tuner.tuning.corpus is not None) == (tuner.calibration_gain > 0)
    found = index.retriever(num_results=2)(topics)
    perfect = model.tuner(index).fit(topics, found[found["rank"] == 0].assign(label=1))  # nothing to gain
    assert perfect.calibration_gain <= 0 and perfect.tuning.corpus is None


def test_the_same_seed_learns_the_same(model, planted):
    index, topics, qrels = planted
    one, two = (model.tuner(index, seed=3).fit(topics, qrels) for _ in range(2))
    assert one.tuning == two.tuning and one.penalties.equals(two.penalties)


def test_candidates_may_be_results_of_a_first_stage_and_queries_apart_may_choose(model, planted):
    index, topics, qrels = planted
    results = index.retriever(num_results=15)(topics)
    own = results["qid"].str[-1].astype(int)
    tuner = model.tuner(index, calibrate=False)
    tuner.fit(results[own < 7], qrels, results[own >= 7], qrels)
    assert set(tuner.tuning.links["target"]) <= {10, 11} and len(tuner.tuning)
    with pytest.raises(ValueError, match="results that its index holds, found 'nowhere'"):
        tuner.fit(results.assign(docno="nowhere"), qrels)


def test_bad_options_and_too_few_queries_are_refused(model, planted):
    index, topics, qrels = planted
    for options, message in (({"max_links": 0}, "max_links"), ({"folds": 1}, "at least 2 folds")):
        with pytest.raises(ValueError, match=message):
            model.tuner(index, **options)
    with pytest.raises(ValueError, match="at least 10 queries with a relevant document in the index, found 3"):
        model.tuner(index).fit(topics.head(3), qrels)
    with pytest.raises(ValueError, match="call fit"):
        model.tuner(index)(topics)
    assert model.tuner(index) == FeatureTuner(model, index)
    learned = model.tuner(index, calibrate=False).fit(topics, qrels)
    assert learned != model.tuner(index, calibrate=False) and hash(learned) != hash(model.tuner(index, calibrate=False))


def test_ndcg_of_candidates_is_that_of_ir_measures(model, planted):
    import ir_measures

    index, topics, qrels = planted
    more = pd.concat([qrels, qrels.assign(docno=qrels["docno"].str[:-1] + "7", label=3)])
    q = np.stack(topics["query_vec"])
    found = JudgedCandidates.of(topics["qid"].tolist(), q, q, None, more, index)
    run = index.retriever(num_results=100)(topics).rename(columns={"qid": "query_id", "docno": "doc_id"})
    told = more.rename(columns={"qid": "query_id", "docno": "doc_id", "label": "relevance"})
    expected = {m.query_id: m.value for m in ir_measures.iter_calc([ir_measures.nDCG @ 10], told, run)}
    assert found.ndcg(q, np.arange(len(q))).tolist() == pytest.approx([expected[qid] for qid in topics["qid"]], abs=1e-6)
    docs, target = found.listed(np.arange(3), 40)
    assert docs.shape == (3, 40) and target.sum(axis=1).tolist() == pytest.approx([1, 1, 1])
    assert target[:, :2].tolist() == [[0.75, 0.25]] * 3 and not target[:, 2:].any()


def test_gradient_is_that_of_the_loss_and_heavier_penalties_give_fewer_links():
    rng = np.random.default_rng(0)
    q, c = torch.from_numpy(rng.normal(size=(9, 5))), torch.from_numpy(rng.normal(size=(9, 7, 5)))
    target = torch.zeros(9, 7, dtype=torch.float64)
    target[:, 0] = 1
    judged = Judged(q, torch.from_numpy(np.abs(rng.normal(size=(9, 4)))), c, target)
    moved = q.clone().requires_grad_()
    loss = -(target * torch.log_softmax((c @ moved.unsqueeze(2)).squeeze(2) / 0.05, 1)).sum() / 9
    loss.backward()
    value, gradient = judged.loss(q)
    assert value == pytest.approx(float(loss.detach()))
    torch.testing.assert_close(gradient, moved.grad)
    path = link_path(judged, torch.eye(5, dtype=torch.float64), max_links=20)
    assert [len(s.weight) for s in path] == sorted(len(s.weight) for s in path) and 0 < len(path[0].weight) < len(path[-1].weight)
    few = link_path(judged, torch.eye(5, dtype=torch.float64), max_links=len(path[0].weight))
    assert all(len(s.weight) <= len(path[0].weight) for s in few)
