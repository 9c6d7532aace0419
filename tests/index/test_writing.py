"""What the index keeps of documents: any docno, any vector, any encoder; parts, additions and the bytes of all."""

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
import torch

from pyterrier_xetrieval import SparseAutoencoder, Xetrieval, XetrievalIndex
from pyterrier_xetrieval.index import merge
from pyterrier_xetrieval.index.packing import decode_gaps, encode_gaps
from tests.helpers.builders import make_model, random_sae, unit
from tests.helpers.index import DIM, assert_same, content, corpus, topics


@pytest.fixture
def index(model, tmp_path):
    return model.indexer(tmp_path / "index", shard_size=15, batch_size=4).index(corpus())


@pytest.mark.parametrize("widths", [1 << 23, 1000])
def test_any_docno(model, tmp_path, monkeypatch, widths):
    monkeypatch.setattr("pyterrier_xetrieval.index.docnos._WIDTHS", widths)  # 1000: many blocks of one width each
    names = ["7", "007", "d", "d" * 300, "ä ö/ü", "new\nline", "日本", *map(str, range(1000, 1300)), "a", "e0f1", "E0F1"]
    documents = [{**d, "docno": name} for d, name in zip(corpus(len(names)), names)]
    index = model.indexer(tmp_path / "i", shard_size=50).index(documents)
    assert index.docids(names).tolist() == list(range(len(names)))
    assert list(index.vectors.docnos()) == names
    for wrong in ("07", "8", "dd", "d\0", ""):
        with pytest.raises(ValueError, match="does not hold"):
            index.docids(["7", wrong])
    for docno, told in (("d" * 4097, "at most 4,096 bytes, found 4,097 in 'ddd"), ("d\ud800", "UTF-8 can write"), ("d\0", "NUL")):
        with pytest.raises(ValueError, match=f"XetrievalIndexer expects docno to .*{told}"):
            model.indexer(tmp_path / "j").index([{**documents[0], "docno": docno}])
    assert len(model.indexer(tmp_path / "j").index([{**documents[0], "docno": "é" * 2048}])) == 1


def test_a_threshold_dictionary_and_a_document_without_features(tmp_path):
    source = random_sae()
    sae = SparseAutoencoder(16, 48, activation="threshold")
    sae.load_state_dict({**source.state_dict(), "threshold": source.b_enc.new_full((48,), 0.25)})
    model = make_model(sae)
    documents = [*corpus(20), {"docno": "zero", "doc_vec": np.zeros(16, np.float32)}]
    index = model.indexer(tmp_path / "i", shard_size=8).index(documents)
    results = index.retriever(num_results=21)(topics())
    views = index.vec_loader() >> model.internalizer() >> model.explainer()
    assert_same(index.explainer()(results).explanation, views(results).explanation)


def test_large_vectors_do_not_overflow(tmp_path):
    model = make_model()
    documents = [{**d, "doc_vec": 1e6 * d["doc_vec"]} for d in corpus(5)]
    index = model.indexer(tmp_path / "i").index(documents)
    found = index.with_views(()).explainer()(index.retriever(num_results=5)(topics(3)))
    assert_same(found.explanation, (index.vec_loader() >> model.explainer())(found).explanation, tolerance=1e3)
    assert max(abs(e.contributions).max(initial=0) for e in found.explanation) > 65_504  # the largest float16


def test_a_coefficient_far_above_its_activation(tmp_path):
    """Refitted, a feature that barely fires has a coefficient that float16 cannot hold beside its activation."""
    sae = SparseAutoencoder(4, 4, activation="threshold")
    with torch.no_grad():
        sae.w_enc.copy_(torch.eye(4))
        sae.w_dec.copy_(torch.eye(4))
        sae.b_enc.fill_(-0.5)
    model = Xetrieval.from_parts(internalizers={}, sae=sae, encoder={"name": "", "dim": 4})
    vectors = np.float32([[0.500005, 0, 0, 0], [0.9, 0.1, 0, 0]])
    index = model.indexer(tmp_path / "i").index({"docno": str(i), "doc_vec": v} for i, v in enumerate(vectors))
    query = pd.DataFrame({"qid": ["q"], "query_vec": [np.float32([0.8, 0.6, 0, 0])]})
    found = index.explainer()(index.retriever(num_results=2)(query)).explanation
    for e in found:
        assert e.contributions.size and np.isfinite(e.contributions).all()
        assert e.shared + e.other + e.bias + e.residual == pytest.approx(e.score, abs=1e-6)


class Changed(pt.Transformer):
    """An encoder that does something to its frame besides."""

    def __init__(self, change):
        self.change = change

    def transform(self, inp):
        return self.change(inp.assign(doc_vec=list(unit(np.random.default_rng(0), len(inp), DIM))))


@pytest.mark.parametrize(
    "change", [lambda f: f.iloc[1:], lambda f: f.iloc[::-1], lambda f: pd.concat([f, f]).sort_values("docno")]
)
def test_an_encoder_keeps_one_row_for_each_document(model, tmp_path, change):
    indexer = model.indexer(tmp_path / "i", encoder=Changed(change))
    with pytest.raises(ValueError, match="expects one row for each document, in order, from"):
        indexer.index({"docno": f"d{i}", "text": "a text"} for i in range(5))
    assert not (tmp_path / "i" / "pt_meta.json").exists()


def test_gaps_are_their_own_inverse():
    rng = np.random.default_rng(0)
    runs = [[], [0], [255], [254, 255, 256], [0, 510, 765, 20_000], np.unique(rng.integers(0, 6144, 200)), [], [1]]
    values = np.concatenate([np.array(r, np.int64) for r in runs])
    run_of = np.repeat(np.arange(len(runs)), [len(r) for r in runs])
    gaps, at = encode_gaps(values, np.diff(run_of, prepend=-1) > 0)
    lengths = np.bincount(run_of, np.diff(at, prepend=-1), minlength=len(runs)).astype(np.int64)
    decoded, run, place = decode_gaps(gaps, lengths)
    assert decoded.tolist() == values.tolist() and run.tolist() == run_of.tolist() and place.tolist() == at.tolist()


def test_parts_merge_to_the_same_bytes(model, tmp_path, index):
    documents = corpus()
    parts = [
        model.indexer(tmp_path / f"part{a}", shard_size=15, batch_size=4).index(documents[a:b])
        for a, b in ((0, 7), (7, 30), (30, 40))
    ]
    whole = merge(parts, tmp_path / "merged")
    assert content(whole.path) == content(index.path)
    whole.verify()
    with pytest.raises(FileExistsError):
        merge(parts, tmp_path / "merged")
    with pytest.raises(ValueError, match="'d0' again"):
        merge([parts[0], index], tmp_path / "twice")
    other = make_model(random_sae(seed=5)).indexer(tmp_path / "other", shard_size=15).index(documents[:3])
    with pytest.raises(ValueError, match="model_sha256"):
        merge([index, other], tmp_path / "mixed")


def test_documents_are_added_as_new_shards(model, tmp_path, index):
    documents = corpus(50)
    part = model.indexer(tmp_path / "grown", shard_size=15, batch_size=4).index(documents[:20])
    (tmp_path / "grown" / "folded" / "stale.faiss").write_text("over 20 documents")
    grown = part.indexer().index(documents[20:40])
    assert (len(part), len(grown), len(XetrievalIndex(part.path))) == (20, 40, 40)
    assert not (tmp_path / "grown" / "folded" / "stale.faiss").exists()
    grown.verify()
    assert len(part.retriever(num_results=30)(topics(1))) == 20  # an object loaded before goes on with what it had
    found, expected = ((i.retriever(num_results=40) >> i.explainer())(topics()) for i in (grown, index))
    assert found.docno.tolist() == expected.docno.tolist()
    assert_same(found.explanation, expected.explanation, tolerance=1e-6)
    assert content(merge([grown], tmp_path / "compact").path) == content(index.path)
    with pytest.raises(ValueError, match="'d3' again"):
        grown.indexer().index(documents[3:4])
    assert len(XetrievalIndex(part.path)) == 40 and len(grown.indexer().index([])) == 40
    assert len(grown.indexer(resume=False).index(documents[40:])) == 50


def test_the_encoder_sees_new_documents_alone(model, tmp_path):
    vectors = {d["docno"]: d["doc_vec"] for d in corpus()}

    class Lookup(pt.Transformer):
        def __init__(self, allowed):
            self.allowed, self.asked = allowed, []

        def transform(self, inp):
            self.asked += inp.docno.tolist()
            if len(self.asked) > self.allowed:
                raise RuntimeError("cut off")
            return inp.assign(doc_vec=[vectors[d] for d in inp.docno])

    texts = [{"docno": d, "text": "…"} for d in vectors]
    with pytest.raises(RuntimeError):
        model.indexer(tmp_path / "i", encoder=Lookup(22), shard_size=15, batch_size=4).index(texts)
    rest = Lookup(40)
    index = model.indexer(tmp_path / "i", encoder=rest, shard_size=15, batch_size=4).index(texts)
    assert len(index) == 40 and rest.asked == ["d0", *list(vectors)[15:]]  # and one by which the encoder is known again
    again = (Lookup(40) >> model.indexer(tmp_path / "piped", shard_size=15, batch_size=4)).index(texts)
    assert content(again.path) == content(index.path)


def test_a_run_that_finished_nothing_binds_nobody(model, tmp_path):
    twice = [corpus(2)[0], corpus(2)[0]]
    with pytest.raises(ValueError, match="each docno once"):
        model.indexer(tmp_path / "i").index(twice)
    assert len(model.with_views(weights=2).indexer(tmp_path / "i").index(corpus(3))) == 3
    with pytest.raises(FileExistsError):
        model.indexer(tmp_path / "i").index(corpus(3))


def test_docnos_as_numbers_are_found(model, tmp_path):
    index = model.indexer(tmp_path / "i").index([{**d, "docno": str(i)} for i, d in enumerate(corpus(4))])
    pd.testing.assert_frame_equal(index.features_of(3), index.features_of("3"))
