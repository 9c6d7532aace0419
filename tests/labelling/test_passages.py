"""The part of a text around the words that carry a feature, these words marked, and labels told apart by them."""

import numpy as np
import pytest

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.core.internalizer import internalize
from pyterrier_xetrieval.core.readings import secant
from pyterrier_xetrieval.labelling import EvidencePassages
from pyterrier_xetrieval.labelling.passages import activation_shares, passage_text
from pyterrier_xetrieval.labelling.told_apart import carrying_words, told_apart
from pyterrier_xetrieval.token_vectors import TokenEncoder
from tests.helpers.builders import make_model

FILLER = "The committee met again and the minutes of the last meeting were read and approved by all. " * 4


@pytest.fixture(scope="module")
def model():
    return Xetrieval.default()


@pytest.fixture(scope="module")
def evidence(model):
    return EvidencePassages(model, TokenEncoder(model.encoder()))


def places(text, *words):
    return [(text.index(word), text.index(word) + len(word)) for word in words]


def test_places_are_marked_and_a_long_text_is_cut_to_where_most_is():
    text = "zero one  two\nthree four five six seven eight nine"
    assert passage_text(text, places(text, "one", "six"), {}, 100) == "zero **one** two three four five **six** seven eight nine"
    own = places(text, "one", "five", "six")
    shares = dict(zip(own, (0.5, 0.3, 0.3)))
    assert passage_text(text, own, shares, 24) == "… four **five** **six** seven …"
    shares = dict(zip(own, (0.7, 0.3, 0.3)))  # the one place carries more than both others
    assert passage_text(text, own, shares, 20) == "zero **one** two …"
    assert passage_text(text, own, shares, 20, mark=False) == "zero one two …"
    assert passage_text(text, places(text, "nine"), {(46, 50): 1.0}, 16) == "… eight **nine**"
    assert passage_text(text, [], {}, 12) == "zero one tw…"  # where nothing carries it, the beginning
    assert passage_text("a **b** c", [(2, 7)], {(2, 7): 1.0}, 50) == "a **b** c"  # the text's own marks are not doubled


@pytest.mark.parametrize("size", [12, 20, 33, 60, 200])
def test_a_passage_is_no_longer_than_asked(size):
    text = " ".join(f"word{i}" for i in range(60))
    for i in range(0, 60, 7):
        own = places(text, f"word{i}")
        found = passage_text(text, own, {own[0]: 1.0}, size)
        assert f"**word{i}**" in found and len(found.replace("**", "")) <= size


def test_shares_add_up_to_the_activation_in_the_view_where_it_is_largest(model):
    words = TokenEncoder(model.encoder()).words(["Sort a list of words by their length, then return it."])[0]
    z, sae = words.vector.astype(np.float32), model.sae
    views = [z, *(internalize(m, z[None], batch_size=1)[0] for m in model.internalizers.values())]
    reads = np.stack([sae.w_enc.detach().numpy() @ view for view in views])
    for v in range(len(views)):
        j = int(np.argmax(reads[v] - np.delete(reads, v, axis=0).max(axis=0)))  # one that this view has most of
        assert reads[:, j].argmax() == v
        shares = activation_shares(model, words, [j, 461])
        assert shares.shape == (2, len(words.spans))
        assert shares[1] == pytest.approx(activation_shares(model, words, [461])[0])
        row, rest = sae.w_enc[j].detach().numpy(), words.rows[len(words.spans) :]  # special tokens, prompt, constant
        if v == 0:
            carried_by_none = (rest @ row).sum()
        else:
            view = secant(list(model.internalizers.values())[v - 1], z)
            carried_by_none = (rest @ view.pull_back(row[None])[0]).sum() + row @ view.constant
        assert shares[0].sum() + carried_by_none == pytest.approx(reads[v, j], abs=1e-5)


def test_a_real_encoder_marks_the_words_of_a_feature(evidence):
    long = f"{FILLER}Then the list was sorted in ascending order.\n{FILLER}"
    texts = ["Return a new sorted list.", long, "Return a new sorted list."]
    short, cut, again = evidence.read(texts, [461, 461, 461], 120)  # sorting or ordering data
    assert "sorted" in short.words and "**" in short.text and short.text.replace("**", "") == texts[0] and again == short
    assert cut.text.startswith("… ") and cut.text.endswith(" …") and "sorted" in cut.text.replace("*", "")
    assert len(cut.text.replace("**", "")) <= 120 and not set(cut.words) & {"the", "was", "in", "and"}
    plain = evidence.read([long], [461], 120, mark=False)[0]
    assert plain.text == cut.text.replace("**", "")


def test_an_encoder_whose_vector_is_no_sum_is_refused():
    class Opaque:
        batch_size = 8

        def encode_docs(self, texts):
            return np.ones((len(texts), 16), np.float32)

    with pytest.raises(ValueError, match="averages its token vectors, but it is no sentence-transformers model"):
        EvidencePassages(make_model(), TokenEncoder(Opaque()))


def test_equal_labels_are_told_apart_by_their_next_words():
    labels = {1: "sorting lists", 2: "Sorting lists", 3: "sorting lists", 4: "tea"}
    words = {1: ["sort", "list", "keys"], 2: ["lists", "sorted", "heap"], 3: ["sort"], 4: ["tea", "cups"]}
    assert told_apart(labels, words) == {1: "sorting lists (keys)", 2: "Sorting lists (heap)", 3: "sorting lists", 4: "tea"}
    assert carrying_words([["keys", "sorts"], ["key"], ["key", "sort"], []]) == ["key", "sorts"]
