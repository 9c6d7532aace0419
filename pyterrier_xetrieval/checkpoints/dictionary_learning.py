"""Folders of the ``dictionary_learning`` library (Marks, Karvonen & Mueller): ``ae.pt`` and ``config.json``."""

from __future__ import annotations

from pathlib import Path

import torch

from ..core.checks import found_value
from ..core.sae import SparseAutoencoder
from ..store.files import write_json
from .layouts import (
    MATRICES,
    Layout,
    as_state,
    build,
    check_sizes,
    one_k,
    read_json,
    read_state_dict,
    subtract_bias,
    take,
    tensors_of,
)

FILES = ("ae.pt", "config.json")
_LINEAR: Layout = {"w_enc": ("encoder.weight", "Dm"), "b_enc": ("encoder.bias", "D"), "w_dec": ("decoder.weight", "mD")}
TOPK: Layout = {**_LINEAR, "b_dec": ("b_dec", "m")}
_ONE_THRESHOLD: Layout = {"threshold": ("threshold", "")}
_GATED: Layout = {
    "w_enc": ("encoder.weight", "Dm"), "b_enc": ("gate_bias", "D"), "w_dec": ("decoder.weight", "mD"),
    "b_dec": ("decoder_bias", "m"), "log_gain": ("r_mag", "D"), "b_mag": ("mag_bias", "D"),
}  # fmt: skip

# class: inference rule, layout, tensors without effect on it (k and group sizes are of the training)
_CLASSES = {
    "AutoEncoder": ("threshold", {**_LINEAR, "b_dec": ("bias", "m")}, ()),
    "AutoEncoderNew": ("threshold", {**_LINEAR, "b_dec": ("decoder.bias", "m")}, ()),
    "AutoEncoderTopK": ("topk", TOPK, ("k", "threshold")),
    "BatchTopKSAE": ("threshold", {**TOPK, **_ONE_THRESHOLD}, ("k",)),
    "MatryoshkaBatchTopKSAE": ("threshold", {**MATRICES, **_ONE_THRESHOLD}, ("k", "group_sizes")),
    "JumpReluAutoEncoder": ("threshold", {**MATRICES, "threshold": ("threshold", "D")}, ()),
    "GatedAutoEncoder": ("gated", _GATED, ()),
}
_RAW_INPUT = ("AutoEncoderNew", "JumpReluAutoEncoder")  # their encoders do not subtract the decoder's bias


def read(folder: Path) -> SparseAutoencoder:
    """The autoencoder of a folder; its rule is that of the ``dict_class``, whatever the trainer.

    ``BatchTopKSAE`` and ``MatryoshkaBatchTopKSAE`` select by their stored threshold, as the library does outside of
    training; a threshold of -1 was never estimated and selects every feature above zero, there as here.
    ``AutoEncoderTopK`` stores a threshold too, which its rule does not use.
    """
    weights, config = folder / "ae.pt", folder / "config.json"
    trainer = read_json(config).get("trainer")
    if not isinstance(trainer, dict) or trainer.get("dict_class") not in list(_CLASSES):
        other = trainer.get("dict_class") if isinstance(trainer, dict) else trainer
        raise ValueError(f"{config} expects trainer.dict_class to be one of {list(_CLASSES)}, found {found_value(other)}")
    dict_class = trainer["dict_class"]
    activation, layout, unused = _CLASSES[dict_class]
    state = read_state_dict(weights)
    tensors = take(state, layout, weights, unused=unused)
    check_sizes(config, trainer, ("dict_size", "activation_dim"), tensors)
    if dict_class in _RAW_INPUT:
        tensors = subtract_bias(tensors)
    k = one_k(folder, trainer.get("k"), state.get("k")) if activation == "topk" else None
    return build(tensors, activation, weights, k=k)


def write(sae: SparseAutoencoder, folder: Path) -> None:
    """Writes an ``AutoEncoderTopK``, ``GatedAutoEncoder``, ``AutoEncoder`` (thresholds of 0) or ``JumpReluAutoEncoder``.

    A single threshold is written as ``JumpReluAutoEncoder`` as well: ``BatchTopKSAE`` would need the k of its training.
    """
    tensors, extra = tensors_of(sae), {}
    if sae.activation == "topk":
        dict_class = "AutoEncoderTopK"
        extra = {"k": torch.tensor(sae.k, dtype=torch.int), "threshold": torch.tensor(-1.0)}  # -1: not estimated
    elif sae.activation == "gated":
        dict_class = "GatedAutoEncoder"
    else:
        dict_class = "JumpReluAutoEncoder" if (tensors["threshold"] > 0).any() else "AutoEncoder"
    if dict_class in _RAW_INPUT:
        tensors = subtract_bias(tensors, sign=-1)
    trainer = {"dict_class": dict_class, "activation_dim": sae.dim, "dict_size": sae.dict_size}
    trainer |= {"k": sae.k} if sae.k else {}
    torch.save({**as_state(tensors, _CLASSES[dict_class][1]), **extra}, folder / "ae.pt")
    write_json(folder / "config.json", {"trainer": trainer})
