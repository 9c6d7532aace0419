import numpy as np
import pytest

from pyterrier_xetrieval.core.calibration import CorpusStatistics, calibration_strength, feature_gains


def vectors(n=300, m=5, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, m)) * np.arange(1, m + 1) + 3).astype(np.float32)


@pytest.mark.parametrize("sizes", [[300], [1, 299], [100, 0, 150, 50]])
def test_moments_are_those_of_all_vectors_in_whatever_blocks_they_come(sizes):
    x = vectors()
    found = CorpusStatistics.from_vectors(np.split(x, np.cumsum(sizes)[:-1]))
    assert found.count == 300
    np.testing.assert_allclose(found.mean, x.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(x.T.astype(np.float64), bias=True), rtol=1e-10)


def test_large_means_do_not_cancel_the_variance():
    x = vectors().astype(np.float64) + 1e6
    found = CorpusStatistics.from_vectors([x[:7], x[7:]])
    np.testing.assert_allclose(found.covariance, np.cov(x.T, bias=True), rtol=1e-6)


def test_topicality_and_effective_rank_of_known_vectors():
    x = np.float32([[3, 1], [3, -1]])  # mean length 3, variance 1 along one direction
    found = CorpusStatistics.from_vectors([x])
    assert found.topicality(np.zeros(2)) == pytest.approx(3 / np.sqrt(10))
    assert found.topicality(np.float32([3, 0])) == 0
    assert CorpusStatistics.from_vectors([x / 100]).topicality(np.zeros(2)) == pytest.approx(3 / np.sqrt(10))  # of any length
    assert found.effective_rank == pytest.approx(1)
    assert CorpusStatistics.from_vectors([np.eye(4)]).effective_rank == pytest.approx(3)
    assert CorpusStatistics.from_vectors([np.ones((2, 2))]).topicality(np.ones(2)) == 0


def test_half_a_strength_whitens_and_none_changes_nothing():
    found = CorpusStatistics.from_vectors([vectors()])
    a = found.whitening(0.5)
    white = a @ found.covariance @ a
    np.testing.assert_allclose(white / white[0, 0], np.eye(5), atol=1e-10)
    np.testing.assert_allclose(a, a.T)
    assert np.trace(found.whitening(0.2)) == pytest.approx(5)
    assert (found.whitening(0) == np.eye(5)).all()


def test_soft_whitening_divides_each_principal_direction_by_a_power_of_its_variance():
    found = CorpusStatistics.from_vectors([vectors()])
    variance, directions = np.linalg.eigh(found.covariance)
    gains = np.einsum("mi,mn,ni->i", directions, found.whitening(0.2), directions)
    np.testing.assert_allclose(gains / gains[0], (variance / variance[0]) ** -0.2)


def test_a_direction_in_which_the_encoder_gives_nothing_stays_finite():
    x = vectors()
    x[:, 0] = 7
    found = CorpusStatistics.from_vectors([x])
    assert np.isfinite(found.whitening(0.5)).all()
    # it counts as a thousandth of the mean variance, which is about 11 here
    gains = np.diag(found.whitening(0.5))
    largest = np.linalg.eigvalsh(found.covariance)[-1]
    assert gains[0] / np.linalg.eigvalsh(found.whitening(0.5))[0] == pytest.approx(
        (largest / (1e-3 * np.trace(found.covariance) / 5)) ** 0.5
    )


@pytest.mark.parametrize("blocks", [[], [np.ones((1, 3))], [np.empty((0, 3))]])
def test_fewer_than_two_vectors_are_refused(blocks):
    with pytest.raises(ValueError, match="at least two vectors, found"):
        CorpusStatistics.from_vectors(blocks)


def test_what_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="NaN or infinity"):
        CorpusStatistics.from_vectors([np.float32([[1, np.nan], [0, 1]])])


def test_equal_statistics_are_equal_and_others_are_not():
    one, same, other = (CorpusStatistics.from_vectors([vectors(seed=s)]) for s in (0, 0, 1))
    assert one == same and hash(one) == hash(same) and one != other and one != 3


def test_strength_is_nothing_for_general_corpora_grows_in_between_and_then_stays():
    strengths = [calibration_strength(t) for t in (0, 0.35, 0.375, 0.4, 1)]
    assert strengths == pytest.approx([0, 0, 0.1, 0.2, 0.2])


def test_gains_of_directions_of_any_length():
    a = np.float64([[2, 1], [1, 4]])
    assert feature_gains(np.float32([[1, 0], [0, 3], [1, 1], [2, 1]]), a).tolist() == pytest.approx([2, 4, 4, 3.2])
