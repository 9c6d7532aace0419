"""Files that an edition of the package has written stay readable, or are refused with what to do."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import Xetrieval, XetrievalIndex

HERE = Path(__file__).parent
TOPIC = pd.DataFrame({"qid": ["q"], "query_vec": [np.float32([1, 0, 0, 0])]})


def vectors():
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_the_model():
    model = Xetrieval(HERE / "model")
    assert model.aspects == ("summary",) and model.sae.dict_size == 8 and model.labels[3] == "word3"
    frame = TOPIC.merge(pd.DataFrame({"docno": ["d0"], "doc_vec": [vectors()[0]]}), how="cross").assign(score=0.0, rank=0)
    (e,) = (model.internalizer() >> model.explainer())(frame).explanation
    assert e.contributions.sum() + e.other + e.bias + e.residual == pytest.approx(e.score)


@pytest.mark.parametrize("name, left", [("index", range(6)), ("deleted", (0, 2, 3, 5))])
def test_the_indexes(name, left):
    index = XetrievalIndex(HERE / name)
    index.verify()
    assert len(index) == len(left)
    found = (index.with_views(()).retriever() >> index.with_views(()).explainer())(TOPIC)
    scores = dict(zip(found.docno, found.score.astype(float)))
    assert scores == pytest.approx({f"d{i}": float(vectors()[i, 0]) for i in left}, abs=1e-3)
    assert all(e.score == pytest.approx(scores[e.docno], abs=1e-6) for e in found.explanation)
    if name == "index":
        assert index.text_loader()(found[["qid", "docno"]]).text.tolist() == [f"text {docno[1]}" for docno in found.docno]


@pytest.mark.parametrize("name, call, told", [
    ("index", XetrievalIndex, r"has format 9, .* reads formats 2 and 3; index the corpus again .*model.indexer\(path\)"),
    ("model", Xetrieval, r"has format 9, .* reads format 1; train the model again .*train_model"),
])  # fmt: skip
def test_another_version_is_refused_with_what_to_do(tmp_path, name, call, told):
    shutil.copytree(HERE / name, tmp_path / name)
    meta = json.loads((tmp_path / name / "pt_meta.json").read_text())
    (tmp_path / name / "pt_meta.json").write_text(json.dumps({**meta, "version": 9}))
    with pytest.raises(ValueError, match=told):
        call(tmp_path / name)
