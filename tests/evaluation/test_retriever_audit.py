"""The audit of a retriever: a preference that was built in is found with its feature, and what is none comes out as nothing."""

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from scipy import stats

from pyterrier_xetrieval import Xetrieval, audit
from pyterrier_xetrieval.evaluation import Audit, length_pairs, spelling_pairs
from pyterrier_xetrieval.evaluation.retriever_audit import _t_test
from pyterrier_xetrieval.stages.base import Stage
from tests.helpers.builders import identity_sae, make_model

MODEL = make_model(identity_sae(), aspects=())  # feature j is coordinate j


class Vectors(Stage):
    """The query likes coordinates 0 and 1; a text is a row of numbers."""

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        docs = [np.array(text.split(), np.float32) for text in inp["text"]]
        query = np.array([1, 0.5, 0, 0, 0, 0], np.float32)
        return inp.assign(query_vec=[query] * len(inp), doc_vec=docs)


PIPELINE = Vectors() >> MODEL.with_check("off").explainer()


def pairs_of(second: np.ndarray, qids=None) -> pd.DataFrame:
    """Texts that differ in the second coordinate alone, by these numbers."""
    first = np.linspace(0.2, 0.8, len(second))
    texts = {name: [f"{x} {0.5 + y} 0 0 0 0" for x, y in zip(first, add)] for name, add in (("a", 0 * second), ("b", second))}
    frame = pd.DataFrame({"query": [f"query {i}" for i in range(len(second))], "text_a": texts["a"], "text_b": texts["b"]})
    return frame if qids is None else frame.assign(qid=qids)


def test_a_preference_is_found_with_the_feature_that_carries_it():
    added = np.array([0.2, 0.4, 0.1, 0.3, 0.2, -0.1, 0.25, 0.35])
    found = audit(PIPELINE, pairs_of(added))
    expected = stats.ttest_1samp(0.5 * added, 0)
    interval = expected.confidence_interval()
    d = found.difference
    assert [d["value"], d["low"], d["high"], d["p"]] == pytest.approx([0.5 * added.mean(), *interval, expected.pvalue], abs=1e-6)
    assert d["n"] == 8 and found.signs == {"higher": 7, "lower": 1, "equal": 0, "flips": 1}
    assert found.parts["feature"].tolist()[:2] == [1, 0] and found.parts["part"].tolist()[2:] == [
        "other features", "bias", "not explained by the dictionary",
    ]  # fmt: skip
    (row,) = found.carriers.itertuples()
    assert (row.feature, row.label, row.pairs, row.words) == (1, "word1", 8, ())
    assert [row.value, row.a, row.b, row.p_holm] == pytest.approx([d["value"], 0.25, 0.25 + d["value"], d["p"]], abs=1e-6)
    assert found.pairs["qid"].tolist() == list(map(str, range(8)))
    assert "higher in 7, lower in 1, equal in 0 pairs; 1 go against the mean" in str(found)
    assert "word1 [1], in 8 pairs" in str(found)


def test_the_same_text_under_another_id_is_exactly_nothing():
    found = audit(PIPELINE, pairs_of(np.zeros(8)))
    assert found.difference == {"value": 0, "low": 0, "high": 0, "p": 1, "n": 8}
    assert found.signs == {"higher": 0, "lower": 0, "equal": 8, "flips": 0}
    assert (found.parts[["value", "low", "high", "pairs"]] == 0).all(axis=None) and not len(found.carriers)


def test_pairs_of_one_query_are_one_sample():
    added, qids = np.tile([0.2, 0.2, 0.2, 0.1, 0.1, 0.4, 0.3], 2), list("xxxyyzzuuuvvww")
    found = audit(PIPELINE, pairs_of(added, qids))
    d, own = found.difference, 0.5 * pd.Series(added).groupby(qids).agg(["sum", "size"]).to_numpy() * [1, 2]
    error = np.sqrt(6 / 5 * ((own[:, 0] - own[:, 1] * own[:, 0].sum() / 14) ** 2).sum()) / 14
    freedom = 14**2 / (own[:, 1] ** 2).sum() - 1
    assert d["value"] == pytest.approx(own[:, 0].sum() / 14) and 4 < freedom < 5
    assert d["high"] - d["value"] == pytest.approx(stats.t.ppf(0.975, freedom) * error, rel=1e-4)
    assert d["p"] == pytest.approx(2 * stats.t.sf(d["value"] / error, freedom), rel=1e-3)
    same_query = audit(PIPELINE, pairs_of(added).assign(query=qids))
    assert same_query.difference == d


def test_queries_of_as_many_pairs_each_have_the_interval_of_their_means():
    values = np.random.default_rng(0).normal(size=(24, 2))
    found = _t_test(values, pd.Series(np.arange(24) % 8))
    expected = stats.ttest_1samp(values.reshape(3, 8, 2).mean(axis=0), 0)
    assert found["p"] == pytest.approx(expected.pvalue)
    assert found["low"] == pytest.approx(expected.confidence_interval().low)


def test_pairs_that_all_differ_by_one_have_no_spread_however_they_are_spread_over_queries():
    found = _t_test(np.ones((22, 1)), pd.Series(list("a" + "b" * 10 + "c" + "d" * 10)))
    assert (found["low"].item(), found["high"].item()) == pytest.approx((1, 1)) and np.isnan(found["p"]).all()
    assert _t_test(np.ones((8, 1)), pd.Series(range(8)))["p"] == pytest.approx(2 / 2**8)  # of a sign test, and not 0
    two = _t_test(np.ones((2, 1)), pd.Series(range(2)))
    assert np.isnan([two["low"], two["high"], two["p"]]).all() and two["value"] == 1


def test_few_pairs_have_no_interval_and_say_so():
    two = audit(PIPELINE, pairs_of(np.array([0.2, 0.1])))
    assert repr(two) == "Audit(+0.0750 over 2 pairs, 0 features)" and "nan" not in str(two)
    assert "too few pairs for an interval, which needs 3 queries; a test needs 6" in str(two)
    assert "  +0.0750  word1 [1], in 2 pairs, not significant" in str(two).splitlines()
    four = audit(PIPELINE, pairs_of(np.array([0.2, 0.1, 0.3, 0.2])))
    assert np.isnan(four.difference["p"]) and four.parts["p_holm"].isna().all() and not len(four.carriers)
    assert "too few" not in str(four) and "no feature was tested, because none differs in 6 queries" in str(four)
    assert "+0.1000 [+0.0350, +0.1650]  word1 [1], in 4 pairs, not significant" in str(four)


def test_a_difference_by_chance_is_called_one_in_twenty_times():
    rng, shares = np.random.default_rng(0), rng_signs(400)
    called = [_t_test((signs * rng.exponential(size=40))[:, None], pd.Series(range(40)))["p"][0] < 0.05 for signs in shares]
    assert 0.02 < np.mean(called) < 0.085


def rng_signs(n: int) -> np.ndarray:
    return np.random.default_rng(1).choice([-1, 1], (n, 40))


def test_what_the_pipeline_did_not_explain_is_named():
    pairs = pairs_of(np.full(3, 0.1))
    with pytest.raises(ValueError, match="found no such row for text_b of pair 1"):
        audit(PIPELINE >> pt.apply.generic(lambda df: df[df["docno"] != "1b"]), pairs)
    with pytest.raises(ValueError, match="expects an Explanation of each text, found str for text_a of pair 0"):
        audit(PIPELINE >> pt.apply.explanation(lambda row: "why"), pairs)
    other = Vectors() >> pt.apply.generic(lambda df: df.assign(score=9.0)) >> MODEL.with_check("off").explainer()
    with pytest.raises(ValueError, match=r"found the scores 9.0000 and 0.\d+ \(explained\) for text_a of pair 0"):
        audit(other, pairs)
    with pytest.raises(ValueError, match="audit expects pairs, found none"):
        audit(PIPELINE, pairs.head(0))
    with pytest.raises(pt.validate.InputValidationError, match="text_b"):
        audit(PIPELINE, pairs.drop(columns="text_b"))


@pytest.fixture(scope="module")
def real() -> tuple[Xetrieval, pt.Transformer]:
    model = Xetrieval.default()
    encoder = model.encoder()
    return model, encoder.query_encoder() >> encoder.doc_encoder() >> model.explainer() >> model.evidence()


TEXTS = [
    f"{thing} has a colour that often changes while you watch it." for thing in
    ["A chameleon", "The evening sky", "A ripe tomato", "Hot iron", "A maple leaf", "The sea", "A traffic light", "Litmus paper"]
]  # fmt: skip
ROWS = pd.DataFrame({"query": [text.split(" has")[0] for text in TEXTS], "text": TEXTS})


def test_parts_of_real_pairs_add_up_and_have_words(real):
    found = audit(real[1], length_pairs(ROWS))
    assert isinstance(found, Audit) and found.difference["high"] < 0  # what says nothing takes away
    assert found.parts["value"].sum() == pytest.approx(found.difference["value"], abs=1e-5)
    by_hand = [
        real[0].with_views(()).explain(row.query, row.text_b).score - real[0].with_views(()).explain(row.query, row.text_a).score
        for row in found.pairs.head(2).itertuples()
    ]
    assert found.pairs["difference"].head(2).tolist() == pytest.approx(by_hand, abs=1e-5)
    assert any("chameleon" in word for words in found.parts["words"] for word in words)


def test_placebos_of_real_pairs_come_out_as_nothing(real):
    for pairs in (length_pairs(ROWS, placebo=True), spelling_pairs(ROWS, placebo=True)):
        found = audit(real[1], pairs)
        assert found.difference["low"] < 0 < found.difference["high"] and not len(found.carriers)
