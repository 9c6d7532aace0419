"""Fig. 7: erased and kept features, against the equations as they are printed."""

import numpy as np
import pytest
import torch

from pyterrier_xetrieval.evaluation.dictionaries import untrained
from pyterrier_xetrieval.evaluation.feature_erasure import erasure
from tests.helpers.builders import identity_sae, make_model, random_sae, unit
from tests.helpers.erasure import active, make_collection, random_collection, slow_change
from tests.helpers.planted import plain_model


def test_orthogonal_features_by_hand():
    """Query (1,1,0)/√2 and document (.6,0,.8) share feature 0; feature 2 is the document's own."""
    q, d = [0.5**0.5, 0.5**0.5, 0, 0, 0, 0], [0.6, 0, 0.8, 0, 0, 0]
    collection = make_collection([d, [0, 0.1, 0, 0.9, 0, 0]], [q], [{0: 1}])
    frame = erasure(plain_model(identity_sae()), collection, per_pair=True)
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


def test_against_the_printed_equations():
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


def test_at_equal_size_the_larger_set_is_cut():
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


def test_features_of_an_untrained_dictionary_shared_by_both_move_the_cosine_more_than_any():
    """Selected to be active in query and document, they point to both, random as they are: what random sets miss."""
    rng = np.random.default_rng(0)
    docs = unit(rng, 60, 64)
    near = docs[:12] + 0.8 * unit(rng, 12, 64)
    collection = make_collection(docs, near / np.linalg.norm(near, axis=1, keepdims=True), [{i: 1} for i in range(12)])
    table = erasure(plain_model(random_sae(64, 512, 24)), collection, num_results=10)
    own = table[(table["mode"] == "erase") & (table["pairs"] == "true positive") & (table["measure"] == "change")]
    change = own.set_index("set")["value"]
    assert change["untrained"] < 2 * change["random_directions"] < 0


def test_random_directions_lose_their_share_of_the_dimensions():
    """Projecting out s of m random directions takes s/m of any dot product on average."""
    frame = erasure(plain_model(identity_sae(dim=64, k=16)), random_collection(200, 40, 64), num_results=8, per_pair=True)
    own = frame[(frame["set"] == "random_directions") & (frame["mode"] == "erase")]
    lost = own["before"] - own["after"] * np.sqrt(1 - own["size"] / 64)  # the length is restored
    assert lost.mean() == pytest.approx((own["before"] * own["size"] / 64).mean(), rel=0.35)


def test_the_table_summarises_the_pairs():
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


def test_a_raw_dictionary_of_another_dimension(model):
    with pytest.raises(ValueError, match="raw_sae to be an autoencoder of 16 dimensions"):
        erasure(model, random_collection(), raw_sae=identity_sae())
