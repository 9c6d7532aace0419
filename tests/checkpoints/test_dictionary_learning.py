"""Folders of dictionary_learning, made from plain dicts; each class's own few lines are the reference."""

import json

import pytest
import torch

from pyterrier_xetrieval import SparseAutoencoder
from pyterrier_xetrieval.checkpoints import read_sae, write_sae
from pyterrier_xetrieval.core.checks import found_value
from tests.helpers.builders import sae_of_rule

M, D, K = 12, 40, 5


def forward(dict_class, w, x):
    """What the library's class computes outside of training, from its own tensors."""
    if dict_class == "AutoEncoder":
        f = torch.relu((x - w["bias"]) @ w["encoder.weight"].T + w["encoder.bias"])
        return f @ w["decoder.weight"].T + w["bias"]
    if dict_class == "AutoEncoderNew":  # the encoder sees x itself
        f = torch.relu(x @ w["encoder.weight"].T + w["encoder.bias"])
        return f @ w["decoder.weight"].T + w["decoder.bias"]
    if dict_class in ("AutoEncoderTopK", "BatchTopKSAE"):
        f = torch.relu((x - w["b_dec"]) @ w["encoder.weight"].T + w["encoder.bias"])
        if dict_class == "AutoEncoderTopK":
            top = f.topk(int(w["k"]))
            f = torch.zeros_like(f).scatter(1, top.indices, top.values)
        else:
            f = f * (f > w["threshold"])
        return f @ w["decoder.weight"].T + w["b_dec"]
    if dict_class == "MatryoshkaBatchTopKSAE":
        f = torch.relu((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"])
        return f * (f > w["threshold"]) @ w["W_dec"] + w["b_dec"]
    if dict_class == "JumpReluAutoEncoder":  # the encoder sees x itself
        f = x @ w["W_enc"] + w["b_enc"]
        return torch.relu(f * (f > w["threshold"])) @ w["W_dec"] + w["b_dec"]
    assert dict_class == "GatedAutoEncoder"
    inner = (x - w["decoder_bias"]) @ w["encoder.weight"].T
    f = (inner + w["gate_bias"] > 0) * torch.relu(w["r_mag"].exp() * inner + w["mag_bias"])
    return f @ w["decoder.weight"].T + w["decoder_bias"]


def tensors(dict_class, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(shape, generator=generator) * (0.4 if len(shape) == 2 else 0.2)

    linear = {"encoder.weight": random(D, M), "encoder.bias": random(D), "decoder.weight": random(M, D)}
    matrices = {"W_enc": random(M, D), "b_enc": random(D), "W_dec": random(D, M), "b_dec": random(M)}
    k, threshold = torch.tensor(K, dtype=torch.int), torch.tensor(0.4)
    return {
        "AutoEncoder": {**linear, "bias": random(M)},
        "AutoEncoderNew": {**linear, "decoder.bias": random(M)},
        "AutoEncoderTopK": {**linear, "b_dec": random(M), "k": k, "threshold": threshold},
        "BatchTopKSAE": {**linear, "b_dec": random(M), "k": k, "threshold": threshold},
        "MatryoshkaBatchTopKSAE": {**matrices, "k": k, "threshold": threshold, "group_sizes": torch.tensor([10, 30])},
        "JumpReluAutoEncoder": {**matrices, "threshold": random(D).abs()},
        "GatedAutoEncoder": {
            "encoder.weight": linear["encoder.weight"], "decoder.weight": linear["decoder.weight"],
            "decoder_bias": random(M), "r_mag": random(D), "gate_bias": random(D), "mag_bias": random(D),
        },
    }[dict_class]  # fmt: skip


def folder(path, state, **trainer):
    path.mkdir()
    torch.save(state, path / "ae.pt")
    (path / "config.json").write_text(json.dumps({"trainer": trainer}))
    return path


def vectors():
    return torch.randn(64, M, generator=torch.Generator().manual_seed(9))


CLASSES = {
    "AutoEncoder": "threshold", "AutoEncoderNew": "threshold", "AutoEncoderTopK": "topk", "BatchTopKSAE": "threshold",
    "MatryoshkaBatchTopKSAE": "threshold", "JumpReluAutoEncoder": "threshold", "GatedAutoEncoder": "gated",
}  # fmt: skip


@pytest.mark.parametrize("dict_class", CLASSES)
def test_reads_what_the_class_computes(tmp_path, dict_class):
    w, x = tensors(dict_class), vectors()
    path = folder(tmp_path / "sae", w, trainer_class="Any", dict_class=dict_class, activation_dim=M, dict_size=D)
    sae = read_sae(path)
    assert (sae.dim, sae.dict_size, sae.activation) == (M, D, CLASSES[dict_class])
    assert sae.k == (K if sae.activation == "topk" else None)
    torch.testing.assert_close(sae(x), forward(dict_class, w, x), atol=1e-5, rtol=0)


def test_a_threshold_never_estimated_is_relu(tmp_path):
    w, x = {**tensors("BatchTopKSAE"), "threshold": torch.tensor(-1.0)}, vectors()
    sae = read_sae(folder(tmp_path / "sae", w, dict_class="BatchTopKSAE"))
    torch.testing.assert_close(sae(x), forward("BatchTopKSAE", w, x), atol=1e-5, rtol=0)
    assert (sae.threshold == 0).all()


def test_k_of_the_configuration(tmp_path):
    w = {name: tensor for name, tensor in tensors("AutoEncoderTopK").items() if name not in ("k", "threshold")}
    assert read_sae(folder(tmp_path / "old", w, dict_class="AutoEncoderTopK", k=7)).k == 7
    with pytest.raises(ValueError, match=r"none.*expects one k, a positive whole number, found \[\]"):
        read_sae(folder(tmp_path / "none", w, dict_class="AutoEncoderTopK"))
    with pytest.raises(ValueError, match=r"expects one k.*found \[7, 5\]"):
        read_sae(folder(tmp_path / "two", tensors("AutoEncoderTopK"), dict_class="AutoEncoderTopK", k=7))
    with pytest.raises(ValueError, match="ae.pt: SparseAutoencoder expects 0 < k <= dict_size, got k=99"):
        read_sae(folder(tmp_path / "many", w, dict_class="AutoEncoderTopK", k=99))


@pytest.mark.parametrize("found", ["CrossCoder", None])
def test_unknown_class(tmp_path, found):
    path = folder(tmp_path / "sae", tensors("AutoEncoder"), trainer_class="StandardTrainer", dict_class=found)
    with pytest.raises(ValueError, match=rf"config.json expects trainer.dict_class to be one of .*, found {found_value(found)}"):
        read_sae(path)


def test_no_tensor_is_dropped_or_invented(tmp_path):
    w = tensors("AutoEncoder")
    with pytest.raises(ValueError, match=r"ae.pt holds \['activation_mean'\], of unknown use; expected only \['bias'"):
        read_sae(folder(tmp_path / "more", {**w, "activation_mean": torch.zeros(M)}, dict_class="AutoEncoder"))
    with pytest.raises(ValueError, match="ae.pt has no 'decoder.bias'"):
        read_sae(folder(tmp_path / "other", w, dict_class="AutoEncoderNew"))
    with pytest.raises(ValueError, match="ae.pt: bias expects m=12, found shape"):
        read_sae(folder(tmp_path / "shape", {**w, "bias": torch.zeros(M + 1)}, dict_class="AutoEncoder"))
    with pytest.raises(ValueError, match="ae.pt: bias expects finite numbers"):
        read_sae(folder(tmp_path / "nan", {**w, "bias": torch.arange(M) / torch.arange(M)}, dict_class="AutoEncoder"))
    with pytest.raises(ValueError, match="config.json: the tensors have dict_size=40, the configuration says 41"):
        read_sae(folder(tmp_path / "size", w, dict_class="AutoEncoder", dict_size=41))


@pytest.mark.parametrize("rule", ["topk", "relu", "one threshold", "thresholds", "gated"])
def test_written_folders_compute_the_same(tmp_path, rule):
    sae, x = sae_of_rule(rule, M, D, K), vectors()
    path = write_sae(sae, tmp_path / "made" / "sae", format="dictionary_learning")
    trainer = json.loads((path / "config.json").read_text())["trainer"]
    expected = {"topk": "AutoEncoderTopK", "relu": "AutoEncoder", "gated": "GatedAutoEncoder"}.get(rule, "JumpReluAutoEncoder")
    assert trainer == {"dict_class": expected, "activation_dim": M, "dict_size": D} | ({"k": K} if rule == "topk" else {})
    state = torch.load(path / "ae.pt", weights_only=True)
    assert {name: tensor.shape for name, tensor in state.items()} == {
        name: tensor.shape for name, tensor in tensors(expected).items()
    }
    torch.testing.assert_close(forward(expected, state, x), sae(x), atol=1e-5, rtol=0)
    torch.testing.assert_close(read_sae(path)(x), sae(x), atol=1e-5, rtol=0)


def test_a_gain_that_has_no_logarithm(tmp_path):
    sae = SparseAutoencoder(M, D, activation="gated").requires_grad_(False)
    sae.gain[3] = 0
    for format in ("dictionary_learning", "saelens"):
        with pytest.raises(ValueError, match="expects gains above zero, .* found 0"):
            write_sae(sae, tmp_path / "sae", format=format)
    assert not list(tmp_path.iterdir())
