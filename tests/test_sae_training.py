"""The training of dictionaries: exact sparse gradients, dead features, rows from anywhere, resuming, several processes."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from conftest import random_internalizer
from pyterrier_dr import FlexIndex
from torch.nn import functional as F

from pyterrier_xetrieval.sae import SparseAutoencoder
from pyterrier_xetrieval.training import fraction_of_variance_explained, train_sae
from pyterrier_xetrieval.training.k_sparse import TopK
from pyterrier_xetrieval.training.rows import Draws, Rows
from pyterrier_xetrieval.training.run import Run, geometric_median
from pyterrier_xetrieval.training.sae import OBJECTIVES
from pyterrier_xetrieval.training.sparse import Active, of_slots, reconstruct, reconstruct_dense

FAMILY = {"k": {"k": 3}, "sparsity": {"sparsity": 0.3}}

pytestmark = pytest.mark.usefixtures("one_thread")


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def planted():
    """2,000 vectors of dimension 24, each made of 3 of 32 directions."""
    rng = np.random.default_rng(0)
    directions = unit(rng.standard_normal((32, 24))).astype(np.float32)
    codes = np.zeros((2000, 32), np.float32)
    for row in codes:
        row[rng.choice(32, 3, replace=False)] = rng.uniform(0.5, 1.5, 3)
    return directions, codes @ directions


def small(vectors, *, variant="topk", **options):
    defaults = dict(dict_size=32, steps=300, batch_size=128, lr=5e-3, dead_after=2000, eval_every=50, seed=3, revive_every=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the odd dead feature of so short a training
        return train_sae(vectors, variant=variant, **defaults | FAMILY[OBJECTIVES[variant].needs] | options)


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_planted_dictionary_is_found_far_better_than_by_the_random_one(planted):
    directions, vectors = planted
    sae, history = small(vectors)
    random, nothing = train_sae(vectors, variant="random", dict_size=32, k=3)
    fve, l0 = fraction_of_variance_explained(sae, torch.from_numpy(vectors))
    assert fve > 0.8 and fve > fraction_of_variance_explained(random, torch.from_numpy(vectors))[0] + 0.5
    assert l0 <= 3 and nothing == [] and random.k == 3
    found = (torch.from_numpy(directions) @ sae.w_dec.detach().T).max(1).values
    assert found.median() > 0.9
    assert [entry["step"] for entry in history][-2:] == [250, 300] and history[-1]["fve"] > history[0]["fve"]


@pytest.mark.parametrize("dict_size", [40, 70_000])  # 16-bit sort keys and wider ones
@pytest.mark.parametrize("parts", [1, 3])
def test_sparse_gradients_equal_dense_autograd(dict_size, parts):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(17, 6, dtype=torch.float64, generator=generator)
    shapes = [(dict_size, 6), (dict_size,), (dict_size, 6), (6,)]
    params = [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]
    with torch.no_grad():
        if dict_size == 40:
            params[1].sub_(4)  # some of the selected slots are not active
        pre = torch.addmm(params[1], x - params[3], params[0].T)
        values, ids = pre.topk(5, dim=1)
        active = of_slots(ids.sort(dim=1).values, torch.relu(pre.gather(1, ids.sort(dim=1).values)))
    if dict_size == 40:
        assert (active.values == 0).any() and (active.values > 0).any()
    if parts > 1:
        active = Active(active.ids, active.values, active.rows, parts, active.ids * parts // dict_size)
    weight = torch.randn(17 * parts, 6, dtype=torch.float64, generator=generator)
    results = []
    for function in (reconstruct, reconstruct_dense):
        out = function(x, active, *params)
        results.append([out, *torch.autograd.grad((out.sin() * weight).sum(), params)])
    for sparse, dense in zip(*results, strict=True):
        assert torch.allclose(sparse, dense, rtol=1e-9, atol=1e-9)
    assert torch.equal(active.counts(dict_size), torch.bincount(active.ids[active.values > 0], minlength=dict_size))


def dead_start(directions, *, bias):
    """12 of 32 features that never come among the three largest."""
    init = SparseAutoencoder(24, 32, 3)
    with torch.no_grad():
        init.w_dec.copy_(torch.from_numpy(directions))
        init.w_dec[:12] = F.normalize(torch.randn(12, 24, generator=torch.Generator().manual_seed(0)), dim=1)
        init.w_enc.copy_(init.w_dec)
        init.w_enc[:12] *= 0.1
        init.b_enc[:12] = bias
    return init


@pytest.mark.parametrize(
    ("bias", "cure"),
    # below zero on all rows AuxK has no gradient
    [(0.0, {"settings": {"aux_k": 12}}), (-3.0, {"settings": {"aux_k": 0}, "revive_every": 25})],
)
def test_dead_features_come_back(planted, bias, cure):
    directions, vectors = planted
    shares = []
    for options in ({"settings": {"aux_k": 0}}, cure):
        options = {"init": dead_start(directions, bias=bias), "steps": 150, "dead_after": 1000} | options
        shares.append(small(vectors, **options)[1][-1]["dead_share"])
    assert shares[0] > 0.3 and shares[1] < shares[0] / 2


def test_auxk_is_detached_from_living_features_and_follows_its_formula(planted):
    objective = TopK(small(planted[1], steps=20)[0], k=3, aux_k=24)
    batch = torch.from_numpy(planted[1][:50])
    dead = torch.tensor([1, 5])
    residual = torch.randn(50, 24, generator=torch.Generator().manual_seed(0))
    loss = objective.auxiliary(batch, residual, dead)
    loss.backward()
    living = [j for j in range(32) if j not in (1, 5)]
    assert not objective.w_dec.grad[living].any() and not objective.w_enc.grad[living].any() and objective.w_dec.grad[dead].any()
    assert objective.b_dec.grad is None or not objective.b_dec.grad.any()
    with torch.no_grad():
        codes = torch.relu((batch - objective.b_dec) @ objective.w_enc[dead].T + objective.b_enc[dead])
        expected = (residual - codes @ objective.w_dec[dead]).pow(2).sum() / (residual - residual.mean(0)).pow(2).sum()
    assert torch.allclose(loss, expected, rtol=1e-4)


def test_geometric_median_ignores_an_outlier():
    x = torch.cat([torch.randn(99, 3, generator=torch.Generator().manual_seed(0)) * 0.1 + 1, torch.full((1, 3), 1000.0)])
    assert torch.allclose(geometric_median(x), torch.ones(3), atol=0.1)


def test_draws_cover_every_pass_follow_weights_and_go_on_from_their_state():
    rows = np.arange(100, 150)
    draws = Draws(rows, 20, seed=1)
    drawn = np.concatenate([draws.next() for _ in range(5)])
    assert sorted(drawn[:50]) == sorted(drawn[50:]) == rows.tolist() and drawn[:50].tolist() != drawn[50:].tolist()
    state, following = draws.state, [draws.next().tolist() for _ in range(3)]
    other = Draws(rows, 20, seed=1)
    other.restore(state)
    assert [other.next().tolist() for _ in range(3)] == following
    weighted = Draws(np.arange(100), 50, weights=np.repeat([3.0, 1.0, 0.0], [40, 40, 20]))
    counts = np.bincount(np.concatenate([weighted.next() for _ in range(400)]), minlength=100)
    assert counts[:40].mean() / counts[40:80].mean() == pytest.approx(3, rel=0.05) and not counts[80:].any()


@pytest.fixture(scope="module")
def index(planted, tmp_path_factory):
    index = FlexIndex(str(tmp_path_factory.mktemp("flex") / "index"), verbose=False)
    index.index({"docno": f"d{i}", "doc_vec": v} for i, v in enumerate(planted[1]))
    return index


def test_rows_come_from_arrays_files_and_indexes_alike(planted, index, tmp_path):
    vectors = planted[1]
    np.save(tmp_path / "v.npy", vectors)
    parts = [vectors[:700], np.load(tmp_path / "v.npy", mmap_mode="r")[700:]]
    internalizers = [random_internalizer(24, seed) for seed in (0, 1)]
    asked = np.array([5999, 3, 4001, 700, 699, 3])
    with torch.no_grad():
        views = torch.cat([torch.from_numpy(vectors), *(module(torch.from_numpy(vectors)) for module in internalizers)])
    for source in (vectors, parts, index):
        rows = Rows(source, internalizers)
        assert len(rows) == 6000 and torch.allclose(rows.take(asked), views[asked], atol=1e-6)
    assert not isinstance(rows.sources[0], np.ndarray) or isinstance(rows.sources[0], np.memmap)
    trained = [small(source, steps=20, internalizers=internalizers)[0] for source in (vectors, index)]
    assert same(*trained)
    assert not same(trained[0], small(vectors, steps=20)[0])  # the raw one


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_file_larger_than_what_is_read_of_it_stays_on_disk(tmp_path):
    """200 MB of vectors, of which a short training touches a part: the process must not grow by the file."""
    script = """
import sys
import numpy as np
from pyterrier_xetrieval.training import train_sae
x = np.lib.format.open_memmap(sys.argv[1], mode="w+", dtype=np.float32, shape=(100_000, 512))
rng = np.random.default_rng(0)
for begin in range(0, len(x), 10_000):
    x[begin : begin + 10_000] = rng.standard_normal((10_000, 512), dtype=np.float32)
x.flush(); del x
def own():  # pages of the file do not count: the system takes them back when it needs to
    return sum(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("Anonymous")) / 1024
x = np.load(sys.argv[1], mmap_mode="r")
before = own()
train_sae(x, dict_size=64, k=4, steps=20, batch_size=256, eval_every=20)
print(own() - before)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script, tmp_path / "x.npy"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 100


class Killed(Exception):
    pass


@pytest.mark.parametrize("variant", OBJECTIVES)
def test_a_killed_training_goes_on_to_the_same_weights(planted, variant, tmp_path, monkeypatch):
    options = dict(variant=variant, steps=60, eval_every=20, dead_after=300, revive_every=10, weights=np.linspace(0.2, 2, 2000))
    whole, history = small(planted[1], **options)
    step = Run._advance

    def dies(run):
        if run.step == 50:
            raise Killed
        step(run)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_advance", dies)
        with pytest.raises(Killed):
            small(planted[1], checkpoint=tmp_path / "run" / "sae.pt", **options)
    begun = []

    def noted(run):
        begun.append(run.step)
        step(run)

    monkeypatch.setattr(Run, "_advance", noted)
    resumed, second = small(planted[1], checkpoint=tmp_path / "run" / "sae.pt", **options)
    assert begun[0] == 41 and same(whole, resumed)
    assert [{**e, "seconds": 0} for e in history] == [{**e, "seconds": 0} for e in second]
    again, _ = small(planted[1], checkpoint=tmp_path / "run" / "sae.pt", **options)
    assert len(begun) == 20 and same(again, whole)  # nothing left to do
    with pytest.raises(ValueError, match=r"another training, with .*steps 60 instead of 80"):
        small(planted[1], checkpoint=tmp_path / "run" / "sae.pt", **options | {"steps": 80})
    with pytest.raises(ValueError, match=r"another training, with .*vectors"):
        small(2 * planted[1], checkpoint=tmp_path / "run" / "sae.pt", **options)
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


def test_two_processes_follow_the_loss_curve_of_one(planted, tmp_path):
    np.save(tmp_path / "x.npy", planted[1])
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


def test_errors_name_what_was_expected(planted):
    with pytest.raises(ValueError, match=r"train_sae: expected vectors of shape \[n, m\].*\(5,\)"):
        small(np.zeros(5))
    with pytest.raises(ValueError, match="train_sae: expected internalizers of the vectors' dimension 24, found \\[7\\]"):
        small(planted[1], internalizers=[random_internalizer(7, 0)])
    with pytest.raises(ValueError, match="directions of shape"):
        small(planted[1], init=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="2000 or 4000 weights >= 0.*\\(5,\\)"):
        small(planted[1], weights=np.ones(5), internalizers=[random_internalizer(24, 0)])
    with pytest.raises(ValueError, match=r"validation of shape \[v, 24\], found \(3, 5\)"):
        small(planted[1], validation=np.zeros((3, 5)))
    broken = planted[1].copy()
    broken[1500] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity in row 1500"):
        small(broken)
    with pytest.raises(ValueError, match="held-out vectors that differ, found 40 equal ones"):
        small(np.ones((2000, 24), np.float32))
    with pytest.raises(ValueError, match="steps to be a positive whole number, found 0"):
        small(planted[1], steps=0)
    with pytest.raises(ValueError, match="settings of TopK: .*unexpected keyword argument 'aux'"):
        small(planted[1], settings={"aux": 1})
    with pytest.raises(ValueError, match="loss is not finite at step .*lower lr"):
        small(planted[1], lr=1e30)


def test_a_checkpoint_is_of_one_training_alone(planted, tmp_path):
    options = dict(steps=20, eval_every=10, checkpoint=tmp_path / "sae.pt", internalizers=[random_internalizer(24, 0)])
    first, _ = small(planted[1], k=np.int64(3), lr=np.float64(5e-3), **options)
    assert same(first, small(planted[1], **options)[0])
    for other, named in (
        ({"validation": planted[1][:50]}, "validation"),
        ({"internalizers": [random_internalizer(24, 1)]}, "vectors"),
        ({"init": SparseAutoencoder(24, 32, 3)}, "init"),
    ):
        with pytest.raises(ValueError, match=f"another training, with .*{named}"):
            small(planted[1], **options | other)
    (tmp_path / "sae.pt").write_bytes(b"something else")
    with pytest.raises(ValueError, match="sae.pt to be a checkpoint of its own"):
        small(planted[1], **options)


def test_a_start_from_an_autoencoder_of_any_scale_is_that_autoencoder(planted):
    init, _ = small(planted[1], steps=100)
    scaled = SparseAutoencoder(24, 32, 3)
    with torch.no_grad():
        for name, factor in (("w_enc", 1 / 5), ("b_enc", 1 / 5), ("w_dec", 5), ("b_dec", 1)):
            getattr(scaled, name).copy_(factor * getattr(init, name))
    found = [small(planted[1], init=start, steps=1, lr=1e-12)[1][-1]["fve"] for start in (init, scaled)]
    assert found[0] == pytest.approx(found[1], abs=1e-4) and found[0] > 0.5
