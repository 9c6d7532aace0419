"""Safetensors files: what is written is read again, by everybody; what is damaged is named."""

import pytest
import torch

from pyterrier_xetrieval.store.tensors import read_tensors, read_with_header, write_tensors


def test_what_is_written_is_read_again(tmp_path):
    file, matrix = tmp_path / "x.safetensors", torch.arange(6, dtype=torch.float64).reshape(2, 3)
    write_tensors(file, {"matrix": matrix})
    assert torch.equal(read_tensors(file)["matrix"], matrix) and file.stat().st_mode & 0o777 == 0o644
    assert read_with_header(file)[1] == {}
    write_tensors(file, {"matrix": matrix}, header={"texts": "[]"})
    assert read_with_header(file)[1] == {"texts": "[]"}


def test_damaged_and_missing_files_are_named(tmp_path):
    file = tmp_path / "x.safetensors"
    with pytest.raises(FileNotFoundError, match="x.safetensors is missing"):
        read_tensors(file)
    file.write_bytes(b"no weights")
    with pytest.raises(ValueError, match="x.safetensors is damaged: "):
        read_tensors(file)
    with pytest.raises(ValueError, match="x.safetensors is no weights of ours: "):
        read_with_header(file, refused="is no weights of ours")
