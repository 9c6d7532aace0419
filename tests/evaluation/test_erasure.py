import numpy as np
import pytest
import torch

from pyterrier_xetrieval.evaluation.bootstrap import estimate
from pyterrier_xetrieval.evaluation.dictionaries import untrained
from pyterrier_xetrieval.evaluation.erasure import erasure
from pyterrier_xetrieval.evaluation.explained_pairs import contrast_pairs, equal_sizes, ranked_pairs, relevant_pairs, sample_pairs
from tests.helpers.builders import identity_sae, make_model, random_sae, unit
from tests.helpers.erasure import active, make_collection, random_collection, slow_change


class TestEstimate:
    def test_the_mean_and_how_many(self):
        found = estimate([1.0, np.nan, 3.0, 8.0])
        assert (found["value"], found["n"]) == (4.0, 3)
        assert found["low"] < 4 < found["high"]

    def test_the_interval_of_a_normal_sample_is_the_textbook_one(self):
        x = np.random.default_rng(0).normal(5, 2, 1000)
        found, half = estimate(x), 1.96 * x.std() / np.sqrt(1000)
        assert found["low"] == pytest.approx(x.mean() - half, abs=0.1 * half)
        assert found["high"] == pytest.approx(x.mean() + half, abs=0.1 * half)

    def test_copies_within_a_cluster_add_no_certainty(self):
        x = np.random.default_rng(0).normal(size=50)
        once, copied = estimate(x), estimate(np.repeat(x, 7), clusters=np.repeat(np.arange(50), 7))
        assert copied["n"] == 350
        for bound in ("value", "low", "high"):
            assert copied[bound] == pytest.approx(once[bound], abs=1e-12)
        assert estimate(np.repeat(x, 7))["high"] < once["high"] - 0.1

    def test_clusters_count_by_their_size(self):
        found = estimate([1, 1, 1, 5], clusters=["a", "a", "a", "b"])
        assert (found["value"], found["low"], found["high"]) == (2, 1, 5)

    def test_without_anything_to_resample(self):
        assert np.isnan([estimate([2.0])[b] for b in ("low", "high")]).all()
        nothing = estimate([np.nan])
        assert np.isnan(nothing["value"]) and nothing["n"] == 0

    def test_lengths_that_differ(self):
        with pytest.raises(ValueError, match="one cluster for each value"):
            estimate([1, 2], clusters=["a"])


class TestPairs:
    def test_excluded_documents_and_duplicates_leave(self):
        docs = [[1, 0], [0.9, 0.1], [0.9, 0.1], [0, 1], [0.5, 0.5]]
        collection = make_collection(docs, [[1, 0]], [{1: 1, 3: 2, 4: 0}], excluded=[[0]])
        pairs = ranked_pairs(collection, num_results=4)
        assert pairs.docs.tolist()[1:] == [4, 3] and pairs.docs[0] in (1, 2)
        collection = make_collection(docs, [[1, 0]], [{1: 1, 3: 2, 4: 0}], excluded=[[0, 2]])
        pairs = ranked_pairs(collection, num_results=4)
        assert (pairs.docs.tolist(), pairs.relevant.tolist()) == ([1, 4, 3], [True, False, True])
        assert relevant_pairs(collection).docs.tolist() == [1, 3]

    def test_at_most_so_many_of_each_kind_and_a_seed(self):
        collection = random_collection()
        everything = ranked_pairs(collection, num_results=20)
        pairs = sample_pairs(collection, num_results=20, per_query=2, seed=1)
        for q in range(12):
            for kind in (True, False):
                there = ((everything.queries == q) & (everything.relevant == kind)).sum()
                assert ((pairs.queries == q) & (pairs.relevant == kind)).sum() == min(2, there)
        again, other = (sample_pairs(collection, num_results=20, per_query=2, seed=s) for s in (1, 2))
        assert np.array_equal(again.docs, pairs.docs) and not np.array_equal(other.docs, pairs.docs)
        top = {(q, d) for q, d in zip(everything.queries, everything.docs)}
        assert {(q, d) for q, d in zip(pairs.queries, pairs.docs)} <= top

    def test_contrast_is_balanced_query_by_query(self):
        collection = random_collection()
        pairs = contrast_pairs(collection, num_results=3)
        for q in range(12):
            own = pairs.relevant[pairs.queries == q]
            assert own.sum() == (~own).sum() <= 3
        judged = np.array([d in collection.judged[q] for q, d in zip(pairs.queries, pairs.docs)])
        assert np.array_equal(judged, pairs.relevant) and 0 < judged.sum() <= 36


class TestErasure:
    def test_orthogonal_features_by_hand(self):
        """Query (1,1,0)/√2 and document (.6,0,.8) share feature 0; feature 2 is the document's own."""
        q, d = [0.5**0.5, 0.5**0.5, 0, 0, 0, 0], [0.6, 0, 0.8, 0, 0, 0]
        collection = make_collection([d, [0, 0.1, 0, 0.9, 0, 0]], [q], [{0: 1}])
        frame = erasure(make_model(identity_sae()), collection, aspects=(), per_pair=True)
        frame = frame[(frame["docno"] == "d0") & (frame["set"] != "untrained")].set_index(["set", "mode"])
        before = 0.6 * 0.5**0.5
        assert frame["before"].to_numpy() == pytest.approx(before)
        after = frame["after"]
        assert after["overlap", "erase"] == pytest.approx(0, abs=1e-5)
        assert after["overlap", "keep_only"] == pytest.approx(0.5**0.5)
        assert after["non_overlap", "erase"] == pytest.approx(0.5**0.5)
        assert after["non_overlap", "keep_only"] == pytest.approx(0, abs=1e-5)
        assert (frame["size"] == 1).all() and (frame["pairs"] == "true positive").all()
        assert frame["change"].to_numpy() == pytest.approx((after - before).to_numpy(), abs=1e-6)

    def test_against_the_printed_equations(self):
        model, raw, collection = make_model(), random_sae(seed=5), random_collection()
        frame = erasure(model, collection, raw_sae=raw, num_results=10, per_pair=True)
        cut = {"untrained_cut", "overlap_cut_untrained", "direct_cut", "overlap_cut_direct"}
        plain = {"overlap", "overlap_original", "untrained", "direct", "non_overlap", "random_features", "random_directions"}
        assert set(frame["set"]) == plain | cut
        null, checked = untrained(model.sae), 0
        frame = frame[frame["set"].isin(plain)]
        for row in frame.itertuples():
            q, z = collection.queries[int(row.qid[1:])], collection.docs[int(row.docno[1:])]
            views = [z, *(m(torch.from_numpy(z[None]))[0].numpy() for m in model.internalizers.values())]
            overlap, of_null = (set.union(*(active(s, q) & active(s, v) for v in views)) for s in (model.sae, null))
            sets = {
                "overlap": (model.sae, overlap),
                "overlap_original": (model.sae, active(model.sae, q) & active(model.sae, z)),
                "untrained": (null, of_null),
                "non_overlap": (model.sae, active(model.sae, z) - overlap),
                "direct": (raw, active(raw, q) & active(raw, z)),
            }
            if row.set not in sets:
                assert row.size == len(overlap)
                continue
            dictionary, features = sets[row.set]
            assert row.size == len(features)
            assert row.change == pytest.approx(slow_change(dictionary, q, z, features, row.mode), abs=2e-5)
            checked += 1
        assert checked > 200

    def test_at_equal_size_the_larger_set_is_cut(self):
        """Of each pair's two sets as many features stay as the smaller has: those of that set, a part of the other."""
        model, raw, collection = make_model(), random_sae(seed=5, k=9), random_collection()
        frame = erasure(model, collection, raw_sae=raw, num_results=10, per_pair=True)
        frame = frame.set_index(["set", "qid", "docno", "mode"]).sort_index()
        cut = whole = 0
        for name in ("untrained", "direct"):
            for key, row in frame.loc[f"{name}_cut"].iterrows():
                sizes = [frame.loc[(s, *key), "size"].item() for s in ("overlap", name)]
                other = frame.loc[(f"overlap_cut_{name}", *key)]
                assert row["size"] == other["size"] == min(sizes) > 0
                for kept, full, size in ((other, "overlap", sizes[0]), (row, name, sizes[1])):
                    if size == min(sizes):
                        assert kept["change"] == pytest.approx(frame.loc[(full, *key), "change"], abs=1e-6)
                        whole += 1
                    else:
                        cut += 1
        assert cut > 50 and whole > 50

    def test_sets_of_equal_size(self):
        a, b = equal_sizes([np.arange(5), np.arange(2)], [np.arange(10, 12), np.arange(10, 16)], np.random.default_rng(0))
        assert [len(x) for x in a] == [len(x) for x in b] == [2, 2]
        assert set(a[0]) < set(range(5)) and set(b[0]) == {10, 11} and set(a[1]) == {0, 1} and set(b[1]) < set(range(10, 16))

    def test_features_of_an_untrained_dictionary_shared_by_both_move_the_cosine_more_than_any(self):
        """Selected to be active in query and document, they point to both, random as they are: what random sets miss."""
        rng = np.random.default_rng(0)
        docs = unit(rng, 60, 64)
        near = docs[:12] + 0.8 * unit(rng, 12, 64)
        collection = make_collection(docs, near / np.linalg.norm(near, axis=1, keepdims=True), [{i: 1} for i in range(12)])
        table = erasure(make_model(random_sae(64, 512, 24)), collection, num_results=10, aspects=())
        own = table[(table["mode"] == "erase") & (table["pairs"] == "true positive") & (table["measure"] == "change")]
        change = own.set_index("set")["value"]
        assert change["untrained"] < 2 * change["random_directions"] < 0

    def test_random_directions_lose_their_share_of_the_dimensions(self):
        """Projecting out s of m random directions takes s/m of any dot product on average."""
        frame = erasure(
            make_model(identity_sae(dim=64, k=16)), random_collection(200, 40, 64), num_results=8, aspects=(), per_pair=True
        )
        own = frame[(frame["set"] == "random_directions") & (frame["mode"] == "erase")]
        lost = own["before"] - own["after"] * np.sqrt(1 - own["size"] / 64)  # the length is restored
        assert lost.mean() == pytest.approx((own["before"] * own["size"] / 64).mean(), rel=0.35)

    def test_the_table_summarises_the_pairs(self):
        model, collection = make_model(), random_collection()
        table = erasure(model, collection, num_results=10, seed=3)
        assert list(table) == ["collection", "set", "mode", "pairs", "measure", "value", "low", "high", "n"]
        frame = erasure(model, collection, num_results=10, seed=3, per_pair=True)
        means = frame.groupby(["set", "mode", "pairs"])[["change", "size"]].agg(["mean", "count"])
        for row in table[table["measure"] != "overlap_minus_set"].itertuples():
            mean, count = means.loc[(row.set, row.mode, row.pairs), row.measure]
            assert (row.value, row.n) == (pytest.approx(mean), count)
            assert row.low <= row.value <= row.high
        wide = frame.pivot_table(index=["qid", "docno", "mode", "pairs"], columns="set", values="change").reset_index()
        wide["difference"] = wide["overlap"] - wide["non_overlap"]
        wide["at_equal_size"] = wide["overlap_cut_untrained"] - wide["untrained_cut"]
        for name, column in (("non_overlap", "difference"), ("untrained_cut", "at_equal_size")):
            row = table[(table["measure"] == "overlap_minus_set") & (table["set"] == name)].iloc[0]
            own = wide[(wide["mode"] == row["mode"]) & (wide["pairs"] == row["pairs"])][column].dropna()
            assert (row["value"], row["n"]) == (pytest.approx(own.mean()), len(own))
        again = erasure(model, collection, num_results=10, seed=3)
        assert again.equals(table)

    def test_unknown_aspect(self, model):
        with pytest.raises(ValueError, match="erasure expects aspects"):
            erasure(model, random_collection(), aspects=["mood"])
