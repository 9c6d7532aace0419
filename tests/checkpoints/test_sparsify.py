"""Folders of sparsify and latent-sae, made from plain dicts; the library's own few lines are the reference."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from pyterrier_xetrieval import SparseAutoencoder
from pyterrier_xetrieval.checkpoints import read_sae, write_sae
from tests.helpers.builders import random_sae

M, D, K = 12, 36, 5
CFG = {
    "activation": "topk", "expansion_factor": 3, "normalize_decoder": True, "num_latents": 0, "k": K, "multi_topk": False,
    "skip_connection": False, "transcode": False, "d_in": M,
}  # fmt: skip


def forward(w, x, k):
    top = torch.relu((x - w["b_dec"]) @ w["encoder.weight"].T + w["encoder.bias"]).topk(k)
    return torch.einsum("nk,nkm->nm", top.values, w["W_dec"][top.indices]) + w["b_dec"]


def tensors():
    generator = torch.Generator().manual_seed(0)
    shapes = {"encoder.weight": (D, M), "encoder.bias": (D,), "W_dec": (D, M), "b_dec": (M,)}
    return {name: 0.4 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def folder(path, state, cfg):
    path.mkdir()
    save_file(state, path / "sae.safetensors")
    (path / "cfg.json").write_text(json.dumps(cfg))
    return path


def vectors():
    return torch.randn(64, M, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize(
    "cfg",
    [
        CFG,
        {"expansion_factor": 32, "normalize_decoder": False, "num_latents": D, "k": K, "signed": False, "d_in": M},
        {"sae_type": "topk", "expansion_factor": 3, "num_latents": 0, "k": K, "lista_eta": 0.1, "k_anneal": True, "d_in": M},
        {**CFG, "embed_skip": False, "gram_lookup": False, "lookup_max_order": 4, "gram_table_hash": None},
    ],
)
def test_reads_what_the_library_computes(tmp_path, cfg):
    w, x = tensors(), vectors()
    sae = read_sae(folder(tmp_path / "sae", w, cfg))
    assert (sae.dim, sae.dict_size, sae.activation, sae.k) == (M, D, "topk", K)
    torch.testing.assert_close(sae(x), forward(w, x, K), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "cfg, message",
    [
        ({"activation": "groupmax"}, "cfg.json expects activation to be 'topk', found 'groupmax'"),
        ({"sae_type": "jumprelu"}, "expects sae_type to be 'topk', found 'jumprelu'"),
        ({"signed": True}, "expects signed, .*, to be off; found True"),
        ({"skip_connection": True}, "expects skip_connection, .*, to be off"),
        ({"transcode": True}, "expects transcode, .*, to be off"),
        ({"some_later_option": "on"}, "expects some_later_option, .*, to be off; found 'on'"),
        ({"k": None}, r"expects one k, .* found \[\]"),
        ({"expansion_factor": 4}, "the tensors have num_latents=36, the configuration says 48"),
        ({"d_in": 13}, "the tensors have d_in=12, the configuration says 13"),
    ],
)
def test_refused_configurations(tmp_path, cfg, message):
    with pytest.raises(ValueError, match=message):
        read_sae(folder(tmp_path / "sae", tensors(), CFG | cfg))


def test_refused_tensors(tmp_path):
    with pytest.raises(ValueError, match=r"sae.safetensors holds \['W_skip'\], of unknown use"):
        read_sae(folder(tmp_path / "skip", {**tensors(), "W_skip": torch.zeros(M, M)}, CFG))


def test_written_folders_compute_the_same(tmp_path):
    sae, x = random_sae(dim=M, dict_size=D, k=K), vectors()
    path = write_sae(sae, tmp_path / "sae", format="sparsify")
    assert json.loads((path / "cfg.json").read_text()) == CFG | {"num_latents": D}
    state = load_file(path / "sae.safetensors")
    torch.testing.assert_close(forward(state, x, K), sae(x), atol=1e-5, rtol=0)
    again = read_sae(path)
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in sae.state_dict().items())


@pytest.mark.parametrize("activation", ["threshold", "gated"])
def test_rules_it_cannot_express(tmp_path, activation):
    with pytest.raises(ValueError, match=f"'topk' for format 'sparsify', which knows no other, found '{activation}'"):
        write_sae(SparseAutoencoder(M, D, activation=activation), tmp_path / "sae", format="sparsify")
    assert not list(tmp_path.iterdir())
