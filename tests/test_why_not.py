"""Why a document is not on the page: ranks, sums and words, by the bundled model over a few docstrings."""

import pickle

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
    first = table.iloc[0]
    assert first["missing"] == table["missing"].max() > 0.02 and any("sort" in word for word in first["query_words"])
    assert f"*{first['label']}*" in answer.sentence() and f"{answer.gap:.3f} less than place 2" in str(answer)
    own = index.retriever(num_results=6) if isinstance(index, XetrievalIndex) else index.np_retriever(num_results=6)
    ranking = (model.shared_encoder >> own).search(QUERY)
    assert ranking[ranking["docno"] == "time.sleep"]["rank"].item() == answer.rank
    assert ranking["score"].iloc[1] == pytest.approx(answer.page_score, abs=1e-4)


def test_a_document_on_the_page_is_told_so(model, index):
    answer = model.why_not(QUERY, "list.sort", index, num_results=3)
    assert answer.rank < 3 and answer.gap <= 1e-6 and "it is on the page" in answer.sentence()


def test_unknown_documents_and_bad_pages(model, index):
    with pytest.raises(ValueError, match="nope"):
        model.why_not(QUERY, "nope", index)
    with pytest.raises(ValueError, match="num_results"):
        model.why_not(QUERY, "sorted", index, num_results=0)


def test_a_pickled_model_leaves_its_encoder_behind(model):
    assert model.shared_encoder is model.with_views(()).shared_encoder  # loaded once
    assert len(pickle.dumps(model.with_views(()))) < 40_000_000
    assert "encoder" not in pickle.loads(pickle.dumps(model))._parts
