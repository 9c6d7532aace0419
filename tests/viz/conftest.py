import pandas as pd
import pytest

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.viz import explore, to_html

DOCUMENTS = {
    "sorted": "Return a new sorted list from the items in an iterable. A key function can be given.",
    "river": "The river carries water from the mountains to the sea.",
    "list.sort": "Sort the list in place, by two keys in ascending order; the order of equal items stays.",
    "heapq.merge": "Merge several sorted inputs into one sorted output, as for lists of numbers.",
    "hostile": "<script>window.hacked = 1</script></script><!-- \"sort\" & 'list' \u202eright to left\u202c עברית 😀 of a list",
    "str.strip": "Return a copy of the string with leading and trailing whitespace removed.",
    "threads": "Wait until the thread terminates; a timeout in seconds may be given.",
    "len": "Return the number of items in a container, such as a list or a string.",
    "random": "Shuffle the list in place, so that its order is random.",
    "dict": "A dictionary maps keys to values, and keeps the order in which keys were added.",
    "bisect": "Find the place in a sorted list where an item goes so that the list stays in order.",
    "beer": "A cold beer in the garden, brewed with hops and malt.",
}
QUERIES = pd.DataFrame({"qid": ["1", "q 2"], "query": ["sort a list by two keys", "remove spaces at the end of a <string>"]})


@pytest.fixture(scope="session")
def small_index(tmp_path_factory):
    """Twelve documents with their words, as an index of the bundled model keeps them."""
    model = Xetrieval.default()
    encoder = model.encoder()
    indexer = model.indexer(tmp_path_factory.mktemp("viz") / "small.xetrieval", encoder=encoder, evidence=True)
    return (encoder >> indexer).index({"docno": docno, "text": text} for docno, text in DOCUMENTS.items())


@pytest.fixture(scope="session")
def explained(small_index):
    """All documents for both queries, each with its explanation and the words behind it."""
    index = small_index
    retrieve = (
        index.model.shared_encoder >> index.retriever(num_results=len(DOCUMENTS)) >> index.text_loader() >> index.vec_loader()
    )
    return (retrieve >> index.explainer() >> index.evidence())(QUERIES)


@pytest.fixture(scope="module")
def page(small_index, tmp_path_factory):
    return explore(small_index, QUERIES, tmp_path_factory.mktemp("page") / "explorer.html", documents=20)


@pytest.fixture(scope="module")
def page_of_frame(explained, tmp_path_factory):
    return to_html(explained, tmp_path_factory.mktemp("page") / "frame.html")
