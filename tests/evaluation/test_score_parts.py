"""The parts of a score, by hand, by the explainer, and counted."""

import numpy as np
import pytest

from pyterrier_xetrieval.evaluation.dictionaries import untrained, with_sae
from pyterrier_xetrieval.evaluation.explained_pairs import explain_pairs
from pyterrier_xetrieval.evaluation.pairs import ranked_pairs
from pyterrier_xetrieval.evaluation.score_parts import score_shares
from pyterrier_xetrieval.stages.explain import SAEExplainer
from tests.helpers.builders import identity_sae, make_model
from tests.helpers.erasure import DOCUMENT, QUERY, active, make_collection, random_collection


def test_by_hand():
    """Two slots for three coordinates: .08 of the score is left unexplained; the bias takes its own part."""
    collection = make_collection([DOCUMENT, [0, 0, 0, 0, 0, 1]], [QUERY], [{0: 1}])
    shares = score_shares(make_model(identity_sae(k=2)), collection, refit=False, per_pair=True).iloc[0]
    assert shares[["shared", "other", "bias", "residual"]].tolist() == pytest.approx([0.64 / 0.72, 0, 0, 0.08 / 0.72], abs=1e-6)
    biased = make_model(identity_sae(bias=0.1))
    shares = score_shares(biased, collection, refit=False, per_pair=True).iloc[0]
    assert shares["bias"] == pytest.approx(0.14 / 0.72)


def test_the_same_as_the_explainer(model, results):
    explanations = SAEExplainer(model.with_views(())).transform(results)["explanation"]
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


def test_the_table(model):
    collection = random_collection()
    table = score_shares(model, collection).set_index(["part", "measure"])["value"]
    frame = score_shares(model, collection, per_pair=True)
    assert table[:, "mean"].sum() == pytest.approx(1, abs=1e-5)
    assert table["residual", "q50"] == pytest.approx(frame["residual"].median())
    assert table[:, "untrained"].sum() == pytest.approx(1, abs=1e-5)


def test_an_untrained_dictionary_shares_what_an_explainer_of_it_lists(model):
    collection = random_collection()
    own = with_sae(model, untrained(model.sae))
    table = score_shares(model, collection).set_index(["part", "measure"])["value"]
    lent = score_shares(own, collection).set_index(["part", "measure"])["value"]
    for part in ("shared", "other", "bias", "residual"):
        assert table[part, "untrained"] == pytest.approx(lent[part, "mean"], abs=1e-6)


def test_features_of_the_views_alone_by_counting(model):
    """Active in query and an internalised view, not in the document's original embedding."""
    collection = random_collection()
    table = score_shares(model, collection).set_index(["part", "measure"])["value"]
    pairs, found = ranked_pairs(collection, num_results=1), []
    listed = explain_pairs(model, collection, pairs, refit=True)
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
