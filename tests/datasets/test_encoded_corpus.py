"""The encoding of a corpus: continued after an interruption, and for one corpus and one encoder alone."""

import json

import numpy as np
import pandas as pd
import pytest
from pyterrier_dr import BiEncoder

from pyterrier_xetrieval.datasets import encoded_corpus
from pyterrier_xetrieval.datasets.corpus_file import Documents
from pyterrier_xetrieval.datasets.encoded_corpus import encode_corpus

DOCS = [{"docno": f"d{i}", "text": "a" * (i % 3) + "b" * (i % 5) + "c"} for i in range(25)]


class Letters(BiEncoder):
    """How often a, b and c occur; counts the texts that it has encoded, and stops after so many."""

    model_name = "letters"

    def __init__(self, *, stop=1000, factor=(1, 1, 1)):
        super().__init__()
        self.encoded, self.stop, self.factor = [], stop, np.array(factor, np.float32)

    def encode_docs(self, texts, batch_size=None):
        if len(self.encoded) >= self.stop:
            raise KeyboardInterrupt
        self.encoded.extend(texts)
        return np.array([[text.count(letter) for letter in "abc"] for text in texts], np.float32) * self.factor


def test_every_text_is_encoded_once_whatever_interrupts(tmp_path, monkeypatch):
    monkeypatch.setattr(encoded_corpus, "BLOCK", 10)
    first, second, third = Letters(stop=20), Letters(), Letters()
    with pytest.raises(KeyboardInterrupt):
        encode_corpus(DOCS, first, tmp_path / "work")
    found = encode_corpus(lambda: iter(DOCS), second, tmp_path / "work")
    assert first.encoded + second.encoded[1:] == [doc["text"] for doc in DOCS]  # one to see that it is the same encoder
    assert found.docnos == list(found.index.docnos().fwd) == [doc["docno"] for doc in DOCS]
    assert list(found.documents) == DOCS and found.texts[-1] == DOCS[-1]["text"] and len(found.texts) == 25
    np.testing.assert_array_equal(found.index.np_vecs(), Letters().encode_docs([doc["text"] for doc in DOCS]))
    encode_corpus(DOCS, third, tmp_path / "work")
    assert third.encoded == [DOCS[0]["text"]]
    names = {path.name for path in (tmp_path / "work").iterdir()}
    assert names == {"corpus.flex", "corpus.lock", "documents", "encoder.json"}


def test_blocks_of_another_size_are_encoded_again(tmp_path, monkeypatch):
    monkeypatch.setattr(encoded_corpus, "BLOCK", 20)
    with pytest.raises(KeyboardInterrupt):
        encode_corpus(DOCS, Letters(stop=20), tmp_path / "work")
    monkeypatch.setattr(encoded_corpus, "BLOCK", 10)  # of another version of this package
    encoder = Letters()
    found = encode_corpus(DOCS, encoder, tmp_path / "work")
    assert len(encoder.encoded) == 1 + len(DOCS)
    np.testing.assert_array_equal(found.index.np_vecs(), Letters().encode_docs([doc["text"] for doc in DOCS]))


def test_other_corpora_and_encoders_are_refused(tmp_path):
    encode_corpus(DOCS, Letters(), tmp_path / "work")
    with pytest.raises(ValueError, match="find: .*work was begun with another corpus .25 documents"):
        encode_corpus(DOCS[1:], Letters(), tmp_path / "work", stage="find")
    with pytest.raises(ValueError, match="other vectors of this encoder in .*work: the encoder has changed"):
        encode_corpus(DOCS, Letters(factor=(5, 1, -1)), tmp_path / "work")
    other = Letters()
    other.model_name = "other"
    with pytest.raises(ValueError, match="begun with name='letters', not 'other'"):
        encode_corpus(DOCS, other, tmp_path / "work")


def test_vectors_that_are_not_finite_leave_no_index(tmp_path):
    with pytest.raises(ValueError, match="finite vector for each of 25 texts"):
        encode_corpus(DOCS, Letters(factor=(np.nan, 1, 1)), tmp_path / "work")
    assert not (tmp_path / "work" / "corpus.flex").exists()


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([DOCS[0], {"docno": "d9"}], "documents with docno and text, found {'docno': 'd9'}"),
        ([DOCS[0], DOCS[0]], "found 2 documents of 1 docnos"),
        (DOCS[:1], "two documents or more"),
    ],
)
def test_documents_that_cannot_be_used_leave_no_folder(tmp_path, documents, message):
    with pytest.raises(ValueError, match=message):
        Documents.store(documents, tmp_path / "documents", stage="find")
    assert not list(tmp_path.iterdir())


def test_a_frame_and_a_file_with_documents_without_text(tmp_path):
    rows = [{"docno": d["docno"], "text": None if i % 5 == 0 else d["text"]} for i, d in enumerate(DOCS)]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for corpus, work in ((pd.DataFrame(rows), "a"), (tmp_path / "corpus.jsonl", "b"), (lambda: iter(rows), "c")):
        with pytest.raises(ValueError, match="no text in document 'd0'.*missing='drop'"):
            encode_corpus(corpus, Letters(), tmp_path / work)
        with pytest.warns(UserWarning, match="dropped 5 of 25 documents without a text"):
            encoded = encode_corpus(corpus, Letters(), tmp_path / work, missing="drop")
        assert encoded.docnos == [row["docno"] for row in rows if row["text"]] and len(encoded.index) == 20
