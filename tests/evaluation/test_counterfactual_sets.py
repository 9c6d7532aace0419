"""The smallest sets whose erasure takes a document out, step by step."""

from itertools import combinations

import numpy as np
import pytest

from pyterrier_xetrieval.evaluation.counterfactual_sets import _pruned, counterfactual
from pyterrier_xetrieval.evaluation.dictionaries import untrained, with_sae
from pyterrier_xetrieval.evaluation.explained_pairs import equal_sizes, explain_pairs
from pyterrier_xetrieval.evaluation.pairs import ranked_pairs
from tests.helpers.builders import identity_sae, make_model
from tests.helpers.erasure import DOCUMENT, QUERY, make_collection, random_collection, slow_cosine, slow_edit
from tests.helpers.planted import plain_model


@pytest.fixture
def orthogonal():
    return plain_model(identity_sae())


def sizes_of(model, collection, options):
    """Sizes of a model that has this dictionary as its own."""
    frame = counterfactual(model, collection, per_pair=True, **options)
    return frame[frame["order"] == "contribution"].set_index(["qid", "docno"])[["greedy", "pruned"]]


def scores(model, collection, pair, features):
    q, z = collection.queries[pair[0]], collection.docs[pair[1]]
    if not features:
        return slow_cosine(q, z)
    left = slow_edit(model.sae, z, features, "erase")
    return q @ left / np.linalg.norm(left) * np.linalg.norm(z)


def test_by_hand(orthogonal):
    """Without feature 0 the first document scores .4/√.52·…; the second one, at .55, then stands above it."""
    second = np.array([0, 0, 0, 0, 0, 0.0])
    second[[0, 5]] = 0.55, np.sqrt(1 - 0.55**2)  # scores .8 · .55 = .44
    collection = make_collection([DOCUMENT / np.linalg.norm(DOCUMENT), second], [QUERY / np.linalg.norm(QUERY)], [{0: 1}])
    bar = collection.queries[0] @ collection.docs[1]
    left = {s: scores(make_model(identity_sae()), collection, (0, 0), list(s)) for n in (1, 2) for s in combinations(range(3), n)}
    assert left[0,] > bar and left[0, 1] < bar  # one is not enough, two are
    frame = counterfactual(orthogonal, collection, cutoff=1, draws=20, per_pair=True)
    own = frame[frame["order"] == "contribution"].iloc[0]
    assert (own["listed"], own["greedy"], own["pruned"]) == (3, 2, 2)
    smallest = min(len(s) for s, score in left.items() if score < bar)
    assert frame["pruned"].min() >= smallest


def test_every_step_against_the_printed_equations(model):
    collection = random_collection()
    found = counterfactual(model, collection, cutoff=4, num_results=2, draws=1, per_pair=True)
    frame = found[found["order"] == "contribution"].set_index(["qid", "docno"])
    pairs = ranked_pairs(collection, num_results=2)
    sets = explain_pairs(model.with_views(()), collection, pairs, refit=True).sets
    possible = 0
    for q, d, features in zip(pairs.queries, pairs.docs, map(list, sets)):
        row = frame.loc[(f"q{q}", f"d{d}")]
        others = np.delete(collection.docs @ collection.queries[q], d)
        out = {n: (others > scores(model, collection, (q, d), features[:n])).sum() >= 4 for n in range(len(features) + 1)}
        greedy = next((n for n, left in out.items() if left), None)
        assert row["listed"] == len(features)
        if greedy is None:
            assert np.isnan(row["greedy"]) and np.isnan(row["pruned"]) and np.isnan(row["control"])
            continue
        possible += 1
        kept = features[:greedy]
        for feature in reversed(features[:greedy]):
            fewer = [f for f in kept if f != feature]
            if fewer and (others > scores(model, collection, (q, d), fewer)).sum() >= 4:
                kept = fewer
        assert (row["greedy"], row["pruned"]) == (greedy, len(kept))
    assert 5 < possible < len(pairs)


def test_the_last_feature_is_put_back_first():
    """Without 3, then 2, features 0 and 1 are still enough; from the front it would end with feature 3 alone."""
    enough = [{0, 1}, {3}]

    def out(rows, sets):
        return np.array([any(e <= set(s) for e in enough) for s in sets])

    assert _pruned([np.arange(4)], np.array([4.0]), out).tolist() == [2]


def test_the_table(model):
    collection = random_collection()
    options = {"cutoff": 4, "draws": 2, "seed": 1}
    table = counterfactual(model, collection, **options).set_index(["order", "measure"])["value"]
    frame = counterfactual(model, collection, per_pair=True, **options)
    own = frame[frame["order"] == "contribution"]
    assert table["contribution", "possible"] == pytest.approx(own["greedy"].notna().mean())
    assert table["contribution", "pruned"] == pytest.approx(own["pruned"].mean())
    assert table["contribution", "control"] == pytest.approx(own["control"].mean())
    random = frame[frame["order"] == "random"].groupby(["qid", "docno"])["pruned"].mean()
    difference = own.set_index(["qid", "docno"])["pruned"] - random
    assert table["contribution", "pruned_minus_random"] == pytest.approx(difference.mean())


def test_an_untrained_dictionary_and_sets_of_equal_size(model):
    collection, options = random_collection(), {"cutoff": 4, "num_results": 2, "draws": 1}
    frame = counterfactual(model, collection, per_pair=True, **options)
    own = frame[frame["order"] == "untrained"].set_index(["qid", "docno"])
    pairs, null = ranked_pairs(collection, num_results=2), untrained(model.sae)
    explained = [explain_pairs(plain_model(s), collection, pairs, refit=True).sets for s in (model.sae, null)]
    cut = equal_sizes(*explained, np.random.default_rng([0, 1]))
    alone = sizes_of(with_sae(model, null), collection, options)
    for i, (q, d) in enumerate(zip(pairs.queries, pairs.docs)):
        row, others = own.loc[(f"q{q}", f"d{d}")], np.delete(collection.docs @ collection.queries[q], d)
        assert row["listed"] == len(explained[1][i]) and row["equal_listed"] == min(len(e[i]) for e in explained)
        for name, sae, sets in (("equal_overlap", model.sae, cut[0]), ("equal", null, cut[1])):
            score = scores(make_model(sae), collection, (q, d), list(sets[i]))
            assert row[name] == ((others > score).sum() >= 4)
        assert row[["greedy", "pruned"]].tolist() == pytest.approx(alone.loc[(f"q{q}", f"d{d}")].tolist(), nan_ok=True)
    table = counterfactual(model, collection, **options).set_index(["order", "measure"])["value"]
    assert table["untrained", "equal"] == pytest.approx(own["equal"].astype(float).mean())
    assert ("contribution", "equal") not in table.index
    first = frame[frame["order"] == "contribution"].set_index(["qid", "docno"])["pruned"]
    assert table["untrained", "pruned_minus_contribution"] == pytest.approx((own["pruned"] - first).mean())


def test_refused(model):
    with pytest.raises(ValueError, match="num_results <= cutoff"):
        counterfactual(model, random_collection(), num_results=11)
    with pytest.raises(ValueError, match="number of documents"):
        counterfactual(model, random_collection(n=10))
