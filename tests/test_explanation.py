import copy
import json
import pickle
import re

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_xetrieval import Explanation, FeatureLabels, Xetrieval, explanation_frame
from pyterrier_xetrieval.core.confidence import Confidence, is_shown
from tests.helpers.builders import make_model, random_sae


@pytest.fixture
def explained(model, results):
    return (model.internalizer() >> model.scorer() >> model.explainer(top=1))(results)


def first_with(explained, n):
    return next(e for e in explained["explanation"] if len(e) >= n)


def assert_same_to_a_reader(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a == b and hash(a) == hash(b) and a.to_dict() == b.to_dict() and a.ranking == b.ranking
        assert a.to_text() == b.to_text() and a.sentence() == b.sentence() and a.to_html() == b.to_html()
        assert a.confidence.tolist() == b.confidence.tolist() or np.isnan(a.confidence).all()


def test_released_keys(explained):
    record = first_with(explained, 2).to_dict()
    assert {"query_id", "doc_id", "shared_features", "per_view_shared_features", "feature_explanations"} <= set(record)
    assert set(record["per_view_shared_features"]) == {"original", "qa", "summary", "purpose"}
    assert record["shared_features"] == sorted(set().union(*record["per_view_shared_features"].values()))
    assert record["feature_explanations"][0] == {
        "feature_id": record["shared_features"][0],
        "hypothesis": f"word{record['shared_features'][0]}",
    }
    assert json.loads(json.dumps(record)) == record


def test_dict_adds_up(explained):
    for e in explained["explanation"]:
        record = e.to_dict()
        assert sum(record["parts"].values()) == pytest.approx(record["score"], abs=1e-4)
        assert sum(f["contribution"] for f in record["features"]) == pytest.approx(record["parts"]["shared"], abs=1e-5)


def test_repr_names_the_strongest_features(explained):
    e = first_with(explained, 2)
    assert f"word{e.features[0]} " in repr(e) and f"word{e.features[1]} " not in repr(e)
    assert "not explained" in repr(e) and "\n" not in repr(e)
    assert f"{len(e) - 1} more shared features" in e.to_text()


def test_long_frame_adds_up_to_the_scores(explained):
    frame = explanation_frame(explained)
    totals = frame.groupby(["qid", "docno"])["contribution"].sum()
    for _, row in explained.iterrows():
        assert totals[row["qid"], row["docno"]] == pytest.approx(row["score"], abs=1e-4)
    features = frame[frame["part"] == "shared feature"]
    assert features.index.equals(frame.dropna(subset="feature").index) and features.index.equals(
        frame.dropna(subset="label").index
    )
    rest = ["other features", "bias", "not explained by the dictionary"]
    assert frame["part"].value_counts()[rest].tolist() == [len(explained)] * 3
    shared = sum(e.shared for e in explained["explanation"])  # what is grouped by label is the features alone
    assert frame.groupby("label")["contribution"].sum().sum() == pytest.approx(shared, abs=1e-5)
    assert len(features) == sum(map(len, explained["explanation"]))
    assert features["label"].equals("word" + features["feature"].astype(str))
    assert (features["document_activation"] > 0).all() and (features["query_activation"] > 0).all()
    assert features["views"].str.len().gt(0).all()


def test_numbers_as_ids_are_plain_in_the_dict(model, results):
    results = results.assign(qid=np.arange(len(results)), docno=np.arange(len(results)))
    assert json.dumps(model.explainer()(results)["explanation"][0].to_dict())


@pytest.mark.parametrize("judged", [False, True])
def test_what_is_read_from_its_dict_is_equal(results, judged):
    model = judged_model() if judged else make_model()
    reranked = (model.internalizer() >> model.scorer())(results).assign(score=np.arange(len(results), dtype=float))
    explained = (model.explainer(min_confidence=0.4, top=2) >> model.intervention(features=[1]))(reranked)["explanation"]
    for plain in (Explanation.to_dict, lambda e: json.loads(e.to_json()), lambda e: copy.deepcopy(e).to_dict()):
        again = [Explanation.from_dict(plain(e)) for e in explained]
        assert_same_to_a_reader(again, explained)
        assert first_with(pd.DataFrame({"explanation": again}), 2).compare(explained[0])["difference"].notna().all()
    (model.intervention(features="shared"))(results.assign(explanation=again))  # of the same dictionary


def test_parquet_keeps_a_frame_of_results(explained, results, tmp_path):
    pytest.importorskip("pyarrow")
    records = explained.assign(explanation=explained["explanation"].map(Explanation.to_dict))
    records.to_parquet(tmp_path / "results.parquet")
    found = pd.read_parquet(tmp_path / "results.parquet")
    assert_same_to_a_reader(found["explanation"].map(Explanation.from_dict), explained["explanation"])
    again = make_model().explainer(top=1)(found.drop(columns="explanation"))["explanation"]  # vectors are vectors still
    assert [e.to_dict()["parts"] for e in again] == [e.to_dict()["parts"] for e in explained["explanation"]]


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_a_copy_says_the_same_and_takes_no_other_pair_along(explained, again):
    for e in explained["explanation"]:
        twin = again(e)
        assert twin.to_dict() == e.to_dict() and twin.to_text() == e.to_text() and repr(twin) == repr(e)
        assert len(twin._parts.score) == 1 < len(e._parts.score)
        assert set(twin.labels._names) <= set(e.features.tolist()) and again(twin) == twin


def test_equal_are_those_with_the_same_numbers(explained, model, results):
    again = (model.internalizer() >> model.scorer() >> model.explainer(top=1))(results)
    pd.testing.assert_frame_equal(explained[["explanation"]], again[["explanation"]])
    first, second = explained["explanation"][:2]
    assert first == copy.copy(first) and hash(first) == hash(copy.copy(first)) and first != second and first != "?"
    assert first != model.explainer()(results)["explanation"][0]


def test_what_is_read_cannot_be_spoilt(explained):
    e = first_with(explained, 2)
    for values in (e.features, e.contributions, e.query_activations, e.document_activations):
        with pytest.raises(ValueError, match="read-only"):
            values /= 2
    assert e.score == pytest.approx(e.shared + e.other + e.bias + e.residual)


def test_long_frame_wants_explanations(explained):
    with pytest.raises(pt.validate.InputValidationError, match="explanation"):
        explanation_frame(explained.drop(columns="explanation"))
    with pytest.raises(ValueError, match="in every row, found none"):
        explanation_frame(explained.assign(explanation=None))


def test_long_frame_of_nothing(explained):
    frame = explanation_frame(explained.iloc[:0])
    assert len(frame) == 0 and frame["feature"].dtype == "Int64" and frame["share"].dtype == "float64"


def test_lines_tell_features_of_one_label_apart(model, results):
    model.labels._names.update(dict.fromkeys(range(model.labels.dict_size), "keys"))
    text = first_with(model.explainer()(results), 2).to_text()
    ids = first_with(model.explainer()(results), 2).features[:2]
    assert all(f"keys [{j}]" in text for j in ids)


def test_comparison_adds_up_to_the_difference_of_scores(explained):
    for a in explained["explanation"]:
        for b in explained["explanation"]:
            table = a.compare(b, across_queries=True)
            assert table["difference"].sum() == pytest.approx(a.score - b.score, abs=1e-6)
            assert table["left"].sum() == pytest.approx(a.score, abs=1e-6)
            named = table.dropna(subset="feature")
            assert set(named["feature"]) == {*a.features.tolist(), *b.features.tolist()}
            assert named["difference"].abs().is_monotonic_decreasing
    assert list(table.columns) == ["feature", "label", "confidence", "left", "right", "difference"]
    with pytest.raises(ValueError, match="expects another explanation, found str"):
        a.compare("b")


def test_two_queries_and_two_dictionaries_are_not_compared_by_mistake(explained, results):
    first, other = explained["explanation"][0], explained[explained["qid"] == "q1"]["explanation"].iloc[0]
    with pytest.raises(ValueError, match="across_queries=True"):
        first.compare(other)
    foreign = make_model(random_sae(seed=1)).explainer()(results)["explanation"][0]
    with pytest.raises(ValueError, match="found one by another dictionary"):
        first.compare(foreign)
    with pytest.raises(ValueError, match="found one by another dictionary"):
        make_model(random_sae(seed=1)).intervention(features="shared")(explained)
    assert first.compare(pickle.loads(pickle.dumps(first)))["difference"].abs().max() == 0


def judged_model(**parameters):
    """A model whose labels were judged: confidence falls from feature to feature."""
    model = make_model()
    n = model.sae.dict_size
    table = model.labels.table.assign(max_activation=1.0, clarity=2.0, detection=np.linspace(1, 0.5, n))
    labels = FeatureLabels(table, n, Confidence(**{"intercept": 0, "activation": 1, "clarity": 0.5, "detection": 1} | parameters))
    parts = {"internalizers": model.internalizers, "sae": model.sae, "encoder": model.meta["encoder"]}
    return Xetrieval.from_parts(**parts, labels=labels)


def test_what_is_shown_and_what_is_counted(results):
    model = judged_model()
    everything = model.explainer()(results)["explanation"]
    floor = float(np.median(np.concatenate([e.confidence for e in everything])))
    for e, all_shown in zip(model.explainer(min_confidence=floor)(results)["explanation"], everything):
        n, part = e.weakly_shared
        assert len(e.rows) + n == len(e) and n == (~is_shown(e.confidence, floor)).sum()
        assert sum(row.contribution for row in e.rows) + part == pytest.approx(e.shared, abs=1e-6)
        sure = [row for row in e.rows if row.confidence >= floor]
        assert len(sure) == (e.confidence >= floor).sum() and len(e.rows) <= max(3, len(sure))
        assert all(row.confidence >= floor / 2 for row in e.rows) and len(all_shown.rows) == len(e)
        assert list(e.shown.columns) == ["feature", "label", "confidence", "contribution", "query_words", "document_words"]
        assert sum(value for _, value in e.lines()) == pytest.approx(e.score, abs=1e-5)
        assert e.score == all_shown.score and np.array_equal(e.contributions, all_shown.contributions)  # no number changes
        assert [f["shown"] for f in e.to_dict()["features"]] == e.is_shown.tolist()
        assert (f"{n} weakly shared features" in e.to_text()) == (n > 0)
        carried = (
            f"{100 * (e.shared - part) / e.score:.0f} % of the score"
            if e.score > 0
            else f"{e.shared - part:.3f} of the score, which"
        )
        if e.rows:
            assert re.search(rf"({len(e.rows)} features|The feature) shown carr(y|ies) {carried}", e.sentence())
        assert (f"{n} weakly shared" in e.sentence() or "The weakly shared" in e.sentence()) == (n > 0)


def test_the_sentence_doubts_where_no_row_is_sure(results):
    seen = set()
    for floor in (0.0, 0.3, 0.5, 0.7, 0.9):
        for e in judged_model().explainer(min_confidence=floor)(results)["explanation"]:
            if main := [row for row in e.rows[:2] if row.contribution > 0]:
                sure = max(row.confidence for row in main) >= floor
                word = e.sentence().split()[1]
                assert (word == "perhaps") == (not sure) and e.sentence().startswith(f"Retrieved {word} for *{main[0].label}*")
                seen.add(word)
    assert seen == {"mainly", "partly", "perhaps"}


def test_on_one_line(model, results):
    names = ["ordering", "a label that is far too long for the cell of a frame, and goes on"]
    model.labels._names = {j: names[j % 2] for j in range(model.labels.dict_size)}
    frame = model.explainer()(results)
    for e in filter(len, frame["explanation"]):
        *told, more = str(e).split(" · ") if len(e) > 3 else [*str(e).split(" · "), None]
        assert more is None or more == f"+{len(e) - 3}"
        assert len(told) == min(len(e), 3) and all(len(part) <= 45 for part in told)
        for part, contribution in zip(told, sorted(e.contributions.tolist(), reverse=True)):
            label, _, value = part.rpartition(" ")
            assert label in ("ordering", "a label that is far too long for the…") and not value.startswith("0")
            assert float(value) == pytest.approx(contribution, abs=0.0051)
    assert str(first_with(frame, 2))[:20] in frame[["explanation"]].to_string()


def test_one_line_where_nothing_is_shown(results):
    e = next(e for e in judged_model(intercept=-3).explainer(min_confidence=1)(results)["explanation"] if len(e))
    assert str(e) == f"{len(e)} weakly shared features"
    assert str(judged_model().explainer(threshold=1e6)(results)["explanation"][0]) == "no shared features"


def test_json_is_the_dict_as_text_or_as_a_file(explained, tmp_path):
    e = first_with(explained, 2)
    assert json.loads(e.to_json()) == e.to_dict()
    assert e.to_json(tmp_path / "why.json") is None and json.loads((tmp_path / "why.json").read_text()) == e.to_dict()


def test_json_of_a_frame_is_the_dicts(explained, monkeypatch):
    frame = explained[["qid", "explanation"]]
    written = json.loads(frame.to_json(orient="records"))
    for row, e in zip(written, frame["explanation"]):
        assert row["explanation"].keys() == e.to_dict().keys() and row["explanation"]["features"][:1] != [{}]
        assert row["explanation"]["score"] == pytest.approx(e.score, abs=1e-9)
    assert len(frame.to_json()) < 2 * sum(len(e.to_json()) for e in frame["explanation"])
    for text in (frame.to_csv(), frame.to_string(max_colwidth=None), frame.to_html()):
        assert all(str(e) in text for e in frame["explanation"]) and len(text) < 200 * len(frame) + 500


def test_a_record_that_is_none_is_refused(explained):
    record = first_with(explained, 2).to_dict()
    features = record["features"]
    for damaged in (
        None, "text", [], {}, record | {"parts": None}, record | {"score": "much"}, record | {"score": float("nan")},
        record | {"features": [features[0], features[0]]}, record | {"features": [features[0] | {"feature_id": 48}]},
        record | {"features": [features[0] | {"contribution": None}]}, record | {"dictionary": {}},
        record | {"features": [features[0] | {"document_activations": {}}]}, record | {"printed": None},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="from_dict expects what Explanation.to_dict made, found"):
            Explanation.from_dict(damaged)


def test_labels_that_nobody_judged_are_all_shown(explained):
    for e in explained["explanation"]:
        assert np.isnan(e.confidence).all() and len(e.rows) == len(e) and e.weakly_shared == (0, 0.0)


def test_another_score_in_the_frame_is_told(model, results):
    scored = model.scorer()(results)
    assert all(e.ranking is None for e in model.explainer()(scored)["explanation"])
    assert all(e.ranking is None for e in model.explainer()(results.drop(columns="score"))["explanation"])
    reranked = scored.assign(score=np.arange(len(scored), dtype=float))
    for e, place, score in zip(model.explainer()(reranked)["explanation"], scored["rank"], reranked["score"]):
        assert (e.ranking.place, e.ranking.of, e.ranking.score) == (place, 4, score)
        assert "ranked by another score" in e.sentence() and f"at place {place + 1} of 4" in e.to_text()


def test_an_explanation_without_shared_features_is_still_one(model, results):
    none = model.explainer(threshold=1e6)(results)["explanation"].iloc[0]
    assert len(none) == 0 and none and none.compare(none)["difference"].abs().sum() == 0
