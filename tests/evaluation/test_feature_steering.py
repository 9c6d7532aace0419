import numpy as np
import pytest
import torch

from pyterrier_xetrieval.core.codes import encode_view
from pyterrier_xetrieval.core.edits import intervene
from pyterrier_xetrieval.evaluation.collection import ndcg, rank
from pyterrier_xetrieval.evaluation.feature_steering import (
    _document_counts,
    _edit,
    _feature_sets,
    length_factors,
    relevance_utility,
    steered_ndcg,
    steered_scores,
    steering,
)
from pyterrier_xetrieval.evaluation.pairs import contrast_pairs
from tests.helpers.builders import identity_sae, make_model, random_sae
from tests.helpers.erasure import active, make_collection, random_collection
from tests.helpers.planted import plain_model

FEATURES = np.array([0, 3, 7, 8, 20, 31, 40])


@pytest.fixture
def sae():
    return random_sae().requires_grad_(False)


def edits(sae, collection, sides):
    return {s: _edit(sae, encode_view(sae, getattr(collection, s), refit=False, batch_size=8), FEATURES) for s in sides}


@pytest.mark.parametrize("sides", [("docs",), ("queries",), ("docs", "queries")])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0, 1.7, 2.0])
def test_scores_are_those_of_the_edited_vectors(sae, sides, alpha):
    collection = random_collection()
    shift = edits(sae, collection, sides)
    assert all(np.abs(s).max() > 0.1 for s in shift.values())
    vectors = {
        side: intervene(sae, x, [FEATURES] * len(x), "scale", alpha=alpha) if side in sides else x
        for side, x in {"docs": collection.docs, "queries": collection.queries}.items()
    }
    q, d = (torch.from_numpy(x) for x in (collection.queries, collection.docs))
    torch_shift = [torch.from_numpy(shift[s]) if s in shift else None for s in ("queries", "docs")]
    (scores,) = steered_scores(q, d, *torch_shift, [alpha])
    direct = vectors["queries"] @ vectors["docs"].T
    if alpha == 1:
        assert torch.equal(scores, q @ d.T)
    assert scores.numpy() == pytest.approx(direct, abs=1e-5)
    found = steered_ndcg(collection, shift, [alpha], batch_size=5)
    assert found[0] == pytest.approx(ndcg(collection, rank(vectors["queries"], vectors["docs"], 10)[0]))


@pytest.mark.parametrize("sides", [("docs",), ("queries",), ("docs", "queries")])
def test_at_their_length_documents_are_ranked_by_cosine(sae, sides):
    rng = np.random.default_rng(5)
    collection = random_collection()
    docs = (collection.docs * rng.uniform(0.5, 2, (40, 1))).astype(np.float32)
    collection = make_collection(docs, collection.queries, collection.judged)
    shift, alphas = edits(sae, collection, sides), [0.0, 0.6, 1.0, 2.0]
    free, restored = (steered_ndcg(collection, shift, alphas, at_length=a, batch_size=5) for a in (False, True))
    for alpha, found in zip(alphas, restored):
        scaled = {s: getattr(collection, s) + (alpha - 1) * shift.get(s, np.float32(0)) for s in ("docs", "queries")}
        lengths = np.linalg.norm(docs, axis=1, keepdims=True) / np.linalg.norm(scaled["docs"], axis=1, keepdims=True)
        expected = rank(scaled["queries"], (scaled["docs"] * lengths).astype(np.float32), 10)[0]
        assert found == pytest.approx(ndcg(collection, expected))
    assert np.array_equal(free[2], restored[2])
    assert np.array_equal(free, restored) == ("docs" not in sides)


def test_the_length_factor_of_no_edit_is_one(sae):
    docs = torch.from_numpy(random_collection().docs * np.float32(3))
    shift = torch.randn(docs.shape, generator=torch.Generator().manual_seed(0))
    (one, doubled) = length_factors(docs, shift, [1.0, 2.0])
    assert (one == 1).all()
    assert doubled.numpy() == pytest.approx((docs.norm(dim=1) / (docs + shift).norm(dim=1)).numpy(), rel=1e-5)


def test_excluded_documents_stay_out(sae):
    collection = random_collection(n=12, queries=2)
    excluded = [np.arange(0, 6), np.arange(3, 12)]
    collection = make_collection(collection.docs, collection.queries, [{0: 1}, {2: 1}], excluded=excluded)
    found = steered_ndcg(collection, edits(sae, collection, ("docs",)), [0.0, 1.0, 2.0])
    assert (found[:, 0] == 0).all()  # its one relevant document is excluded
    assert (found[:, 1] >= 1 / np.log2(4)).all()  # among three


def test_relevance_utility_by_counting(sae):
    collection = random_collection()
    pairs = contrast_pairs(collection, num_results=8)
    expected = np.zeros(48, int)
    for q, d, relevant in zip(pairs.queries, pairs.docs, pairs.relevant):
        for j in active(sae, collection.queries[q]) & active(sae, collection.docs[d]):
            expected[j] += 1 if relevant else -1
    assert (expected > 0).any() and (expected < 0).any()
    assert np.array_equal(relevance_utility(plain_model(sae), collection, pairs), expected)


def test_feature_sets():
    rus = np.array([5, 0, 7, -1, 0, 0, 0, 0])
    counts = np.array([10, 9, 20, 4, 19, 3, 0, 1])
    sets = _feature_sets(rus, counts, 2, 50, np.random.default_rng(0))
    assert [s.tolist() for s in sets["key"]] == [[2, 0]]
    assert [s.tolist() for s in sets["non_key_as_active"]] == [[4, 1]]  # 19 documents for 20, 9 for 10
    drawn = np.concatenate(sets["non_key"])
    assert len(sets["non_key"]) == 50 and set(drawn) == {1, 3, 4, 5, 7}  # neither key nor never active


def test_document_counts(sae):
    collection = random_collection()
    expected = sum((np.isin(np.arange(48), list(active(sae, d))).astype(int) for d in collection.docs), np.zeros(48, int))
    codes = encode_view(sae, collection.docs, refit=False, batch_size=7)
    assert np.array_equal(_document_counts(codes, 48), expected)


@pytest.fixture
def toy():
    """Feature 0 tells relevant from not; feature 1 pulls the other way, a little stronger; the others say nothing."""
    docs = np.zeros((24, 6))
    docs[:2, 0] = 0.5
    docs[2:, 1] = 0.6
    docs[:, 2:4] = 0.01
    docs[:, 4:] = np.linspace(0.2, 0.4, 24)[:, None]
    queries = np.tile([[0.7, 0.7, 0.1, 0, 0, 0]], (8, 1))
    return make_collection(docs, queries, [{0: 1, 1: 1}] * 8)


def test_key_features_carry_the_ranking(toy):
    """Relevant documents score .7·.5·α with the key feature scaled, the others .7·.6: over at α = 1.2."""
    table = steering(make_model(identity_sae()), toy, num_features=1, alphas=[0.0, 1.0, 1.1, 1.3, 2.0], draws=3)
    found = table[table["measure"] == "nDCG@10"].pivot(index=["set", "split"], columns="alpha", values="value")
    for split in ("same", "unseen"):
        assert found.loc["key", split].tolist() == pytest.approx([0, 0, 0, 1, 1])
    change = table[table["measure"] == "change"]
    assert (change[change["alpha"] == 1]["value"] == 0).all()
    assert table[table["set"] == "key"]["active"].unique().tolist() == [pytest.approx(2 / 24)]
    assert (table["n"] == 8).all() and (table["collection"] == "toy").all()


def test_a_gain_of_length_alone_is_gone_at_the_original_length():
    """Documents that are longer for the key feature overtake by dot product at α = 2; their directions do not change."""
    docs = np.zeros((24, 6))
    docs[:2, 0] = 0.5  # relevant, and nothing but the key feature
    docs[2:, 0], docs[2:, 1] = 0.0, 0.6
    queries = np.tile([[0.7, 0.7, 0, 0, 0, 0]], (8, 1))
    collection = make_collection(docs, queries, [{0: 1, 1: 1}] * 8)
    table = steering(make_model(identity_sae()), collection, num_features=1, alphas=[1.0, 2.0], draws=1)
    found = table[(table["set"] == "key") & (table["split"] == "unseen") & (table["alpha"] == 2)].set_index("measure")["value"]
    assert found["nDCG@10"] == 1 and found["change"] == 1
    assert found["nDCG@10_at_length"] == 0 and found["change_at_length"] == 0


def test_halves_are_kept_apart(sae):
    """What was chosen on one half is measured on it for ``same`` and on the other for ``unseen``; every query in both."""
    collection = random_collection()
    table = steering(make_model(sae), collection, num_features=6, alphas=[0.0, 2.0], draws=1, seed=4)
    half = np.random.default_rng(4).permutation(12) % 2
    pairs = contrast_pairs(collection, seed=4)
    expected = {}
    for fold in (0, 1):
        rus = relevance_utility(plain_model(sae), collection, pairs[half[pairs.queries] == fold])
        key = np.argsort(-rus, kind="stable")[:6]
        key = key[rus[key] > 0]
        docs = intervene(sae, collection.docs, [key] * 40, "scale", alpha=0.0)
        values = ndcg(collection, rank(collection.queries, docs, 10)[0])
        expected.setdefault("same", []).extend(values[half == fold])
        expected.setdefault("unseen", []).extend(values[half != fold])
    rows = table[(table["set"] == "key") & (table["alpha"] == 0) & (table["measure"] == "nDCG@10")].set_index("split")
    for split, values in expected.items():
        assert len(values) == 12 and rows.loc[split, "value"] == pytest.approx(np.mean(values))
    assert steering(make_model(sae), collection, num_features=6, alphas=[0.0, 2.0], draws=1, seed=4).equals(table)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sides": ("views",)}, "sides among"),
        ({"sides": ()}, "sides among"),
        ({"num_features": 0}, "num_features to be a positive"),
        ({"alphas": []}, "one alpha or more"),
    ],
)
def test_refused(sae, options, message):
    with pytest.raises(ValueError, match=message):
        steering(make_model(sae), random_collection(), **options)


def test_no_feature_of_positive_utility_is_said_to_be_none(sae):
    with pytest.raises(ValueError, match="found none of positive RUS"):
        _feature_sets(np.array([0, -1, 0]), np.array([3, 2, 1]), 2, 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="2 key features and 1 others"):
        _feature_sets(np.array([2, 1, 0]), np.array([3, 2, 1]), 2, 1, np.random.default_rng(0))


def test_one_query_cannot_be_halved(sae):
    with pytest.raises(ValueError, match="two queries"):
        steering(make_model(sae), random_collection().select([0]), num_features=3)
