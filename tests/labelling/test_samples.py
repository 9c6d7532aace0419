"""Samples of features: those of a brute-force computation, uniform and seeded."""

import numpy as np
import pytest
import torch

from pyterrier_xetrieval.labelling.samples import FeatureSamples, feature_samples, spread
from tests.helpers.builders import identity_sae, make_model, unit
from tests.helpers.planted import plain_model


def brute_force(model, vectors):
    """``[n, D]``: the maximum over views, one document at a time."""
    rows = []
    for z in torch.from_numpy(vectors):
        views = torch.stack([z, *(module(z) for module in model.internalizers.values())])
        rows.append(model.sae.encode(views).dense(model.sae.dict_size).amax(0).numpy())
    return np.stack(rows)


def test_samples_are_those_of_a_brute_force_computation_however_they_arrive():
    model, vectors = make_model(), unit(np.random.default_rng(0), 700, 16)
    expected = brute_force(model, vectors)
    arrivals = [vectors, *(np.array_split(vectors, n) for n in (1, 3, 8, 700)), iter([vectors[:0], vectors[:257], vectors[257:]])]
    all_samples = [feature_samples(model, a, top=20, random=15, pool=300, seed=3) for a in arrivals]
    samples = all_samples[0]
    for other in all_samples[1:]:
        for name in ("docs", "values", "active", "active_values", "others", "counts"):
            assert np.array_equal(getattr(samples, name), getattr(other, name)), name
    order = np.argsort(-expected, axis=0, kind="stable")[:20].T
    values = np.take_along_axis(expected.T, order, 1)
    assert np.array_equal(samples.counts, (expected > 0).sum(0)) and samples.counts.min() < 100 < samples.counts.max()
    assert np.array_equal(samples.docs, np.where(values > 0, order, -1))
    np.testing.assert_allclose(samples.values, values, atol=1e-6)
    np.testing.assert_allclose(samples.firing_rate, (expected > 0).mean(0))
    np.testing.assert_allclose(samples.max_activation, expected.max(0), atol=1e-6)
    for j in range(model.sae.dict_size):
        active, others = samples.active[j], samples.others[j]
        assert len(set(active[active >= 0])) == (active >= 0).sum() == min(15, samples.counts[j])
        np.testing.assert_allclose(samples.active_values[j, active >= 0], expected[active[active >= 0], j], rtol=1e-3)
        assert (samples.active_values[j, active < 0] == 0).all()
        assert (expected[active[active >= 0], j] > 0).all() and (expected[others[others >= 0], j] == 0).all()
        assert len(set(others[others >= 0])) == (others >= 0).sum() <= 700 - samples.counts[j]
        assert (others >= 0).all() or samples.counts[j] > 600  # few in the pool, or none at all
    raw = feature_samples(model.with_views(aspects=[]), vectors)
    assert np.array_equal(raw.counts, model.sae.encode(torch.from_numpy(vectors)).dense(48).gt(0).sum(0).numpy())
    assert raw.counts.sum() < samples.counts.sum()


def test_random_documents_are_uniform_and_seeded():
    model = plain_model(identity_sae())
    vectors = np.zeros((900, 6), np.float32)
    vectors[::3, 0] = 1.0  # a tie of 300 documents
    drawn = [feature_samples(model, vectors, random=30, pool=90, seed=seed) for seed in range(40)]
    assert drawn[0].docs[0].tolist() == list(range(0, 60, 3))  # of equal ones the first
    active, others = np.concatenate([s.active[0] for s in drawn]), np.concatenate([s.others[0] for s in drawn])
    assert (active % 3 == 0).all() and (others % 3 > 0).all()
    assert abs(active.mean() - 450) < 30 and abs(others.mean() - 450) < 30
    assert not np.array_equal(drawn[0].active, drawn[1].active) and not np.array_equal(drawn[0].others[1], drawn[0].others[2])
    assert (drawn[0].docs[1] == -1).all() and drawn[0].max_activation[1] == 0


def test_vectors_that_cannot_be_used_are_named():
    model, vectors = make_model(), unit(np.random.default_rng(0), 5, 16)
    broken = vectors.copy()
    broken[3, 2] = np.nan
    for message, given, options in (
        ("16-dimensional.*shape .5, 7", vectors[:, :7], {}),
        ("NaN or infinity in vector 3", np.array_split(broken, 2), {}),
        ("docno of its own for each of 5", vectors, {"docnos": list("abca")}),
        ("docno of its own for each of 5", vectors, {"docnos": list("abcda")}),
        ("top to be a positive whole number", vectors, {"top": 0}),
        ("threshold >= 0", vectors, {"threshold": -1.0}),
    ):
        with pytest.raises(ValueError, match=message):
            feature_samples(model, given, **options)
    assert feature_samples(model, vectors, top=np.int64(3)).docs.shape[1] == 3


def test_values_are_spread_over_their_range():
    assert spread([0.9, 0.1, 0.2, 0.5], 2) == [1, 0] and spread([], 3) == [] and sorted(spread([1.0, 1.0], 5)) == [0, 1]
    many = np.r_[np.linspace(0.01, 0.1, 90), np.linspace(0.1, 1, 10)]  # most texts are weak, few are chosen among them
    assert (many[spread(many.tolist(), 10)] > 0.1).sum() >= 8


def test_examples_are_the_strongest_and_others_of_every_strength():
    docs, values = np.array([[7, 3, 5, 1]]), np.array([[1.0, 0.9, 0.8, 0.7]], np.float32)
    active, weak = np.array([[3, 8, 9, 4, 6]]), np.array([[0.9, 0.1, 0.5, 0.3, 0.2]], np.float32)
    samples = FeatureSamples(docs, values, active, weak, np.array([[2]]), np.array([9]), [str(i) for i in range(10)])
    found, strengths = samples.examples(0, 4)
    assert found.tolist() == [7, 3, 9, 8] and np.allclose(strengths, [1, 0.9, 0.5, 0.1])  # two strongest; 3 is not shown twice
    few = FeatureSamples(docs, values, active[:, :1], weak[:, :1], np.array([[2]]), np.array([4]), samples.docnos)
    assert few.examples(0, 4)[0].tolist() == [7, 3, 5, 1] and few.examples(0, 9)[0].tolist() == [7, 3, 5, 1]
