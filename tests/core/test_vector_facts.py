"""Vectors that are not the encoder's are told from those that are, whatever was done to these on purpose."""

import warnings

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.core.vector_facts import VectorFacts, unexplained
from tests.helpers.builders import make_model, unit

TEXTS = [
    "Return a new sorted list from the items in an iterable.", "Boil the potatoes until they are soft, then mash them.",
    "The heart pumps blood through the arteries.", "A court of appeal reviews the decisions of lower courts.",
    "Shares fell after the bank raised its interest rate.", "Glaciers retreat as summers become warmer.",
]  # fmt: skip
QUERY = "how to sort a list"


@pytest.fixture(scope="module")
def bundled():
    return Xetrieval.default().with_check("error")


@pytest.fixture(scope="module")
def frame(bundled):
    encoder = bundled.encoder()
    n = len(TEXTS)
    query, docs = encoder.encode_queries([QUERY])[0], encoder.encode_docs(TEXTS)
    return pd.DataFrame({"qid": "1", "docno": [f"d{i}" for i in range(n)], "query_vec": [query] * n, "doc_vec": list(docs)})


def rotated(column):
    """Vectors of an encoder that says the same with other coordinates: all lengths and similarities are those of before."""
    matrix = np.stack(column.tolist())
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(matrix.shape[1],) * 2))[0]
    return list((matrix @ rotation).astype(np.float32))


def readers(model):
    stages = {"explainer": model.explainer(), "internalizer": model.internalizer(), "reconstructor": model.reconstructor()}
    return {**stages, "intervention": model.intervention(features=[461])}


def test_facts_are_those_of_the_vectors():
    model, x = make_model(), 3 * unit(np.random.default_rng(0), 500, 16)
    facts = VectorFacts.measure(model.sae, x)
    assert facts.length == pytest.approx(3, abs=1e-5) and facts.length_spread < 1e-5 and not facts.unit
    shares = [((row - model.sae(row[None])[0]).square().sum() / row.square().sum()).item() for row in _tensors(x)]
    np.testing.assert_allclose(unexplained(model.sae, x), shares, rtol=1e-4)
    assert facts.unexplained == pytest.approx(np.mean(shares), rel=1e-4)
    assert VectorFacts.from_dict(facts.to_dict()) == facts
    assert facts.limit is None  # random vectors have no encoder, and a random dictionary cannot tell one


def _tensors(x):
    import torch

    return torch.from_numpy(x)


def test_the_bundled_facts_leave_room_on_both_sides(bundled):
    facts = bundled.vector_facts
    assert facts.unit and facts.unexplained + 10 * facts.unexplained_spread < facts.limit < facts.foreign - 0.1


@pytest.mark.parametrize("stage", ["explainer", "internalizer", "reconstructor", "intervention"])
def test_vectors_of_another_encoder_are_refused(bundled, frame, stage):
    with pytest.raises(ValueError, match="found doc_vec that the model's encoder does not give: the dictionary leaves 6"):
        readers(bundled)[stage](frame.assign(doc_vec=rotated(frame.doc_vec)))


def test_queries_of_another_encoder_are_refused(bundled, frame):
    with pytest.raises(ValueError, match="found query_vec that the model's encoder does not give"):
        bundled.explainer()(frame.assign(query_vec=rotated(frame.query_vec)))


@pytest.mark.parametrize("stage", ["explainer", "internalizer", "reconstructor", "intervention"])
@pytest.mark.parametrize("factor", [127, 3, 0.5])
def test_another_length_is_refused(bundled, frame, stage, factor):
    found = f"expects doc_vec of length 1, as its encoder gives them, found a mean length of {factor}; put model.normalizer"
    with pytest.raises(ValueError, match=found):
        readers(bundled)[stage](frame.assign(doc_vec=frame.doc_vec * np.float32(factor)))


def test_normalised_again_whole_numbers_have_the_features_they_had(bundled, frame):
    whole = frame.assign(doc_vec=[np.round(127 * v).astype(np.int8) for v in frame.doc_vec])
    explained = (bundled.normalizer() >> bundled.explainer())(whole).explanation
    for e, known in zip(explained, bundled.explainer()(frame).explanation):
        assert e.score == pytest.approx(known.score, abs=0.02)
        assert len(set(e.features) & set(known.features)) > 0.7 * len(known.features)
    with pytest.raises(ValueError, match="expects a model whose encoder gives vectors of length 1"):
        Xetrieval.from_parts(
            internalizers={},
            sae=bundled.sae,
            encoder={"name": "", "dim": 384},
            facts={"vectors": {**bundled.meta["vectors"], "length": 5}},
        ).normalizer()


def test_a_model_warns_once_for_each_column_unless_told_otherwise(bundled, frame):
    wrong = frame.assign(doc_vec=rotated(frame.doc_vec))
    model = bundled.with_check("warn")
    with pytest.warns(UserWarning, match="doc_vec that the model's encoder does not give") as found:
        (model.internalizer() >> model.scorer() >> model.explainer())(wrong)
    assert len(found) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bundled.with_check("off").explainer()(wrong)
    assert Xetrieval.default().check == "warn" and model != bundled and "with_check('error')" in repr(bundled)
    with pytest.raises(ValueError, match="expects check to be one of"):
        bundled.with_check("loud")


def test_what_the_models_own_stages_made_is_not_refused(bundled, frame):
    explained = (bundled.internalizer() >> bundled.scorer() >> bundled.explainer())(frame)
    again = bundled.internalizer() >> bundled.scorer() >> bundled.explainer()
    for mode, options in {"erase": {}, "keep_only": {}, "scale": {"alpha": 8}}.items():
        (bundled.intervention(mode, features="shared", target="both", **options) >> again)(explained)
    (bundled.fold() >> bundled.explainer())(explained)
    (bundled.reconstructor() >> bundled.explainer())(frame)


def test_folded_vectors_from_a_file_are_not_refused(bundled, frame):
    folded = (bundled.internalizer() >> bundled.fold())(frame)
    bundled.explainer()(folded.assign(doc_vec=[np.array(v) for v in folded.doc_vec]))


def test_an_index_is_not_made_of_another_encoders_vectors(bundled, frame, tmp_path):
    wrong = frame.assign(doc_vec=rotated(frame.doc_vec))
    with pytest.raises(ValueError, match="found doc_vec that the model's encoder does not give"):
        bundled.indexer(tmp_path / "index").index(wrong[["docno", "doc_vec"]])
    index = bundled.indexer(tmp_path / "right").index(frame[["docno", "doc_vec"]])
    with pytest.warns(UserWarning, match="query_vec that the model's encoder does not give"):
        index.explainer()(frame.assign(query_vec=rotated(frame.query_vec)))
