"""What fuzzing found, each kind once: columns that are there twice, sums beyond float32, files of nothing but brackets, …"""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from pyterrier_xetrieval import Explanation, FeatureLabels, Normalizer, SAEExplainer, Xetrieval, beir_folder, read_sae, write_sae
from pyterrier_xetrieval.checkpoints import read_state_dict
from pyterrier_xetrieval.core.confidence import Confidence
from pyterrier_xetrieval.core.edits import intervene
from pyterrier_xetrieval.core.views import unit_rows
from pyterrier_xetrieval.datasets.qrels_file import read_qrels
from pyterrier_xetrieval.encoders import load_encoder
from pyterrier_xetrieval.store.facts import read_json
from pyterrier_xetrieval.store.jsonl import json_lines, records
from tests.helpers.builders import identity_sae, make_model, random_sae
from tests.helpers.index import corpus, topics

MODEL = make_model()
PARAMETERS = dict.fromkeys(("intercept", "activation", "clarity", "detection", "contribution", "support"), 1.0)
BRACKETS = b"[" * 100_000
STAGES = {
    "internalizer": MODEL.internalizer(), "scorer": MODEL.scorer(), "fold": MODEL.fold(), "explainer": MODEL.explainer(),
    "erase": MODEL.intervention(features=[1]), "reconstructor": MODEL.reconstructor(), "normalizer": MODEL.normalizer(),
}  # fmt: skip


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return MODEL.indexer(tmp_path_factory.mktemp("fuzz") / "index").index(corpus(6))


@pytest.mark.parametrize("name", STAGES)
def test_a_column_that_is_there_twice_is_refused(name, results):
    twice = pd.concat([results, results[["doc_vec"]]], axis=1)
    with pytest.raises(ValueError, match=rf"^{type(STAGES[name]).__name__}.*expects one column 'doc_vec', found 2 of them"):
        STAGES[name](twice)
    note = pd.concat([results.assign(note=1), results[["mine"]]], axis=1)
    assert len(STAGES[name](note)) == len(results)


def test_a_score_or_a_query_that_is_there_twice(results, index):
    twice = pd.concat([results, results[["score"]]], axis=1)
    with pytest.raises(ValueError, match="SAEExplainer.*expects one column 'score', found 2"):
        MODEL.explainer()(twice)
    assert "docno" in index.vec_loader()(twice.assign(docno="d1")[["docno", "score"]]).columns
    asked = pd.concat([topics(2), topics(2)[["query_vec"]]], axis=1)
    with pytest.raises(ValueError, match="IndexRetriever.*expects one column 'query_vec', found 2"):
        index.retriever()(asked)


@pytest.mark.parametrize("name", STAGES)
def test_vectors_whose_squares_are_beyond_float32_are_refused(name, results):
    long = results.assign(doc_vec=[v * np.float32(1e25) for v in results.doc_vec])
    with pytest.raises(
        ValueError, match="found a length of 1.0e\\+25, which is too long for sums of float32, in doc_vec of document 'd0'"
    ):
        STAGES[name](long)
    assert len(STAGES[name](results.assign(doc_vec=[v * np.float32(1e12) for v in results.doc_vec]))) == len(results)


def test_very_short_vectors_have_a_direction(results):
    short = results.assign(doc_vec=[v * np.float32(1e-30) for v in results.doc_vec])
    found = np.stack(MODEL.normalizer()(short).doc_vec)
    np.testing.assert_allclose(found, np.stack(results.doc_vec), atol=1e-6)
    np.testing.assert_allclose(unit_rows(np.stack(short.doc_vec)), np.stack(results.doc_vec), atol=1e-6)
    kept = intervene(identity_sae(6, 3), np.full((1, 6), 1e-25, np.float32), [[0, 1]], "erase")
    np.testing.assert_allclose(kept[0] * 1e25, [0, 0, *[np.sqrt(6 / 4)] * 4], atol=1e-3)


def test_a_qid_that_is_no_id_is_named(results):
    for stage in (MODEL.scorer(), MODEL.explainer()):
        with pytest.raises(ValueError, match="expects a text or a number as qid, found list in row 0"):
            stage(results.assign(qid=[["q"]] * len(results)))


def test_a_score_too_large_for_a_float_is_no_score(results):
    assert MODEL.explainer()(results.assign(score=[10**400] * len(results))).explanation[0].ranking is None


def test_a_gap_among_tensors_is_filled(results):
    cells = [torch.tensor(v, requires_grad=True) for v in results.query_vec[:3]]
    one = results.iloc[:3].assign(query_vec=pd.Series([cells[0], cells[0].clone(), None], dtype=object))
    np.testing.assert_allclose(MODEL.scorer()(one).score, MODEL.scorer()(results.iloc[:3]).score, rtol=1e-6)


@pytest.mark.parametrize("stage", [MODEL.internalizer, MODEL.scorer, MODEL.fold, MODEL.explainer, MODEL.normalizer])
def test_no_model_is_told_at_once(stage):
    with pytest.raises(ValueError, match=f"{type(stage()).__name__} expects a model, an Xetrieval, found str"):
        type(stage())("model")
    with pytest.raises(ValueError, match="expects a model, an Xetrieval, found NoneType"):
        SAEExplainer(None)
    with pytest.raises(ValueError, match="expects a model"):
        Normalizer(7)


def test_an_index_is_asked_with_every_kind_of_vector_and_column(index):
    asked = topics(2)
    expected = index.retriever(num_results=3)(asked)
    kinds = [lambda v: torch.tensor(v, requires_grad=True), lambda v: v.tolist(), lambda v: v.astype(np.float64)]
    for kind in kinds:
        cells = pd.Series([None, None], dtype=object)
        for i, v in enumerate(asked.query_vec):
            cells.iat[i] = kind(v)
        odd = asked.assign(query_vec=cells, qid=pd.Series([("a", 1), ("b", 2)], dtype=object))
        odd[7] = "a column"
        found = index.retriever(num_results=3)(odd)
        assert found.docno.tolist() == expected.docno.tolist() and found[7].tolist() == ["a column"] * 6
        np.testing.assert_allclose(found.score.astype(float), expected.score.astype(float), rtol=1e-6)
        assert found.qid.tolist() == [("a", 1)] * 3 + [("b", 2)] * 3


def test_docnos_that_no_index_can_hold_are_unknown(tmp_path):
    documents = [{"docno": "\ufffd", "doc_vec": corpus(1)[0]["doc_vec"]}, *corpus(2)]
    index = MODEL.indexer(tmp_path / "index").index(documents)
    for docno in ("\ud800", "\0"):  # neither is the document whose docno is the replacement character
        with pytest.raises(ValueError, match="not hold|no vector"):
            index.features_of(docno)
        with pytest.raises(ValueError, match="not hold|no vector"):
            index.vec_loader()(pd.DataFrame({"docno": pd.Series([docno], dtype=object)}))


def test_lists_in_lists_are_no_json(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(BRACKETS + b"\n{}\n")
    with pytest.raises(ValueError, match="line 1 of .*corpus.jsonl is no JSON: .*lists in lists"):
        list(records(path))
    with pytest.raises(ValueError, match="line 1 of .*corpus.jsonl is no JSON object"):
        list(json_lines(path))
    folder = write_sae(random_sae(), tmp_path / "sae", format="sparsify")
    (folder / "cfg.json").write_bytes(BRACKETS)
    with pytest.raises(ValueError, match="cfg.json is no JSON file: .*lists in lists"):
        read_sae(folder)


def test_damaged_checkpoints_are_named(tmp_path):
    torch.save({"a": torch.zeros(3)}, tmp_path / "a.pt")
    whole = (tmp_path / "a.pt").read_bytes()
    for at in range(0, len(whole), 7):  # whatever the reader of torch makes of it
        (tmp_path / "b.pt").write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            read_state_dict(tmp_path / "b.pt")
        except ValueError as error:
            assert "b.pt" in str(error)
    with pytest.raises(FileNotFoundError, match="no.pt is missing"):
        read_state_dict(tmp_path / "no.pt")
    with pytest.raises(FileNotFoundError, match="is no file"):
        read_state_dict(tmp_path)


def test_other_bytes_than_text_are_named(tmp_path):
    (tmp_path / "x").write_bytes(b"\xff\xfe")
    for read in (lambda p: read_qrels(p), lambda p: FeatureLabels.read_hypotheses(p, 8)):
        with pytest.raises(ValueError, match=f"{tmp_path / 'x'} expects text in UTF-8"):
            read(tmp_path / "x")
    for label in ("99999999999999999999999", "1e999999999", "inf", "sNaN", "1_0", "0.5", "x"):
        (tmp_path / "x").write_text(f"q1 0 d1 {label}\n")
        with pytest.raises(ValueError, match="line 1 of .* expects a whole number as the label"):
            read_qrels(tmp_path / "x")


def test_labels_beyond_what_a_float_holds(tmp_path):
    told = {"9007199254740993": 2**53 + 1, "9223372036854775807": 2**63 - 1, "-2.0": -2, "1e2": 100}
    (tmp_path / "x").write_text("".join(f"q1 0 d1 {label}\n" for label in told))
    assert read_qrels(tmp_path / "x").label.tolist() == list(told.values())


@pytest.mark.parametrize("line", ["q1\t\t2", "\td1\t2", "q1\t0\t \t2"])
def test_a_judgement_names_query_and_document(tmp_path, line):
    (tmp_path / "x").write_text(f"{line}\n")
    with pytest.raises(ValueError, match="line 1 of .* expects the ids of a query and a document, found none in"):
        read_qrels(tmp_path / "x")


def test_halves_of_characters_are_no_utf8(tmp_path):
    """Python's reader of JSON takes them among bytes, and UTF-16."""
    for data in (b'{"a": "\xed\xa0\x80"}', '{"a": "x"}'.encode("utf-16"), '{"a": "x"}'.encode("utf-32-be")):
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(ValueError, match="line 1 of .* is no JSON"):
            list(records(tmp_path / "x"))
        with pytest.raises(ValueError, match="x is damaged"):
            read_json(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbf{}")
    assert read_json(tmp_path / "x") == {}


@pytest.mark.parametrize("ids", ["d1", {"a": 1}, [None], [["d1"]], 7])
def test_excluded_documents_are_a_list(tmp_path, ids):
    """A text in its place was taken for a list of its characters."""
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "tea", "excluded_ids": ids}))
    with pytest.raises(ValueError, match="line 1 of .*queries.jsonl expects excluded_ids to be a list of document ids"):
        beir_folder(tmp_path).get_excluded()
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "tea", "metadata": "of another kind"}))
    assert beir_folder(tmp_path).get_excluded().empty


def test_facts_of_a_record_are_numbers(results):
    record = next(e for e in MODEL.explainer()(results).explanation if len(e)).to_dict()
    record["features"][0]["clarity"] = "x"
    with pytest.raises(ValueError, match="Explanation.from_dict expects"):
        Explanation.from_dict(record)


def test_why_not_with_a_page_of_one():
    model = Xetrieval.default().with_views(())
    texts = ["Sort a list.", "Boil water.", "Rivers run to the sea."]
    from tempfile import mkdtemp

    index = model.indexer(mkdtemp() + "/index", encoder=model.encoder()).index(
        [{"docno": f"d{i}", "text": text} for i, text in enumerate(texts)]
    )
    assert model.why_not("sort lists", "d1", index, num_results=1).rank > 0
    with pytest.raises(ValueError, match="does not hold the document"):
        model.why_not("sort lists", "\ud800", index)


def test_aspects_and_weights_of_other_types():
    with pytest.raises(ValueError, match="expects names of aspects, found"):
        MODEL.with_views([["qa"]])
    with pytest.raises(ValueError, match="with_views expects numbers as weights"):
        MODEL.with_views(["qa"], b"x")  # was the weight 120


def test_explanations_of_other_vectors_have_no_words():
    model = Xetrieval.default().with_views(())
    one, other = model.explain("sort a list", "Return a sorted list."), model.explain("make tea", "Boil water for the tea.")
    assert one.evidence is not None
    frame = pd.DataFrame({"qid": ["1"], "query": ["sort a list"], "docno": ["d"], "text": ["Return a sorted list."]})
    frame = (model.shared_encoder.query_encoder() >> model.shared_encoder.doc_encoder())(frame)
    with pytest.raises(ValueError, match="FeatureEvidence.* expects explanations of the frame's vectors"):
        model.evidence()(frame.assign(explanation=pd.Series([other], dtype=object)))


@pytest.mark.parametrize("facts", [b"{", b"[]", b"{}", b'{"shards": "x"}', b'{"shards": 1, "a": "\xed\xa0\x80"}'])
def test_facts_that_an_indexer_finds_are_checked(tmp_path, facts):
    index = MODEL.indexer(tmp_path / "index").index(corpus(6))
    (tmp_path / "index" / "pt_meta.json").write_bytes(facts)
    for indexer in (MODEL.indexer(tmp_path / "index"), index.indexer()):
        with pytest.raises(ValueError, match="pt_meta.json is damaged"):
            indexer.index(corpus(1))


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_configuration_of_an_encoder_is_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match="config.json is damaged"):
        load_encoder({"name": str(tmp_path), "dim": 8})


@pytest.mark.parametrize("facts", [1.5, None, "x", list(PARAMETERS), {**PARAMETERS, 1: 2}, {**PARAMETERS, "clarity": 10**400}])
def test_parameters_of_a_confidence_are_an_object_of_numbers(facts):
    with pytest.raises(ValueError, match="^Confidence expects"):
        Confidence.from_dict(facts)


def test_whole_numbers_beyond_any_float_are_no_numbers(tmp_path, index):
    with pytest.raises(ValueError, match="FeatureIntervention expects alpha"):
        MODEL.intervention("scale", features=[1], alpha=10**400)
    with pytest.raises(ValueError, match="FeatureRetriever expects finite numbers as weights"):
        index.feature_retriever(features={1: 10**400})
    with pytest.raises(ValueError, match="SAEExplainer expects threshold"):
        MODEL.explainer(threshold=10**400)
    MODEL.save(tmp_path / "model")
    facts = json.loads((tmp_path / "model" / "pt_meta.json").read_text())
    facts["weights"] = dict.fromkeys(facts["weights"], 10**400)
    (tmp_path / "model" / "pt_meta.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="pt_meta.json is damaged: expected weights to be a finite number for each aspect"):
        Xetrieval(tmp_path / "model")
