"""The two doors: which format a folder is, and writing all or nothing."""

import pytest
import torch

from pyterrier_xetrieval.checkpoints import read_sae, write_sae
from tests.helpers.builders import make_model, random_sae, result_frame

FORMATS = ["dictionary_learning", "saelens", "sparsify"]


@pytest.mark.parametrize("format", FORMATS)
def test_what_was_written_is_read_bit_for_bit(tmp_path, format):
    sae = random_sae()
    again = read_sae(str(write_sae(sae, str(tmp_path / "new" / "sae"), format=format)))
    assert again.k == sae.k and not again.training and not any(p.requires_grad for p in again.parameters())
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in sae.state_dict().items())
    assert all(file.stat().st_mode & 0o044 for file in (tmp_path / "new" / "sae").iterdir())


@pytest.mark.parametrize("format", FORMATS)
def test_a_model_of_it_explains_as_before(tmp_path, format):
    sae, results = random_sae(), result_frame()
    before, after = (make_model(s) for s in (sae, read_sae(write_sae(sae, tmp_path / "sae", format=format))))
    explained = [(model.internalizer() >> model.explainer())(results)["explanation"] for model in (before, after)]
    assert [e.per_view for e in explained[0]] == [e.per_view for e in explained[1]]
    assert any(e.shared for e in explained[0])


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="read_sae expects a folder, found nothing at .*missing"):
        read_sae(tmp_path / "missing")
    (tmp_path / "ae.pt").touch()
    with pytest.raises(FileNotFoundError, match="expects a folder, found a file"):
        read_sae(tmp_path / "ae.pt")


def test_a_folder_of_none_or_of_two_formats(tmp_path):
    (tmp_path / "cfg.json").write_text("{}")
    with pytest.raises(ValueError, match=r"files of one format .*saelens: cfg.json and .*found \['cfg.json'\]"):
        read_sae(tmp_path)
    for name in ("sae.safetensors", "sae_weights.safetensors"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"found \['saelens', 'sparsify'\]"):
        read_sae(tmp_path)


def test_unknown_format(tmp_path):
    with pytest.raises(ValueError, match=r"expects format to be one of \['dictionary_learning', .*found 'openai'"):
        write_sae(random_sae(), tmp_path / "sae", format="openai")


def test_what_is_there_stays(tmp_path):
    write_sae(random_sae(), tmp_path / "sae", format="saelens")
    before = {file.name: file.read_bytes() for file in (tmp_path / "sae").iterdir()}
    with pytest.raises(FileExistsError, match="sae already exists"):
        write_sae(random_sae(seed=1), tmp_path / "sae", format="saelens")
    assert {file.name: file.read_bytes() for file in (tmp_path / "sae").iterdir()} == before


def test_nothing_is_left_of_a_failed_write(tmp_path, monkeypatch):
    def full(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr("pyterrier_xetrieval.checkpoints.saelens.write_tensors", full)
    with pytest.raises(OSError, match="No space left"):
        write_sae(random_sae(), tmp_path / "sae", format="saelens")
    assert not list(tmp_path.iterdir())
