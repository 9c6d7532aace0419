"""Folders of SAELens, made from plain dicts; each architecture's own few lines are the reference."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from pyterrier_xetrieval.checkpoints import read_sae, write_sae
from tests.helpers.builders import sae_of_rule

M, D, K = 12, 40, 5
V6 = {"metadata": {"sae_lens_version": "6.12.0"}, "normalize_activations": "none", "reshape_activations": "none"}


def forward(architecture, w, x, *, subtract=True, rescale=False, scale=1.0):
    """What the library computes: input scaled, bias subtracted if so, activations in units of the decoder's norms if so."""
    inner = (x * scale - (w["b_dec"] if subtract else 0)) @ w["W_enc"]
    norms = w["W_dec"].norm(dim=1) if rescale else torch.ones(D)
    if architecture == "gated":
        f = (inner + w["b_gate"] > 0) * torch.relu(inner * w["r_mag"].exp() + w["b_mag"])
    else:
        pre = (inner + w["b_enc"]) * norms
        f = torch.relu(pre)
        if architecture == "topk":
            top = pre.topk(K)
            f = torch.zeros_like(f).scatter(1, top.indices, top.values.relu())
        elif architecture != "standard":
            f = f * (pre > w["threshold" if architecture == "jumprelu" else "topk_threshold"])
    return ((f / norms) @ w["W_dec"] + w["b_dec"]) / scale


def tensors(architecture, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(shape, generator=generator) * (0.4 if len(shape) == 2 else 0.2)

    w = {"W_enc": random(M, D), "b_enc": random(D), "W_dec": random(D, M), "b_dec": random(M)}
    if architecture == "jumprelu":
        w["threshold"] = random(D).abs()
    if "batchtopk" in architecture:
        w["topk_threshold"] = torch.tensor(0.4, dtype=torch.float64)
    if architecture == "gated":
        del w["b_enc"]
        w |= {"b_gate": random(D), "r_mag": random(D), "b_mag": random(D)}
    return w


def folder(path, state, **cfg):
    path.mkdir()
    save_file(state, path / "sae_weights.safetensors")
    (path / "cfg.json").write_text(json.dumps({"d_in": M, "d_sae": D, **cfg}))
    return path


def vectors():
    return torch.randn(64, M, generator=torch.Generator().manual_seed(9))


RULES = {
    "standard": "threshold", "topk": "topk", "jumprelu": "threshold", "gated": "gated", "batchtopk": "threshold",
    "matryoshka_batchtopk": "threshold",
}  # fmt: skip


@pytest.mark.parametrize("subtract", [True, False])
@pytest.mark.parametrize("architecture", RULES)
def test_reads_what_the_architecture_computes(tmp_path, architecture, subtract):
    w, x = tensors(architecture), vectors()
    cfg = {**V6, "architecture": architecture, "apply_b_dec_to_input": subtract} | ({"k": K} if "topk" in architecture else {})
    sae = read_sae(folder(tmp_path / "sae", w, **cfg))
    assert (sae.dim, sae.dict_size, sae.activation, sae.k) == (M, D, RULES[architecture], K if architecture == "topk" else None)
    torch.testing.assert_close(sae(x), forward(architecture, w, x, subtract=subtract), atol=1e-5, rtol=0)


@pytest.mark.parametrize("architecture", ["topk", "batchtopk", "matryoshka_batchtopk"])
def test_activations_in_units_of_the_decoder(tmp_path, architecture):
    w, x = tensors(architecture), vectors()
    wanted = forward(architecture, w, x, rescale=True)
    assert not torch.allclose(wanted, forward(architecture, w, x), atol=1e-2)  # other features are selected
    sae = read_sae(folder(tmp_path / "sae", w, **V6, architecture=architecture, k=K, rescale_acts_by_decoder_norm=True))
    torch.testing.assert_close(sae(x), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("subtract", [True, False])
@pytest.mark.parametrize("architecture", RULES)
def test_constant_input_scale(tmp_path, architecture, subtract):
    w, x = tensors(architecture), vectors()
    rescale = "topk" in architecture
    cfg = {**V6, "architecture": architecture, "k": K, "apply_b_dec_to_input": subtract, "rescale_acts_by_decoder_norm": rescale}
    path = folder(tmp_path / "sae", w, **cfg | {"normalize_activations": "expected_average_only_in"})
    with pytest.raises(ValueError, match=r"expected the scaling_factor in .*activation_scaler.json, found none"):
        read_sae(path)
    (path / "activation_scaler.json").write_text(json.dumps({"scaling_factor": 2.5, "has_whitening": False}))
    wanted = forward(architecture, w, x, subtract=subtract, rescale=rescale, scale=2.5)
    torch.testing.assert_close(read_sae(path)(x), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "architecture, cfg",
    [
        ("standard", {}),
        ("standard", {"activation_fn_str": "relu", "normalize_activations": False}),
        ("topk", {"architecture": "standard", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}}),
        ("topk", {"architecture": "topk", "activation_fn": "topk", "activation_fn_kwargs": {"k": K}}),
        ("jumprelu", {"architecture": "jumprelu", "activation_fn_str": "relu", "normalize_activations": None}),
        ("gated", {"architecture": "gated", "activation_fn": "relu", "activation_fn_kwargs": {}}),
    ],
)
def test_flat_configuration_before_version_6(tmp_path, architecture, cfg):
    w, x = tensors(architecture), vectors()
    w["scaling_factor"] = torch.ones(D)
    sae = read_sae(folder(tmp_path / "sae", w, hook_name="blocks.0.hook_resid_pre", finetuning_scaling_factor=False, **cfg))
    torch.testing.assert_close(sae(x), forward(architecture, w, x), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "cfg, message",
    [
        ({"architecture": "matching_pursuit"}, "expects architecture to be one of .*, found 'matching_pursuit'"),
        ({"architecture": "transcoder"}, "found 'transcoder'"),
        ({"activation_fn_str": "tanh-relu"}, "activation function of standard to be plain relu, found 'tanh-relu'"),
        ({"architecture": "gated", "activation_fn": "topk"}, "of gated to be plain relu, found 'topk'"),
        (
            {"architecture": "topk", "k": K, "activation_fn_kwargs": {"postact_fn": "tanh"}},
            "plain topk, found none with .*postact_fn",
        ),
        ({"architecture": "topk", "k": K, "activation_fn": "relu"}, "of topk to be plain topk, found 'relu'"),
        ({"architecture": "topk"}, r"cfg.json expects one k, .* found \[\]"),
        ({"architecture": "topk", "k": 2.5}, r"expects one k, .* found \[2.5\]"),
        ({"normalize_activations": "layer_norm"}, "expects normalize_activations to be 'none' .*found 'layer_norm'"),
        ({"normalize_activations": "covariance_whitening"}, "found 'covariance_whitening'"),
        ({"reshape_activations": "fold"}, "expects reshape_activations to be 'none' or 'hook_z', found 'fold'"),
        ({"d_sae": D + 1}, "the tensors have d_sae=40, the configuration says 41"),
    ],
)
def test_refused_configurations(tmp_path, cfg, message):
    with pytest.raises(ValueError, match=message):
        read_sae(folder(tmp_path / "sae", tensors("standard"), **{**V6, "architecture": "standard"} | cfg))


def test_refused_tensors(tmp_path):
    w = tensors("standard")
    with pytest.raises(ValueError, match=r"sae_weights.safetensors holds \['W_skip'\], of unknown use"):
        read_sae(folder(tmp_path / "skip", {**w, "W_skip": torch.zeros(M, M)}, **V6, architecture="standard"))
    with pytest.raises(ValueError, match="scaling_factor expects ones"):
        read_sae(folder(tmp_path / "tuned", {**w, "scaling_factor": torch.full((D,), 2.0)}, architecture="standard"))
    with pytest.raises(ValueError, match="has no 'threshold'"):
        read_sae(folder(tmp_path / "jump", w, **V6, architecture="jumprelu"))
    path = folder(tmp_path / "damaged", w, **V6, architecture="standard")
    (path / "sae_weights.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="sae_weights.safetensors is no safetensors file"):
        read_sae(path)
    (path / "cfg.json").write_text("[1]")
    with pytest.raises(ValueError, match="cfg.json expects a JSON object, found list"):
        read_sae(path)
    (path / "cfg.json").write_text("{")
    with pytest.raises(ValueError, match="cfg.json is no JSON file"):
        read_sae(path)


@pytest.mark.parametrize("rule", ["topk", "relu", "one threshold", "thresholds", "gated"])
def test_written_folders_compute_the_same(tmp_path, rule):
    sae, x = sae_of_rule(rule, M, D, K), vectors()
    path = write_sae(sae, tmp_path / "sae", format="saelens")
    cfg = json.loads((path / "cfg.json").read_text())
    expected = {"topk": "topk", "relu": "standard", "gated": "gated"}.get(rule, "jumprelu")
    assert (cfg["architecture"], cfg["d_in"], cfg["d_sae"], cfg.get("k")) == (expected, M, D, sae.k)
    assert cfg["apply_b_dec_to_input"] and cfg["metadata"]["sae_lens_version"] >= "6"
    state = load_file(path / "sae_weights.safetensors")
    assert {name: t.shape for name, t in state.items()} == {name: t.shape for name, t in tensors(expected).items()}
    torch.testing.assert_close(forward(expected, state, x), sae(x), atol=1e-5, rtol=0)
    torch.testing.assert_close(read_sae(path)(x), sae(x), atol=1e-6, rtol=0)
