"""A model of one's own, as the README shows it: another encoder's vectors, own aspects, another dictionary."""

import json

import numpy as np
import pytest
from conftest import result_frame, unit

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.training import Teacher, train_internalizers, train_sae


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
