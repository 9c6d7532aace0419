"""The chain-of-thought reasoner: views from live texts, with the manners of every other stage."""

import json
import pickle

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from pyterrier_dr import FlexIndex

from pyterrier_xetrieval import VectorLoader
from pyterrier_xetrieval.llm.endpoints import EndpointLLM, FunctionLLM
from pyterrier_xetrieval.stages.base import RowWiseStage
from pyterrier_xetrieval.stages.reason import CoTReasoner
from pyterrier_xetrieval.training.teacher import Teacher
from tests.helpers.builders import make_model, unit
from tests.helpers.llm_server import real_server

CALLS = []


def echo(prompt: str) -> str:
    CALLS.append(prompt)
    return "" if "unspeakable" in prompt else f"{prompt}?"


class LetterEncoder:
    """A text's vector is how often each letter occurs in it, so that the text can be told from the vector."""

    def encode_docs(self, texts, batch_size=None):
        counts = np.array([[text.lower().count(chr(97 + i)) for i in range(16)] for text in texts], np.float32)
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)

    def __repr__(self):
        return "LetterEncoder()"

    def __eq__(self, other):
        return type(self) is type(other)

    def __hash__(self):
        return 1


ENCODER = LetterEncoder()
PROMPTS = {"summary": "aa {text}", "purpose": "bb {text}", "qa": "cc {text}"}
TEACHER = Teacher(echo, prompts=PROMPTS)


@pytest.fixture(autouse=True)
def no_calls_yet():
    CALLS.clear()


@pytest.fixture
def ranking() -> pd.DataFrame:
    texts = ["cab", "fig leaf", "head of a deer"]
    rows = [{"qid": q, "docno": f"d{i}", "text": t, "score": -i, "mine": f"{q}{i}"} for q in "12" for i, t in enumerate(texts)]
    return pd.DataFrame(rows, index=[5, 3, 1, 4, 2, 0])


TestPyTerrier = pt.testing.transformer_test_class(lambda: CoTReasoner(TEACHER, ENCODER))


def test_views_are_the_vectors_of_the_texts_one_request_per_document_and_aspect(ranking):
    out = CoTReasoner(TEACHER, ENCODER)(ranking)
    assert list(out.columns) == [*ranking.columns, "doc_vec_summary", "doc_vec_purpose", "doc_vec_qa"]
    pd.testing.assert_frame_equal(out[ranking.columns], ranking)
    assert sorted(CALLS) == sorted(prompt.replace("{text}", t) for prompt in PROMPTS.values() for t in ranking["text"].unique())
    for aspect, prompt in PROMPTS.items():
        expected = ENCODER.encode_docs([prompt.replace("{text}", text) for text in ranking["text"]])
        np.testing.assert_array_equal(np.stack(out[f"doc_vec_{aspect}"]), expected)
        assert out[f"doc_vec_{aspect}"].iloc[0] is out[f"doc_vec_{aspect}"].iloc[3] and expected.dtype == np.float32


def test_same_columns_as_the_internalizer_also_without_rows(ranking):
    given = ranking.assign(doc_vec=list(unit(np.random.default_rng(0), 6, 16)))
    internalizer, live = make_model().internalizer(), CoTReasoner(TEACHER, ENCODER)
    for frame in (given, given.iloc[:0]):
        assert list(live(frame).columns) == list(internalizer(frame).columns)
    none = live(given.iloc[:0])
    assert all(none[f"doc_vec_{aspect}"].dtype == object for aspect in PROMPTS) and none.index.equals(given.index[:0])


def test_texts_are_kept_with_the_object_or_in_the_cache(ranking, tmp_path):
    stage = CoTReasoner(TEACHER, ENCODER, aspects=["qa"])
    stage(ranking), stage(ranking.iloc[::-1])
    assert len(CALLS) == 3
    cached = CoTReasoner(TEACHER, ENCODER, aspects=["qa"], cache=tmp_path / "cot.jsonl")
    cached(ranking.iloc[:1]), cached(ranking)
    pd.testing.assert_frame_equal(
        CoTReasoner(TEACHER, ENCODER, aspects=["qa"], cache=tmp_path / "cot.jsonl")(ranking), stage(ranking)
    )
    assert len(CALLS) == 6
    copy = pickle.loads(pickle.dumps(cached))
    assert copy == cached and len(copy(ranking)) == 6 and len(CALLS) == 6


def test_a_file_written_over_the_corpus_prepares_the_stage(ranking, tmp_path):
    TEACHER.write(ranking, tmp_path / "cot.jsonl")
    CALLS.clear()
    stage = CoTReasoner(TEACHER, ENCODER, cache=tmp_path / "cot.jsonl")
    stage(ranking)
    assert not CALLS
    stage(ranking.assign(text="something new", docno="d1"))  # a document is its text, not its docno
    assert len(CALLS) == 3


def test_a_cache_of_another_model_is_refused(ranking, tmp_path):
    TEACHER.write(ranking, tmp_path / "cot.jsonl")
    other = Teacher(FunctionLLM(echo, name="other"), prompts=PROMPTS)
    with pytest.raises(ValueError, match="of model 'echo'.*'other'"):
        CoTReasoner(other, ENCODER, cache=tmp_path / "cot.jsonl")(ranking)


def test_titles_are_part_of_the_document(ranking):
    CoTReasoner(TEACHER, ENCODER, aspects=["qa"])(ranking.assign(title="bead").iloc[:1])
    assert CALLS == ["cc bead cab"]


def test_missing_texts_are_an_error_or_a_view_that_adds_nothing(ranking):
    inp = ranking.assign(text=[*ranking["text"][:5], "unspeakable"])
    with (
        pytest.warns(UserWarning),
        pytest.raises(ValueError, match="no text for 3 of 12 views, the first is 'summary'.*'unspeakable'"),
    ):
        CoTReasoner(TEACHER, ENCODER)(inp)
    stage = CoTReasoner(TEACHER, ENCODER, missing="zero")
    with pytest.warns(UserWarning):
        out = stage(inp)
    assert (out["doc_vec_qa"].iloc[5] == 0).all() and out["doc_vec_qa"].iloc[4].any()
    with pytest.warns(UserWarning):
        alone = stage(inp.iloc[5:])
    assert alone["doc_vec_qa"].iloc[0].shape == (16,) and not alone["doc_vec_qa"].iloc[0].any()


def test_a_batch_size_is_a_positive_whole_number():
    with pytest.raises(ValueError, match="CoTReasoner expects batch_size to be a positive whole number, found -3"):
        CoTReasoner(TEACHER, ENCODER, batch_size=-3)


def test_identity_representation_and_label():
    make = lambda **options: CoTReasoner(TEACHER, ENCODER, **options)  # noqa: E731
    assert make() == make() and hash(make()) == hash(make())
    variants = [
        make(), make(aspects=["qa"]), make(cache="a"), make(missing="zero"), make(batch_size=5), make(verbose=True),
        CoTReasoner(Teacher(echo), ENCODER),
    ]  # fmt: skip
    assert len(set(variants)) == len(variants)
    assert repr(make(aspects=["qa"])) == (
        "CoTReasoner(Teacher(FunctionLLM(<echo>), prompts=<summary, purpose, qa>), LetterEncoder(), aspects=('qa',))"
    )
    assert 0 < len(make().schematic["label"]) <= 20 and make().schematic["help_url"].startswith("https://")
    assert isinstance(make(), RowWiseStage)
    assert pt.inspect.transformer_apply_attributes(make(cache="a")) == make(cache="a")


def test_bad_options_are_named(ranking):
    for aspects in ("qa", ["nothing"]):
        with pytest.raises(ValueError, match="CoTReasoner expects aspects"):
            CoTReasoner(TEACHER, ENCODER, aspects=aspects)
    with pytest.raises(ValueError, match="missing to be 'error' or 'zero'"):
        CoTReasoner(TEACHER, ENCODER, missing="drop")
    with pytest.raises(pt.validate.InputValidationError, match="CoTReasoner"):
        CoTReasoner(TEACHER, ENCODER)(ranking.drop(columns="text"))
    with pytest.raises(ValueError, match="no text in document '.*set missing='zero'"):
        CoTReasoner(TEACHER, ENCODER)(ranking.assign(text=None))


def test_beside_the_internalizer_in_one_experiment_with_a_real_model(tmp_path):
    pytest.importorskip("xllamacpp")
    model, aspects = make_model(aspects=("summary", "qa")), ("summary", "qa")
    texts = {"d0": "Bees dance.", "d1": "Deaf chef.", "d2": "A cold night."}
    index = FlexIndex(str(tmp_path / "index.flex"), verbose=False)
    index.index([{"docno": d, "doc_vec": v} for d, v in zip(texts, ENCODER.encode_docs(texts.values()))])
    queries = pd.DataFrame({"qid": ["1"], "query": ["bead"], "query_vec": list(ENCODER.encode_docs(["bead"]))})
    qrels = pd.DataFrame({"qid": ["1"], "docno": ["d0"], "label": [1]})
    load_text = pt.apply.text(lambda row: texts[row["docno"]])
    llm = EndpointLLM("smollm2", base_url=f"{real_server().listening_address}/v1", max_tokens=6, temperature=0, workers=2)
    teacher = Teacher(llm, prompts={"summary": "Shorten: {text}", "qa": "Ask about: {text}"}, check=lambda a, t: None)
    live = CoTReasoner(teacher, ENCODER, cache=tmp_path / "cot.jsonl")
    first = index.np_retriever(num_results=3) >> VectorLoader(index) >> load_text
    systems = {
        "none": first >> model.scorer(),
        "internalizer": first >> model.internalizer() >> model.scorer(),
        "live": first >> live >> model.scorer(),
    }
    table = pt.Experiment(systems, queries, qrels, ["recip_rank"], plan="tree")
    assert table["name"].tolist() == list(systems) and table["recip_rank"].between(0.3, 1).all()
    written = [json.loads(line) for line in (tmp_path / "cot.jsonl").read_text().splitlines()]
    assert len(written) == 6 and {row["aspect"] for row in written} == set(aspects)
    compiled = ((index.np_retriever(num_results=3) >> VectorLoader(index) >> live) % 1).compile()
    assert compiled[0].num_results == 1  # the model is asked about no document that is cut off afterwards


def test_a_document_without_text_is_named_as_such(ranking):
    inp = ranking.assign(text=[*ranking["text"][:5], " "])
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="found a document without text.*missing='zero'"):
        CoTReasoner(TEACHER, ENCODER)(inp)


def test_a_document_without_text_has_a_view_that_adds_nothing(ranking):
    inp = ranking.assign(text=[*ranking["text"][:5], None], title=float("nan"))
    with pytest.raises(ValueError, match="CoTReasoner.* found no text in document .*: its text is (nan|None); .*missing='zero'"):
        CoTReasoner(TEACHER, ENCODER)(inp)
    with pytest.warns(UserWarning):
        out = CoTReasoner(TEACHER, ENCODER, missing="zero")(inp)
    assert not out["doc_vec_qa"].iloc[5].any() and out["doc_vec_qa"].iloc[4].any()
