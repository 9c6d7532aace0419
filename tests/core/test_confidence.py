"""How likely a label fits both texts: the numbers, the order, what is not known, the parameters as JSON."""

import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyterrier_xetrieval.core.confidence import UNKNOWN_CLARITY, UNKNOWN_DETECTION, Confidence, is_shown, predictors

FITTED = Confidence(intercept=-2.0, activation=3.0, clarity=1.0, detection=4.0)
NAN = float("nan")
shares = st.floats(0, 1)
labels = st.tuples(st.floats(0, 2), st.floats(0.5, 1))


def test_one_text_by_hand():
    # at half of the maximum: exp(-2 + 2 + 4 * .75) * .5 ** 3 = exp(3) / 8 are the odds
    odds = np.exp(3) / 8
    assert FITTED.of_text(0.5, 2, 0.75) == pytest.approx(odds / (1 + odds))


def test_a_pair_is_the_product_of_its_texts():
    found = FITTED([0.9, 0.3], [0.4, 0.3], [2, 1], [0.9, 0.6])
    sides = [FITTED.of_text(side, [2, 1], [0.9, 0.6]) for side in ([0.9, 0.3], [0.4, 0.3])]
    assert found.dtype == np.float64 and found.shape == (2,)
    np.testing.assert_allclose(found, sides[0] * sides[1])
    np.testing.assert_array_equal(FITTED([0.4], [0.9], 2, 0.9), found[:1])  # either side is as good as the other


def test_shapes_are_joined_and_inputs_stay():
    activation = np.linspace(0.1, 1, 6, dtype=np.float32).reshape(2, 3)
    activation.setflags(write=False)
    found = FITTED(activation, activation, np.array([2.0, NAN, 0.0]), 0.8)
    assert found.shape == (2, 3) and found.dtype == np.float64
    assert found[1, 0] == FITTED(activation[1, 0], activation[1, 0], 2, 0.8)


@given(shares, shares, labels, st.integers(0, 3), shares)
def test_more_never_lowers_it(query, document, label, which, more):
    before = [query, document, *label]
    after = list(before)
    after[which] += more
    assert 0 <= FITTED(*before) <= FITTED(*after) <= 1


@pytest.mark.parametrize("nothing", [0.0, NAN, -0.0])
def test_not_active_or_of_unknown_maximum_is_never_believed(nothing):
    assert FITTED(nothing, 1.0, 2, 1.0) < 1e-12 > FITTED(1.0, nothing, 2, 1.0)


def test_over_the_maximum_counts_as_the_maximum():
    assert FITTED([1.7, np.inf], 0.5, 2, 0.9).tolist() == [FITTED(1.0, 0.5, 2, 0.9)] * 2


def test_unknown_labels_are_the_least_believed():
    unknown = FITTED(0.8, 0.7)
    assert unknown == FITTED(0.8, 0.7, UNKNOWN_CLARITY, UNKNOWN_DETECTION) == FITTED(0.8, 0.7, NAN, NAN)
    assert (FITTED(0.8, 0.7, [0, 0, 1], [0.51, 0.6, NAN]) > unknown).all()
    assert FITTED(0.8, 0.7, detection=0.9) == FITTED(0.8, 0.7, 0, 0.9) > unknown
    assert FITTED(1.0, 1.0) == pytest.approx(0.25)  # exp(-2 + 4 * .5) = 1: half for each text


def test_extreme_logits_do_not_overflow():
    steep = Confidence(intercept=0.0, activation=200.0, clarity=900.0, detection=0.0)
    with np.errstate(all="raise", under="ignore"):
        assert steep.of_text([0.0, 1.0], 2).tolist() == [0.0, 1.0]


def test_contributions_count_where_they_were_fitted():
    weighs = replace(FITTED, contribution=10.0)
    low, high = weighs(0.5, 0.5, 2, 0.8, [0.0, 0.1])
    assert low == FITTED(0.5, 0.5, 2, 0.8) < high
    assert FITTED(0.5, 0.5, 2, 0.8, 0.1) == low
    with pytest.raises(ValueError, match=r"expects contributions \(their weight is 10.0\), found none"):
        weighs(0.5, 0.5, 2, 0.8)


def test_parameters_survive_json():
    again = Confidence.from_dict(json.loads(json.dumps(FITTED.to_dict())))
    assert again == FITTED and hash(again) == hash(FITTED)
    with pytest.raises(FrozenInstanceError):
        again.intercept = 0.0


@pytest.mark.parametrize("changed", [{"slope": 1.0}, {"contribution": None}])
def test_other_parameters_are_refused(changed):
    parameters = {**FITTED.to_dict(), **changed}
    kept = {name: value for name, value in parameters.items() if value is not None}
    with pytest.raises(ValueError, match="expects the parameters .*, found .*; fit them again"):
        Confidence.from_dict(kept)


@pytest.mark.parametrize(
    "name, value", [("activation", -0.1), ("clarity", NAN), ("intercept", float("inf")), ("detection", "4"), ("clarity", True)]
)
def test_senseless_parameters_are_refused(name, value):
    with pytest.raises(ValueError, match=f"expects {name} to be a finite number.*, found {value!r}"):
        replace(FITTED, **{name: value})


def test_support_counts_half_where_nobody_has_looked():
    supported = replace(FITTED, support=2.0)
    texts = supported.of_text(1.0, 1, 0.5, support=[1.0, 0.0, 0.5, NAN])  # exp(-2 + 1 + 4 * .5) = e without support
    odds = np.exp(1 + 2 * np.array([1, 0, 0.5, 0.5]))
    np.testing.assert_allclose(texts, odds / (1 + odds))
    assert supported.of_text(1.0, 1, 0.5) == texts[2] and supported(1.0, 1.0, 1, 0.5) == pytest.approx(texts[2] ** 2)
    assert supported(1.0, 1.0, 1, 0.5, query_support=1.0, document_support=0.0) == pytest.approx(texts[0] * texts[1])


def test_every_parameter_weighs_its_own_predictor():
    weights = {"activation": 0.5, "clarity": 1.5, "detection": 2.5, "contribution": 3.5, "support": 4.5, "similarity": 5.5}
    model = Confidence(intercept=-3.0, **weights)
    logit = -3 + 0.5 * np.log(0.25) + 1.5 * 2 + 2.5 * 0.75 + 3.5 * 0.125 + 4.5 * 0.625 + 5.5 * 0.375
    assert model.of_text(0.25, 2, 0.75, 0.125, 0.625, 0.375) == pytest.approx(1 / (1 + np.exp(-logit)))
    assert model.to_dict() == {"intercept": -3.0, **weights} and all(type(n) is float for n in model.to_dict().values())
    found = predictors(0.25, 2, 0.75, 0.125, 0.625, 0.375)
    assert [float(values) for values in found] == [np.log(0.25), 2, 0.75, 0.125, 0.625, 0.375]
    assert [float(values) for values in predictors(0.25, None, None, None)] == [np.log(0.25), 0, 0.5, 0, 0.5, 0.2]
    assert [float(values) for values in predictors(0.0, NAN, NAN, NAN, NAN, NAN)] == [np.log(1e-9), 0, 0.5, 0, 0.5, 0.2]


def test_each_text_has_its_own_similarity_and_earlier_parameters_have_none():
    near = replace(FITTED, similarity=4.0)
    low, high = near.of_text(0.5, 1, 0.8, similarity=[0.1, 0.6])
    assert near(0.5, 0.5, 1, 0.8, query_similarity=0.1, document_similarity=0.6) == pytest.approx(low * high) and low < high
    assert near(0.5, 0.5, 1, 0.8) == near(0.5, 0.5, 1, 0.8, query_similarity=NAN, document_similarity=0.2) > low**2
    before = {name: value for name, value in FITTED.to_dict().items() if name != "similarity"}
    assert Confidence.from_dict(before) == FITTED


def test_three_rows_are_shown_where_three_are_half_as_sure():
    assert is_shown([0.2, 0.5, 0.3, 0.25, 0.1], 0.4).tolist() == [False, True, True, True, False]
    assert is_shown([0.1, 0.15, 0.19], 0.4).tolist() == [False] * 3  # nothing that is not half as sure
    assert is_shown([0.5, 0.45, 0.4, 0.39], 0.4).tolist() == [True, True, True, False]  # three are enough
    assert is_shown([0.5, NAN, 0.1], 0.4).tolist() == [True, True, False] and is_shown([], 0.4).tolist() == []


@pytest.mark.parametrize("name", ["activation", "clarity", "detection", "contribution", "support", "similarity"])
def test_a_weight_may_be_zero_and_only_the_intercept_below(name):
    assert getattr(replace(FITTED, **{name: 0}), name) == 0 and replace(FITTED, intercept=-9).intercept == -9
    with pytest.raises(ValueError, match=f"expects {name} to be a finite number from 0 up, found -1; fit the parameters again"):
        replace(FITTED, **{name: -1})
    for value in (True, NAN, None):
        with pytest.raises(ValueError, match=r"expects intercept to be a finite number, found (True|nan|none); fit"):
            replace(FITTED, intercept=value)
