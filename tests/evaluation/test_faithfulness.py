from itertools import combinations

import numpy as np
import pytest

from pyterrier_xetrieval.evaluation.counterfactual import _pruned, counterfactual
from pyterrier_xetrieval.evaluation.dictionaries import untrained, with_sae
from pyterrier_xetrieval.evaluation.explained_pairs import equal_sizes, explain_pairs, ranked_pairs
from pyterrier_xetrieval.evaluation.faithfulness import faithfulness_curves, score_shares
from pyterrier_xetrieval.stages.explain import SAEExplainer
from tests.helpers.builders import identity_sae, make_model
from tests.helpers.erasure import active, make_collection, random_collection, slow_change, slow_cosine

Q = np.array([0.8, 0.4, 0.2, 0, 0, 0])
D = np.array([0.5, 0.6, 0.4, 0, 0, 0])  # contributions .40, .24, .08; activations .6, .5, .4


@pytest.fixture
def orthogonal():
    return make_model(identity_sae())


@pytest.fixture
def one_pair():
    return make_collection([D, [0, 0, 0, 0, 0, 1]], [Q], [{0: 1}])


class TestCurves:
    def curve(self, frame, curve, order):
        return frame[(frame["curve"] == curve) & (frame["order"] == order)]["relative_score"].tolist()

    def test_by_hand(self, orthogonal, one_pair):
        frame = faithfulness_curves(orthogonal, one_pair, steps=3, draws=40, per_pair=True)
        whole = slow_cosine(Q, D)

        def relative(kept):
            return slow_cosine(Q, np.where(np.isin(range(6), kept), D, 0)) / whole

        expected = {
            ("deletion", "contribution"): [1, relative([1, 2]), relative([2]), 0],
            ("insertion", "contribution"): [0, relative([0]), relative([0, 1]), 1],
            ("deletion", "activation"): [1, relative([0, 2]), relative([2]), 0],
            ("insertion", "activation"): [0, relative([1]), relative([0, 1]), 1],
        }
        for key, values in expected.items():
            assert self.curve(frame, *key) == pytest.approx(values, abs=1e-4)
        random = self.curve(frame, "insertion", "random")
        mean = np.mean([relative([j]) for j in range(3)])
        assert random[1] == pytest.approx(mean, abs=0.12) and random[1] != pytest.approx(relative([0]), abs=0.01)

    def test_areas_and_differences(self, orthogonal, one_pair):
        table = faithfulness_curves(orthogonal, one_pair, steps=3, draws=3)
        frame = faithfulness_curves(orthogonal, one_pair, steps=3, draws=3, per_pair=True)
        values = table.set_index(["curve", "order", "measure"])["value"].sort_index()
        for curve in ("deletion", "insertion"):
            areas = {}
            for order in ("contribution", "activation", "random"):
                y = self.curve(frame, curve, order)
                areas[order] = (y[0] / 2 + y[1] + y[2] + y[3] / 2) / 3
                assert values[curve, order, "area"].item() == pytest.approx(areas[order])
            difference = values[curve, "contribution", "area_minus_random"].item()
            assert difference == pytest.approx(areas["contribution"] - areas["random"])

    def test_prefixes_against_the_printed_equations(self, model):
        collection = random_collection()
        frame = faithfulness_curves(model, collection, aspects=None, num_results=3, steps=4, draws=1, per_pair=True)
        frame = frame[frame["order"] == "contribution"]
        pairs = ranked_pairs(collection, num_results=3)
        explained = explain_pairs(model.sae, collection, pairs, internalizers=model.internalizers, refit=True)
        sets = {(f"q{q}", f"d{d}"): s for q, d, s in zip(pairs.queries, pairs.docs, explained.sets)}
        for row in frame[frame["fraction"] > 0].itertuples():
            q, z = collection.queries[int(row.qid[1:])], collection.docs[int(row.docno[1:])]
            features = sets[row.qid, row.docno]
            features = features[: int(np.ceil(row.fraction * len(features)))]
            change = slow_change(model.sae, q, z, features, {"deletion": "erase", "insertion": "keep_only"}[row.curve])
            assert row.relative_score == pytest.approx(1 + change / slow_cosine(q, z), abs=1e-4)
        nothing = frame[(frame["curve"] == "insertion") & (frame["fraction"] == 0)].iloc[0]
        q, z = collection.queries[int(nothing.qid[1:])], collection.docs[int(nothing.docno[1:])]
        assert nothing.relative_score == pytest.approx(slow_cosine(q, model.sae.b_dec.numpy()) / slow_cosine(q, z), abs=1e-5)

    def test_an_untrained_dictionary_by_the_printed_equations(self, model):
        """Its own shared features, by contribution; its area is compared with that of its own random orders."""
        collection = random_collection()
        null, options = untrained(model.sae), {"steps": 4, "draws": 2}
        frame = faithfulness_curves(model, collection, per_pair=True, **options)
        pairs = ranked_pairs(collection, num_results=1)
        sets = explain_pairs(null, collection, pairs, refit=True).sets
        own = frame[(frame["order"] == "untrained") & (frame["curve"] == "deletion")].set_index(["qid", "fraction"])
        checked = 0
        for q, d, features in zip(pairs.queries, pairs.docs, sets):
            if not len(features):
                assert f"q{q}" not in own.index
                continue
            query, z = collection.queries[q], collection.docs[d]
            for fraction in (0.5, 1.0):
                change = slow_change(null, query, z, features[: int(np.ceil(fraction * len(features)))], "erase")
                expected = 1 + change / slow_cosine(query, z)
                assert own.loc[(f"q{q}", fraction), "relative_score"] == pytest.approx(expected, abs=1e-4)
                checked += 1
        assert checked > 10
        table = faithfulness_curves(model, collection, **options).set_index(["curve", "order", "measure"])["value"].sort_index()
        for curve in ("deletion", "insertion"):
            areas = [table[curve, order, "area"].item() for order in ("untrained", "untrained_random")]
            assert table[curve, "untrained", "area_minus_random"].item() == pytest.approx(areas[0] - areas[1])
            assert (curve, "untrained_random", "area_minus_random") not in table.index

    def test_pairs_that_share_nothing_are_left_out(self, orthogonal):
        collection = make_collection([D, [0, 0, 0, 0, 0, 1]], [Q, [0, 0, 0, 1, 0, 0.0]], [{0: 1}, {1: 1}])
        frame = faithfulness_curves(orthogonal, collection, per_pair=True)
        assert set(frame["qid"]) == {"q0"}


class TestShares:
    def test_by_hand(self):
        """Two slots for three coordinates: .08 of the score is left unexplained; the bias takes its own part."""
        collection = make_collection([D, [0, 0, 0, 0, 0, 1]], [Q], [{0: 1}])
        shares = score_shares(make_model(identity_sae(k=2)), collection, refit=False, per_pair=True).iloc[0]
        assert shares[["shared", "other", "bias", "residual"]].tolist() == pytest.approx(
            [0.64 / 0.72, 0, 0, 0.08 / 0.72], abs=1e-6
        )
        biased = make_model(identity_sae(bias=0.1))
        shares = score_shares(biased, collection, refit=False, per_pair=True).iloc[0]
        assert shares["bias"] == pytest.approx(0.14 / 0.72)

    def test_the_same_as_the_explainer(self, model, results):
        explanations = SAEExplainer(model, aspects=()).transform(results)["explanation"]
        q, d = results.drop_duplicates("qid"), results.drop_duplicates("docno")
        collection = make_collection(np.stack(list(d["doc_vec"])), np.stack(list(q["query_vec"])), [{0: 1}] * 3)
        frame = score_shares(model, collection, num_results=4, per_pair=True).set_index(["qid", "docno"])
        positive = [e for e in explanations if e.score > 0]
        assert len(frame) == len(positive) > 3
        for e in positive:
            parts = [e.contributions.sum(), e.other, e.bias, e.residual]
            assert frame.loc[(e.qid, e.docno), ["shared", "other", "bias", "residual"]].tolist() == pytest.approx(
                [p / e.score for p in parts], abs=1e-4
            )

    def test_the_table(self, model):
        collection = random_collection()
        table = score_shares(model, collection, aspects=None).set_index(["part", "measure"])["value"]
        frame = score_shares(model, collection, aspects=None, per_pair=True)
        assert table[:, "mean"].sum() == pytest.approx(1, abs=1e-5)
        assert table["residual", "q50"] == pytest.approx(frame["residual"].median())
        assert table[:, "untrained"].sum() == pytest.approx(1, abs=1e-5)

    def test_an_untrained_dictionary_shares_what_an_explainer_of_it_lists(self, model):
        collection = random_collection()
        own = with_sae(model, untrained(model.sae))
        table = score_shares(model, collection).set_index(["part", "measure"])["value"]
        lent = score_shares(own, collection).set_index(["part", "measure"])["value"]
        for part in ("shared", "other", "bias", "residual"):
            assert table[part, "untrained"] == pytest.approx(lent[part, "mean"], abs=1e-6)

    def test_features_of_the_views_alone_by_counting(self, model):
        """Active in query and an internalised view, not in the document's original embedding."""
        collection = random_collection()
        table = score_shares(model, collection).set_index(["part", "measure"])["value"]
        pairs, found = ranked_pairs(collection, num_results=1), []
        listed = explain_pairs(model.sae, collection, pairs, internalizers=model.internalizers, refit=True)
        for i, (q, d) in enumerate(zip(pairs.queries, pairs.docs)):
            original = active(model.sae, collection.docs[d])
            span = listed.parts.listed(i)
            only = [j not in original for j in listed.parts.features[span].tolist()]
            assert set(listed.parts.features[span].tolist()) <= active(model.sae, collection.queries[q])
            found.append([len(only), sum(only), listed.parts.contribution[span][only].sum() / listed.parts.score[i]])
        found = np.array(found)[listed.parts.score > 0]
        assert table["shared", "listed"] == pytest.approx(found[:, 0].mean())
        assert 0 < table["shared", "view_only"] == pytest.approx(found[:, 1].mean())
        assert table["shared", "view_only_share"] == pytest.approx(found[:, 2].mean(), abs=1e-5)


class TestCounterfactual:
    def scores(self, model, collection, pair, features):
        q, z = collection.queries[pair[0]], collection.docs[pair[1]]
        return slow_cosine(q, z) + slow_change(model.sae, q, z, features, "erase") if features else slow_cosine(q, z)

    def test_by_hand(self, orthogonal):
        """Without feature 0 the first document scores .4/√.52·…; the second one, at .55, then stands above it."""
        second = np.array([0, 0, 0, 0, 0, 0.0])
        second[[0, 5]] = 0.55, np.sqrt(1 - 0.55**2)  # scores .8 · .55 = .44
        collection = make_collection([D / np.linalg.norm(D), second], [Q / np.linalg.norm(Q)], [{0: 1}])
        bar = collection.queries[0] @ collection.docs[1]
        left = {
            s: self.scores(make_model(identity_sae()), collection, (0, 0), list(s))
            for n in (1, 2)
            for s in combinations(range(3), n)
        }
        assert left[0,] > bar and left[0, 1] < bar  # one is not enough, two are
        frame = counterfactual(orthogonal, collection, cutoff=1, draws=20, per_pair=True)
        own = frame[frame["order"] == "contribution"].iloc[0]
        assert (own["listed"], own["greedy"], own["pruned"]) == (3, 2, 2)
        smallest = min(len(s) for s, score in left.items() if score < bar)
        assert frame["pruned"].min() >= smallest

    def test_every_step_against_the_printed_equations(self, model):
        collection = random_collection()
        found = counterfactual(model, collection, cutoff=4, num_results=2, draws=1, per_pair=True)
        frame = found[found["order"] == "contribution"].set_index(["qid", "docno"])
        pairs = ranked_pairs(collection, num_results=2)
        sets = explain_pairs(model.sae, collection, pairs, refit=True).sets
        possible = 0
        for q, d, features in zip(pairs.queries, pairs.docs, map(list, sets)):
            row = frame.loc[(f"q{q}", f"d{d}")]
            others = np.delete(collection.docs @ collection.queries[q], d)
            out = {
                n: (others > self.scores(model, collection, (q, d), features[:n])).sum() >= 4 for n in range(len(features) + 1)
            }
            greedy = next((n for n, left in out.items() if left), None)
            assert row["listed"] == len(features)
            if greedy is None:
                assert np.isnan(row["greedy"]) and np.isnan(row["pruned"]) and np.isnan(row["control"])
                continue
            possible += 1
            kept = features[:greedy]
            for feature in reversed(features[:greedy]):
                fewer = [f for f in kept if f != feature]
                if fewer and (others > self.scores(model, collection, (q, d), fewer)).sum() >= 4:
                    kept = fewer
            assert (row["greedy"], row["pruned"]) == (greedy, len(kept))
        assert 5 < possible < len(pairs)

    def test_the_last_feature_is_put_back_first(self):
        """Without 3, then 2, features 0 and 1 are still enough; from the front it would end with feature 3 alone."""
        enough = [{0, 1}, {3}]

        def out(rows, sets):
            return np.array([any(e <= set(s) for e in enough) for s in sets])

        assert _pruned([[0, 1, 2, 3]], np.array([4.0]), out).tolist() == [2]

    def test_the_table(self, model):
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

    def test_an_untrained_dictionary_and_sets_of_equal_size(self, model):
        collection, options = random_collection(), {"cutoff": 4, "num_results": 2, "draws": 1}
        frame = counterfactual(model, collection, per_pair=True, **options)
        own = frame[frame["order"] == "untrained"].set_index(["qid", "docno"])
        pairs, null = ranked_pairs(collection, num_results=2), untrained(model.sae)
        explained = [explain_pairs(s, collection, pairs, refit=True).sets for s in (model.sae, null)]
        cut = equal_sizes(*explained, np.random.default_rng([0, 1]))
        alone = self.alone(with_sae(model, null), collection, options)
        for i, (q, d) in enumerate(zip(pairs.queries, pairs.docs)):
            row, others = own.loc[(f"q{q}", f"d{d}")], np.delete(collection.docs @ collection.queries[q], d)
            assert row["listed"] == len(explained[1][i]) and row["equal_listed"] == min(len(e[i]) for e in explained)
            for name, sae, sets in (("equal_overlap", model.sae, cut[0]), ("equal", null, cut[1])):
                score = self.scores(make_model(sae), collection, (q, d), list(sets[i]))
                assert row[name] == ((others > score).sum() >= 4)
            assert row[["greedy", "pruned"]].tolist() == pytest.approx(alone.loc[(f"q{q}", f"d{d}")].tolist(), nan_ok=True)
        table = counterfactual(model, collection, **options).set_index(["order", "measure"])["value"]
        assert table["untrained", "equal"] == pytest.approx(own["equal"].astype(float).mean())
        assert ("contribution", "equal") not in table.index
        first = frame[frame["order"] == "contribution"].set_index(["qid", "docno"])["pruned"]
        assert table["untrained", "pruned_minus_contribution"] == pytest.approx((own["pruned"] - first).mean())

    def alone(self, model, collection, options):
        """Sizes of a model that has this dictionary as its own."""
        frame = counterfactual(model, collection, per_pair=True, **options)
        return frame[frame["order"] == "contribution"].set_index(["qid", "docno"])[["greedy", "pruned"]]

    def test_refused(self, model):
        with pytest.raises(ValueError, match="num_results <= cutoff"):
            counterfactual(model, random_collection(), num_results=11)
        with pytest.raises(ValueError, match="number of documents"):
            counterfactual(model, random_collection(n=10))
