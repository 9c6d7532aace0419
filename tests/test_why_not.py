"""Why a document is not on the page: ranks, sums and words, by the bundled model over a few docstrings."""

import pickle
import re
from dataclasses import replace

import pyterrier as pt
import pytest
from pyterrier_dr import FlexIndex

from pyterrier_xetrieval import Xetrieval, XetrievalIndex

TEXTS = {
    "sorted": "Return a new list containing all items from the iterable in ascending order.",
    "list.sort": "Sort the list in ascending order and return None.",
    "heapq.merge": "Merge multiple sorted inputs into a single sorted output.",
    "random.shuffle": "Shuffle list x in place, and return None.",
    "os.remove": "Remove a file, same as unlink.",
    "time.sleep": "Delay execution for a given number of seconds.",
}
QUERY = "sort a list"


@pytest.fixture(scope="module")
def model():
    return Xetrieval.default()


@pytest.fixture(scope="module", params=["flex", "flex by cosine", "xetrieval", "xetrieval without views"])
def index(request, model, tmp_path_factory):
    folder, corpus = tmp_path_factory.mktemp("why_not"), [{"docno": d, "text": t} for d, t in TEXTS.items()]
    if request.param == "flex":
        index = FlexIndex(str(folder / "i.flex"), verbose=False)
        (model.shared_encoder >> index).index(corpus)
        return index
    if request.param == "flex by cosine":
        index = FlexIndex(str(folder / "i.flex"), sim_fn="cos", verbose=False)
        longer = pt.apply.doc_vec(lambda row: row["doc_vec"] * (1 + len(row["text"]) % 7))  # so that a dot product would differ
        (model.shared_encoder >> longer >> index).index(corpus)
        return index
    own = model.with_views(()) if "without" in request.param else model
    return (model.shared_encoder >> own.indexer(folder / "i")).index(corpus)


def test_what_is_missing_adds_up_to_the_gap_to_the_page(model, index):
    answer = model.why_not(QUERY, "time.sleep", index, num_results=2)
    assert answer.rank >= 2 and answer.documents == len(TEXTS) and answer.gap > 0
    table = answer.table
    assert table["missing"].sum() == pytest.approx(table["page"].sum() - table["document"].sum(), abs=1e-6)
    assert table["document"].sum() == pytest.approx(answer.score, abs=1e-4)
    assert table["missing"].sum() == pytest.approx(answer.page_mean - answer.score, abs=1e-4)
    first = table.iloc[0]
    assert first["missing"] == table["missing"].max() > 0.02 and any("sort" in word for word in first["query_words"])
    told = str(answer)
    assert f"{answer.gap:.3f} less than place 2 and {answer.page_mean - answer.score:.3f} less than the page's mean" in told
    lacking = table[table["shown"] & (table["missing"] > 0)].head(3)
    assert len(lacking) == 3 and [f"*{label}*" in told for label in lacking["label"]] == [True] * 3
    numbers = [float(number.replace("−", "-")) for number in re.findall(r"[−+]\d\.\d+", told)]
    assert sum(numbers) == pytest.approx(answer.score - answer.page_mean, abs=0.0025)  # they are rounded
    own = index.retriever(num_results=6) if isinstance(index, XetrievalIndex) else index.np_retriever(num_results=6)
    ranking = (model.shared_encoder >> own).search(QUERY)
    assert ranking[ranking["docno"] == "time.sleep"]["rank"].item() == answer.rank
    assert ranking["score"].iloc[1] == pytest.approx(answer.page_score, abs=1e-4)


def test_a_document_on_the_page_is_compared_with_the_others(model, index):
    answers = [model.why_not(QUERY, docno, index, num_results=3) for docno in TEXTS]
    seen = set()
    for answer in (a for a in answers if a.rank < 3):
        less, told = answer.page_mean - answer.score, answer.sentence()
        assert answer.gap <= 1e-6 and f"it is on the page and {abs(less):.3f} {'less' if less > 0 else 'more'} than" in told
        named = re.search("It (lacks|has more of) ", told)[1]
        assert named == ("lacks" if less > 0 else "has more of")
        seen.add(named)
        numbers = [float(number.replace("−", "-")) for number in re.findall(r"[−+]\d\.\d+", told)]
        assert sum(numbers) == pytest.approx(-less, abs=0.0025) and all(n * less < 0 for n in numbers[:-1])
    assert seen == {"lacks", "has more of"}


def test_features_whose_labels_may_not_fit_are_not_named(model, index):
    answer = model.why_not(QUERY, "time.sleep", index, num_results=2)
    table = answer.table.assign(shown=False)
    assert "*" not in str(replace(answer, table=table)) and str(replace(answer, table=table)).endswith("the page's mean.")
    unsure = answer.table[~answer.table["shown"]].dropna(subset="feature")
    assert len(unsure) and (unsure["confidence"] < model.min_confidence).all()


def test_unknown_documents_and_bad_pages(model, index):
    with pytest.raises(ValueError, match="nope"):
        model.why_not(QUERY, "nope", index)
    with pytest.raises(ValueError, match="num_results"):
        model.why_not(QUERY, "sorted", index, num_results=0)


def test_a_pickled_model_leaves_its_encoder_behind(model):
    assert model.shared_encoder is model.with_views(()).shared_encoder  # loaded once
    assert len(pickle.dumps(model.with_views(()))) < 40_000_000
    assert "encoder" not in pickle.loads(pickle.dumps(model))._parts
