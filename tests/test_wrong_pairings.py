"""Models, indexes and encoders that do not belong together are told, wherever they meet; those that do are left alone."""

import json
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import SentenceEncoder, Xetrieval, XetrievalIndex
from pyterrier_xetrieval.training import train_model
from tests.helpers.tiny_encoders import DIM, tiny_encoder

OTHER = "that the model's encoder does not give"


@pytest.fixture(scope="module")
def corpus():
    rng = np.random.default_rng(0)
    words = "sort list file open read write thread lock random sample time sleep river sea beer hops tea garden".split()
    return [{"docno": f"d{i}", "text": " ".join(rng.choice(words, 7))} for i in range(240)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return [tiny_encoder(tmp_path_factory.mktemp(f"encoder{seed}"), seed=seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def own(folders, corpus, tmp_path_factory):
    """A model of the first encoder, which refuses what is not its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few documents
        path = tmp_path_factory.mktemp("own") / "model"
        return train_model(corpus, None, folders[0], path, dict_size=64, k=12, steps=300).with_check("error")


@pytest.fixture(scope="module")
def encoders(folders):
    return [SentenceEncoder(folder) for folder in folders]


def frame_of(encoder, corpus, n=8):
    docs = pd.DataFrame(corpus[:n]).assign(qid="1", query=corpus[50]["text"], score=0.0, rank=range(n))
    vectors = list(encoder.encode_docs(docs["text"])), list(encoder.encode_queries([corpus[50]["text"]])) * n
    return docs.assign(doc_vec=vectors[0], query_vec=vectors[1])


def test_the_dictionary_can_tell(own):
    assert own.vector_facts.limit is not None and own.dim == DIM


@pytest.mark.parametrize("stage", ["explainer", "scorer", "fold", "reconstructor"])
def test_stages_refuse_vectors_of_another_encoder(own, encoders, corpus, stage):
    apply = getattr(own, stage)()
    apply(frame_of(encoders[0], corpus))
    with pytest.raises(ValueError, match=OTHER):
        apply(frame_of(encoders[1], corpus))
    told = getattr(own.with_check("warn"), stage)()
    with pytest.warns(UserWarning, match=OTHER):
        told(frame_of(encoders[1], corpus))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(own.with_check("off"), stage)()(frame_of(encoders[1], corpus))


def test_an_index_is_not_built_of_them(own, encoders, corpus, tmp_path):
    with pytest.raises(ValueError, match=OTHER):
        (encoders[1] >> own.indexer(tmp_path / "a")).index(corpus)
    with pytest.raises(ValueError, match="found an encoder that is not its own.*cosine"):
        own.indexer(tmp_path / "b", encoder=encoders[1])
    with pytest.raises(ValueError, match="found an encoder that is not its own"):
        own.evidence(encoders[1])


def test_nor_added_to_nor_verified(own, encoders, corpus, tmp_path):
    index = (encoders[0] >> own.indexer(tmp_path / "good")).index(corpus[:200])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index.verify()
    more = [{"docno": f"new {d['docno']}", "text": d["text"]} for d in corpus]
    with pytest.warns(UserWarning, match=OTHER):
        (encoders[1] >> index.indexer()).index(more)
    bad = (encoders[1] >> own.with_check("off").indexer(tmp_path / "bad")).index(corpus[:200])
    with pytest.warns(UserWarning, match="holds vectors that its model's encoder does not give"):
        XetrievalIndex(bad.path).verify()
    with pytest.raises(ValueError, match=OTHER):
        own.why_not("sort list", "d3", bad.vectors)
    with pytest.warns(UserWarning, match=OTHER):
        bad.explainer()(frame_of(encoders[1], corpus)[["qid", "docno", "query_vec"]])


def test_an_encoder_that_moved_is_found_or_asked_for(own, folders, corpus, tmp_path):
    """The artifact says where the encoder is by an absolute and by a relative path; on another machine it is told."""
    home = tmp_path / "home"
    encoder = shutil.copytree(folders[0], home / "encoder")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train_model(corpus, None, encoder, home / "model", dict_size=16, k=4, steps=5)
    expected = Xetrieval(home / "model").encoder().encode_docs(["sort list"])
    moved = home.rename(tmp_path / "elsewhere")
    np.testing.assert_allclose(Xetrieval(moved / "model").encoder().encode_docs(["sort list"]), expected, atol=1e-6)
    shutil.move(moved / "encoder", tmp_path / "third")
    model = Xetrieval(moved / "model").with_check("error")
    with pytest.raises(FileNotFoundError, match=r"say where its folder is: model.encoder\(path=…\)"):
        model.encoder()
    np.testing.assert_allclose(model.encoder(path=tmp_path / "third").encode_docs(["sort list"]), expected, atol=1e-6)
    with pytest.raises(ValueError, match="found an encoder that is not its own"):
        model.encoder(path=folders[1])
    with pytest.raises(ValueError, match="has pooling 'cls', the model was trained with 'mean'"):
        model.encoder(path=tiny_encoder(tmp_path / "cls", pooling="cls"))


def test_prefixes_and_normalisation_are_said_and_kept(corpus, tmp_path):
    bare = tiny_encoder(tmp_path / "bare", modules=False)
    with pytest.raises(ValueError, match="expects normalize=True or False.*no modules.json"):
        train_model(corpus, None, bare, tmp_path / "none", dict_size=16, k=4, steps=5)
    said = {"query_prefix": "query: ", "document_prefix": "passage: ", "normalize": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = train_model(corpus, None, bare, tmp_path / "model", dict_size=16, k=4, steps=5, **said)
    kept = json.loads((tmp_path / "model" / "pt_meta.json").read_text())["encoder"]
    assert kept["query_prefix"] == "query: " and kept["document_prefix"] == "passage: " and kept["pooling"] == "mean"
    plain, opened = SentenceEncoder(bare, normalize=True), Xetrieval(tmp_path / "model").with_check("error").encoder()
    np.testing.assert_allclose(opened.encode_queries(["tea"]), plain.encode_docs(["query: tea"]), atol=1e-5)
    np.testing.assert_allclose(opened.encode_docs(["tea"]), plain.encode_docs(["passage: tea"]), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(opened.encode_docs(["tea"])), 1, atol=1e-6)
    assert "prefixes 'query: ', 'passage: '" in (tmp_path / "model" / "README.md").read_text() and model.labels.methods
