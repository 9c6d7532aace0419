"""Tensors out of other people's files, checked, under this package's names; and back."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..core.sae import SparseAutoencoder

_WRAPPERS, _PREFIXES = ("state_dict", "model_state_dict"), ("module.", "_orig_mod.")

# A layout maps this package's name of a tensor to the file's name of it and its axes: m the vector's dimension,
# D the features, no axis a single number. "mD" is turned into [D, m].
Layout = dict[str, tuple[str, str]]


def read_state_dict(path) -> dict[str, torch.Tensor]:
    """The tensors of a ``.pt`` file: a plain state dict, or one under ``state_dict`` or ``model_state_dict``.

    Prefixes that ``DataParallel`` (``module.``) and ``torch.compile`` (``_orig_mod.``) leave, in any order, are taken
    off. Read with ``weights_only=True``: a file that needs code to run is refused.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no state dict of tensors in the file.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path} is no checkpoint of plain tensors: {error}") from None
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{path} expects a state dict, found {type(content).__name__}")
    state = {}
    for key, value in content.items():
        while key.startswith(_PREFIXES):
            key = key.split(".", 1)[1]
        state[key] = value
    return state


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a ``.safetensors`` file; ValueError if it is damaged."""
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file: {error}") from None


def read_json(path: Path) -> dict:
    """The JSON object in a file; ValueError if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON file: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} expects a JSON object, found {type(content).__name__}")
    return content


def take(state: Mapping, layout: Layout, path, *, unused=None) -> dict[str, torch.Tensor]:
    """The tensors of a layout as float32 under this package's names.

    Args:
        state: the file's tensors.
        layout: what has to be there.
        path: the file, for the error messages.
        unused: names that may be there and do not matter; None lets everything else pass.

    Raises:
        ValueError: a tensor is missing, is of another shape, holds NaN or infinity, or is none of those expected.
    """
    sizes: dict[str, int] = {}
    tensors = {}
    for name, (key, axes) in layout.items():
        if key not in state:
            raise ValueError(f"{path} has no {key!r}; found {sorted(state)}")
        tensor = state[key]
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(f"{path}: {key} expects a tensor, found {type(tensor).__name__}")
        if tensor.ndim != len(axes):
            raise ValueError(f"{path}: {key} expects shape [{', '.join(axes)}], found {list(tensor.shape)}")
        for axis, size in zip(axes, tensor.shape):
            if sizes.setdefault(axis, size) != size:
                raise ValueError(f"{path}: {key} expects {axis}={sizes[axis]}, found shape {list(tensor.shape)}")
        tensor = tensor.float()
        if not tensor.isfinite().all():
            raise ValueError(f"{path}: {key} expects finite numbers, found NaN or infinity")
        tensors[name] = tensor.T.contiguous() if axes == "mD" else tensor
    if unused is not None:
        unknown = sorted(set(state) - {key for key, _ in layout.values()} - set(unused))
        if unknown:
            expected = sorted({key for key, _ in layout.values()} | set(unused))
            raise ValueError(f"{path} holds {unknown}, of unknown use; expected only {expected}")
    return tensors


def as_state(tensors: Mapping[str, torch.Tensor], layout: Layout) -> dict[str, torch.Tensor]:
    """The opposite of :func:`take`: tensors of this package under a layout's names, in its shapes."""
    return {
        key: (tensors[name].T if axes == "mD" else tensors[name]).contiguous().clone() for name, (key, axes) in layout.items()
    }


def build(tensors: Mapping[str, torch.Tensor], activation: str, path, *, k: int | None = None) -> SparseAutoencoder:
    """The autoencoder of these tensors, in evaluation mode, its parameters without gradients.

    A ``threshold`` may be one number, and is zero if left out; below zero it does what zero does, because activations are
    above zero. ``log_gain`` stands for ``gain``.
    """
    tensors = dict(tensors)
    dict_size, dim = tensors["w_enc"].shape
    if activation == "threshold":
        threshold = tensors.get("threshold", torch.zeros(()))
        tensors["threshold"] = threshold.clamp_min(0).expand(dict_size)
    if "log_gain" in tensors:
        tensors["gain"] = tensors.pop("log_gain").exp()
    try:
        sae = SparseAutoencoder(dim, dict_size, k, activation=activation)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    sae.load_state_dict(tensors)
    return sae.eval().requires_grad_(False)


def tensors_of(sae: SparseAutoencoder) -> dict[str, torch.Tensor]:
    """The float32 tensors of an autoencoder on the CPU; a gated one's ``gain`` as ``log_gain``.

    Raises:
        ValueError: a gain that is not above zero, which the formats' logarithm cannot express.
    """
    tensors = {name: tensor.detach().float().cpu() for name, tensor in sae.state_dict().items()}
    if "gain" in tensors:
        gain = tensors.pop("gain")
        if not (gain > 0).all():
            raise ValueError(f"write_sae expects gains above zero, which the format stores as logarithms, found {gain.min()}")
        tensors["log_gain"] = gain.log()
    return tensors


def subtract_bias(tensors: Mapping[str, torch.Tensor], *, sign: int = 1) -> dict[str, torch.Tensor]:
    """An encoder of ``x`` rewritten as one of ``x − b``: ``W x + b_e = W (x − b) + (b_e + W b)``; ``sign=-1`` undoes it."""
    shift = sign * (tensors["w_enc"].double() @ tensors["b_dec"].double())
    out = {**tensors, "b_enc": (tensors["b_enc"].double() + shift).float()}
    if "b_mag" in tensors:  # the magnitudes of a gated autoencoder see the same input, times the gain
        out["b_mag"] = (tensors["b_mag"].double() + tensors["log_gain"].double().exp() * shift).float()
    return out


def check_size(path, name: str, stated, found: int) -> None:
    """ValueError if a configuration states another size than its tensors have; None states nothing."""
    if stated not in (None, found):
        raise ValueError(f"{path}: the tensors have {name}={found}, the configuration says {stated!r}")


def one_k(path, *stated) -> int:
    """The k that a file states, wherever it does; ValueError if it states none, several, or no positive whole number."""
    found = [k.item() if isinstance(k, torch.Tensor) and k.ndim == 0 else k for k in stated if k is not None]
    if not found or any(type(k) is not int or k < 1 or k != found[0] for k in found):
        raise ValueError(f"{path} expects one k, a positive whole number, found {found}")
    return found[0]
