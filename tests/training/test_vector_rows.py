"""Rows to train on: from anywhere, larger than memory, in an order that can be gone on with."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from pyterrier_dr import FlexIndex

from pyterrier_xetrieval.training.vector_rows import BatchSampler, VectorRows
from tests.helpers.builders import random_internalizer
from tests.helpers.training import same, small

pytestmark = pytest.mark.usefixtures("one_thread")


def test_draws_cover_every_pass_follow_weights_and_go_on_from_their_state():
    rows = np.arange(100, 150)
    draws = BatchSampler(rows, 20, seed=1)
    drawn = np.concatenate([draws.next() for _ in range(5)])
    assert sorted(drawn[:50]) == sorted(drawn[50:]) == rows.tolist() and drawn[:50].tolist() != drawn[50:].tolist()
    state, following = draws.state, [draws.next().tolist() for _ in range(3)]
    other = BatchSampler(rows, 20, seed=1)
    other.restore(state)
    assert [other.next().tolist() for _ in range(3)] == following
    weighted = BatchSampler(np.arange(100), 50, weights=np.repeat([3.0, 1.0, 0.0], [40, 40, 20]))
    counts = np.bincount(np.concatenate([weighted.next() for _ in range(400)]), minlength=100)
    assert counts[:40].mean() / counts[40:80].mean() == pytest.approx(3, rel=0.05) and not counts[80:].any()


@pytest.fixture(scope="module")
def index(sums_of_three, tmp_path_factory):
    index = FlexIndex(str(tmp_path_factory.mktemp("flex") / "index"), verbose=False)
    index.index({"docno": f"d{i}", "doc_vec": v} for i, v in enumerate(sums_of_three[1]))
    return index


def test_rows_come_from_arrays_files_and_indexes_alike(sums_of_three, index, tmp_path):
    vectors = sums_of_three[1]
    np.save(tmp_path / "v.npy", vectors)
    parts = [vectors[:700], np.load(tmp_path / "v.npy", mmap_mode="r")[700:]]
    internalizers = [random_internalizer(24, seed) for seed in (0, 1)]
    asked = np.array([5999, 3, 4001, 700, 699, 3])
    with torch.no_grad():
        views = torch.cat([torch.from_numpy(vectors), *(module(torch.from_numpy(vectors)) for module in internalizers)])
    for source in (vectors, parts, index):
        rows = VectorRows(source, internalizers)
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
    assert float(done.stdout) < 140  # of 200; what torch takes for itself differs by some ten from run to run


def test_equal_vectors_are_known_by_the_first_of_them(sums_of_three):
    vectors = sums_of_three[1][:50]
    copies = VectorRows([vectors.astype(np.float64), vectors[7::-1], -0.0 * vectors[:2], 0 * vectors[:1]])
    assert copies.first_equal().tolist() == [*range(50), *range(7, -1, -1), 58, 58, 58]
