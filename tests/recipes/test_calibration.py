"""Reliability, calibration error, log loss and what a least probability keeps, by hand."""

import numpy as np
import pytest

from recipes.calibration import calibration_error, isotonic, kept, log_loss, reliability, show_errors

P, FITS = np.array([0.0, 0.08, 0.55, 0.51, 0.59, 1.0]), np.array([0.0, 1.0, 1.0, 0.0, 1.0, 1.0])


def test_bins_of_equal_width():
    table = reliability(P, FITS)
    assert table.index.tolist() == [0.0, 0.5, 0.9]  # a probability of 1 belongs to the last bin
    assert table["cases"].tolist() == [2, 3, 1]
    np.testing.assert_allclose(table["predicted"], [0.04, 0.55, 1.0])
    np.testing.assert_allclose(table["observed"], [0.5, 2 / 3, 1.0])


def test_error_is_weighted_by_cases():
    assert calibration_error(P, FITS) == pytest.approx((2 * 0.46 + 3 * (2 / 3 - 0.55)) / 6)
    assert calibration_error(FITS, FITS) == 0


def test_log_loss_is_finite_where_a_certainty_is_wrong():
    assert log_loss(np.array([0.25, 0.25]), np.array([1.0, 0.0])) == pytest.approx(-(np.log(0.25) + np.log(0.75)) / 2)
    assert log_loss(np.array([1.0]), np.array([0.0])) == pytest.approx(-np.log(1e-9))


def test_what_is_kept():
    table = kept(P, FITS, {"some": np.array([True, True, False, False, False, False])})
    assert table.loc["confidence >= 0.5"].tolist() == [4, 4 / 6, 0.75, 0.75]
    assert table.loc["confidence >= 0.9"].tolist() == [1, 1 / 6, 1.0, 0.25]
    assert table.loc["some"].tolist() == [2, 2 / 6, 0.5, 0.25]
    assert np.isnan(kept(P / 2, FITS, {}).loc["confidence >= 0.9", "precision"])


def test_isotonic_mends_what_is_off_but_in_order():
    rng = np.random.default_rng(0)
    truth = rng.random(4000)
    fits = (rng.random(4000) < truth).astype(float)
    levelled = isotonic(truth**3, fits, np.arange(4000) % 5)
    assert calibration_error(truth**3, fits) > 0.2 > 0.04 > calibration_error(levelled, fits)


def test_a_line_for_each_case(capsys):
    show_errors("texts", {"all": (P, FITS), "first": (P[:1], FITS[:1])})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("texts; all: 6, predicted 0.455, observed 0.667, calibration error 0.212, log loss ")
    assert lines[1].startswith("texts; first: 1, predicted 0.000, observed 0.000, calibration error 0.000")
