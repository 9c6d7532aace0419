"""Every part of every score, against dense matrices in float64: one pair, one view, one feature at a time."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch

from pyterrier_xetrieval.core import attribution
from pyterrier_xetrieval.core.attribution import attribute, explain_vectors
from pyterrier_xetrieval.core.codes import DocumentCodes, encode_view, encode_views, join_views
from tests.helpers.builders import identity_sae, random_sae, sae_of_rule, unit

NAMES = ("score", "other", "bias", "residual", "offsets", "features", "contribution", "query_activation", "document_activation")
WEIGHTS = [1.0, 0.5, -0.25]


class Pairs:
    """Five queries, seven documents in three views, and pairs of them in no order, one of them twice."""

    def __init__(self, sae=None, n=23, seed=0):
        rng = np.random.default_rng(seed)
        self.sae = sae or random_sae(k=9)
        self.queries, *self.views = (unit(rng, n_rows, self.sae.dim) for n_rows in (5, 7, 7, 7))
        self.query_rows, self.doc_rows = rng.integers(0, 5, n), rng.integers(0, 7, n)
        self.query_rows[1:2], self.doc_rows[1:2] = self.query_rows[:1], self.doc_rows[:1]

    def explain(self, **options):
        options = {"weights": WEIGHTS, "refit": False} | options
        return explain_vectors(self.sae, self.queries, self.query_rows, self.views, self.doc_rows, **options)

    def dense(self, x):
        """Activations ``[n, D]`` in float64."""
        return self.sae.encode(torch.from_numpy(x)).dense(self.sae.dict_size).detach().double().numpy()

    def expected(self, i, threshold=0.0, weights=WEIGHTS):
        """Score, other, bias, residual of a pair, and its features: contribution, the query's and the documents' activations."""
        q = self.queries[self.query_rows[i]].astype(np.float64)
        views = [view[self.doc_rows[i]].astype(np.float64) for view in self.views]
        w, b = self.sae.w_dec.detach().double().numpy(), self.sae.b_dec.detach().double().numpy()
        query = self.dense(self.queries)[self.query_rows[i]]
        codes = [self.dense(view)[self.doc_rows[i]] for view in self.views]
        contribution = sum(weight * code for weight, code in zip(weights, codes)) * (w @ q)
        shared = [j for j in range(len(w)) if query[j] > threshold and any(code[j] > threshold for code in codes)]
        shared.sort(key=lambda j: -contribution[j])
        score = sum(weight * (q @ view) for weight, view in zip(weights, views))
        bias = sum(weights) * (q @ b)
        residual = sum(weight * (q @ (view - code @ w - b)) for weight, view, code in zip(weights, views, codes))
        rows = [(j, contribution[j], query[j], [code[j] * (code[j] > threshold) for code in codes]) for j in shared]
        return score, contribution.sum() - contribution[shared].sum(), bias, residual, rows


def assert_literal(pairs, found, threshold=0.0):
    listed = 0
    for i in range(len(pairs.query_rows)):
        *numbers, rows = pairs.expected(i, threshold)
        own = found.listed(i)
        np.testing.assert_allclose([found.score[i], found.other[i], found.bias[i], found.residual[i]], numbers, atol=2e-6)
        assert found.features[own].tolist() == [row[0] for row in rows]
        np.testing.assert_allclose(found.contribution[own], [row[1] for row in rows], atol=1e-6)
        np.testing.assert_allclose(found.query_activation[own], [row[2] for row in rows], atol=1e-6)
        np.testing.assert_allclose(found.document_activation[own], np.reshape([row[3] for row in rows], (-1, 3)), atol=1e-6)
        listed += len(rows)
    assert found.offsets[0] == 0 and found.offsets[-1] == len(found.features) == listed > len(pairs.query_rows)


@pytest.mark.parametrize("threshold", [0.0, 0.2])
@pytest.mark.parametrize("rule", [None, "gated", "thresholds"])
def test_every_part_is_the_literal_sum(rule, threshold):
    pairs = Pairs(rule and sae_of_rule(rule, 16, 48, None))
    assert_literal(pairs, pairs.explain(threshold=threshold), threshold)


def test_dtypes_and_shapes():
    found = Pairs().explain()
    t = len(found.features)
    dtypes = [np.float64] * 4 + [np.int64, np.int32] + [np.float32] * 3
    shapes = [(23,)] * 4 + [(24,)] + [(t,)] * 3 + [(t, 3)]
    assert [(getattr(found, name).dtype, getattr(found, name).shape) for name in NAMES] == list(zip(dtypes, shapes))


@pytest.mark.parametrize("pairs_at_once, queries_at_once", [(1, 1), (2, 2), (3, 256), (1024, 2), (23, 5)])
@pytest.mark.parametrize("threads", [1, 2])
def test_blocks_change_nothing(monkeypatch, pairs_at_once, queries_at_once, threads):
    pairs = Pairs()
    whole, before = pairs.explain(), torch.get_num_threads()
    monkeypatch.setattr(attribution, "_PAIRS", pairs_at_once)
    monkeypatch.setattr(attribution, "_QUERIES", queries_at_once)
    torch.set_num_threads(threads)
    found = pairs.explain()
    torch.set_num_threads(before)
    assert_literal(pairs, found)
    assert all(np.array_equal(getattr(found, name), getattr(whole, name)) for name in ("offsets", "features"))


def test_blocks_are_as_large_as_is_said(monkeypatch):
    sizes, queries = [], []
    call, tables = attribution._Join.__call__, attribution._Join.tables
    monkeypatch.setattr(attribution._Join, "__call__", lambda self, *args: sizes.append(len(args[1])) or call(self, *args))
    monkeypatch.setattr(attribution._Join, "tables", lambda self, first: queries.append(first) or tables(self, first))
    rng, sae = np.random.default_rng(0), random_sae()
    q, z = unit(rng, 513, 16), unit(rng, 4, 16)
    rows = np.concatenate([np.zeros(1025, np.int64), np.arange(513)])
    explain_vectors(sae, q, rows, [z], np.zeros_like(rows), weights=[1.0], refit=False)
    assert queries == [0, 256, 512] and sorted(sizes) == [1, 256, 257, 1024]


def test_queries_without_pairs_and_no_pairs_at_all():
    pairs = Pairs()
    pairs.query_rows = np.full(23, 3)
    assert_literal(pairs, pairs.explain())
    nothing = Pairs(n=0).explain()
    assert nothing.offsets.tolist() == [0] and nothing.score.shape == (0,) and nothing.document_activation.shape == (0, 3)
    for name, dtype in zip(NAMES, [np.float64] * 4 + [np.int64, np.int32] + [np.float32] * 3):
        assert getattr(nothing, name).dtype == dtype
    empty = Pairs(n=0)
    empty.queries = empty.queries[:0]
    assert empty.explain().offsets.tolist() == [0]


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [0, 1, 2, 4, 3], [0, 0, 0, 1, 0], [1, 0, 2, 3, 4]])
def test_pairs_come_back_in_their_own_order(rows):
    pairs = Pairs(n=5)
    pairs.query_rows = np.array(rows)
    assert_literal(pairs, pairs.explain())


def test_a_pair_alone():
    pairs = Pairs()
    found = pairs.explain()
    for i in range(23):
        one, own = found.pair(i), found.listed(i)
        assert own == slice(found.offsets[i], found.offsets[i + 1])
        assert one.offsets.tolist() == [0, own.stop - own.start]
        for name in NAMES[:4]:
            assert getattr(one, name).tolist() == [getattr(found, name)[i]]
        for name in NAMES[5:]:
            np.testing.assert_array_equal(getattr(one, name), getattr(found, name)[own])
        assert not any(np.shares_memory(getattr(one, name), getattr(found, name)) for name in NAMES)


def test_equal_if_all_numbers_are():
    found = Pairs().explain()
    assert found.equals(Pairs().explain())
    for name in NAMES:
        changed = getattr(found, name).copy()
        changed[-1] += 1
        assert not found.equals(replace(found, **{name: changed}))


def test_nothing_can_be_changed():
    found = Pairs().explain()
    with pytest.raises(FrozenInstanceError):
        found.score = found.bias
    for name in NAMES:
        with pytest.raises(ValueError, match="read-only"):
            getattr(found, name)[0] = 0


def test_refit_is_on_unless_told_otherwise_and_takes_least_squares():
    pairs = Pairs()
    found = explain_vectors(pairs.sae, pairs.queries, pairs.query_rows, pairs.views, pairs.doc_rows, weights=WEIGHTS)
    assert found.equals(pairs.explain(refit=True)) and not found.equals(pairs.explain())
    assert found.equals(pairs.explain(refit=True, threshold=0.0, batch_size=512))
    w, b = pairs.sae.w_dec.detach().double().numpy(), pairs.sae.b_dec.detach().double().numpy()
    for i in range(23):
        missed, q = 0.0, pairs.queries[pairs.query_rows[i]].astype(np.float64)
        for weight, view in zip(WEIGHTS, pairs.views):
            x = view[pairs.doc_rows[i]].astype(np.float64) - b
            active = w[np.flatnonzero(pairs.dense(view)[pairs.doc_rows[i]])]
            missed += weight * (q @ (x - active.T @ np.linalg.lstsq(active.T, x, rcond=None)[0]))
        assert found.residual[i] == pytest.approx(missed, abs=2e-3)


def test_stored_codes_say_the_same_and_need_folded_vectors():
    pairs = Pairs()
    whole = pairs.explain()
    codes = join_views(encode_views(pairs.sae, pairs.views, refit=False, batch_size=4), pairs.sae.dict_size)
    arguments = (pairs.sae, pairs.queries, pairs.query_rows, codes, pairs.doc_rows)
    folded = sum(np.float32(weight) * view for weight, view in zip(WEIGHTS, pairs.views))
    found = explain_vectors(*arguments, weights=WEIGHTS, folded=folded, batch_size=2)
    assert found.features.tolist() == whole.features.tolist()
    for name in NAMES:
        np.testing.assert_allclose(getattr(found, name), getattr(whole, name), atol=1e-6)
    more = explain_vectors(*arguments, weights=WEIGHTS, folded=2 * folded)  # other vectors than the codes are of
    np.testing.assert_allclose(more.score, 2 * whole.score, atol=1e-5)
    np.testing.assert_allclose(more.residual, whole.residual + whole.score, atol=1e-5)
    np.testing.assert_array_equal(more.contribution, found.contribution)
    with pytest.raises(ValueError, match="^explain_vectors expects folded vectors beside stored codes, found none$"):
        explain_vectors(*arguments, weights=WEIGHTS)


def test_what_is_checked():
    pairs, seen = Pairs(), []
    pairs.explain(check=lambda *found: seen.append(found), refit=True)
    assert [name for name, *_ in seen] == ["doc_vec", "query_vec"]
    for (_, x, codes), vectors in zip(seen, (pairs.views[0], pairs.queries)):
        assert x is vectors
        np.testing.assert_array_equal(codes.ids, encode_view(pairs.sae, vectors, refit=False, batch_size=512).ids)
    codes = join_views([codes for _, _, codes in seen[:1]], pairs.sae.dict_size)
    arguments = (pairs.sae, pairs.queries, pairs.query_rows, codes, pairs.doc_rows)
    explain_vectors(*arguments, weights=[1.0], folded=np.zeros((7, 16), np.float32), check=lambda *found: seen.append(found))
    assert [name for name, *_ in seen[2:]] == ["query_vec"]


def explain_one(query, activations, **options):
    """Of a dictionary whose features are the six coordinates, and a document with these activations in one view or more."""
    activations, zero = np.float32(activations).reshape(6, -1), np.zeros(1, np.int64)
    codes = DocumentCodes(np.array([0, 6]), np.arange(6), activations, activations)
    options = {"weights": np.ones(activations.shape[1]), "folded": np.zeros((1, 6), np.float32)} | options
    return explain_vectors(identity_sae(k=6), np.float32([query]), zero, codes, zero, **options)


def test_equal_contributions_are_in_the_order_of_their_ids():
    assert explain_one([2, 1, 2, 1, 2, 3], [1] * 6).features.tolist() == [5, 0, 2, 4, 1, 3]


def test_active_means_above_the_threshold_and_not_at_it():
    assert explain_one([1, 0, 0, 0, 0, 0.5], [1] * 6).features.tolist() == [0, 5]  # empty slots are not active
    found = explain_one([0.75, 0.5, 0.25, 0.75, 0.5, 0.25], [1] * 6, threshold=0.5)
    assert found.features.tolist() == [0, 3] and found.other.tolist() == [1.5]
    found = explain_one([1] * 6, [0.75, 0.5, 0.25] * 2, threshold=0.5)
    assert found.features.tolist() == [0, 3] and found.other.tolist() == [1.5]
    two = explain_one([1] * 6, [[0.75, 0.5], [0.5, 0.5], [0.25, 0.75], [1, 1], [0, 0.5], [0.5, 0]], threshold=0.5)
    assert two.features.tolist() == [3, 0, 2] and two.document_activation.tolist() == [[1, 1], [0.75, 0], [0, 0.75]]
    assert two.contribution.tolist() == [2, 1.25, 1] and two.other.tolist() == [2.0]  # what is not shown still counts


@pytest.mark.parametrize("k", [254, 255, 256, 300])
def test_queries_of_more_features_than_a_byte_counts(k):
    rng, sae = np.random.default_rng(0), random_sae(dim=24, dict_size=800, k=k)
    with torch.no_grad():
        sae.b_enc.add_(1.0)  # all slots are taken
    q, z, zero = unit(rng, 1, 24), unit(rng, 1, 24), np.zeros(1, np.int64)
    query = encode_view(sae, q, refit=False, batch_size=1)
    documents = join_views([encode_view(sae, z, refit=False, batch_size=1)], 800)
    found = attribute(sae, q, query, zero, documents, zero, np.zeros(1), weights=[1.0], threshold=0.0)
    own = dict(zip(query.ids[0].tolist(), query.activations[0].tolist()))
    assert len(own) == k and min(own.values()) > 0
    shared = set(own) & set(documents.features.tolist())
    assert set(found.features.tolist()) == shared and len(shared) > 50
    assert found.query_activation.tolist() == [own[j] for j in found.features.tolist()]


def test_float32_numbers_keep_their_order_as_whole_numbers():
    x = np.float32([-np.inf, -1e30, -1.5, -1, -1e-30, 0.0, 1e-30, 1, 1.0000001, 1e30, np.inf])
    found = attribution._ascending(x)
    assert (np.diff(found) > 0).all() and found.dtype == np.int64 and np.abs(found).max() < 2**31


def test_sums_and_places_of_runs():
    x, counts = np.arange(1, 8, dtype=np.float32), np.array([2, 0, 3, 2, 0])
    starts = np.cumsum(counts) - counts
    assert attribution._sums(x, starts, counts).tolist() == [3.0, 0.0, 12.0, 13.0, 0.0]
    assert attribution._sums(x[:0], starts[:1] * 0, np.zeros(1, int)).tolist() == [0.0]
    assert attribution._runs(counts, np.array([3, 1, 0, 4, 2])).tolist() == [5, 6, 0, 1, 2, 3, 4]
