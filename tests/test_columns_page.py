"""The table of columns: what each stage is found to read and to write, tried out, is what the page says of it."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import (
    CitingReader,
    ContextBuilder,
    CoTReasoner,
    Explanation,
    QueryTuning,
    VectorLoader,
    Xetrieval,
    pydocs,
)
from pyterrier_xetrieval.stages.context import CitedPassage
from pyterrier_xetrieval.training import Teacher

KINDS: dict[str, Callable[[object], bool]] = {
    "float32 ``[m]``": lambda cell: isinstance(cell, np.ndarray) and cell.dtype == np.float32 and cell.shape == (384,),
    "text": lambda cell: isinstance(cell, str),
    "int": lambda cell: isinstance(cell, (int, np.integer)),
    "float": lambda cell: isinstance(cell, float),
    "``Explanation``": lambda cell: isinstance(cell, Explanation),
    "list of dicts": lambda cell: isinstance(cell, list) and {tuple(own) for own in cell} == {("feature", "activation")},
    "list of ``CitedPassage``": lambda cell: isinstance(cell, list) and {type(own) for own in cell} == {CitedPassage},
}
PAGE = Path(__file__).parent.parent / "pyterrier_xetrieval/pt_docs/columns.rst"
QUERY = "sort a list by two keys"
NEEDED, THERE = "needed", "if there"


def table() -> pd.DataFrame:
    """The rows of the page's table; its head gives the names of the columns."""
    rows = re.findall(r"^   \* - (.*\n(?:     .*\n)*)", PAGE.read_text(encoding="utf-8") + "\n", re.M)
    cells = [[" ".join(cell.split()) for cell in re.split(r"^     - ", row, flags=re.M)] for row in rows]
    return pd.DataFrame(cells[1:], columns=cells[0])


def documented(side: str) -> set[tuple[str, str, str]]:
    """Column, stage, and whether the stage needs it: in brackets are those that do without."""
    found = set()
    for column, cell in zip(table()["column"].str.strip("`"), table()[side]):
        found |= {(column, stage, THERE if bracket else NEEDED) for bracket, stage in re.findall(r"(\(?)``([^`]+)``", cell)}
    return found


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], pd.DataFrame]]:
    """Each stage of the page, and a frame with every column that any stage could read."""
    model, dataset = Xetrieval.default(), pydocs()
    encoder, llm = model.encoder(), lambda prompt: "Give a tuple of both keys [1]."
    corpus = [d for d in dataset.get_corpus_iter(verbose=False) if d["docno"].startswith(("list.", "sorted", "heapq."))]
    folder = tmp_path_factory.mktemp("columns")
    index = model.indexer(folder / "corpus.xetrieval", encoder=encoder, evidence=True).index(corpus)
    flex = index.vectors
    links = pd.DataFrame({"source": [461], "target": [1628], "weight": [-1.0]})
    tuned, calibrated = model.tuned(QueryTuning.from_parts(links, model.labels)), model.calibrated(index, strength=0.2)
    teacher = Teacher(lambda prompt: f"{prompt}?", prompts={aspect: f"{aspect}: {{text}}" for aspect in model.aspects})
    topics = pd.DataFrame({"qid": ["1"], "query": [QUERY]})

    load = index.text_loader() >> index.vec_loader()
    changed = (encoder >> calibrated >> tuned >> index.retriever(num_results=3) >> load)(topics)
    ranked = changed.assign(title="Python", score=[7.0, 9.0, 8.0], rank=[0, 2, 1])  # neither order is that of the other
    explained = (model.internalizer() >> model.explainer())(ranked)
    contexts = ContextBuilder(num_results=2)(explained)
    everything = contexts.drop(columns=[c for c in contexts if c in explained and c != "qid"]).merge(explained, on="qid")
    everything = CitingReader(llm)(everything)
    one = everything.drop_duplicates("qid", ignore_index=True)
    queries = one.drop(columns=[c for c in one if c.startswith(("doc", "text", "title", "score", "rank", "explanation"))])

    def written(documents: pd.DataFrame) -> pd.DataFrame:
        path = folder / f"index{len(list(folder.iterdir()))}"
        model.indexer(path, texts=True).index(documents)
        return pd.DataFrame({"docno": documents.get("docno")})

    return {
        "encoder.query_encoder()": (encoder.query_encoder(), everything),
        "encoder.doc_encoder()": (encoder.doc_encoder(), everything),
        "model.calibrated(index)": (calibrated, everything),
        "model.tuned(tuning)": (tuned, everything),
        "model.adapted(matrix)": (model.adapted(0.5 * np.eye(model.dim)), everything),
        "index.retriever()": (index.retriever(num_results=4), queries),
        "index.feature_retriever()": (index.feature_retriever(num_results=4), queries),
        "VectorLoader(index)": (VectorLoader(flex), everything),
        "index.vec_loader()": (index.vec_loader(), everything),
        "index.text_loader()": (index.text_loader(), everything),
        "dataset.text_loader()": (dataset.text_loader(), everything),
        "model.normalizer()": (model.with_check("off").normalizer(), everything),
        "model.internalizer()": (model.internalizer(), everything),
        "CoTReasoner(teacher, encoder)": (CoTReasoner(teacher, encoder), everything),
        "model.scorer()": (model.scorer(), everything),
        "model.fold()": (model.fold(), everything),
        "model.explainer()": (model.explainer(), everything),
        "index.explainer()": (index.explainer(), everything),
        "model.evidence()": (model.evidence(), everything),
        "index.evidence()": (index.evidence(), everything),
        "model.intervention(…)": (model.intervention("erase", features="shared", target="both"), everything),
        "model.reconstructor()": (model.reconstructor(), everything),
        "ContextBuilder()": (ContextBuilder(), everything),
        "ContextBuilder() ": (ContextBuilder(), everything.drop(columns="rank")),  # which then reads the scores
        "CitingReader(llm)": (CitingReader(llm), everything),
        "model.indexer(path)": (written, everything),
    }


def same(a: object, b: object) -> bool:
    """Equal cells; explanations with their words, and with what they say of other scores."""
    if isinstance(a, Explanation) and isinstance(b, Explanation):
        return a.to_dict() == b.to_dict()
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else str(a) == str(b)


def differing(one: pd.DataFrame, other: pd.DataFrame) -> set[str]:
    """The columns of both with other cells; all of them where the rows are others."""
    return {c for c in one if c in other and not (len(one) == len(other) and all(map(same, one[c], other[c])))}


def tried(stage: Callable[[pd.DataFrame], pd.DataFrame], frame: pd.DataFrame) -> tuple[set[str], dict[str, str]]:
    """What a stage writes, and what it reads: it is run again without each column of a frame in turn."""
    out = stage(frame)
    writes, reads = set(out) - set(frame), {}
    if len(out) == len(frame):
        writes |= differing(out, frame)
    for column in frame:
        try:
            without = stage(frame.drop(columns=column))
        except (KeyError, ValueError) as error:  # PyTerrier's error of a missing column is a KeyError
            assert column in str(error)
            reads[column] = NEEDED
            continue
        if column in without:
            writes.add(column)
        if (column in writes and column not in without) or differing(out, without):
            reads[column] = THERE
    return writes, reads


def test_the_table_says_what_each_stage_reads_and_writes(parts):
    written, read = set(), set()
    for name, (stage, frame) in parts.items():
        writes, reads = tried(stage, frame)
        own = {c: re.sub("(?<=doc_vec_).*", "<aspect>", c) for c in {*writes, *reads}}
        written |= {(own[column], name.strip(), NEEDED) for column in writes}
        read |= {(own[column], name.strip(), how) for column, how in reads.items()}
    assert written == documented("written by")
    assert read == documented("read by")


def test_the_table_says_what_the_cells_are(parts):
    frame = next(frame for _, frame in parts.values() if "explanation" in frame and "qcitations" in frame)
    names = frame.columns.str.replace("doc_vec_.*", "doc_vec_<aspect>", regex=True)
    assert set(names) == set(table()["column"].str.strip("`"))
    kinds = dict(zip(table()["column"].str.strip("`"), table()["cell"]))
    for name, column in zip(names, frame):
        assert all(map(KINDS[kinds[name]], frame[column])), name
