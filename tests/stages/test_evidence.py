"""The words behind explanations by the bundled model: sums, texts that are missing, whose explanations they are."""

import json
import pickle
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import Explanation, Xetrieval
from tests.helpers.builders import make_model

TEXTS = [
    "Return a new sorted list from the items in an iterable. A key function can be given.",
    "The river carries water from the mountains to the sea.",
]


@pytest.fixture(scope="module")
def model():
    return Xetrieval.default()


@pytest.fixture(scope="module")
def encoder(model):
    return model.encoder()


@pytest.fixture(scope="module")
def frame(model, encoder):
    frame = pd.DataFrame({"qid": "1", "docno": ["a", "b", "a"], "text": [TEXTS[0], TEXTS[1], TEXTS[0]], "query": "sort a list"})
    frame["query_vec"] = list(encoder.encode_queries(["sort a list"])) * 3
    frame["doc_vec"] = list(encoder.encode_docs(frame["text"].tolist()))
    return frame


@pytest.mark.parametrize("views", [True, False])
@pytest.mark.parametrize("refit", [True, False])
def test_words_add_up_to_the_parts_of_the_score(model, encoder, frame, views, refit):
    inp = model.internalizer()(frame) if views else frame
    explained = (model.explainer(refit=refit) >> model.evidence(encoder, refit=refit))(inp)["explanation"]
    assert len(explained[0]) > 5
    for e in explained:
        e.evidence.tables.check([*e.contributions, e.other, e.bias, e.residual], tolerance=1e-4)
        for side in ("query", "document"):
            table = e.evidence.table(side)
            assert table.to_numpy().sum() == pytest.approx(e.score, abs=1e-4)
            assert table.index[: len(e)].tolist() == e.features.tolist()
    best = explained[0].rows[0]
    assert "sort" in " ".join(best.query_words).lower() and "sorted" in " ".join(best.document_words)
    assert str(best).startswith("“") and "“ ↔ “" not in str(best) and explained[0].evidence.exact
    assert explained[0] == explained[2]


def test_words_change_no_number(model, encoder, frame):
    before = model.explainer()(frame)["explanation"]
    after = model.evidence(encoder)(model.explainer()(frame))["explanation"]
    assert all(a == b and a.evidence is None and b.evidence is not None for a, b in zip(before, after))
    record = after[0].to_dict()["features"][0]
    assert record["query_words"] and record["document_words"] and "query_words" not in before[0].to_dict()["features"][0]


def test_what_the_encoder_did_not_read_is_told(model, encoder):
    e = model.explain("water", "The river carries water. " * 200)
    assert 1000 < e.evidence.stopped_at < len("The river carries water. " * 200)


def test_two_strings(model, encoder, frame):
    alone = model.explain("sort a list", TEXTS[0])
    several = model.explain("sort a list", texts=TEXTS)
    assert alone.score == pytest.approx(several[0].score, abs=1e-5) and [e.docno for e in several] == ["0", "1"]
    assert "“sort" in alone.sentence() and several[0].score > several[1].score
    expected = (model.internalizer() >> model.explainer())(frame)["explanation"][0]
    assert alone.score == pytest.approx(expected.score, abs=1e-5)
    for arguments in ({"text": "a", "texts": ["b"]}, {}, {"texts": "b"}, {"text": 3}, {"texts": ["a", None]}):
        with pytest.raises(ValueError, match="Xetrieval.explain expects"):
            model.explain("q", **arguments)


def test_missing_texts_and_foreign_explanations(model, encoder, frame):
    explained = model.explainer()(frame)
    with pytest.raises(ValueError, match="no text in document 'b': its text is None; .*missing='drop'"):
        model.evidence(encoder)(explained.assign(text=pd.Series(["a", None, "b"], dtype=object)))
    with pytest.raises(Exception, match="FeatureEvidence.*text"):
        model.evidence(encoder)(explained.drop(columns="text"))
    with pytest.raises(ValueError, match="explanations by its model's dictionary, found none"):
        model.evidence(encoder)(explained.assign(explanation=None))
    foreign = make_model().explainer()(frame.assign(query_vec=list(np.eye(3, 16)), doc_vec=list(np.eye(3, 16))))
    with pytest.raises(ValueError, match="explanations by its model's dictionary"):
        model.evidence(encoder)(explained.assign(explanation=foreign["explanation"]))
    assert list(model.evidence(encoder)(explained.iloc[:0]).columns) == list(explained.columns)


@pytest.mark.parametrize("nothing", [float("nan"), None, pd.NA], ids=str)  # as joined, and as Parquet gives it back
def test_rows_that_only_one_of_two_joined_rankings_found(model, encoder, frame, nothing):
    explained = model.explainer()(frame)
    joined = explained.assign(
        query=pd.Series(["sort a list", nothing, nothing], dtype=object),
        query_vec=pd.Series([frame["query_vec"][0], nothing, nothing], dtype=object),
    )
    found = model.evidence(encoder)(joined)["explanation"]
    for with_query, without in zip(model.evidence(encoder)(explained)["explanation"], found):
        assert with_query.shown.equals(without.shown) and without.evidence.query == "sort a list"
    with pytest.raises(ValueError, match="rows of query '1' without query, and another one in row 2"):
        model.evidence(encoder)(joined.assign(query=pd.Series(["sort a list", nothing, "sort"], dtype=object)))
    with pytest.raises(ValueError, match="no text in query '1'"):
        model.evidence(encoder)(joined.assign(query=pd.Series([nothing] * 3, dtype=object)))


def test_words_survive_a_dict_and_a_pickle(model, encoder, frame, tmp_path):
    explained = (model.explainer() >> model.evidence(encoder))(frame)["explanation"]
    records = explained.map(Explanation.to_dict)
    read = {"dict": records, "json": records.map(json.dumps).map(json.loads)}
    if find_spec("pyarrow"):
        records.to_frame().to_parquet(tmp_path / "words.parquet")
        read["parquet"] = pd.read_parquet(tmp_path / "words.parquet")["explanation"]
    for kind, found in read.items():
        for e, own in zip(explained, found.map(Explanation.from_dict)):
            assert e == own and e.to_dict() == own.to_dict() and e.shown.equals(own.shown), kind
            assert (e.sentence(), e.to_text(), e.to_html()) == (own.sentence(), own.to_text(), own.to_html())
            assert own.evidence == pickle.loads(pickle.dumps(own)).evidence != e.evidence
            with pytest.raises(ValueError, match="found phrases alone"):
                own.evidence.table("query")
    for e, own in zip(explained, pickle.loads(pickle.dumps(explained))):
        assert e.evidence == own.evidence and e.shown.equals(own.shown) and own.to_text() == e.to_text()
        tables = own.evidence.tables
        tables.check([*own.contributions, own.other, own.bias, own.residual])
        assert tables.query.values.dtype == np.float64
    beyond = records[0] | {"texts": records[0]["texts"] | {"document": "cut"}}
    with pytest.raises(ValueError, match="expected words that are in the text"):
        Explanation.from_dict(beyond)


def test_a_pickle_of_a_page_is_small(model, encoder, frame):
    page = pd.concat([frame] * 20).reset_index(drop=True)
    explained = (model.explainer() >> model.evidence(encoder))(page)[["explanation"]]
    words = np.mean(
        [e.evidence.tables.document.values.size + e.evidence.tables.query.values.size for e in explained["explanation"]]
    )
    explained["explanation"].map(str)  # what was looked at before is not kept
    assert len(pickle.dumps(explained)) / len(explained) < 4 * words + 3000


def test_another_name_of_the_text(model, encoder, frame):
    explained = model.explainer()(frame.rename(columns={"text": "body"}))
    assert model.evidence(encoder, text_field="body")(explained)["explanation"][0].evidence.document == TEXTS[0]


def test_explanations_from_an_index_get_their_words(model, encoder, frame, tmp_path):
    documents = frame.drop_duplicates("docno")[["docno", "text"]].to_dict("records")
    index = (encoder >> model.indexer(tmp_path / "index")).index(documents)
    texts = {d["docno"]: d["text"] for d in documents}
    found = (encoder >> index.retriever(num_results=2) >> index.vec_loader() >> index.explainer()).search("sort a list")
    explained = model.evidence(encoder)(found.assign(text=found["docno"].map(texts)))
    assert list(explained.columns) == [*found.columns, "text"]
    for e in explained["explanation"]:
        parts = [*e.contributions, e.other, e.bias, e.residual]
        e.evidence.tables.check(parts, tolerance=2e-3)  # an index rounds the coefficients that it stores
    with pytest.raises(ValueError, match="one set of its model's views"):
        model.with_views(()).evidence(encoder)(explained)


def test_rows_without_a_text_are_dropped_if_that_is_asked_for(model, encoder, frame):
    explained = model.explainer()(frame).assign(text=pd.Series(["a list", None, float("nan")], dtype=object))
    stage = model.evidence(encoder, missing="drop")
    with pytest.warns(UserWarning, match="dropped 2 of 3 documents without a text, the first is document 'b'"):
        found = stage(explained)
    assert found["docno"].tolist() == ["a"] and found["explanation"][0].evidence.document == "a list"
    # a cut before the stage would leave too few rows; PyTerrier must not move it there
    assert stage.fuse_rank_cutoff(1) is None and model.evidence(encoder).fuse_rank_cutoff(1) is not None
