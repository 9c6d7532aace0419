"""Files made to the released format, at the released shapes."""

import numpy as np
import pytest
import torch
from torch import nn

from pyterrier_xetrieval import read_released
from pyterrier_xetrieval.checkpoints import read_internalizer, read_state_dict, read_topk_sae
from tests.helpers.builders import result_frame

M, H, D, K = 1024, 512, 8192, 256


class ReleasedInternalizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(M, H), nn.Tanh(), nn.Linear(H, M))


class ReleasedSAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(M, D), nn.Linear(D, M, bias=False)
        self.b_dec = nn.Parameter(0.01 * torch.randn(M))
        self.register_buffer("k", torch.tensor(K, dtype=torch.int))
        self.register_buffer("threshold", torch.tensor(-1.0))


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    torch.manual_seed(0)
    modules = {aspect: ReleasedInternalizer() for aspect in ("summary", "purpose", "qa")}
    torch.save(modules["summary"].state_dict(), folder / "model_summary.pt")
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in modules["purpose"].state_dict().items()}}, folder / "model_purpose.pt"
    )
    wrapped = {f"module._orig_mod.{k}": v for k, v in modules["qa"].state_dict().items()}
    torch.save({"model_state_dict": wrapped, "epoch": 7}, folder / "model_qa.pt")
    sae = ReleasedSAE()
    torch.save(sae.state_dict(), folder / "sae_model.pt")
    (folder / "hypotheses.txt").write_text("\n".join(f"hypothesis {i}" for i in range(D)) + "\n")
    return folder, modules, sae


def test_released_checkpoints_compute_what_the_release_computes(release):
    folder, modules, sae = release
    model = read_released(folder, folder / "sae_model.pt", folder / "hypotheses.txt")
    assert model.aspects == ("summary", "purpose", "qa") and (model.dim, model.sae.dict_size, model.sae.k) == (M, D, K)
    assert model.labels[8050] == "hypothesis 8050" and model.meta["encoder"]["name"] == "intfloat/e5-large-v2"
    results = result_frame(2, 3, dim=M)
    out = (model.internalizer() >> model.explainer())(results)
    z = torch.from_numpy(np.stack(results["doc_vec"].to_list()))
    q = torch.from_numpy(np.stack(results["query_vec"].to_list()))
    with torch.no_grad():
        views = {"original": z, **{a: nn.functional.normalize(m.net(z), dim=-1) for a, m in modules.items()}}

        def code(x):
            top = torch.relu(sae.encoder(x - sae.b_dec)).topk(K)
            return torch.zeros(len(x), D).scatter_(1, top.indices, top.values)

        codes, query = {v: code(x) > 0 for v, x in views.items()}, code(q) > 0
    for i, e in enumerate(out["explanation"]):
        expected = {v: torch.nonzero(query[i] & c[i]).ravel().tolist() for v, c in codes.items()}
        assert e.per_view == expected and any(expected.values())


def test_what_is_read_is_ready_for_use(release):
    for module in (read_internalizer(release[0] / "model_qa.pt"), read_topk_sae(release[0] / "sae_model.pt")):
        assert not module.training and not any(p.requires_grad for p in module.parameters())


def test_released_model_becomes_an_artifact(release, tmp_path):
    folder = release[0]
    saved = read_released(folder, folder / "sae_model.pt").save(tmp_path / "released")
    assert saved.sae.dict_size == D and "arXiv:2605.29507" in saved.meta["source"]


def test_a_sample_tells_a_released_model_of_its_encoders_vectors(release):
    folder, sample = release[0], np.random.default_rng(0).normal(size=(20, 1024)).astype(np.float32)
    assert read_released(folder, folder / "sae_model.pt").vector_facts is None
    facts = read_released(folder, folder / "sae_model.pt", sample=sample).vector_facts
    assert facts.length == pytest.approx(32, rel=0.05)


def test_prefixes_and_wrappers(release):
    keys = {"net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias"}
    for aspect in ("summary", "purpose", "qa"):
        assert set(read_state_dict(release[0] / f"model_{aspect}.pt")) == keys


def test_missing_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="model_summary.pt"):
        read_released(tmp_path, tmp_path / "sae_model.pt")


def test_code_in_a_checkpoint_is_refused(tmp_path):
    torch.save(ReleasedInternalizer(), tmp_path / "model.pt")
    with pytest.raises(ValueError, match="no checkpoint of plain tensors"):
        read_internalizer(tmp_path / "model.pt")


def test_no_checkpoint_at_all(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"not a zip file")
    with pytest.raises(ValueError, match="no checkpoint"):
        read_internalizer(tmp_path / "model.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="expects a state dict, found list"):
        read_internalizer(tmp_path / "list.pt")


def test_wrong_keys_and_shapes(tmp_path):
    state = ReleasedSAE().state_dict()
    torch.save({k: v for k, v in state.items() if k != "k"}, tmp_path / "no_k.pt")
    with pytest.raises(ValueError, match="expects one k, a positive whole number, found \\[\\]"):
        read_topk_sae(tmp_path / "no_k.pt")
    torch.save({**state, "k": torch.tensor([K, K])}, tmp_path / "two_k.pt")
    with pytest.raises(ValueError, match="two_k.pt expects one k"):
        read_topk_sae(tmp_path / "two_k.pt")
    torch.save({**state, "b_dec": torch.zeros(7)}, tmp_path / "shape.pt")
    with pytest.raises(ValueError, match="b_dec expects m=1024, found shape \\[7\\]"):
        read_topk_sae(tmp_path / "shape.pt")
    torch.save({k: v for k, v in state.items() if k != "b_dec"}, tmp_path / "key.pt")
    with pytest.raises(ValueError, match="has no 'b_dec'"):
        read_topk_sae(tmp_path / "key.pt")
