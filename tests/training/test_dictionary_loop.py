"""A training as a process: killed and gone on with, shared by several, and its checkpoint."""

import json
import subprocess
import sys

import numpy as np
import pytest

from pyterrier_xetrieval.core.sae import SparseAutoencoder
from pyterrier_xetrieval.training.dictionary import OBJECTIVES
from pyterrier_xetrieval.training.dictionary_loop import TrainingLoop
from tests.helpers.builders import random_internalizer
from tests.helpers.training import FAMILY, same, small

pytestmark = pytest.mark.usefixtures("one_thread")


class Killed(Exception):
    pass


@pytest.mark.parametrize("variant", OBJECTIVES)
def test_a_killed_training_goes_on_to_the_same_weights(sums_of_three, variant, tmp_path, monkeypatch):
    options = dict(variant=variant, steps=60, eval_every=20, dead_after=300, revive_every=10, weights=np.linspace(0.2, 2, 2000))
    whole, history = small(sums_of_three[1], **options)
    step = TrainingLoop._advance

    def dies(loop):
        if loop.step == 50:
            raise Killed
        step(loop)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingLoop, "_advance", dies)
        with pytest.raises(Killed):
            small(sums_of_three[1], checkpoint=tmp_path / "run" / "sae.pt", **options)
    begun = []

    def noted(loop):
        begun.append(loop.step)
        step(loop)

    monkeypatch.setattr(TrainingLoop, "_advance", noted)
    resumed, second = small(sums_of_three[1], checkpoint=tmp_path / "run" / "sae.pt", **options)
    assert begun[0] == 41 and same(whole, resumed)
    assert [{**e, "seconds": 0} for e in history] == [{**e, "seconds": 0} for e in second]
    again, _ = small(sums_of_three[1], checkpoint=tmp_path / "run" / "sae.pt", **options)
    assert len(begun) == 20 and same(again, whole)  # nothing left to do
    with pytest.raises(ValueError, match=r"another training, with .*steps 60 instead of 80"):
        small(sums_of_three[1], checkpoint=tmp_path / "run" / "sae.pt", **options | {"steps": 80})
    with pytest.raises(ValueError, match=r"another training, with .*vectors"):
        small(2 * sums_of_three[1], checkpoint=tmp_path / "run" / "sae.pt", **options)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["sae.pt"]


WORKER = """
import json, os, sys, warnings
import numpy as np, torch
from pyterrier_xetrieval.training import train_sae
warnings.simplefilter("ignore")
torch.set_num_threads(1)
for variant, options in json.loads(sys.argv[1]).items():
    sae, history = train_sae(np.load(sys.argv[2]), variant=variant, checkpoint=f"{sys.argv[3]}.{variant}.pt", **options)
    if os.environ.get("RANK", "0") == "0":
        curve = {name: [entry[name] for entry in history] for name in ("loss", "fve")}
        np.savez(f"{sys.argv[3]}.{variant}", w_dec=sae.w_dec.detach(), **curve)
"""


def test_two_processes_follow_the_loss_curve_of_one(sums_of_three, tmp_path):
    np.save(tmp_path / "x.npy", sums_of_three[1])
    (tmp_path / "worker.py").write_text(WORKER)
    common = {
        "dict_size": 32,
        "steps": 60,
        "batch_size": 128,
        "lr": 5e-3,
        "dead_after": 1000,
        "eval_every": 10,
        "revive_every": 10,
    }
    variants = {name: common | FAMILY[OBJECTIVES[name].needs] for name in ("topk", "batch_topk", "gated_anneal")}
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, launcher in (("one", []), ("two", torchrun)):
        arguments = [tmp_path / "worker.py", json.dumps(variants), tmp_path / "x.npy", tmp_path / name]
        done = subprocess.run([sys.executable, *launcher, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
    for variant in variants:
        one, two = (np.load(tmp_path / f"{name}.{variant}.npz") for name in ("one", "two"))
        assert two["loss"] == pytest.approx(one["loss"], rel=0.02), variant
        assert two["fve"] == pytest.approx(one["fve"], abs=0.02), variant
        assert one["loss"][-1] < 0.7 * one["loss"][0] and (one["w_dec"] * two["w_dec"]).sum(1).mean() > 0.95, variant


def test_a_checkpoint_is_of_one_training_alone(sums_of_three, tmp_path):
    options = dict(steps=20, eval_every=10, checkpoint=tmp_path / "sae.pt", internalizers=[random_internalizer(24, 0)])
    first, _ = small(sums_of_three[1], k=np.int64(3), lr=np.float64(5e-3), **options)
    assert same(first, small(sums_of_three[1], **options)[0])
    others = sums_of_three[1].copy()  # the rows looked at one by one are the same
    others[np.setdiff1d(np.arange(len(others)), np.linspace(0, len(others) - 1, 256).astype(int))] *= 2
    with pytest.raises(ValueError, match="another training, with .*scale"):
        small(others, **options)
    for other, named in (
        ({"validation": sums_of_three[1][:50]}, "validation"),
        ({"internalizers": [random_internalizer(24, 1)]}, "vectors"),
        ({"init": SparseAutoencoder(24, 32, 3)}, "init"),
    ):
        with pytest.raises(ValueError, match=f"another training, with .*{named}"):
            small(sums_of_three[1], **options | other)
    (tmp_path / "sae.pt").write_bytes(b"something else")
    with pytest.raises(ValueError, match="sae.pt to be a checkpoint of its own"):
        small(sums_of_three[1], **options)
