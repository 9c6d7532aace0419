"""Jobs on a real local Ray cluster of two workers against the same jobs in one process, byte for byte."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ir_datasets
import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
import ray
from pyterrier_dr import FlexIndex

from pyterrier_xetrieval import MiniLM, Xetrieval, XetrievalIndex
from pyterrier_xetrieval.distributed import OnWorker, index_corpus
from pyterrier_xetrieval.distributed.cluster import PartJob, Workers, wait_for_folder
from pyterrier_xetrieval.distributed.corpus_parts import Part
from pyterrier_xetrieval.distributed.shared_folder import token_of
from tests.helpers.builders import make_model, random_sae
from tests.helpers.cluster import DIM, SHARD, Hashes, files, texts, vectors
from tests.helpers.extras import import_without, loaded_with

pytestmark = pytest.mark.usefixtures("one_thread", "cluster")


def batches(log) -> list[list[str]]:
    return [line.split() for line in Path(log).read_text().splitlines()]


def test_vectors_become_the_index_of_one_process(model, tmp_path):
    corpus = vectors(2930)
    expected = model.indexer(tmp_path / "one", shard_size=SHARD, batch_size=64).index(corpus)
    found = index_corpus(model.indexer(tmp_path / "many", shard_size=SHARD, batch_size=64), corpus, part_size=930)
    assert isinstance(found, XetrievalIndex) and len(found) == 2930 and files(expected.path) == files(found.path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["many", "one"]  # nothing is left of the parts
    with pytest.raises(FileExistsError, match="expects nothing at"):
        index_corpus(model.indexer(tmp_path / "many"), corpus)


def test_a_killed_worker(model, tmp_path):
    corpus, log = texts(2000), tmp_path / "log"
    expected = model.indexer(tmp_path / "one", encoder=Hashes(), shard_size=SHARD).index(corpus)
    # document 750 is in the part 500 … 999, behind two finished shards
    indexer = model.indexer(tmp_path / "many", encoder=Hashes(log, "t750"), shard_size=SHARD)
    found = index_corpus(indexer, corpus, part_size=500, workers=2)
    assert files(expected.path) == files(found.path) and Path(f"{log}.dead").exists()
    counts = pd.DataFrame(batches(log), columns=["pid", "docno", "n"])
    again = counts[counts.docno.duplicated(keep=False)]
    assert set(again.docno) == {"t700"} and again.pid.nunique() == 2  # only the shard at hand is encoded again
    assert len(counts) == 21


def test_a_pipeline_whose_encoder_comes_first(model, tmp_path):
    corpus, log = texts(730), tmp_path / "log"
    expected = (Hashes() >> model.indexer(tmp_path / "one", shard_size=70)).index(corpus)
    pipeline = Hashes(log) >> model.indexer(tmp_path / "many", shard_size=70)
    found = index_corpus(pipeline, corpus, part_size=1)  # whole batches of 100 and whole shards of 70: 700
    assert files(expected.path) == files(found.path)
    assert sorted(docno for _, docno, _ in batches(log)) == [f"t{i}" for i in range(0, 800, 100)]


def test_every_kind_of_corpus(model, tmp_path):
    corpus = texts(250)
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(d) + "\n" for d in corpus))
    (tmp_path / "corpus.tsv").write_text("".join(f"{d['docno']}\t{d['text']}\n" for d in corpus))
    irds = ir_datasets.create_dataset(docs_tsv=str(tmp_path / "corpus.tsv"))
    ir_datasets.registry.register("xetrieval-distributed", irds)
    (tmp_path / "parquet").mkdir()
    for name, rows in {"a": slice(0, 120), "b": slice(120, 250)}.items():
        pd.DataFrame(corpus[rows]).to_parquet(tmp_path / "parquet" / f"{name}.parquet", row_group_size=50)
    kinds = {
        "parquet": tmp_path / "parquet", "jsonl": tmp_path / "corpus.jsonl", "irds": irds, "docs": irds.docs_iter(),
        "pyterrier": pt.get_dataset("irds:xetrieval-distributed"), "frame": pd.DataFrame(corpus),
    }  # fmt: skip
    expected = files(model.indexer(tmp_path / "one", encoder=Hashes(), shard_size=SHARD).index(corpus).path)
    for kind, given in kinds.items():
        indexer = model.indexer(tmp_path / f"from {kind}", encoder=Hashes(), shard_size=SHARD)
        assert files(index_corpus(indexer, given, part_size=SHARD).path) == expected, kind


def test_small_corpora(model, tmp_path):
    expected = model.indexer(tmp_path / "one", shard_size=SHARD).index(vectors(1))
    assert files(index_corpus(model.indexer(tmp_path / "many", shard_size=SHARD), vectors(1)).path) == files(expected.path)
    pd.DataFrame({"docno": pd.Series([], dtype="str"), "text": pd.Series([], dtype="str")}).to_parquet(tmp_path / "no.parquet")
    for empty in ([], tmp_path / "no.parquet"):
        with pytest.raises(ValueError, match="expects documents, found none"):
            index_corpus(model.indexer(tmp_path / "none"), empty)
    with pytest.raises(FileNotFoundError):
        index_corpus(model.indexer(tmp_path / "none"), tmp_path / "nothing.jsonl")


DOOMED = """
import ray, sys, time
from tests.helpers.cluster import Hashes
from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.distributed import index_corpus
address, here, folder = sys.argv[1:]
class Stuck(Hashes):
    def transform(self, inp):
        time.sleep(600 if "t700" in set(inp.docno) else 0)
        return super().transform(inp)
ray.init(address, log_to_driver=False, logging_level="error", runtime_env={"env_vars": {"PYTHONPATH": here}})
indexer = Xetrieval(folder + "/model").indexer(folder + "/many", encoder=Stuck(folder + "/log"), shard_size=100)
index_corpus(indexer, folder + "/corpus.jsonl", part_size=300, workers=1)
"""


def test_a_killed_driver(tmp_path):
    """Started again, it goes on behind the finished parts and shards."""
    model, log = make_model(random_sae()).save(tmp_path / "model"), tmp_path / "log"
    corpus = texts(1500)
    expected = model.indexer(tmp_path / "one", encoder=Hashes(), shard_size=SHARD).index(corpus)
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(d) + "\n" for d in corpus))
    indexer = model.indexer(tmp_path / "many", encoder=Hashes(log), shard_size=SHARD)
    here, done, end = Path(__file__).parents[2], tmp_path / "many.parts" / "done", time.monotonic() + 480
    arguments = [ray.get_runtime_context().gcs_address, str(here), str(tmp_path)]
    driver = subprocess.Popen([sys.executable, "-c", DOOMED, *arguments], cwd=here)
    try:  # until the first shard of the third part is there, behind the line with the settings
        shards = done / "000002" / "shards.jsonl"
        while not (shards.exists() and shards.read_bytes().count(b"\n") == 2) and driver.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.02)
        with pytest.raises(RuntimeError, match="another run"):
            index_corpus(indexer, corpus, part_size=300)
    finally:
        driver.kill()
    assert driver.wait() == -signal.SIGKILL
    with pytest.raises(FileNotFoundError, match="nothing"):
        XetrievalIndex(tmp_path / "many")
    assert [(done / name / "pt_meta.json").exists() for name in ("000000", "000001", "000002")] == [True, True, False]
    with pytest.raises(ValueError, match="other documents among 0 … 299"):
        index_corpus(indexer, [{"docno": "else", "text": "x"}] + corpus[1:], part_size=300)
    with pytest.raises(ValueError, match="begun with shard_size=100, not 50"):
        index_corpus(model.indexer(tmp_path / "many", encoder=Hashes(log), shard_size=50), corpus, part_size=300)
    found = index_corpus(indexer, corpus, part_size=300, workers=1)
    assert files(expected.path) == files(found.path)
    assert [docno for _, docno, _ in batches(log)] == [f"t{i}" for i in range(0, 1500, SHARD)]  # nothing was encoded twice


def test_minilm(tmp_path):
    model = Xetrieval.default().with_views(["qa"])
    corpus = texts(45)
    expected = model.indexer(tmp_path / "one", encoder=MiniLM(), shard_size=20).index(corpus)
    made = model.indexer(tmp_path / "many", encoder=OnWorker(MiniLM), shard_size=20)
    assert files(expected.path) == files(index_corpus(made, corpus, part_size=20, workers=1).path)


def test_vectors_alone(tmp_path):
    corpus = texts(501)
    (Hashes() >> FlexIndex(str(tmp_path / "one"), verbose=False)).index(corpus)
    many = OnWorker(Hashes, batch_size=100) >> FlexIndex(str(tmp_path / "many"), verbose=False)
    found = index_corpus(many, corpus, part_size=100, workers=2)
    assert files(tmp_path / "one") == files(tmp_path / "many")  # the last part is a single document
    np.testing.assert_array_equal(found.np_vecs(), FlexIndex(str(tmp_path / "one"), verbose=False).np_vecs())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["many", "one"]


def test_errors_are_the_users_own(model, tmp_path):
    corpus = vectors(300)
    corpus[250]["doc_vec"] = np.full(DIM, np.nan, np.float32)
    with pytest.raises(ValueError, match="d250"):
        index_corpus(model.indexer(tmp_path / "i", shard_size=SHARD), corpus, part_size=100)
    with pytest.raises(ValueError, match="found 'd1' again"):  # in two parts
        index_corpus(model.indexer(tmp_path / "j", shard_size=SHARD), vectors(100) + vectors(100)[1:2], part_size=100)
    assert not (tmp_path / "j.parts" / "done").exists()  # before any work
    with pytest.raises(ValueError, match="ends in model.indexer"):
        index_corpus(Hashes(), corpus)
    with pytest.raises(ValueError, match="cannot send .* OnWorker"):
        index_corpus(model.indexer(tmp_path / "k", encoder=Unpicklable()), corpus)
    for options, told in (({"workers": 0}, "workers to be a positive"), ({"num_cpus": 0}, "num_cpus or num_gpus above 0")):
        with pytest.raises(ValueError, match=told):
            index_corpus(model.indexer(tmp_path / "l"), corpus, **options)
    assert not (tmp_path / "l.parts").exists()


class Unpicklable(Hashes):
    def __reduce__(self):
        raise TypeError("a socket")


class Deadly(PartJob):
    def __init__(self, folder):
        self.folder = folder

    def file(self, part):
        return self.folder / f"{part.name}.done"

    def run(self, part):
        with open(self.folder / part.name, "a") as file:
            file.write("x")
        if part.number:
            os.kill(os.getpid(), signal.SIGKILL)
        self.file(part).touch()
        return "an answer"


def test_a_part_that_kills_every_worker(tmp_path, monkeypatch):
    monkeypatch.setattr("pyterrier_xetrieval.distributed.cluster.RETRIES", 1)  # each costs an import
    workers, parts = Workers(1, 1, 0, "job"), [Part(0, 0, 5), Part(1, 5, 7)]
    with pytest.raises(RuntimeError, match="2 workers died on part 1 .* finished parts are kept"):
        workers.do(Deadly(tmp_path), parts, tmp_path)
    assert (tmp_path / "000000").read_text() == "x" and (tmp_path / "000001").read_text() == "xx"
    assert workers.do(Deadly(tmp_path), parts[:1], tmp_path) == []  # it is done


class WhoWorks(PartJob):
    def __init__(self, folder):
        self.folder = folder

    def file(self, part):
        return self.folder / part.name

    def start(self):
        self.started = time.monotonic()

    def run(self, part):
        self.file(part).touch()
        return os.getpid(), self.started


def test_a_worker_with_a_gpu_keeps_what_it_has_loaded(tmp_path):
    parts = [Part(i, i, i + 1) for i in range(3)]
    answers = Workers(1, 1, 1, "job").do(WhoWorks(tmp_path), parts, tmp_path)
    assert len(answers) == 3 and len(set(answers)) == 1


def test_a_folder_that_workers_do_not_see(tmp_path):
    """As on another machine, where the path is there and the folder another one."""
    token_of(tmp_path)
    with pytest.raises(FileNotFoundError, match="file system that all machines share; the worker on"):
        wait_for_folder(tmp_path, "of the folder that the driver has", stage="job", patience=0)


def test_without_the_extra(monkeypatch):
    with pytest.raises(ImportError, match=r"distributed needs Ray.*: pip install 'pyterrier-xetrieval\[ray\]'"):
        import_without("ray", "distributed", monkeypatch)


def test_ray_is_imported_only_where_it_is_used():
    loaded = loaded_with("distributed")
    assert "pyterrier_xetrieval.distributed.indexing" in loaded and not loaded & {"ray", "pyterrier_dr"}
