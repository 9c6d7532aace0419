"""Folders of EleutherAI's ``sparsify`` and of ``latent-sae``: ``cfg.json`` and ``sae.safetensors``."""

from __future__ import annotations

from pathlib import Path

import torch

from ..core.sae import SparseAutoencoder
from ..store.files import write_json
from ..store.tensors import write_tensors
from .layouts import Layout, as_state, build, check_sizes, one_k, read_json, read_safetensors, take, tensors_of

FILES = ("cfg.json", "sae.safetensors")
_LAYOUT: Layout = {
    "w_enc": ("encoder.weight", "Dm"), "b_enc": ("encoder.bias", "D"), "w_dec": ("W_dec", "Dm"), "b_dec": ("b_dec", "m"),
}  # fmt: skip
# Options in _RULE have to be topk, those in _NO_EFFECT concern the training alone, and all others have to be off.
_RULE = ("activation", "sae_type")
_NO_EFFECT = {
    "d_in", "k", "num_latents", "expansion_factor", "normalize_decoder", "multi_topk", "lookup_max_order", "k_anneal",
    "k_anneal_start", "k_anneal_pct", "jumprelu_init_threshold", "jumprelu_bandwidth", "sparsity_penalty", "lista_eta",
    "lista_steps", "decorr_alpha", "max_fire_rate", "fire_rate_penalty",
}  # fmt: skip


def read(folder: Path) -> SparseAutoencoder:
    """The TopK autoencoder of a folder; every other rule, and every unknown option that is on, is refused.

    ``normalize_decoder`` is a matter of training: the stored directions are used as they are.
    """
    config, weights = folder / "cfg.json", folder / "sae.safetensors"
    cfg = read_json(config)
    for name in _RULE:
        if cfg.get(name, "topk") != "topk":
            raise ValueError(f"{config} expects {name} to be 'topk', found {cfg[name]!r}")
    for name, value in cfg.items():
        if name not in _NO_EFFECT and name not in _RULE and value:
            raise ValueError(f"{config} expects {name}, which is not the rule of a TopK autoencoder, to be off; found {value!r}")
    tensors = take(read_safetensors(weights), _LAYOUT, weights, unused=())
    factor = cfg.get("expansion_factor")
    size = cfg.get("num_latents") or (factor and factor * tensors["w_enc"].shape[1])
    check_sizes(config, {**cfg, "num_latents": size}, ("num_latents", "d_in"), tensors)
    return build(tensors, "topk", weights, k=one_k(config, cfg.get("k")))


def write(sae: SparseAutoencoder, folder: Path) -> None:
    """ValueError for an autoencoder that is not TopK."""
    if sae.activation != "topk":
        raise ValueError(
            f"write_sae expects activation 'topk' for format 'sparsify', which knows no other, found {sae.activation!r}"
        )
    tensors = tensors_of(sae)
    unit = torch.allclose(tensors["w_dec"].norm(dim=1), torch.ones(()), atol=1e-4)
    cfg = {
        "activation": "topk", "expansion_factor": max(1, sae.dict_size // sae.dim), "normalize_decoder": unit,
        "num_latents": sae.dict_size, "k": sae.k, "multi_topk": False, "skip_connection": False, "transcode": False,
        "d_in": sae.dim,
    }  # fmt: skip
    write_tensors(folder / "sae.safetensors", as_state(tensors, _LAYOUT))
    write_json(folder / "cfg.json", cfg)
