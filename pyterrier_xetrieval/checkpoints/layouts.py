"""Other people's files (``.pt``, ``.safetensors``, JSON): read, and their tensors under this package's names, checked; and back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from ..core.sae import SparseAutoencoder
from ..store import facts
from ..store.tensors import read_tensors

# A layout maps this package's name of a tensor to the file's name of it and its axes: m the vector's dimension,
# D the features, no axis a single number. "mD" is turned into [D, m].
Layout = dict[str, tuple[str, str]]

# the names of SAELens, and of some classes of dictionary_learning
MATRICES: Layout = {"w_enc": ("W_enc", "mD"), "b_enc": ("b_enc", "D"), "w_dec": ("W_dec", "Dm"), "b_dec": ("b_dec", "m")}

_WRAPPERS, _PREFIXES = ("state_dict", "model_state_dict"), ("module.", "_orig_mod.")  # of state dicts, by those who wrote them


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """The tensors of a ``.pt`` file: a plain state dict, or one under ``state_dict`` or ``model_state_dict``.

    Prefixes that ``DataParallel`` (``module.``) and ``torch.compile`` (``_orig_mod.``) leave, in any order, are taken
    off. Read with ``weights_only=True``: a file that needs code to run is refused.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no state dict of tensors in the file.
    """
    facts.regular(Path(path))
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader of torch raises whatever a damaged file leads it to
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
    """The tensors of a ``.safetensors`` file; ValueError if it is none."""
    return read_tensors(path, refused="is no safetensors file")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; ValueError if there is none."""
    content = facts.read_json(path, refused="is no JSON file")
    if not isinstance(content, dict):
        raise ValueError(f"{path} expects a JSON object, found {type(content).__name__}")
    return content


def take(
    state: Mapping[str, Any], layout: Layout, path: str | os.PathLike[str], *, unused: Iterable[str] | None = None
) -> dict[str, torch.Tensor]:
    """The tensors of a layout as float32 under this package's names.

    Args:
        state: the file's tensors.
        layout: what has to be there.
        path: the file, for the error messages.
        unused: names that may be there and have no effect; None allows every other name.

    Raises:
        ValueError: a tensor is missing, has another shape, holds NaN or infinity, or has a name that is not expected.
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
        expected = {key for key, _ in layout.values()}.union(unused)
        if unknown := sorted(set(state) - expected):
            raise ValueError(f"{path} holds {unknown}, of unknown use; expected only {sorted(expected)}")
    return tensors


def as_state(tensors: Mapping[str, torch.Tensor], layout: Layout) -> dict[str, torch.Tensor]:
    """The opposite of :func:`take`: tensors of this package under a layout's names, in its shapes."""
    return {
        key: (tensors[name].T if axes == "mD" else tensors[name]).contiguous().clone() for name, (key, axes) in layout.items()
    }


def build(
    tensors: Mapping[str, torch.Tensor], activation: str, path: str | os.PathLike[str], *, k: int | None = None
) -> SparseAutoencoder:
    """The autoencoder of these tensors, in evaluation mode, its parameters without gradients.

    A ``threshold`` may be one number, and is zero if left out. One below zero is raised to zero, which selects the same
    features, because activations are above zero. ``log_gain`` is the logarithm of ``gain``.
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
    """Turns an encoder of ``x`` into one of ``x − b``: ``W x + b_e = W (x − b) + (b_e + W b)``; ``sign=-1`` undoes it."""
    shift = sign * (tensors["w_enc"].double() @ tensors["b_dec"].double())
    out = {**tensors, "b_enc": (tensors["b_enc"].double() + shift).float()}
    if "b_mag" in tensors:  # the magnitudes of a gated autoencoder see the same input, times the gain
        out["b_mag"] = (tensors["b_mag"].double() + tensors["log_gain"].double().exp() * shift).float()
    return out


def check_sizes(path: Path, config: Mapping[str, Any], names: tuple[str, str], tensors: Mapping[str, torch.Tensor]) -> None:
    """ValueError if a configuration states, under these names, another D or m than its tensors have; None states nothing."""
    for name, found in zip(names, tensors["w_enc"].shape):
        if config.get(name) not in (None, found):
            raise ValueError(f"{path}: the tensors have {name}={found}, the configuration says {config[name]!r}")


def one_k(path: str | os.PathLike[str], *stated: Any) -> int:
    """The k that one place or several state; ValueError for none, different ones, or no positive whole number."""
    found: list[Any] = [k.item() if isinstance(k, torch.Tensor) and k.ndim == 0 else k for k in stated if k is not None]
    if not found or any(type(k) is not int or k < 1 or k != found[0] for k in found):
        raise ValueError(f"{path} expects one k, a positive whole number, found {found}")
    return found[0]
