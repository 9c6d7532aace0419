"""Vectors that are not the encoder's are told from those that are, whatever was done to these on purpose."""

import warnings
from dataclasses import FrozenInstanceError

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.core.codes import encode_view
from pyterrier_xetrieval.core.vector_facts import VectorFacts, _shares, unexplained
from tests.helpers.builders import identity_sae, make_model, random_sae, unit

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


def test_the_limit_lies_at_three_quarters_of_the_way_to_foreign_vectors():
    assert VectorFacts(1, 0, 0.2, 0.03, 0.6).limit == pytest.approx(0.5)
    assert VectorFacts(1, 0, 0.25, 0.125, 1.0).limit is None  # six spreads are not enough
    assert VectorFacts(1, 0, 0.25, 0.124, 1.0).limit == pytest.approx(0.8125)
    assert VectorFacts(1, 0, 0.6, 0.0, 0.2).limit is None


@pytest.mark.parametrize(
    "length, spread, expected",
    [
        (1, 0, True),
        (1.009, 0.009, True),
        (0.991, 0, True),
        (1.011, 0, False),
        (0.989, 0, False),
        (1, 0.011, False),
        (3, 0, False),
    ],
)
def test_an_encoder_normalises_if_all_lengths_are_1(length, spread, expected):
    assert VectorFacts(length, spread, 0.2, 0.03, 0.6).unit is expected


def test_lengths_may_differ_by_the_factor_beyond_three_spreads():
    facts, x = VectorFacts(2, 0.1, 0.2, 0.03, 0.6), np.float32([[0.6, 0.8], [0.6, 0.8]])  # from 1.7 / 1.75 to 2.3 * 1.75
    for length, message in [
        (0.975, None), (4.02, None), (2, None),
        (0.965, "of length about 2, as its encoder gives them, found a mean length of 0.965"),
        (4.03, "of length about 2, as its encoder gives them, found a mean length of 4.03"),
    ]:  # fmt: skip
        assert facts.wrong_length(x * np.float32(length)) == message
    assert facts.wrong_length(x[:0]) is None and facts.wrong_length(x * np.float32([[0.1], [3.9]])) is None  # 2 in the mean
    exact = VectorFacts(1.75, 0, 0.2, 0.03, 0.6)
    assert exact.wrong_length(np.float32([[1, 0]])) is None  # the lower end itself
    assert "length 1," in VectorFacts(1, 0, 0.2, 0.03, 0.6).wrong_length(x * 9)
    assert "about 1.23," in VectorFacts(1.2345, 0, 0.2, 0.03, 0.6).wrong_length(x * 9)


def one_of_two(bias=0.0):
    """A dictionary that keeps the larger of two coordinates."""
    return identity_sae(2, 1, bias)


def test_the_share_that_a_dictionary_leaves():
    x = np.float32([[3, 4], [4, 3], [0, 0], [5, 0]])
    found = unexplained(one_of_two(), x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [9 / 25, 9 / 25, 1, 0], atol=1e-6)
    # x - 1 = (2, 3): 3 is kept, and (1, 4) is what is decoded
    np.testing.assert_allclose(unexplained(one_of_two(1.0), x[:1]), [4 / 25], atol=1e-6)


def test_vectors_over_the_limit_are_not_the_encoders():
    sae, x = one_of_two(), np.float32([[3, 4], [6, 8]])  # 36% are left
    codes = encode_view(sae, x, refit=False, batch_size=2)

    def said(facts, rows=slice(None)):
        return facts.wrong_space(sae, x[rows], codes[rows])

    assert said(VectorFacts(1, 0, 0.05, 0.01, 0.45)) == (
        "the dictionary leaves 36% of them unexplained, as of vectors of another encoder (45%) or of texts unlike "
        "those that it was trained on; of its own encoder's it leaves 5%"
    )
    assert said(VectorFacts(1, 0, 0.05, 0.01, 0.45), slice(0)) is None
    assert said(VectorFacts(1, 0, 0.2, 0.01, 0.45)) is None  # under the limit of .3875
    assert said(VectorFacts(1, 0, 0.05, 0.1, 0.45)) is None  # it cannot tell
    own = _shares(sae, x, codes)
    limit = float(own.mean())
    assert said(VectorFacts(1, 0, limit, 0.0, limit + 1e-9)) is None


def test_measured_of_at_most_4096_vectors():
    sae, x = random_sae(), unit(np.random.default_rng(0), 5000, 16) * np.linspace(1, 3, 5000, dtype=np.float32)[:, None]
    for n, seed in ((5000, 0), (5000, 1), (300, 0)):
        rng = np.random.default_rng(seed)
        own = x[:n][np.sort(rng.permutation(n)[:4096])]
        shuffled = own[:, rng.permutation(16)]
        dense = [sae.encode(_tensors(rows)).dense(48).detach().double().numpy() for rows in (own, shuffled)]
        w, b = sae.w_dec.detach().double().numpy(), sae.b_dec.detach().double().numpy()
        shares = [((rows - c @ w - b) ** 2).sum(1) / (rows.astype(float) ** 2).sum(1) for rows, c in zip((own, shuffled), dense)]
        lengths = np.sqrt((own.astype(np.float64) ** 2).sum(1))
        facts = VectorFacts.measure(sae, x[:n], seed=seed)
        expected = [lengths.mean(), lengths.std(), shares[0].mean(), shares[0].std(), shares[1].mean()]
        np.testing.assert_allclose(list(facts.to_dict().values()), expected, atol=3e-6)
        assert all(number == round(number, 6) for number in facts.to_dict().values())
    assert VectorFacts.measure(sae, x) == VectorFacts.measure(sae, x, seed=0) == VectorFacts.measure(sae, x.astype(np.float64))
    with pytest.raises(ValueError, match="^VectorFacts.measure expects vectors, found none$"):
        VectorFacts.measure(sae, x[:0])
    with pytest.raises(FrozenInstanceError):
        facts.length = 2


def test_facts_from_metadata_are_numbers_and_all_there():
    facts = {"length": "1", "length_spread": 0, "unexplained": 0.25, "unexplained_spread": 0.5, "foreign": 1, "more": 3}
    found = VectorFacts.from_dict(facts)
    assert found == VectorFacts(1.0, 0.0, 0.25, 0.5, 1.0) and all(type(n) is float for n in found.to_dict().values())
    with pytest.raises(KeyError, match="foreign"):
        VectorFacts.from_dict({name: 1 for name in list(facts)[:4]})
