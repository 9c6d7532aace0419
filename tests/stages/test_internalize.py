import math

import numpy as np
import pandas as pd
import pytest
import torch

from pyterrier_xetrieval.core.internalizer import Internalizer
from tests.helpers.builders import make_model, result_frame, unit


def literal_view(module, z):
    """Norm(W2 tanh(W1 z + b1) + b2), one coordinate at a time (Eq. 7, 19)."""
    w1, b1 = module.layer1.weight.tolist(), module.layer1.bias.tolist()
    w2, b2 = module.layer2.weight.tolist(), module.layer2.bias.tolist()
    hidden = [math.tanh(sum(w * x for w, x in zip(row, z)) + b) for row, b in zip(w1, b1)]
    out = [sum(w * x for w, x in zip(row, hidden)) + b for row, b in zip(w2, b2)]
    norm = math.sqrt(sum(x * x for x in out))
    return [x / norm for x in out]


def test_agrees_with_the_literal_equation(model, results):
    out = model.internalizer()(results)
    for aspect in model.aspects:
        for z, view in zip(out["doc_vec"], out[f"doc_vec_{aspect}"]):
            assert view.dtype == np.float32
            np.testing.assert_allclose(view, literal_view(model.internalizers[aspect], z.tolist()), atol=1e-6)


def test_each_document_is_computed_once(results):
    model = make_model()
    rows = []
    for module in model.internalizers.values():
        module.register_forward_hook(lambda _module, inputs, _output: rows.append(len(inputs[0])))
    out = model.internalizer(batch_size=3)(pd.concat([results] * 50))
    # four documents in batches of three, each filled up to a whole block; three aspects, whatever the number of rows
    assert rows == [16] * 2 * 3
    assert len({id(v) for v in out["doc_vec_qa"]}) == 4


def test_batches_do_not_change_the_result(model):
    inp = pd.DataFrame({"docno": [str(i) for i in range(50)], "doc_vec": list(unit(np.random.default_rng(0), 50, 16))})
    one, many = model.internalizer(batch_size=100)(inp), model.internalizer(batch_size=7)(inp)
    for aspect in model.aspects:
        a, b = (np.stack(frame[f"doc_vec_{aspect}"].to_list()) for frame in (one, many))
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_only_the_asked_aspects(model, results):
    out = model.with_views(["qa"]).internalizer()(results)
    assert [c for c in out.columns if c.startswith("doc_vec_")] == ["doc_vec_qa"]


def test_aspects_are_not_hard_wired(results):
    model = make_model(aspects=("audience",))
    out = (model.internalizer() >> model.scorer() >> model.explainer())(results)
    assert "doc_vec_audience" in out and out["explanation"][0].views == ("original", "audience")


@pytest.mark.parametrize("aspects", [["tone"], ["qa", "qa"], "qa"])
def test_unknown_aspect(model, aspects):
    with pytest.raises(ValueError, match="with_views expects"):
        model.with_views(aspects=aspects).internalizer()


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, None])
def test_bad_batch_size(model, batch_size):
    for make in (model.internalizer, model.reconstructor, model.explainer, model.fold):
        with pytest.raises(ValueError, match="batch_size to be a positive whole number"):
            make(batch_size=batch_size)


def test_wrong_dimension_names_both_numbers(model):
    with pytest.raises(ValueError, match="expects 16-dimensional doc_vec, found 8"):
        model.internalizer()(result_frame(dim=8))


def test_output_is_unit_norm():
    view = Internalizer(5, 3)(torch.randn(7, 5))
    np.testing.assert_allclose(view.detach().norm(dim=1), 1, atol=1e-6)
