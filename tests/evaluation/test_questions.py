"""All questions at once."""

import pandas as pd
import pytest

from pyterrier_xetrieval import Xetrieval, evaluation, sample
from pyterrier_xetrieval.datasets import Collection
from pyterrier_xetrieval.evaluation import QUESTIONS, evaluate
from pyterrier_xetrieval.evaluation.questions import ask
from tests.helpers.builders import make_model, random_sae, toy
from tests.helpers.letters import LetterCounts, Letters


class Numbered(Collection):
    """Documents and queries by number."""

    name = "numbered"

    def __init__(self, id_type=str, label_type=int):
        self.id_type, self.label_type = id_type, label_type

    def get_corpus_iter(self, *, verbose=False):
        yield from ({"docno": self.id_type(i), "text": text} for i, text in enumerate(("aab", "bbb", "cab", "ccc")))

    def get_topics(self, variant=None):
        return pd.DataFrame({"qid": [self.id_type(7), self.id_type(8)], "query": ["ab", "bb"]})

    def get_qrels(self, variant=None):
        rows = [(self.id_type(7), self.id_type(0), self.label_type(2)), (self.id_type(8), self.id_type(1), self.label_type(1))]
        return pd.DataFrame(rows, columns=["qid", "docno", "label"])


@pytest.fixture(scope="module")
def large() -> Xetrieval:
    """Enough active features for two sets of 256."""
    return make_model(random_sae(16, 1024, 24))


@pytest.fixture(scope="module")
def table(large):
    return evaluate(large, toy())


def test_every_question_answers_and_its_rows_say_so(table):
    assert list(table.columns[:2]) == ["what", "collection"]
    assert list(table.columns[-5:]) == ["measure", "value", "low", "high", "n"]
    assert list(table["what"].unique()) == list(QUESTIONS)
    assert set(table["collection"]) == {"toy"}


def test_a_question_alone_gives_the_rows_of_its_own_function(large, table):
    own = evaluation.erasure(large, toy(), seed=0)
    rows = table[table["what"] == "erasure"]
    pd.testing.assert_series_equal(rows["value"].reset_index(drop=True), own["value"])
    assert rows["set"].tolist() == own["set"].tolist()


def test_a_raw_dictionary_is_compared_where_the_paper_does(large):
    raw = random_sae(16, 1024, 24, seed=5)
    found = evaluate(large, toy(), what=["reconstruction", "erasure"], raw_sae=raw)
    assert list(found["sae"].dropna().unique()) == ["explainer", "raw", "random"]
    assert "direct" in set(found["set"].dropna())
    errors = found[(found["sae"] == "raw") & (found["measure"] == "mse") & (found["view"] == "original")]
    alone = evaluation.reconstruction(large, toy(), saes={"x": raw})
    expected = alone[(alone["measure"] == "mse") & (alone["view"] == "original")]["value"]
    assert errors["value"].tolist() == expected.tolist()


def test_dictionaries_are_given_only_to_questions_that_compare_them(large):
    found = ask("shares", large, toy(), {"seed": 0, "saes": "not a dictionary", "raw_sae": None})
    assert set(found["part"]) == {"shared", "other", "bias", "residual"}


def test_a_dataset_is_encoded_once_and_kept(tmp_path):
    model, encoder = make_model(random_sae(3, 8, 2)), LetterCounts()
    found = evaluate(model, Letters(), encoder=encoder, what=["retrieval"], cache=tmp_path)
    again = evaluate(model, Letters(), encoder=encoder, what=["retrieval"], cache=tmp_path)
    pd.testing.assert_frame_equal(found, again)
    assert set(found["collection"]) == {"letters"}


def test_what_cannot_be_asked(large):
    with pytest.raises(ValueError, match="'colour'"):
        evaluate(large, toy(), what=["colour"])
    with pytest.raises(ValueError, match="dimension 16, found 8"):
        evaluate(large, toy(dim=8))


def test_one_question_by_its_name_and_no_dataset(large):
    pd.testing.assert_frame_equal(evaluate(large, toy(), what="shares"), evaluate(large, toy(), what=["shares"]))
    with pytest.raises(ValueError, match="expects a PyTerrier dataset with corpus, topics and qrels, found 'irds:nothing'"):
        evaluate(large, "irds:nothing")


def test_ids_that_are_numbers(tmp_path):
    """Whatever a dataset has as ids, they are compared as strings; labels of whole numbers may have a point."""
    model, encoder = make_model(random_sae(3, 8, 2)), LetterCounts()
    expected = evaluate(model, Numbered(), encoder=encoder, what="retrieval", cache=tmp_path)
    found = evaluate(model, Numbered(int, float), encoder=encoder, what="retrieval", cache=tmp_path)
    pd.testing.assert_frame_equal(found, expected)
    assert sorted(d["docno"] for d in sample(Numbered(int), documents=3).get_corpus_iter())[0] == 0
    assert len(sample(Numbered(int), documents=3).get_topics()) == 2


@pytest.mark.parametrize("qrels", [None, pd.DataFrame({"qid": ["0"], "docno": ["0"]})])
def test_judgements_that_are_none(tmp_path, qrels):
    dataset = Numbered()
    dataset.get_qrels = lambda variant=None: qrels
    with pytest.raises(ValueError, match="expected the qrels of .* as a frame with columns"):
        evaluate(make_model(random_sae(3, 8, 2)), dataset, encoder=LetterCounts(), cache=tmp_path)


def test_labels_that_are_no_whole_numbers(tmp_path):
    dataset = Numbered()
    dataset.get_qrels = lambda variant=None: pd.DataFrame({"qid": ["0"], "docno": ["0"], "label": [0.5]})
    with pytest.raises(ValueError, match="expected whole numbers as labels in the qrels"):
        evaluate(make_model(random_sae(3, 8, 2)), dataset, encoder=LetterCounts(), cache=tmp_path)
