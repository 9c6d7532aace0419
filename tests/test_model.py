import copy
import json
import pickle
import shutil

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
import torch
from safetensors.torch import load_file

from pyterrier_xetrieval import FeatureLabels, Xetrieval
from pyterrier_xetrieval.core.vector_facts import VectorFacts
from tests.helpers.builders import make_model, random_internalizer, random_sae, result_frame, unit


@pytest.fixture
def saved(tmp_path):
    return make_model().save(tmp_path / "model", card="# card\n")


def test_round_trip_explains_the_same(saved, results):
    original, loaded = make_model(), pt.Artifact.load(str(saved.path))
    assert isinstance(loaded, Xetrieval) and loaded == saved and hash(loaded) == hash(saved)
    a, b = ((m.internalizer() >> m.explainer())(results)["explanation"] for m in (original, loaded))
    assert [e.to_dict() for e in a] == [e.to_dict() for e in b]
    assert loaded.labels[3] == "word3" and (saved.path / "README.md").read_text() == "# card\n"


def test_stages_of_two_loads_are_equal(saved):
    assert saved.explainer() == Xetrieval(str(saved.path)).explainer()
    assert saved.internalizer() != make_model().internalizer()


def test_the_model_brings_its_own_weights(tmp_path, results):
    plain = make_model()
    parts = dict(internalizers=plain.internalizers, sae=plain.sae, encoder={"name": "", "dim": plain.dim})
    model = Xetrieval.from_parts(**parts, weights=[0.5, 0, 2]).save(tmp_path / "weighted")
    views = model.internalizer()(results)
    assert list(model.weights.values()) == [0.5, 0, 2] and list(plain.weights.values()) == [1, 1, 1]
    assert model.with_views(["qa"]).weights == {"qa": 2} and model.with_views(["qa"], 3).weights == {"qa": 3}
    assert list(model.with_views(weights=1).weights.values()) == [1, 1, 1]
    assert list(model.weights.values()) == [0.5, 0, 2]  # a model that says otherwise is another one
    explanations = model.explainer()(views)["explanation"]
    np.testing.assert_allclose([e.score for e in explanations], model.scorer()(views)["score"], atol=1e-6)
    with pytest.raises(ValueError, match="Xetrieval expects 3 weights"):
        Xetrieval.from_parts(**parts, weights=[1, 2])


def test_float16_halves_the_weights_and_stays_close(saved, tmp_path, results):
    small = make_model().save(tmp_path / "small", dtype="float16")
    assert (small.path / "sae.safetensors").stat().st_size < 0.6 * (saved.path / "sae.safetensors").stat().st_size
    assert small.sae.w_enc.dtype == torch.float32
    assert load_file(small.path / "sae.safetensors")["w_enc"].dtype == torch.float16
    a, b = ((m.internalizer() >> m.scorer())(results)["score"] for m in (saved, small))
    np.testing.assert_allclose(a, b, atol=1e-2)


def test_package_round_trip(saved, tmp_path):
    """What to_hf uploads and from_hf downloads: the packed folder."""
    package = saved.build_package(str(tmp_path / "model.tar.lz4"), verbose=False)
    import tarfile

    from lz4.frame import LZ4FrameFile

    with LZ4FrameFile(package) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    assert pt.Artifact.load(str(tmp_path / "unpacked")).labels[0] == "word0"


def test_existing_path_is_never_overwritten(saved):
    with pytest.raises(FileExistsError, match="already exists"):
        make_model().save(saved.path)


def test_failed_save_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(FeatureLabels, "write", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        make_model().save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_missing_artifact(tmp_path):
    with pytest.raises(FileNotFoundError, match="no Xetrieval artifact"):
        Xetrieval(str(tmp_path / "nothing"))
    (tmp_path / "half").mkdir()
    shutil.copy(make_model().save(tmp_path / "m").path / "sae.safetensors", tmp_path / "half")
    with pytest.raises(FileNotFoundError, match="pt_meta.json is missing"):
        Xetrieval(str(tmp_path / "half"))


def test_another_artifact(tmp_path):
    (tmp_path / "pt_meta.json").write_text(json.dumps({"type": "dense_index", "format": "flex"}))
    with pytest.raises(ValueError, match="is a dense_index.flex artifact"):
        Xetrieval(str(tmp_path))


def test_flipped_byte(saved):
    path = saved.path / "sae.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="sae.safetensors is damaged"):
        _ = Xetrieval(str(saved.path)).sae
    assert Xetrieval(str(saved.path)).internalizers  # the other file is still good


def test_unknown_activation_rule(saved):
    path = saved.path / "pt_meta.json"
    path.write_text(path.read_text().replace('"topk"', '"relu7"'))
    with pytest.raises(ValueError, match="'relu7'"):
        _ = Xetrieval(str(saved.path)).sae


def test_copies_in_memory_are_equal(model, results, saved):
    for original in (model, saved):
        for stage in (original.explainer(), original.internalizer()):
            for twin in (copy.deepcopy(stage), pickle.loads(pickle.dumps(stage))):
                assert twin == stage and hash(twin) == hash(stage) and repr(twin) == repr(stage)
    again = pickle.loads(pickle.dumps(model.explainer()))(results)["explanation"]
    assert [e.to_dict() for e in again] == [e.to_dict() for e in model.explainer()(results)["explanation"]]


def test_relative_paths_stay_valid_after_a_change_of_folder(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = Xetrieval("model")
    key = hash(model.explainer())
    monkeypatch.chdir("/")
    assert hash(model.explainer()) == key and model == saved and model.sae.k == 5


def test_home_folder(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Xetrieval("~/model") == saved


@pytest.mark.parametrize("content", ["{", "[]", '{"type": "dense_explainer", "format": "xetrieval", "dim": 3}'])
def test_damaged_metadata(saved, content):
    (saved.path / "pt_meta.json").write_text(content)
    with pytest.raises(ValueError, match="pt_meta.json is damaged"):
        Xetrieval(str(saved.path))


def test_unknown_dtype(model, tmp_path):
    with pytest.raises(ValueError, match="'float16', found 'int8'"):
        model.save(tmp_path / "m", dtype="int8")


def test_facts_cannot_replace_the_core():
    facts = {"dim": 3, "seed": 7}
    model = Xetrieval.from_parts(internalizers={}, sae=random_sae(), encoder={"name": "", "dim": 16}, facts=facts)
    assert (model.dim, model.meta["seed"]) == (16, 7)


def test_inference_mode(model, results, tmp_path):
    model.save(tmp_path / "model")
    with torch.inference_mode():
        model = Xetrieval(tmp_path / "model")  # reads its weights inside, too
        inside = (model.internalizer() >> model.explainer() >> model.reconstructor())(results)["explanation"]
    outside = (model.internalizer() >> model.explainer())(results)["explanation"]
    assert [e.per_view for e in inside] == [e.per_view for e in outside]


def test_parts_must_fit():
    with pytest.raises(ValueError, match="one dimension"):
        Xetrieval.from_parts(internalizers={"qa": random_internalizer(8, 0)}, sae=random_sae(), encoder={"name": "", "dim": 16})
    with pytest.raises(ValueError, match="labels of 48 features, found 3"):
        Xetrieval.from_parts(internalizers={}, labels=FeatureLabels.empty(3), sae=random_sae(), encoder={"name": "", "dim": 16})
    with pytest.raises(ValueError, match="description with its dim"):
        Xetrieval.from_parts(internalizers={}, sae=random_sae(), encoder={"name": ""})
    with pytest.raises(ValueError, match="'original'"):
        Xetrieval.from_parts(
            internalizers={"original": random_internalizer(16, 0)}, sae=random_sae(), encoder={"name": "", "dim": 16}
        )


def test_a_sample_tells_what_the_encoders_vectors_look_like(tmp_path):
    sae, encoder = random_sae(), {"name": "", "dim": 16}
    with torch.no_grad():
        sae.b_dec.mul_(2 / sae.b_dec.norm())
    vectors = 10 * unit(np.random.default_rng(0), 300, 16)
    unknown = Xetrieval.from_parts(internalizers={}, sae=sae, encoder=encoder)
    assert unknown.has_long_bias and unknown.vector_facts is None  # as if vectors had length 1
    known = Xetrieval.from_parts(internalizers={}, sae=sae, encoder=encoder, sample=vectors, facts={"vectors": {"length": 3}})
    assert not known.has_long_bias and known.vector_facts == VectorFacts.measure(sae, vectors)
    assert known.save(tmp_path / "m").vector_facts == known.vector_facts
    frame = pd.DataFrame({"qid": ["1"], "docno": ["d"], "query_vec": [vectors[0]], "doc_vec": [vectors[1] / 100]})
    with pytest.raises(ValueError, match="of length about 10, as its encoder gives them, found a mean length of 0.1"):
        known.with_check("error").explainer()(frame)
    unknown.with_check("error").explainer()(frame)
    for wrong in (vectors[0], vectors[:, :5], np.full((3, 16), np.nan)):
        with pytest.raises(ValueError, match=r"sample to be finite vectors of shape \[n, 16\], found shape"):
            Xetrieval.from_parts(internalizers={}, sae=sae, encoder=encoder, sample=wrong)
    with pytest.raises(ValueError, match="expects vectors, found none"):
        Xetrieval.from_parts(internalizers={}, sae=sae, encoder=encoder, sample=vectors[:0])


def test_wrong_encoder_is_named_by_dimension(model):
    for stage in (model.internalizer(), model.explainer(), model.reconstructor(), model.intervention(features=[1])):
        with pytest.raises(ValueError, match="expects 16-dimensional (query|doc)_vec, found 8"):
            stage(result_frame(dim=8))


def test_no_encoder_known(model):
    with pytest.raises(ValueError, match="does not say which encoder"):
        model.encoder()


def test_reconstructor_matches_the_dictionary(model, results):
    x = torch.from_numpy(np.stack(results["doc_vec"].to_list()))
    codes = model.sae.encode(x)
    plain = np.stack(model.reconstructor(refit=False, batch_size=5)(results)["doc_vec"].to_list())
    np.testing.assert_allclose(plain, model.sae.decode(codes), atol=1e-6)
    refit = np.stack(model.reconstructor()(results)["doc_vec"].to_list())
    assert ((refit - x.numpy()) ** 2).sum() < ((plain - x.numpy()) ** 2).sum()
    only_query = model.reconstructor()(results[["qid", "query_vec"]])
    assert list(only_query.columns) == ["qid", "query_vec"]


def test_weights_that_float16_cannot_hold(model, tmp_path):
    with torch.no_grad():
        model.sae.b_enc[3] = 1e5
    with pytest.raises(ValueError, match="float16 can hold, found others in b_enc"):
        model.save(tmp_path / "model", dtype="float16")
    assert not (tmp_path / "model").exists() and model.save(tmp_path / "model").sae.b_enc[3] == 1e5


def test_what_was_read_of_a_folder_is_shared_until_it_changes(model, tmp_path):
    one, other = model.save(tmp_path / "m"), Xetrieval(tmp_path / "m")
    assert other.sae is one.sae and other.with_views(()).labels is one.labels
    assert pickle.loads(pickle.dumps(one)).sae is not one.sae
    labels = tmp_path / "m" / "labels.tsv"
    labels.write_text(labels.read_text() + "\n")
    assert Xetrieval(tmp_path / "m").sae is not one.sae
    damaged = tmp_path / "m" / "sae.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\xff")
    with pytest.raises(ValueError, match="damaged"):
        Xetrieval(tmp_path / "m").sae  # noqa: B018
