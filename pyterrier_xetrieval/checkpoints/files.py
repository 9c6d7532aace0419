"""Reading other people's files (``.pt``, ``.safetensors``, JSON), and refusing what is damaged."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..store import facts
from ..store.facts import regular
from ..store.tensors import read_tensors

_WRAPPERS, _PREFIXES = ("state_dict", "model_state_dict"), ("module.", "_orig_mod.")


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """The tensors of a ``.pt`` file: a plain state dict, or one under ``state_dict`` or ``model_state_dict``.

    Prefixes that ``DataParallel`` (``module.``) and ``torch.compile`` (``_orig_mod.``) leave, in any order, are taken
    off. Read with ``weights_only=True``: a file that needs code to run is refused.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no state dict of tensors in the file.
    """
    regular(Path(path))
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
