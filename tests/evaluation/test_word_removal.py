"""Deletion and insertion of words, against the encoder asked by hand; and what is refused."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.evaluation import word_faithfulness
from pyterrier_xetrieval.evaluation.word_removal import METHODS, word_faithfulness_scores
from pyterrier_xetrieval.token_vectors import TokenEncoder
from tests.helpers.builders import make_model
from tests.helpers.reading import embedded


@pytest.fixture(scope="module")
def model():
    return Xetrieval.default()


@pytest.fixture(scope="module")
def collection(model):
    return embedded(model.encoder())[0]


@pytest.fixture(scope="module")
def pairs(model, collection):
    return word_faithfulness(model, collection, encoder=model.encoder(), n_docs=4, per_pair=True, seed=1)


def pre_activation(model, text, feature):
    z = model.encoder().encode_docs([text])[0].astype(np.float64)
    row, b = (part.detach().double().numpy() for part in (model.sae.w_enc[feature], model.sae.b_dec))
    return row @ (z - b) + float(model.sae.b_enc[feature])


def test_the_word_of_the_largest_share_is_taken_out(model, collection, pairs):
    texts, reader = dict(zip(collection.docnos, collection.texts(range(5)))), TokenEncoder(model.encoder())
    assert pairs.groupby("docno")["method"].apply(list).tolist() == [list(METHODS)] * pairs["docno"].nunique()
    for row in pairs[pairs["method"] == "evidence"].itertuples():
        text, words = texts[row.docno], reader.words([texts[row.docno]])[0]
        shares = words.rows[: len(words.spans)] @ model.sae.w_enc[row.feature].detach().numpy()
        spoken = [i for i, (a, b) in enumerate(words.spans) if any(map(str.isalnum, text[a:b]))]
        count = max(1, round(0.1 * len(spoken)))
        best = sorted(sorted(spoken, key=lambda i: -shares[i])[:count])
        fewer = text
        for i in reversed(best):
            fewer = fewer[: words.spans[i, 0]] + fewer[words.spans[i, 1] :]
        kept = " ".join(text[slice(*words.spans[i])] for i in best)
        whole = pre_activation(model, text, row.feature)
        assert row.words == len(spoken) and whole > 0
        assert row.deletion == pytest.approx(1 - pre_activation(model, fewer, row.feature) / whole, abs=1e-4)
        assert row.insertion == pytest.approx(pre_activation(model, kept, row.feature) / whole, abs=1e-4)


def test_no_single_word_takes_more_away_than_leave_one_out_finds(pairs):
    table = pairs[pairs["words"] < 15].pivot(index="docno", columns="method", values="deletion")  # one word each
    assert len(table) >= 3 and (table.max(axis=1) <= table["leave_out"] + 1e-4).all()
    assert table["evidence"].mean() > table["random"].mean() + 0.1


def test_means_and_differences(model, collection, pairs):
    scores = word_faithfulness(model, collection, encoder=model.encoder(), n_docs=4, seed=1)
    assert list(scores.columns) == ["collection", "method", "measure", "value", "low", "high", "n"]
    value = scores.set_index(["method", "measure"])["value"]
    means = pairs.groupby("method")[["deletion", "insertion"]].mean()
    assert value["evidence", "insertion"] == pytest.approx(means.loc["evidence", "insertion"])
    expected = means.loc["evidence", "deletion"] - means.loc["random", "deletion"]
    assert value["random", "deletion_difference"] == pytest.approx(expected)
    assert ("evidence", "deletion_difference") not in value and set(scores["n"]) == {len(pairs) / len(METHODS)}


def test_several_collections_together(pairs):
    both = word_faithfulness_scores(pd.concat([pairs, pairs.assign(collection="other", deletion=0.0)]))
    value = both.set_index(["collection", "method", "measure"])["value"]
    assert value["all", "evidence", "deletion"] == pytest.approx(value["animals", "evidence", "deletion"] / 2)
    assert value["other", "evidence", "deletion"] == 0


def test_refused(model, collection):
    with pytest.raises(ValueError, match="word_share in"):
        word_faithfulness(model, collection, encoder=model.encoder(), word_share=1.0)
    with pytest.raises(ValueError, match="n_docs"):
        word_faithfulness(model, collection, encoder=model.encoder(), n_docs=0)
    with pytest.raises(ValueError, match="of 10 words or more .* found none in 'animals'"):
        word_faithfulness(model, collection, encoder=model.encoder(), max_words=9)
    with pytest.raises(ValueError, match="collections with texts"):
        word_faithfulness(model, dataclasses.replace(collection, texts=None), encoder=model.encoder())

    class Opaque:
        batch_size, text_field = 8, "text"

        def encode_docs(self, texts):
            return np.ones((len(texts), 16), np.float32)

        encode_queries = encode_docs

    with pytest.raises(ValueError, match="averages its token vectors, but it is no sentence-transformers model"):
        word_faithfulness(make_model(), collection, encoder=Opaque())
