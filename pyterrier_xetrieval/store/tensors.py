"""Tensors in safetensors files: a file that is damaged is named, and others than its owner may read it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .facts import regular


def read_tensors(file: Path, *, refused: str = "is damaged") -> dict[str, torch.Tensor]:
    """The tensors of a file by name, on the CPU.

    Args:
        refused: what an error says of a file that is no safetensors file.

    Raises:
        FileNotFoundError: no such file, or something that is none.
        ValueError: no safetensors file.
    """
    return read_with_header(file, refused=refused)[0]


def read_with_header(file: Path, *, refused: str = "is damaged") -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """:func:`read_tensors`, and the texts that the file's header has beside them."""
    try:
        with safe_open(regular(file), "pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{file} {refused}: {error}") from None


def write_tensors(file: Path, tensors: Mapping[str, torch.Tensor], *, header: Mapping[str, str] | None = None) -> None:
    """Writes contiguous tensors, and texts into the file's header; OSError where the disk is full."""
    try:
        save_file(dict(tensors), file, metadata=None if header is None else dict(header))
    except SafetensorError as error:  # of the disk: tensors that do not fit the format are a TypeError or a ValueError
        raise OSError(f"{file} could not be written: {error}") from None
    file.chmod(0o644)  # safetensors writes for the owner alone
