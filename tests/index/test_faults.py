"""What goes wrong while indexing or on disk: never a half index, nothing lost, and an error that says what to do."""

import os
import resource
import signal

import numpy as np
import pyterrier as pt
import pytest

from pyterrier_xetrieval import XetrievalIndex
from pyterrier_xetrieval.index import merge
from tests.helpers.builders import make_model, random_sae
from tests.helpers.children import OPTIONS, in_child
from tests.helpers.index import assert_same, content, corpus, topics


def killed_at(step: int):
    """The process kills itself at its step-th flush to the disk or rename."""
    count = 0

    def watched(call):
        def wrapper(*args):
            nonlocal count
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args)

        return wrapper

    os.fsync, os.replace = watched(os.fsync), watched(os.replace)


def test_killed_at_any_step_it_goes_on_to_the_same_bytes(model, whole, tmp_path):
    def run(step):
        killed_at(step)
        model.indexer(tmp_path / str(step), **OPTIONS).index(corpus())

    for step in (*range(1, 40, 6), *range(40, 100)):  # some of the many flushes, then the steps that finish it
        code = in_child(lambda step=step: run(step))
        if code == 0:
            break
        assert code == -signal.SIGKILL
        with pytest.raises(FileNotFoundError, match="no finished XetrievalIndex"):
            XetrievalIndex(tmp_path / str(step))
        index = model.indexer(tmp_path / str(step), **OPTIONS).index(corpus())
        assert content(index.path) == content(whole.path) and not list(index.path.rglob(".*"))
    assert step > 42  # three shards, lookups, metadata


def test_killed_while_adding_it_stays_what_it_was(model, tmp_path):
    part = model.indexer(tmp_path / "once", **OPTIONS).index(corpus()[:20]).indexer(batch_size=4).index(corpus()[20:])
    expected = content(part.path)

    def run(path, step):
        killed_at(step)
        XetrievalIndex(path).indexer(batch_size=4).index(corpus()[20:])

    for step in (1, 13, 14, 26, *range(27, 40)):
        path = tmp_path / str(step)
        model.indexer(path, **OPTIONS).index(corpus()[:20])
        code = in_child(lambda path=path, step=step: run(path, step))
        index = XetrievalIndex(path)
        if code == 0:
            assert len(index) == 40
            break
        assert code == -signal.SIGKILL and len(index) == 20
        index.layout.verify()
        found = (index.retriever(num_results=30) >> index.vec_loader() >> index.explainer())(topics(2))
        assert len(found) == 40
        with pytest.raises(ValueError, match="'d30'"):
            index.explainer()(found.assign(docno="d30"))
        assert content(index.indexer(batch_size=4).index(corpus()[20:]).path) == expected and not list(path.rglob(".*"))
    assert step > 28


def test_a_full_disk_keeps_the_finished_shards(model, whole, tmp_path):
    path = tmp_path / "index"

    def limited(megabytes):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (megabytes, megabytes))
        model.indexer(path, **OPTIONS).index(corpus())

    most = (whole.path / "vectors" / "vecs.f4").stat().st_size
    model_bytes = max(f.stat().st_size for f in (whole.path / "model").iterdir())
    assert most < 3 * model_bytes
    assert in_child(lambda: limited(model_bytes // 2)) == 1  # not even the model fits
    assert not (path / "pt_meta.json").exists()
    many = [{**d, "docno": f"n{i}"} for i, d in enumerate(corpus() * 8)]

    def crowded():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        model.indexer(path, **OPTIONS).index(many)

    assert in_child(crowded) == 1
    done = len((path / "shards.jsonl").read_bytes().splitlines()) - 1
    assert 3 < done < 21  # finished shards are there, the others are not
    assert not (path / "pt_meta.json").exists()
    index = model.indexer(path, **OPTIONS).index(many)
    index.verify()
    assert len(index) == 320 and len((path / "shards.jsonl").read_bytes().splitlines()) - 1 == 22


def test_another_corpus_or_other_settings_do_not_resume(model, tmp_path):
    path = tmp_path / "index"

    def cut_off(documents):
        yield from documents
        raise RuntimeError("cut off")

    with pytest.raises(RuntimeError):
        model.indexer(path, **OPTIONS).index(cut_off(corpus()[:20]))
    with pytest.raises(ValueError, match=r"document 0 of the corpus to be 'd0', found 'x0'"):
        model.indexer(path, **OPTIONS).index(corpus(prefix="x"))
    with pytest.raises(ValueError, match=r"document 7 of the corpus to be 'd7', found none"):
        model.indexer(path, **OPTIONS).index(corpus()[:7])
    with pytest.raises(ValueError, match="shard_size"):
        model.indexer(path, shard_size=16).index(corpus())
    with pytest.raises(ValueError, match="model_sha256"):
        make_model(random_sae(seed=5)).indexer(path, **OPTIONS).index(corpus())
    assert len(model.indexer(path, **OPTIONS).index(corpus())) == 40
    with pytest.raises(FileExistsError, match="finished index of 40 documents"):
        model.indexer(path, **OPTIONS).index(corpus())
    other = tmp_path / "other"
    with pytest.raises(RuntimeError):
        model.indexer(other, **OPTIONS).index(cut_off(corpus()[:20]))
    assert len(make_model(random_sae(seed=5)).indexer(other, resume=False, shard_size=8).index(corpus(5, prefix="x"))) == 5


class Encodes(pt.Transformer):
    """Vectors by docno, and which documents they were asked for."""

    def __init__(self, seed=0):
        self.seed, self.asked = seed, []

    def transform(self, inp):
        self.asked += inp["docno"].tolist()
        vectors = {d["docno"]: np.roll(d["doc_vec"], self.seed) for d in corpus()}
        return inp.assign(doc_vec=inp["docno"].map(vectors))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_vectors_of_another_encoder_do_not_resume(model, tmp_path, dtype):
    def cut_off():
        yield from corpus()[:20]
        raise InterruptedError

    def indexer(encoder=None):
        return model.indexer(tmp_path / "index", encoder=encoder, dtype=dtype, **OPTIONS)

    with pytest.raises(InterruptedError):
        indexer().index(cut_off())
    told = "resumes .* expects document 'd0' to have the vector stored there"
    with pytest.raises(ValueError, match=told):
        indexer().index({**d, "doc_vec": np.roll(d["doc_vec"], 1)} for d in corpus())
    with pytest.raises(ValueError, match=told):
        indexer(Encodes(seed=1)).index(corpus())
    same = Encodes()
    indexer(same).index(corpus()).verify()
    assert same.asked == ["d0", *(f"d{i}" for i in range(15, 40))]  # one of the finished shard, and the others


def test_an_addition_that_was_cut_off_can_be_dropped(model, tmp_path):
    index = model.indexer(tmp_path / "i", **OPTIONS).index(corpus()[:10])

    def cut_off():
        yield from corpus()[10:30]
        raise RuntimeError("cut off")

    with pytest.raises(RuntimeError):
        index.indexer().index(cut_off())
    with pytest.raises(ValueError, match="to be 'd10', found 'd30'"):
        index.indexer().index(corpus()[30:])
    index = index.indexer(resume=False).index(corpus()[30:])
    index.verify()
    assert index.docids(["d9", "d30"]).tolist() == [9, 10] and len(index) == 20


def test_what_a_killed_run_left_blocks_nobody(model, whole, tmp_path):
    """It was killed before it wrote anything, or as it copied the model or finished."""
    for name in (
        ".shards.jsonl.lock",
        ".model.1.unfinished/sae",
        ".pt_meta.json.1.unfinished",
        "vectors/.docnos.npids.1.unfinished",
    ):
        left = tmp_path / name.split("/")[0] / "index" / name
        left.parent.mkdir(parents=True)
        left.touch()
        if name.startswith("vectors"):
            (left.parents[1] / "shards.jsonl").touch()
        index = model.indexer(tmp_path / name.split("/")[0] / "index", **OPTIONS).index(corpus())
        assert content(index.path) == content(whole.path) and not list(index.path.rglob(".*"))


def test_two_writers(model, tmp_path):
    def second():
        yield corpus()[0]
        with pytest.raises(FileExistsError, match="another XetrievalIndexer is writing"):
            model.indexer(tmp_path / "i", **OPTIONS).index(corpus())
        yield corpus()[1]

    assert len(model.indexer(tmp_path / "i", **OPTIONS).index(second())) == 2


@pytest.mark.parametrize("documents, message", [
    ([], "found none"),
    (corpus(3) + corpus(1), "each docno once, found 'd0' again"),
    ([{"docno": "a", "text": "t"}], "doc_vec, found none in document 'a'"),
    ([{"docno": None, "doc_vec": corpus(1)[0]["doc_vec"]}], "docno to be a string"),
    ([{"docno": "", "doc_vec": corpus(1)[0]["doc_vec"]}], "docno to be a string"),
    ([{"docno": "a", "doc_vec": np.zeros(4, np.float32)}], "16-dimensional"),
    ([{"docno": "a", "doc_vec": np.full(16, np.nan, np.float32)}], "NaN or infinity in doc_vec of document 'a'"),
])  # fmt: skip
def test_documents_that_cannot_be_indexed(model, tmp_path, documents, message):
    with pytest.raises(ValueError, match=message):
        model.indexer(tmp_path / "i", **OPTIONS).index(documents)
    with pytest.raises(FileNotFoundError):
        XetrievalIndex(tmp_path / "i")
    assert len(model.indexer(tmp_path / "i", **OPTIONS).index(corpus(3))) == 3


def test_a_docno_of_an_earlier_shard_again(model, tmp_path):
    with pytest.raises(ValueError, match="'d2' again"):
        model.indexer(tmp_path / "i", **OPTIONS).index(corpus(20) + corpus(3)[2:])


def test_places_that_cannot_be_written(model, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="found a file"):
        model.indexer(tmp_path / "file").index(corpus(2))
    with pytest.raises(NotADirectoryError):
        model.indexer(tmp_path / "file" / "index").index(corpus(2))
    with pytest.raises(FileExistsError, match="found other files"):
        model.indexer(tmp_path).index(corpus(2))
    assert (tmp_path / "file").read_text() == "mine" and os.listdir(tmp_path) == ["file"]
    with pytest.raises(FileNotFoundError, match="found nothing"):
        XetrievalIndex(tmp_path / "nowhere")
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="dense_explainer.xetrieval artifact"):
        XetrievalIndex(tmp_path / "model")


def test_reading_writes_nothing(whole):
    before = {f: f.stat().st_mtime_ns for f in whole.path.rglob("*")}
    index = XetrievalIndex(whole.path)
    (index.retriever() >> index.vec_loader() >> index.explainer())(topics())
    index.feature_retriever()(topics())
    index.verify()
    assert {f: f.stat().st_mtime_ns for f in whole.path.rglob("*")} == before


DATA = ("vectors/vecs.f4", "folded/vecs.f4", "docnos.u1", "documents.bin", "ids.u1", "views.u1", "coefficients.f2",
        "activations.u1", "postings_gaps.u1", "postings_activations.u1", "features.bin")  # fmt: skip


@pytest.mark.parametrize("name", DATA)
def test_damaged_data(whole, tmp_path, name):
    index = merge([whole], tmp_path / "copy")
    data = (index.path / name).read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 16
    (index.path / name).write_bytes(flipped)
    with pytest.raises(ValueError, match=f"{name} is damaged in shard 1"):
        XetrievalIndex(index.path).verify()
    (index.path / name).write_bytes(data[:-1])
    with pytest.raises(ValueError, match=f"{name} is damaged: expected {len(data)} bytes, found {len(data) - 1}"):
        XetrievalIndex(index.path)
    (index.path / name).write_bytes(data)
    XetrievalIndex(index.path).verify()


def test_damaged_facts(whole, tmp_path):
    index = merge([whole], tmp_path / "copy")
    for name, call in (
        ("shards.jsonl", XetrievalIndex),
        ("pt_meta.json", XetrievalIndex),
        ("vectors/docnos.npids", lambda path: XetrievalIndex(path).verify()),
        ("model/sae.safetensors", lambda path: XetrievalIndex(path).verify()),
    ):
        data = (index.path / name).read_bytes()
        (index.path / name).write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
        flipped = pytest.raises(
            (ValueError, FileNotFoundError), lambda call=call: (call(index.path), XetrievalIndex(index.path).verify())
        )
        assert "damaged" in str(flipped.value) or "artifact" in str(flipped.value) or "missing" in str(flipped.value), name
        (index.path / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(ValueError, match="damaged"):
            call(index.path)
        (index.path / name).write_bytes(data)
    found = (index.retriever(num_results=3) >> index.explainer())(topics())
    assert_same(found.explanation, (whole.retriever(num_results=3) >> whole.explainer())(topics()).explanation, 1e-9)


def test_merge_does_not_touch_an_unfinished_index(model, whole, tmp_path):
    def cut_off():
        yield from corpus()[:25]
        raise InterruptedError

    with pytest.raises(InterruptedError):
        model.indexer(tmp_path / "b", shard_size=10, batch_size=10).index(cut_off())
    before = (tmp_path / "b" / "shards.jsonl").read_bytes()
    with pytest.raises(FileExistsError, match="found an unfinished index"):
        merge([whole], tmp_path / "b")
    assert (tmp_path / "b" / "shards.jsonl").read_bytes() == before
