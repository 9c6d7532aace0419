"""Internalizers: a smooth map that must be found again."""

import numpy as np
import pytest
import torch
from pyterrier_dr import FlexIndex

from pyterrier_xetrieval.training import train_internalizers
from pyterrier_xetrieval.training.internalizers import identity_module, kernel_ridge


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def teacher():
    """A smooth map of unit vectors, its noisy values on 400 of them, and 1,500 unlabelled ones."""
    rng = np.random.default_rng(0)
    mix = (np.eye(16) + 0.5 * rng.standard_normal((16, 16))).astype(np.float32)
    z, unlabelled = (unit(rng.standard_normal((n, 16))).astype(np.float32) for n in (400, 1500))
    noise = 0.3 * rng.standard_normal((400, 16)).astype(np.float32)
    return z, {"gist": unit(np.tanh(2 * z @ mix) + noise).astype(np.float32), "same": z}, unlabelled


def test_internalizers_beat_identity_and_keep_the_best_weights(teacher):
    z, targets, _ = teacher
    options = dict(hidden=32, lr=5e-3, batch_size=32, patience=4, epochs=60, identity_start=True)
    modules, history = train_internalizers(z, targets, **options)
    record = history["gist"]
    assert record["val_mse"] < 0.6 * record["identity_mse"] and record["val_cosine"] > record["identity_cosine"]
    best = int(np.argmin(record["val_loss"]))
    assert record["best_epoch"] == best == len(record["val_loss"]) - 5  # stopped four epochs later …
    assert record["val_mse"] == pytest.approx(record["val_loss"][best], rel=1e-5)  # … and went back
    assert record["val_loss"][-1] > record["val_loss"][best]
    with torch.no_grad():
        assert modules["gist"](torch.from_numpy(z)).norm(dim=1) == pytest.approx(np.ones(400), abs=1e-5)
    assert history["same"]["best_epoch"] == 0 or history["same"]["val_mse"] < 1e-3


def test_internalizers_repeat_from_a_seed_and_distill(teacher):
    z, targets, unlabelled = teacher
    options = dict(hidden=32, lr=5e-3, batch_size=32, patience=3, epochs=20)
    options |= dict(pretrain=unlabelled, ensemble=2, distill_epochs=40, identity_start=True)
    runs = [train_internalizers(z, {"gist": targets["gist"]}, **options) for _ in range(2)]
    first, second = (run[0]["gist"].state_dict() for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)
    record = runs[0][1]["gist"]
    assert record["val_mse"] < 0.6 * record["identity_mse"] and record["ensemble_mse"] < record["identity_mse"]


def test_kernel_ridge_interpolates_without_ridge(teacher):
    z, targets, _ = (torch.from_numpy(teacher[0]), torch.from_numpy(teacher[1]["gist"]), None)
    guess = kernel_ridge(z, targets, z, gamma=20.0, ridge=1e-4)
    assert (guess - targets).pow(2).sum(1).mean() < 0.01


def test_identity_module_starts_at_the_identity():
    z = torch.from_numpy(unit(np.random.default_rng(0).standard_normal((20, 24))).astype(np.float32))
    with torch.no_grad():
        assert (identity_module(24, 64)(z) - z).norm(dim=1).max() < 0.02
        assert identity_module(24, 8)(z).shape == (20, 24)


def test_vectors_come_from_arrays_indexes_or_an_encoder(teacher, tmp_path):
    z, targets, _ = teacher
    options = dict(hidden=8, epochs=3, seed=1)
    wanted = train_internalizers(z, targets, aspects=["gist"], **options)[0]
    assert list(wanted) == ["gist"]
    index = FlexIndex(str(tmp_path / "z"), verbose=False)
    index.index({"docno": f"d{i}", "doc_vec": v} for i, v in enumerate(z))
    texts = [f"document {i}" for i in range(len(z))]
    known = dict(zip(texts, z)) | {f"gist of {t}": v for t, v in zip(texts, targets["gist"])}

    class Encoder:
        def encode_docs(self, texts):
            return np.stack([known[text] for text in texts])

    given = [(index, targets, {"aspects": ["gist"]}), (texts, {"gist": [f"gist of {t}" for t in texts]}, {"encoder": Encoder()})]
    for vectors, goals, more in given:
        found = train_internalizers(vectors, goals, **options, **more)[0]
        assert all(torch.equal(found["gist"].state_dict()[n], w) for n, w in wanted["gist"].state_dict().items())


def test_internalizer_errors_name_what_was_expected(teacher):
    z, targets, _ = teacher
    with pytest.raises(ValueError, match=r"targets\['gist'\]: expected shape \(399, 16\).*\(400, 16\)"):
        train_internalizers(z[:399], targets)
    with pytest.raises(ValueError, match="at least one aspect"):
        train_internalizers(z, {})
    with pytest.raises(ValueError, match=r"pretrain: expected shape \(any, 16\) as z, found \(400, 15\)"):
        train_internalizers(z, targets, pretrain=z[:, :15])
    with pytest.raises(ValueError, match=r"aspects among \['gist', 'same'\], found \['qa'\]"):
        train_internalizers(z, targets, aspects=["qa"])
