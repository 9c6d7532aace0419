"""The texts that an index keeps: any text comes back, and their files live as the index's other files do."""

import os
import signal

import pandas as pd
import pytest

from pyterrier_xetrieval import Xetrieval, XetrievalIndex
from pyterrier_xetrieval.index import merge
from pyterrier_xetrieval.index.texts import TextLoader, pack_text
from tests.helpers.builders import WORDS
from tests.helpers.children import OPTIONS, in_child
from tests.helpers.index import content, corpus, topics

ODD = ["", " ", "naïve café 日本 🦊", "half a pair \ud83e", "NUL \0 and\nlines", "long " * 5000]


def documents(n=40):
    texts = [*ODD, *(" ".join(WORDS[i % 12 :]) for i in range(n))]
    return [{**document, "text": text} for document, text in zip(corpus(n), texts)]


@pytest.fixture(scope="module")
def index(model, tmp_path_factory):
    return model.indexer(tmp_path_factory.mktemp("texts") / "index", texts=True, **OPTIONS).index(documents())


def test_every_text_comes_back(index):
    expected = {d["docno"]: d["text"] for d in documents()}
    found = (index.retriever(num_results=40) >> index.text_loader())(topics())
    assert len(found) == 200 and found["text"].tolist() == [expected[docno] for docno in found["docno"]]
    by_docno = index.text_loader()(pd.DataFrame({"docno": ["d7", "d0", "d7"]}))
    assert by_docno["text"].tolist() == [expected["d7"], "", expected["d7"]]
    assert list(index.text_loader()(found.iloc[:0]).columns) == list(found.columns)
    index.verify()


def test_prose_takes_about_half(model, tmp_path):
    prose = " ".join((model.sae.forward.__doc__ or "", XetrievalIndex.__doc__, TextLoader.__doc__, pd.DataFrame.merge.__doc__))
    assert len(pack_text(prose)) < 0.5 * len(prose)
    index = model.indexer(tmp_path / "i", texts=True).index([{**corpus(1)[0], "text": prose}])
    sizes = index.bytes_per_document()
    assert sizes["texts.u1"] == len(pack_text(prose)) and sizes["texts_end.i8"] == 8


def test_an_index_without_texts_is_as_it_always_was(whole, index):
    kept, plain = content(index.path), content(whole.path)
    assert set(kept) - set(plain) == {"texts.u1", "texts_end.i8"}
    assert {name for name in plain if plain[name] != kept[name]} == {"shards.jsonl", "pt_meta.json"}
    assert not {"texts", "evidence"} & set(whole.settings) and index.settings == {**whole.settings, "texts": True}
    with pytest.raises(ValueError, match=r"keeps the texts .* texts=True\), or give the pipeline a text loader"):
        whole.text_loader()


def test_parts_additions_and_a_killed_run_end_in_the_same_bytes(model, index, tmp_path):
    def indexer(name):
        return model.indexer(tmp_path / name, texts=True, **OPTIONS)

    parts = [indexer(f"part{a}").index(documents()[a:b]) for a, b in ((0, 7), (7, 30), (30, 40))]
    merged = merge(parts, tmp_path / "merged")
    assert content(merged.path) == content(index.path)
    grown = indexer("grown").index(documents()[:20]).indexer(batch_size=4).index(documents()[20:])
    assert content(merge([grown], tmp_path / "joined").path) == content(index.path)
    grown.verify()

    def killed():
        for i, document in enumerate(documents()):
            if i == 35:
                os.kill(os.getpid(), signal.SIGKILL)
            yield document

    assert in_child(lambda: indexer("resumed").index(killed())) == -signal.SIGKILL
    assert content(indexer("resumed").index(documents()).path) == content(index.path)


def test_with_and_without_do_not_mix(model, index, whole, tmp_path):
    with pytest.raises(ValueError, match=r"differ in \['texts'\]"):
        merge([whole, index], tmp_path / "a")
    with pytest.raises(ValueError, match=r"differ in \['texts'\]"):
        merge([index, whole], tmp_path / "b")

    def cut_off():
        yield from documents()[:20]
        raise InterruptedError

    with pytest.raises(InterruptedError):
        model.indexer(tmp_path / "i", texts=True, **OPTIONS).index(cut_off())
    with pytest.raises(ValueError, match=r"differ: {'texts': \(True, None\)}"):
        model.indexer(tmp_path / "i", **OPTIONS).index(documents())
    again = model.indexer(tmp_path / "i", resume=False, **OPTIONS).index(documents())
    assert content(again.path) == content(whole.path)  # nothing of the texts is left either


def test_documents_without_text(model, tmp_path):
    for wrong in (None, 3, float("nan")):
        told = f"XetrievalIndexer found no text in document 'd1': its text is {wrong}; .*missing='drop'"
        with pytest.raises(ValueError, match=told):
            model.indexer(tmp_path / "i", texts=True).index([documents(2)[0], {**corpus(2)[1], "text": wrong}])
    assert model.indexer(tmp_path / "i", texts=True).index_inputs() == [["docno", "doc_vec", "text"]]


@pytest.mark.parametrize("name", ["texts.u1", "texts_end.i8"])
def test_damage_is_found(index, tmp_path, name):
    copy = merge([index], tmp_path / "copy")
    data = bytearray((copy.path / name).read_bytes())
    data[len(data) // 2] ^= 16
    (copy.path / name).write_bytes(data)
    with pytest.raises(ValueError, match=f"{name} is damaged in shard"):
        XetrievalIndex(copy.path).verify()
    (copy.path / "texts.u1").write_bytes(b"\xff" * copy.layout.ends["texts.u1"])
    with pytest.raises(ValueError, match=r"is damaged: expected a packed text.*index.verify\(\) says where"):
        XetrievalIndex(copy.path).text_loader()(pd.DataFrame({"docno": ["d9"]}))


def test_a_docno_that_it_does_not_hold(index):
    with pytest.raises(ValueError, match="does not hold 1 of the documents"):
        index.text_loader()(pd.DataFrame({"docno": ["d1", "x"]}))


def test_documents_without_text_are_dropped_if_that_is_asked_for(model, tmp_path):
    given = documents(5)
    given[1]["text"], given[3]["text"], given[4]["text"] = float("nan"), "tea", None
    with pytest.warns(UserWarning, match="XetrievalIndexer dropped 2 of 5 documents without a text, the first is document 'd1'"):
        index = model.indexer(tmp_path / "i", texts=True, missing="drop").index(pd.DataFrame(given))
    assert len(index) == 3 and index.docids(["d0", "d2", "d3"]).tolist() == [0, 1, 2]
    assert len(model.indexer(tmp_path / "vectors").index(given)) == 5  # an index of vectors alone reads no text
    with pytest.raises(ValueError, match="XetrievalIndexer expects missing to be 'error' or 'drop', found None"):
        model.indexer(tmp_path / "i", missing=None)


def test_numbers_as_docnos_and_halves_of_characters_go_through_an_encoder(tmp_path):
    model = Xetrieval.default().with_views(())
    given = [{"docno": 7, "text": "sort \ud83d a list"}, {"docno": 8, "text": "make tea"}]
    index = model.indexer(tmp_path / "i", encoder=model.shared_encoder, texts=True).index(given)
    found = (model.shared_encoder >> index.retriever(num_results=1) >> index.text_loader()).search("sort a list")
    assert found[["docno", "text"]].values.tolist() == [["7", "sort \ud83d a list"]]
    assert index.text_loader()(pd.DataFrame({"docno": [8, 7]}))["text"].tolist() == ["make tea", "sort \ud83d a list"]
