"""A page with words from the index alone: what it says, what it keeps, and that its files live as the others do."""

import re

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import Xetrieval, XetrievalIndex
from pyterrier_xetrieval.core.evidence import WordTable
from pyterrier_xetrieval.core.packed_evidence import pack_evidence
from pyterrier_xetrieval.index import merge
from pyterrier_xetrieval.index.strongest_words import document_table, pack_words, unpack_words
from pyterrier_xetrieval.words import phrases
from tests.helpers.builders import make_model
from tests.helpers.index import content, corpus

TEXTS = [
    "Return a new sorted list from the items in an iterable. A key function can be given.",
    "The river carries water from the mountains to the sea.",
    "Sort the list in place, by two keys in ascending order; the os.path of each file is its name.",
    "",
    "list.sort(key=None): a stable sort of the items of a list",
    "Merge several sorted inputs into one sorted output, as heapq.merge does for lists of numbers.",
]
DOCUMENTS = [{"docno": f"d{i}", "text": text} for i, text in enumerate(TEXTS)]
OPTIONS = {"evidence": True, "shard_size": 4, "batch_size": 2}
QUERY = "sort a list by two keys"


@pytest.fixture(scope="module")
def bundled():
    return Xetrieval.default()


@pytest.fixture(scope="module")
def encoder(bundled):
    return bundled.encoder()


@pytest.fixture(scope="module")
def index(bundled, encoder, tmp_path_factory):
    return bundled.indexer(tmp_path_factory.mktemp("words") / "index", encoder=encoder, **OPTIONS).index(DOCUMENTS)


@pytest.fixture(scope="module")
def page(index, encoder):
    return (encoder >> index.retriever(num_results=6) >> index.explainer()).search(QUERY)


def test_the_vectors_are_those_of_the_encoder(index, encoder):
    np.testing.assert_allclose(index.layout.vectors("vectors"), encoder.encode_docs(TEXTS), atol=1e-5)
    assert all(len(record) <= 1000 for record in index.layout.records("evidence", np.arange(6)))
    assert index.bytes_per_document()["evidence.u1"] > 200
    index.verify()


def test_the_words_are_those_of_the_texts(index, encoder, page):
    found = index.evidence(encoder)(page)
    assert list(found.columns) == list(page.columns) and not {"text", "doc_vec"} & set(page.columns)
    expected = (index.vec_loader() >> index.text_loader() >> index.model.evidence(encoder))(page)
    shown = agree = 0
    for before, e, full in zip(page["explanation"], found["explanation"], expected["explanation"]):
        assert e == before and before.evidence is None
        words, of_text = e.evidence.tables.query, full.evidence.tables.query
        words.check([*e.contributions, e.other, e.bias, e.residual], tolerance=1e-4)
        np.testing.assert_allclose(words.values, of_text.values, atol=2e-3)  # stored coefficients are rounded
        assert (e.evidence.query, e.evidence.document) == (QUERY, full.evidence.document)
        for i in range(len(e)):
            of_query, expected_of_query = ([p.text for p in x.evidence.phrases("query", i)] for x in (e, full))
            assert of_query == expected_of_query
            shown += 1
            kept, every = ({p.text for p in x.evidence.phrases("document", i)} for x in (e, full))
            agree += kept == every
        assert [row.feature for row in e.rows] == [row.feature for row in full.rows]
    assert shown > 100 and agree / shown >= 0.9
    best = found["explanation"][0].rows[0]
    assert "sort" in " ".join(best.query_words).lower() and "sort" in " ".join(best.document_words).lower()


def test_what_is_not_kept_is_said(index, encoder, page):
    e = index.evidence(encoder)(page)["explanation"][0]
    assert e.evidence.strongest_only and not e.evidence.exact and e.evidence.tables.query.exact
    assert repr(e.evidence) == f"WordEvidence({len(e)} features, strongest words of the document)"
    table = e.evidence.table("document")
    assert table.iloc[:, -4:].isna().all(axis=None) and table.iloc[-3:].isna().all(axis=None)
    carried = table.iloc[: len(e), :-4].sum(axis=1).to_numpy()
    assert (np.sign(carried) * np.sign(e.contributions) >= 0).all() and (carried != 0).mean() > 0.9
    assert e.evidence == index.evidence(encoder)(page)["explanation"][0].evidence
    e.evidence.tables.check([*e.contributions, e.other, e.bias, e.residual])  # of the query's side alone


def test_without_views(index, encoder):
    dense = index.with_views(())
    found = (encoder >> dense.retriever(num_results=6) >> dense.explainer() >> dense.evidence(encoder)).search(QUERY)
    for e in found["explanation"]:
        assert e.views == ("original",) and all(e.evidence.phrases("query", i) for i in range(len(e)))
        e.evidence.tables.check([*e.contributions, e.other, e.bias, e.residual], tolerance=1e-4)
    with pytest.raises(ValueError, match=r"explanations by index.explainer\(\), of views \('original', 'summary'"):
        index.evidence(encoder)(found)


def test_the_model_s_own_encoder_and_several_queries(index, encoder):
    queries = pd.DataFrame({"qid": ["1", "2"], "query": [QUERY, "water in the mountains"]})
    both = (encoder >> index.retriever(num_results=3) >> index.explainer() >> index.evidence())(queries)
    assert len(both) == 6 and all(e.evidence.query == query for e, query in zip(both["explanation"], both["query"]))
    first = both[both["qid"] == "2"].iloc[0]
    assert first["docno"] == "d1" and "water" in first["explanation"].evidence.phrases("document", 0)[0].text
    alone = (encoder >> index.retriever(num_results=3) >> index.explainer() >> index.evidence(encoder)).search(QUERY)
    for a, b in zip(alone["explanation"], both["explanation"]):
        np.testing.assert_allclose(a.evidence.tables.query.values, b.evidence.tables.query.values, atol=1e-4)


def test_parts_additions_and_resumed_runs_end_in_the_same_bytes(bundled, encoder, index, tmp_path):
    def indexer(name):
        return bundled.indexer(tmp_path / name, encoder=encoder, **OPTIONS)

    parts = [indexer(f"part{a}").index(DOCUMENTS[a:b]) for a, b in ((0, 2), (2, 6))]
    assert content(merge(parts, tmp_path / "merged").path) == content(index.path)

    def cut_off():
        yield from DOCUMENTS[:5]
        raise InterruptedError

    with pytest.raises(InterruptedError):
        indexer("resumed").index(cut_off())
    assert content(indexer("resumed").index(DOCUMENTS).path) == content(index.path)
    small = indexer("small").index(DOCUMENTS[:2])
    with pytest.raises(ValueError, match="expects the encoder itself"):
        small.indexer()
    grown = small.indexer(encoder=encoder, batch_size=2).index(DOCUMENTS[2:])
    assert content(merge([grown], tmp_path / "joined").path) == content(index.path)


def test_float16(bundled, encoder, tmp_path):
    index = bundled.indexer(tmp_path / "half", encoder=encoder, dtype="float16", **OPTIONS).index(DOCUMENTS)
    page = (encoder >> index.retriever(num_results=6) >> index.explainer() >> index.evidence(encoder)).search(QUERY)
    for e in page["explanation"]:
        e.evidence.tables.query.check([*e.contributions, e.other, e.bias, e.residual], tolerance=1e-4)


class Vectors:
    """A bi-encoder that no sentence-transformers model stands behind."""

    text_field = "text"

    def encode_docs(self, texts):
        return np.stack([d["doc_vec"] for d in corpus(len(texts))])


def test_encoders_that_say_nothing_of_words(model, tmp_path):
    with pytest.raises(ValueError, match=r"evidence=True expects the encoder itself.*found none"):
        model.indexer(tmp_path / "i", evidence=True)
    with pytest.raises(ValueError, match=r"averages its token vectors, found .*: it is no sentence-transformers model"):
        model.indexer(tmp_path / "i", encoder=Vectors(), evidence=True)
    assert not (tmp_path / "i").exists()


def test_joined_rankings_get_words_in_every_row(index, encoder):
    lexical = index.feature_retriever([461], num_results=6)
    joined = (encoder >> (index.retriever(num_results=2) + lexical) >> index.explainer()).search(QUERY)
    assert joined["query"].isna().any()
    assert all(e.evidence.query == QUERY for e in index.evidence(encoder)(joined)["explanation"])


def test_what_cannot_get_words(index, encoder, page, whole, tmp_path):
    with pytest.raises(ValueError, match=r"keeps the words of its documents, found .* or look for words with model.evidence\(\)"):
        whole.evidence()
    stage = index.evidence(encoder)
    with pytest.raises(ValueError, match="found none"):
        stage(page.assign(explanation=None))
    with pytest.raises(ValueError, match="no text in query"):
        stage(page.assign(query=None))
    with pytest.raises(ValueError, match="found other features of"):
        stage(page.assign(docno=page["docno"].tolist()[::-1]).drop(columns="docid"))
    assert list(stage(page.iloc[:0]).columns) == list(page.columns)
    copy = merge([index], tmp_path / "copy")
    (copy.path / "evidence.u1").write_bytes(b"\x05" * copy.layout.ends["evidence.u1"])
    with pytest.raises(ValueError, match=r"is damaged: .*index.verify\(\) says where"):
        XetrievalIndex(copy.path).evidence(encoder)(page)
    with pytest.raises(ValueError, match="evidence.u1 is damaged in shard 0"):
        XetrievalIndex(copy.path).verify()


def test_of_very_many_features_nothing_is_kept():
    class Codes:
        offsets = np.array([0, 2000])

    assert pack_words(make_model(), "a", None, [], Codes(), 0, True) == b""
    kept = unpack_words(b"", 2000)
    table = document_table("a", kept, np.array([0, 1999]), np.array([0.2, 0.1]))
    assert table.words.shape == (5, 0) and phrases("a", table.spans, table.words[0]) == []
    with pytest.raises(ValueError, match="expected words of 2 features, found those of 3"):
        unpack_words(pack_evidence(WordTable(np.empty((0, 2), np.int32), np.zeros((3, 4)))), 2)


def test_phrases_come_back_with_the_words_that_join_them():
    text, shares = "sort a list of keys, not os.path", [0.2, 0.0, 0.1, 0.0, 0.1, 0.0, 0.0, 0.06, 0.0, 0.06]
    spans = np.array([m.span() for m in re.finditer(r"\w+|[,.]", text)], np.int32)
    values = np.stack([shares, np.roll(shares, 1)])
    table = WordTable(spans, np.concatenate([values, np.zeros((2, 4))], axis=1))
    expected = [phrase.text for phrase in phrases(text, spans, shares)]
    assert expected == ["sort a list of keys", "os.path"]
    kept = unpack_words(pack_evidence(table), 2)
    found = document_table(text, kept, np.array([0]), np.array([0.52]))
    assert [phrase.text for phrase in phrases(text, found.spans, found.words[0])] == expected
    np.testing.assert_allclose(found.words[0].sum(), 0.52, atol=0.02)
    against = document_table(text, kept, np.array([0]), np.array([-0.52]))
    np.testing.assert_array_equal(against.words[0], -found.words[0])
