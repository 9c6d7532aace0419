"""A diagnosis finds the planted distractor and nothing else, and its differences add up."""

import numpy as np
import pandas as pd
import pytest
from pyterrier_dr import FlexIndex

import pyterrier_xetrieval as ptx
from pyterrier_xetrieval import VectorLoader
from pyterrier_xetrieval.evaluation import diagnose
from pyterrier_xetrieval.evaluation.collection import ndcg
from pyterrier_xetrieval.evaluation.distractors import find_distractors, temperature_of
from tests.helpers.distracted import DISTRACTOR, HELPFUL, MISSING, NEUTRAL, PER_TOPIC, TOPICS, distracted, shuffled


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    model, docs, topics, qrels = distracted()
    index = model.indexer(tmp_path_factory.mktemp("diagnosis") / "index").index(docs)
    return index, index.retriever(num_results=PER_TOPIC) >> index.explainer(), topics, qrels


@pytest.fixture(scope="module")
def found(made):
    index, pipeline, topics, qrels = made
    return diagnose(pipeline, topics, qrels, index=index)


def test_the_planted_distractor_is_found_and_nothing_else(found):
    assert found.distractors["feature"].tolist() == [DISTRACTOR]
    row = found.distractors.iloc[0]
    assert row["queries"] == TOPICS and row["p_holm"] < 0.01 and row["lift"] > 0


def test_turning_it_down_helps_queries_that_took_no_part(found):
    row = found.distractors.iloc[0]
    assert row["alpha"] < 1 and row["gain_low"] > 0
    assert row["ndcg_held_out"] == pytest.approx(row["ndcg"] + row["gain"])
    assert found.together["features"] == 1 and found.together["gain_low"] > 0
    assert found.together["ndcg"] == pytest.approx(found.queries["ndcg"].mean()) == found.facts["ndcg"]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_judgements_by_chance_find_nothing(made, seed):
    index, pipeline, topics, qrels = made
    found = diagnose(pipeline, topics, shuffled(qrels, seed), index=index, seed=seed)
    assert not len(found.distractors) and found.together["alpha"] == 1 and found.together["gain"] == 0
    assert "No feature lifts wrong results more than chance" in str(found)


def test_differences_add_up_and_are_those_of_the_explanations(made, found):
    index, pipeline, topics, qrels = made
    results = pipeline(topics)
    for row in found.queries.head(8).itertuples():
        own = results[results["qid"] == row.qid].sort_values("score", ascending=False)
        relevant = qrels.loc[qrels["qid"] == row.qid, "docno"].item()
        docnos = own["docno"].tolist()
        above = [e for docno, e in zip(docnos, own["explanation"]) if docno in docnos[: docnos.index(relevant)]][:10]
        best = own.loc[own["docno"] == relevant, "explanation"].item()
        gap = np.mean([e.score for e in above]) - best.score
        assert row.gap == pytest.approx(gap, abs=1e-6) and row.wrong == docnos[0] and row.best == relevant
        assert row.features + row.other + row.bias + row.residual == pytest.approx(gap, abs=1e-6)
        table = found.query(row.qid)
        assert table["lift"].sum() == pytest.approx(gap, abs=1e-6)
        for j in (DISTRACTOR, NEUTRAL, HELPFUL):
            lift = np.mean([dict(zip(e.features.tolist(), e.contributions.tolist())).get(j, 0) for e in above])
            lift -= dict(zip(best.features.tolist(), best.contributions.tolist())).get(j, 0)
            assert table.loc[table["feature"] == j, "lift"].item() == pytest.approx(lift, abs=1e-6)


def test_what_no_relevant_document_shows_is_a_blind_spot(found):
    row = found.blind_spots.set_index("feature").loc[MISSING]
    assert row["asked"] == row["blind"] == 6 and 0.2 < row["on_page"] < 0.6
    assert {MISSING} == set(found.blind_spots["feature"])
    lacking = found.queries[found.queries["lacks"].map(bool)]
    assert len(lacking) == 6 and lacking["lacks"].map(lambda own: own == [f"feature {MISSING}"]).all()


def test_failing_queries_are_in_one_group_with_examples(found):
    row = found.groups.iloc[0]
    assert row["feature"] == DISTRACTOR and row["kind"] == "distractor" and row["queries"] == len(row["qids"])
    assert found.facts["in_groups"] == found.groups["queries"].sum() <= found.facts["failing"]
    assert len(row["examples"]) == 3 and all(e["wrong_contribution"] > e["relevant_contribution"] for e in row["examples"])
    assert row["words"] == []  # the index keeps none


def test_relevant_documents_that_were_not_retrieved_are_explained_as_well(made):
    index, _, topics, qrels = made
    short = index.retriever(num_results=2) >> index.explainer()
    found = diagnose(short, topics, qrels, index=index)
    missed = found.queries[found.queries["retrieved"] == 0]
    assert len(missed) > 5 and (missed["rank"] >= 2).all() and (missed["ndcg"] < 1).all()
    assert np.allclose(missed[["features", "other", "bias", "residual"]].sum(axis=1), missed["gap"])


def test_excluded_documents_take_no_part(made):
    index, pipeline, topics, qrels = made
    results = pipeline(topics)
    first = results.sort_values("score", ascending=False).groupby("qid").head(1)
    wrong = first[~first["docno"].isin(qrels["docno"])][["qid", "docno"]]
    found = diagnose(pipeline, topics, qrels, index=index, excluded=wrong)
    assert not set(zip(wrong["qid"], wrong["docno"])) & set(zip(found.queries["qid"], found.queries["wrong"]))
    assert found.facts["ndcg"] > diagnose(pipeline, topics, qrels, index=index).facts["ndcg"]


def test_a_flex_index_with_a_model_says_the_same(made, found, tmp_path):
    _, _, topics, qrels = made
    model, docs, _, _ = distracted()
    flex = FlexIndex(tmp_path / "flex")
    flex.index(docs)
    pipeline = flex.np_retriever(num_results=PER_TOPIC) >> VectorLoader(flex) >> model.explainer()
    same = diagnose(pipeline, topics, qrels, index=flex, model=model)
    columns = ["feature", "queries", "ndcg", "ndcg_held_out"]
    pd.testing.assert_frame_equal(same.distractors[columns], found.distractors[columns])
    with pytest.raises(ValueError, match="a FlexIndex with model="):
        diagnose(pipeline, topics, qrels, index=flex)


def test_errors_say_what_to_do(made):
    index, pipeline, topics, qrels = made
    with pytest.raises(ValueError, match="put model.scorer"):
        diagnose(lambda t: pipeline(t).assign(score=lambda r: -r["score"]), topics, qrels, index=index)
    with pytest.raises(ValueError, match="an Explanation in every row, found none"):
        diagnose(lambda t: pipeline(t).assign(explanation=None), topics, qrels, index=index)
    with pytest.raises(ValueError, match="results for some of the 40 judged queries, found none"):
        diagnose(lambda t: pipeline(t).head(0), topics, qrels, index=index)
    with pytest.raises(ValueError, match="judged queries with results, found 'no'"):
        diagnose(pipeline, topics, qrels, index=index).query("no")


def test_the_numbers_of_the_test():
    three = [(np.array([1.0, 0.0]), np.array([True, False]))] * 3 + [(np.array([1.0, 0.0]), np.array([False, True]))]
    assert temperature_of(three) == pytest.approx(np.log(3))  # softmax gives 3 to 1


def test_p_values_hold_their_level_by_chance(made, found):
    """Of features that lift nothing, one in twenty has a p-value below .05: here with 30 draws of judgements."""
    candidates, rng, p = found._errors.candidates, np.random.default_rng(5), []
    for seed in range(30):
        relevant = np.zeros(len(candidates.query), bool)
        for _, pairs in candidates.of_queries():
            relevant[rng.integers(pairs.start, pairs.stop)] = True
        by_chance = type(candidates)(**{**vars(candidates), "relevant": relevant})
        p += find_distractors(by_chance, np.arange(TOPICS), min_queries=5, seed=seed)["p"].tolist()
    assert len(p) == 120 and 0.35 < np.mean(p) < 0.65 and np.mean(np.array(p) < 0.05) < 0.12


def test_the_public_names_are_these():
    assert ptx.diagnose is diagnose and callable(ptx.diagnose_corpus) and callable(ndcg)
