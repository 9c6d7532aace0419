import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from pyterrier_xetrieval import QueryTuning
from tests.helpers.builders import make_model, random_sae


@pytest.fixture(scope="module")
def model():
    return make_model(random_sae(), aspects=()).with_check("off")


def page(n=4):
    x = np.random.default_rng(1).normal(size=(2 + n, 16)).astype(np.float32)
    return pd.DataFrame({
        "qid": np.repeat(["1", "2"], n), "docno": [f"d{i}" for i in range(n)] * 2, "query_vec": [*[x[0]] * n, *[x[1]] * n],
        "doc_vec": [x[2 + i] for i in range(n)] * 2,
    })  # fmt: skip


def linear():
    torch.manual_seed(0)
    return torch.nn.Linear(16, 16)


def test_a_trained_layer_is_applied_and_its_effect_on_each_contribution_is_told(model):
    layer, frame = linear(), page()
    out = (model.adapted(layer.weight.T.detach(), layer.bias.detach()) >> model.explainer())(frame)
    expected = layer(torch.from_numpy(np.stack(frame["query_vec"]))).detach().numpy()
    np.testing.assert_allclose(np.stack(out["query_vec"]), expected, atol=1e-5)
    plain = model.explainer()(frame)["explanation"]
    for e, before, q, z in zip(out["explanation"], plain, expected, frame["doc_vec"]):
        assert e.score == pytest.approx(q @ z, abs=1e-4)
        assert e.shared + e.other + e.bias + e.residual == pytest.approx(q @ z, abs=1e-4)
        own = dict(zip(before.features.tolist(), before.contributions.tolist()))
        np.testing.assert_allclose([own[j] for j in e.features.tolist()], e.contributions - e.changes, atol=1e-4)


def test_features_say_what_is_turned_up_and_what_is_added(model):
    w = model.sae.w_dec.detach().numpy().astype(np.float64)
    unit = w / np.linalg.norm(w, axis=1, keepdims=True)
    away = np.eye(16) - 0.5 * np.outer(unit[7], unit[7])  # half of feature 7 is taken out of every query
    table = model.adapted(away, 2 * unit[3]).features().set_index("feature")
    assert table.gain[7] == pytest.approx(0.5, abs=1e-6) and table.gain.idxmin() == 7
    assert table.added.idxmax() == 3 and table.added[3] == pytest.approx(2 * np.linalg.norm(w[3]), rel=1e-6)
    order = (table.gain - 1).abs() + table.added.abs()
    assert order.is_monotonic_decreasing and len(table) == 48


def test_a_matrix_alone_adds_nothing(model):
    assert not model.adapted(np.eye(16)).features()["added"].any()


def test_equal_adapters_are_one_prefix(model):
    one, same, other = model.adapted(np.eye(16)), model.adapted(np.eye(16)), model.adapted(2 * np.eye(16))
    assert one == same and hash(one) == hash(same) and one != other and repr(one) != repr(other)
    assert one != model.adapted(np.eye(16), np.zeros(16))
    frame = page()
    assert np.array_equal(np.stack(pickle.loads(pickle.dumps(other))(frame)["query_vec"]), np.stack(other(frame)["query_vec"]))


@pytest.mark.parametrize(
    "matrix, shift, told",
    [
        (np.eye(4), None, r"matrix of shape \(16, 16\), found \(4, 4\)"), (np.eye(16), np.ones(3), r"shift of shape \(16,\)"),
        (np.full((16, 16), np.nan), None, "finite numbers in matrix"), ("adapter.pt", None, "array of numbers, found str"),
    ],
)  # fmt: skip
def test_what_is_no_adapter_of_these_vectors_is_refused(model, matrix, shift, told):
    with pytest.raises(ValueError, match=f"QueryAdapter expects .*{told}"):
        model.adapted(matrix, shift)


def test_an_empty_frame_has_the_columns_of_any_other(model):
    tuning = QueryTuning.from_parts(pd.DataFrame({"source": [3], "target": [9], "weight": [1.0]}), model.labels)
    corpus = np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)
    for stage in (model.adapted(np.eye(16)), model.calibrated(corpus, strength=0.2), model.tuned(tuning)):
        empty, full = stage(page().iloc[:0]), stage(page())
        assert empty.columns.tolist() == full.columns.tolist() and "query_vec_0" in empty.columns and empty.empty
