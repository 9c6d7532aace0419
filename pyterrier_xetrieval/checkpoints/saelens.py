"""Folders of SAELens (Bloom, Tigges, Duong & Chanin): ``cfg.json`` and ``sae_weights.safetensors``."""

from __future__ import annotations

from pathlib import Path

import torch

from ..core.checks import found_value
from ..core.sae import SparseAutoencoder
from ..store.files import write_json
from ..store.tensors import write_tensors
from .layouts import (
    MATRICES,
    Layout,
    as_state,
    build,
    check_sizes,
    one_k,
    read_json,
    read_safetensors,
    subtract_bias,
    take,
    tensors_of,
)

FILES = ("cfg.json", "sae_weights.safetensors")
_BATCH_TOPK: Layout = {**MATRICES, "threshold": ("topk_threshold", "")}
_GATED: Layout = {**MATRICES, "b_enc": ("b_gate", "D"), "log_gain": ("r_mag", "D"), "b_mag": ("b_mag", "D")}
_ARCHITECTURES = {
    "standard": ("threshold", MATRICES),
    "topk": ("topk", MATRICES),
    "jumprelu": ("threshold", {**MATRICES, "threshold": ("threshold", "D")}),
    "gated": ("gated", _GATED),
    "batchtopk": ("threshold", _BATCH_TOPK),  # these two as checkpoints of a training; finished ones are jumprelu
    "matryoshka_batchtopk": ("threshold", _BATCH_TOPK),
}


def read(folder: Path) -> SparseAutoencoder:
    """The autoencoder of a folder, of version 6 or of the flat configuration before it.

    Folded into the weights, exactly: an encoder that does not subtract the decoder's bias (``apply_b_dec_to_input``),
    activations in units of the decoder's norms (``rescale_acts_by_decoder_norm``), and a constant input scale
    (``normalize_activations: expected_average_only_in``) if ``activation_scaler.json`` is there to tell it.
    """
    config, weights = folder / "cfg.json", folder / "sae_weights.safetensors"
    cfg, state = read_json(config), read_safetensors(weights)
    architecture = _architecture(cfg, config)
    activation, layout = _ARCHITECTURES[architecture]
    unused: tuple[str, ...] = ()
    if "scaling_factor" in state:  # of early versions, ones unless it was finetuned
        if not torch.allclose(state["scaling_factor"].float(), torch.ones(())):
            raise ValueError(f"{weights}: scaling_factor expects ones, found a finetuned scale of the activations")
        unused = ("scaling_factor",)
    tensors = take(state, layout, weights, unused=unused)
    check_sizes(config, cfg, ("d_sae", "d_in"), tensors)
    if not cfg.get("apply_b_dec_to_input", True):
        tensors = subtract_bias(tensors)
    if "topk" in architecture and cfg.get("rescale_acts_by_decoder_norm", False):
        tensors = _unit_directions(tensors)
    scale = _input_scale(cfg, config)
    if scale != 1:  # s x − b = s (x − b / s), and what is decoded goes back by 1 / s
        tensors |= {"w_enc": tensors["w_enc"] * scale}
        tensors |= {name: tensors[name] / scale for name in ("w_dec", "b_dec")}
    k = None
    if activation == "topk":
        k = one_k(config, cfg.get("k"), (cfg.get("activation_fn_kwargs") or {}).get("k"))
    return build(tensors, activation, weights, k=k)


def _architecture(cfg: dict, path: Path) -> str:
    """The key in ``_ARCHITECTURES``; before version 6 a TopK is called ``standard`` and has ``activation_fn`` topk."""
    architecture, options = cfg.get("architecture", "standard"), cfg.get("activation_fn_kwargs") or {}
    function = cfg.get("activation_fn", cfg.get("activation_fn_str"))
    if architecture == "standard" and function == "topk":
        architecture = "topk"
    if architecture not in list(_ARCHITECTURES):
        raise ValueError(f"{path} expects architecture to be one of {list(_ARCHITECTURES)}, found {found_value(architecture)}")
    expected = "topk" if architecture == "topk" else "relu"
    if function not in (None, expected) or (expected == "topk" and set(options) - {"k"}):
        other = f"{found_value(function)} with {options}"
        raise ValueError(f"{path} expects the activation function of {architecture} to be plain {expected}, found {other}")
    if (reshape := cfg.get("reshape_activations")) not in (None, "none", "hook_z"):  # of attention heads into one flat vector
        raise ValueError(f"{path} expects reshape_activations to be 'none' or 'hook_z', found {found_value(reshape)}")
    return architecture


def _unit_directions(tensors: dict) -> dict:
    """Plain activations instead of those in units of the decoder's norms: the norms move to the encoder."""
    norms = tensors["w_dec"].norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
    return {
        **tensors,
        "w_enc": tensors["w_enc"] * norms[:, None],
        "b_enc": tensors["b_enc"] * norms,
        "w_dec": tensors["w_dec"] / norms[:, None],
    }


def _input_scale(cfg: dict, path: Path) -> float:
    """The constant that inputs are multiplied with; ValueError for a normalisation that depends on the vector."""
    normalize = cfg.get("normalize_activations") or "none"
    if normalize == "none":
        return 1.0
    if normalize not in (True, "expected_average_only_in"):
        expected = "'none' or a constant scale; what depends on the vector cannot be part of the weights"
        raise ValueError(f"{path} expects normalize_activations to be {expected}; found {normalize!r}")
    scaler = path.with_name("activation_scaler.json")
    scale = read_json(scaler).get("scaling_factor") if scaler.is_file() else None
    if not isinstance(scale, (int, float)) or not scale > 0:
        raise ValueError(f"{path} scales its inputs; expected the scaling_factor in {scaler}, found {found_value(scale)}")
    return scale


def write(sae: SparseAutoencoder, folder: Path) -> None:
    """Writes version 6: ``topk``, ``gated``, ``standard`` (all thresholds 0) or ``jumprelu``."""
    tensors = tensors_of(sae)
    architecture = sae.activation
    if architecture == "threshold":
        architecture = "jumprelu" if (tensors["threshold"] > 0).any() else "standard"
    cfg = {
        "architecture": architecture, "d_in": sae.dim, "d_sae": sae.dict_size, "dtype": "float32", "device": "cpu",
        "apply_b_dec_to_input": True, "normalize_activations": "none", "reshape_activations": "none",
        "metadata": {"sae_lens_version": "6.0.0"},  # of the configuration: without it, it is read as an older one
    }  # fmt: skip
    cfg |= {"k": sae.k, "rescale_acts_by_decoder_norm": False} if sae.k else {}
    write_tensors(folder / "sae_weights.safetensors", as_state(tensors, _ARCHITECTURES[architecture][1]))
    write_json(folder / "cfg.json", cfg)
