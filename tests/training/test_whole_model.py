"""A model of one's own: from its parts with another encoder's vectors, and in one call that survives being killed."""

import json
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pyterrier_dr import BiEncoder, FlexIndex

from pyterrier_xetrieval import MiniLM, Xetrieval
from pyterrier_xetrieval.datasets import encoded_corpus
from pyterrier_xetrieval.training import Teacher, own_labels, train_internalizers, train_sae, whole_model
from pyterrier_xetrieval.training.whole_model import train_model
from tests.helpers.builders import result_frame, unit
from tests.helpers.documents import reverse, short_documents

pytestmark = pytest.mark.filterwarnings("ignore:train_model. the view .* is no closer")  # texts of so few documents


def embed(texts):
    """A stand-in for an encoder of 16 dimensions: texts with words in common are close."""
    rng = {word: unit(np.random.default_rng(abs(sum(map(ord, word)))), 1, 16)[0] for text in texts for word in text.split()}
    vectors = np.stack([sum(rng[word] for word in text.split()) for text in texts]).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.filterwarnings("ignore:.*dead")
def test_from_texts_to_explanations(tmp_path):
    rng = np.random.default_rng(0)
    words = "sort list file open read write thread lock random sample time sleep".split()
    corpus = [{"docno": str(i), "text": " ".join(rng.choice(words, 4))} for i in range(200)]
    teacher = Teacher(lambda prompt: "people who " + prompt.split()[-1], prompts={"audience": "Who reads this? {text}"})
    assert teacher.write(corpus, tmp_path / "reasoning.jsonl").written == 200
    rows = [json.loads(line) for line in open(tmp_path / "reasoning.jsonl")]
    written = {row["_id"]: row["text"] for row in rows}

    z = embed([doc["text"] for doc in corpus])
    targets = {"audience": embed([written[doc["docno"]] for doc in corpus])}
    internalizers, history = train_internalizers(z, targets, hidden=32, epochs=20, ensemble=1, distill_epochs=1, seed=0)
    vectors = np.concatenate([z, *targets.values()])
    sae, _ = train_sae(vectors, variant="batch_topk", dict_size=48, k=4, steps=60, batch_size=64, seed=0)
    model = Xetrieval.from_parts(internalizers=internalizers, sae=sae, encoder={"name": "mine", "dim": 16}).save(
        tmp_path / "model"
    )

    assert model.aspects == ("audience",) and model.sae.activation == "threshold"
    results = (model.internalizer() >> model.scorer() >> model.explainer())(result_frame())
    for score, e in zip(results["score"], results["explanation"]):
        assert e.views == ("original", "audience")
        assert e.shared + e.other + e.bias + e.residual == pytest.approx(score, abs=1e-4)


# --- in one call ------------------------------------------------------------------------------------------------------

OPTIONS = {"dict_size": 32, "k": 4, "steps": 20, "hidden": 16}


@pytest.fixture(scope="module")
def docs():
    return short_documents()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, docs):
    """corpus.jsonl and reasoning.jsonl: the texts of both aspects about all documents but five, in another order."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "corpus.jsonl").write_text("".join(json.dumps(d) + "\n" for d in docs))
    teacher = Teacher(reverse, prompts={"purpose": "What for? {text}", "audience": "For whom? {text}"})
    assert teacher.write(docs[:5:-1], folder / "reasoning.jsonl").failed == 0
    return folder


@pytest.fixture(scope="module")
def made(folder) -> Xetrieval:
    with pytest.warns(UserWarning, match="the view 'audience' is no closer to its texts .* than the document's own vector"):
        return train_model(folder / "corpus.jsonl", folder / "reasoning.jsonl", MiniLM(), folder / "made", **OPTIONS)


def warm(folder, name) -> Path:
    """A work folder in which the corpus is encoded already."""
    for part in ("encoder.json", "documents", "corpus.flex"):
        (folder / name).mkdir(exist_ok=True)
        source, target = folder / "made.work" / part, folder / name / part
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    return folder / name


def train(folder, name, **changes):
    corpus, texts = folder / "corpus.jsonl", folder / "reasoning.jsonl"
    return train_model(corpus, changes.pop("texts", texts), MiniLM(), folder / name, **{**OPTIONS, **changes})


def test_it_is_what_the_parts_make_by_hand(made, folder, docs):
    rows = [json.loads(line) for line in open(folder / "reasoning.jsonl")]
    written = {(row["_id"], row["aspect"]): row["text"] for row in rows}
    encode = MiniLM().encode_docs
    z = encode([doc["text"] for doc in docs])
    taught = [i for i, doc in enumerate(docs) if (doc["docno"], "purpose") in written]
    assert len(taught) == len(docs) - 6
    targets = {a: encode([written[docs[i]["docno"], a] for i in taught]) for a in ("purpose", "audience")}
    index = FlexIndex(f"{folder}/made.work/corpus.flex", verbose=False)
    np.testing.assert_allclose(index.np_vecs(), z, atol=1e-5)
    assert list(index.docnos().fwd) == [doc["docno"] for doc in docs]
    modules, history = train_internalizers(index.np_vecs()[taught], targets, hidden=16, identity_start=True)
    sae, losses = train_sae(index.np_vecs(), internalizers=made.internalizers, dict_size=32, k=4, steps=20, held_out=0.1)
    assert set(made.aspects) == set(targets)
    for aspect, module in modules.items():  # the texts were encoded in other batches
        np.testing.assert_allclose(made.internalizers[aspect].layer1.weight, module.layer1.weight.detach(), atol=1e-3)
    assert torch.equal(made.sae.w_dec, sae.w_dec) and torch.equal(made.sae.w_enc, sae.w_enc)
    kept = json.loads((made.path / "history.json").read_text())
    assert kept["internalizers"]["purpose"]["val_loss"] == pytest.approx(history["purpose"]["val_loss"], abs=1e-3)
    assert [entry["fve"] for entry in kept["sae"]] == [entry["fve"] for entry in losses]


def test_the_artifact_says_what_it_is_made_from(made, folder, docs):
    facts = made.meta["training"]
    assert facts["corpus"]["documents"] == len(docs) and facts["corpus"]["path"].endswith("corpus.jsonl")
    assert facts["texts"]["counts"] == {"purpose": len(docs) - 6, "audience": len(docs) - 6} and facts["seed"] == 0
    encoder = made.meta["encoder"]
    assert encoder["dim"] == 384 and encoder["normalize"] and type(made.encoder()) is MiniLM
    assert len(made.labels) > 5 and made.labels.methods == ["words by evidence"]
    assert "80 documents" in (made.path / "README.md").read_text()


def test_again_and_with_other_arguments(made, folder, monkeypatch):
    monkeypatch.setattr(whole_model, "train_sae", None)  # nothing is trained again
    assert train(folder, "made") == made
    with pytest.raises(FileExistsError, match="no model of these arguments"):
        train(folder, "made", seed=1)
    with pytest.raises(ValueError, match="begun with another corpus"):
        train_model(short_documents()[:50], folder / "reasoning.jsonl", MiniLM(), folder / "made", **OPTIONS)
    with pytest.raises(ValueError, match="begun with name="):
        other = MiniLM(dtype="bfloat16")
        train_model(folder / "corpus.jsonl", folder / "reasoning.jsonl", other, folder / "made", **OPTIONS)


def test_interrupted_in_every_step_and_started_again(made, folder, monkeypatch):
    texts, encode_docs = [], MiniLM.encode_docs

    def counted(self, batch, batch_size=None):
        if len(batch) > 20:  # not the look whether the encoder is the same, nor the texts that labels are tested on
            if stop == "encode" and texts:
                raise KeyboardInterrupt
            texts.extend(batch)
        return encode_docs(self, batch, batch_size=batch_size)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(MiniLM, "encode_docs", counted)
    monkeypatch.setattr(encoded_corpus, "BLOCK", 40)
    for stop in ("encode", "train_internalizers", "train_sae", "evidence_labels", "_written"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            if stop != "encode":
                patch.setattr(own_labels if stop == "evidence_labels" else whole_model, stop, interrupt)
            train(folder, "stopped")
        assert not (folder / "stopped").exists()
    stop = None
    model = train(folder, "stopped")
    assert len(texts) == 80 + 2 * 74  # every text once
    for aspect in model.aspects:  # other batches of the encoder
        np.testing.assert_allclose(model.internalizers[aspect].layer1.weight, made.internalizers[aspect].layer1.weight, atol=1e-3)
    assert list(model.labels.table["label"]) == list(made.labels.table["label"])


CHILD = """
import sys
from pyterrier_xetrieval import MiniLM
from pyterrier_xetrieval.training.whole_model import train_model
train_model(sys.argv[1], sys.argv[2], MiniLM(), sys.argv[3], dict_size=32, k=4, steps=20, hidden=16)
"""


def test_killed_and_started_again(made, folder):
    arguments = [sys.executable, "-c", CHILD, *(str(folder / name) for name in ("corpus.jsonl", "reasoning.jsonl", "killed"))]
    child = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and child.poll() is None and not (folder / "killed.work" / "corpus.flex").exists():
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL and not (folder / "killed").exists()
    vectors = folder / "killed.work" / "corpus.flex" / "vecs.f4"
    before = vectors.stat().st_mtime_ns
    model = train(folder, "killed")
    assert vectors.stat().st_mtime_ns == before
    assert model.meta["sha256"] == made.meta["sha256"]


@pytest.mark.filterwarnings("ignore:.*dead|.*active for none")
def test_baselines(made, folder, docs):
    raw = train(folder, "raw", texts=None, aspects=(), work=warm(folder, "raw.work"))
    z = FlexIndex(f"{folder}/raw.work/corpus.flex", verbose=False).np_vecs()
    assert raw.aspects == () and torch.equal(raw.sae.w_dec, train_sae(z, dict_size=32, k=4, steps=20, held_out=0.1)[0].w_dec)
    assert len(raw.encoder()(pd.DataFrame(docs[:2]))["doc_vec"].iloc[0]) == raw.dim
    random = train(folder, "random", variant="random", aspects=["audience"], work=warm(folder, "random.work"))
    assert random.aspects == ("audience",) and torch.equal(random.sae.w_enc, random.sae.w_dec)
    assert json.loads((random.path / "history.json").read_text())["sae"] == []


class Words(BiEncoder):
    """An encoder that no name can load."""

    model_name = "mine/words"

    def encode_docs(self, texts, batch_size=None):
        return 3 * embed(texts)

    def encode_queries(self, texts, batch_size=None):
        return self.encode_docs(texts)


@pytest.mark.filterwarnings("ignore:.*active for none")
def test_an_encoder_of_ones_own(folder, docs):
    model = train_model(lambda: iter(docs), None, Words(), folder / "words", aspects=(), dict_size=32, k=4, steps=5)
    encoder = model.meta["encoder"]
    assert (encoder["dim"], encoder["normalize"], encoder["name"]) == (16, False, "") and "Words" in encoder["class"]
    assert "path" not in model.meta["training"]["corpus"]
    assert isinstance(model.encoder(), Words)  # it has just been given
    texts = [doc["text"] for doc in docs[:2]]
    told = model.explain(*texts)
    again = Xetrieval(folder / "words")
    for use in (again.encoder, lambda: again.explain(*texts)):
        with pytest.raises(ValueError, match="does not say which encoder.*with_encoder"):
            use()
    given = again.with_encoder(Words())
    assert given.explain(*texts) == told and given.with_views(()).shared_encoder is given.shared_encoder
    assert "given encoder" not in again._parts and "given encoder" not in pickle.loads(pickle.dumps(given))._parts
    with pytest.raises(ValueError, match="options it cannot change, found .'batch_size'"):
        given.encoder(batch_size=3)
    with pytest.raises(ValueError, match="with_encoder expects"):
        again.with_encoder(embed)
    with pytest.raises(ValueError, match="train_model expects a pyterrier_dr bi-encoder"):
        train_model(docs, None, embed, folder / "none", aspects=(), dict_size=32, k=4)


def write(path, *lines):
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("size", [0, 10, 400])
def test_damaged_work_files_are_named(made, folder, tmp_path, size):
    work = tmp_path / "work"
    made_files = [path.name for kind in ("internalizers", "sae") for path in (folder / "made.work").glob(f"{kind}-*.pt")]
    assert len(made_files) == 2
    for name in ("encoder.json", "documents/ends.npy", "documents/documents.jsonl", *made_files):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(folder / "made.work", work)
        with open(work / name, "r+b") as file:
            file.truncate(min(size, (work / name).stat().st_size - 1))
        named = work / "documents" if name.startswith("documents") else work / name
        with pytest.raises(ValueError, match=f"{named}.* remove it"):
            train_model(folder / "corpus.jsonl", folder / "reasoning.jsonl", MiniLM(), tmp_path / "out", work=work, **OPTIONS)
        shutil.rmtree(named) if named.is_dir() else named.unlink()  # as told: it is made again
    made_again = train_model(
        folder / "corpus.jsonl", folder / "reasoning.jsonl", MiniLM(), tmp_path / "out", work=work, **OPTIONS
    )
    assert made_again.meta["sha256"] == made.meta["sha256"]


def test_bad_input_is_named_before_anything_is_written(made, folder, tmp_path):
    corpus = folder / "corpus.jsonl"
    one, work = {"_id": "str.split", "aspect": "qa", "text": "x"}, warm(folder, "bad.work")
    for lines, message in (
        ([one, {"_id": "str.split"}], "line 2 of .* expects _id, aspect and text"),
        ([one, one], "line 2 of .* second text of aspect 'qa' about 'str.split'"),
        (["{oops\n", one], "line 1 of .* no JSON object"),
        ([one, {**one, "_id": "nobody"}], "two documents or more with a text of each aspect, found 1 of 80"),
        ([{**one, "aspect": "q a"}], "line 1 of .* can end a column name"),
    ):
        with pytest.raises(ValueError, match=message):
            train_model(corpus, write(tmp_path / "t", *lines), MiniLM(), tmp_path / "m", work=work, **OPTIONS)
    for lines, message in (
        ([{"docno": "a", "text": "x"}, {"docno": "a", "text": "y"}], "2 documents of 1 docnos"),
        ([{"docno": "a", "text": "x"}, "{oops\n"], "line 2 of .* is no JSON"),
        ([{"docno": "a", "text": "x"}, {"docno": "b"}], "no text in document 'b', line 2 of "),
    ):
        with pytest.raises(ValueError, match=message):
            train_model(write(tmp_path / "c", *lines), folder / "reasoning.jsonl", MiniLM(), tmp_path / "m", **OPTIONS)
    with pytest.raises(FileNotFoundError, match="no such file"):
        train_model(corpus, tmp_path / "none", MiniLM(), tmp_path / "m", **OPTIONS)
    with pytest.raises(FileNotFoundError, match="could not load the encoder"):
        train_model(corpus, folder / "reasoning.jsonl", str(tmp_path), tmp_path / "m2", **OPTIONS)
    with pytest.raises(ValueError, match="found no texts of aspects \\['qa'\\]"):
        train(folder, "qa", aspects=["qa"], work=work)
    with pytest.raises(ValueError, match="expects texts with aspects"):
        train(folder, "none", texts=None, aspects=["purpose"])
    with pytest.raises(ValueError, match="expects 0 < k <= dict_size"):
        train(folder, "none", k=33)
    assert not (tmp_path / "m").exists()


def test_other_dictionaries_use_the_same_vectors(made, folder, monkeypatch):
    """And a work folder is of one encoder: vectors of other prompts are not taken for its own."""
    monkeypatch.setattr(whole_model, "train_internalizers", None)  # nor are internalizers trained again
    texts, encode_docs = [], MiniLM.encode_docs
    monkeypatch.setattr(MiniLM, "encode_docs", lambda self, b, batch_size=None: texts.extend(b) or encode_docs(self, b))
    other = train(folder, "other", dict_size=16, k=3, work=folder / "made.work")
    assert other.sae.dict_size == 16 and len([text for text in texts if text]) < 30  # of 228: looks and tests of labels
    for aspect in made.aspects:
        assert torch.equal(other.internalizers[aspect].layer1.weight, made.internalizers[aspect].layer1.weight)

    def nudged(self, batch, batch_size=None):  # by as much as a prefix may move a vector
        x = encode_docs(self, batch)
        x = x + 0.05 * np.roll(x, 1, axis=1)
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    x = MiniLM().encode_docs(["make tea"])
    monkeypatch.setattr(MiniLM, "encode_docs", nudged)
    assert 0.99 < float(x[0] @ MiniLM().encode_docs(["make tea"])[0]) < 0.9995
    with pytest.raises(ValueError, match="found other vectors of this encoder"):
        train(folder, "stale", dict_size=16, k=3, work=folder / "made.work")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A thousand documents of words, and their encoder."""
    rng = np.random.default_rng(0)
    words = [f"{a}{b}" for a in "ba de fi go ku la me".split() for b in "ton rim sel vop nax".split()]
    return [{"docno": str(i), "text": " ".join(rng.choice(words, 6))} for i in range(1000)]


@pytest.mark.filterwarnings("ignore:.*active for none", "ignore:.*share a mean")
def test_size_and_steps_follow_the_documents(many, tmp_path, capsys):
    with pytest.warns(UserWarning, match="1,000 documents are few for a dictionary.*general="):
        model = train_model(many, None, Unit(), tmp_path / "m", verbose=True)
    assert (model.sae.dict_size, model.sae.k, model.aspects) == (256, 16, ())
    told = capsys.readouterr().err
    assert "train_model: 1,000 documents, 256 features; encode 1,000 texts: about" in told and "at most 200 steps" in told
    facts, history = model.meta["training"]["sae"], json.loads((model.path / "history.json").read_text())["sae"]
    assert history[-1]["step"] == facts["step"] and facts["fve"] == max(entry["fve"] for entry in history)
    assert facts["train_fve"] > facts["fve"]
    card = (model.path / "README.md").read_text()
    assert (
        f"{facts['train_fve']:.3f} of vectors trained on, {facts['fve']:.3f} of held-out ones" in card and "few documents" in card
    )
    assert model.min_confidence == 0 or "nobody has judged these labels" in card


@pytest.mark.filterwarnings("ignore:.*active for none", "ignore:.*are few", "ignore:.*share a mean")
def test_general_text_is_mixed_in(many, tmp_path):
    own, general = many[:60], many[100:400]
    model = train_model(own, None, Unit(), tmp_path / "m", general=general, dict_size=32, k=4, steps=10)
    assert (
        model.meta["training"]["general"]["documents"] == 300
        and "and 300 of other kinds" in (model.path / "README.md").read_text()
    )
    z = [Unit().encode_docs([d["text"] for d in part]) for part in (own, general)]
    assert torch.equal(model.sae.w_dec, train_sae(z, dict_size=32, k=4, steps=10, held_out=0.1)[0].w_dec)
    assert model.mean_document() is None or model.mean_document().documents == 60


class Unit(BiEncoder):
    model_name = "mine/unit"

    def encode_docs(self, texts, batch_size=None):
        return embed(texts)


@pytest.mark.filterwarnings("ignore:.*active for none", "ignore:.*are few")
def test_what_looks_like_a_mistake_is_said(many, tmp_path):
    class Long(Unit):
        def encode_docs(self, texts, batch_size=None):
            x = embed(texts)
            x[:, 0] += 2.0
            return x

    with pytest.warns(UserWarning) as told:
        train_model(many[:60], None, Long(), tmp_path / "m", dict_size=16, k=2, steps=5)
    said = " ".join(str(w.message) for w in told)
    assert "have lengths of" in said and "normalize=True" in said
    with pytest.raises(ValueError, match="with an encoder by name or folder"):
        train_model(many[:60], None, Unit(), tmp_path / "n", normalize=True)


@pytest.mark.filterwarnings("ignore:.*active for none", "ignore:.*are few", "ignore:.*share a mean")
def test_hypotheses_where_there_is_a_language_model(many, tmp_path):
    asked = []

    def llm(prompt):
        asked.append(prompt)
        return "yes" if "yes" in prompt.lower() and "hypothesis" not in prompt.lower() else "places by a river (clarity 2)"

    options = {"dict_size": 16, "k": 4, "steps": 10}
    model = train_model(many[:120], None, Unit(), tmp_path / "m", llm=llm, **options)
    assert len(asked) >= 16 and any(m.startswith("hypothesis") for m in model.labels.methods)
    plain = train_model(many[:120], None, Unit(), tmp_path / "n", work=tmp_path / "m.work", **options)
    assert torch.equal(plain.sae.w_dec, model.sae.w_dec) and "hypothesis" not in " ".join(plain.labels.methods)
