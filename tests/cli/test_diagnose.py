"""``pyterrier-xetrieval diagnose``: a folder of judged queries and an index in, text and a page out."""

import pytest

from pyterrier_xetrieval import Xetrieval
from tests.helpers.commands import one_line, run, write

TEXTS = {
    "d1": "Rabbits eat grass and hay.", "d2": "A violin has four strings.", "d3": "Ships wait in the harbour.",
    "d4": "Hares are related to rabbits.", "d5": "The cello is played with a bow.", "d6": "Boats leave the harbour at dawn.",
}  # fmt: skip

QUERIES = ("what do rabbits eat", "rabbits on the grass", "food for rabbits", "how rabbits live", "are hares rabbits")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("diagnose")
    model = Xetrieval.default().with_views(())
    encoder = model.encoder()
    docs = [{"docno": docno, "text": text} for docno, text in TEXTS.items()]
    (encoder >> model.indexer(folder / "index", encoder=encoder, texts=True, evidence=True)).index(docs)
    data = folder / "data"
    data.mkdir()
    write(
        data / "queries.jsonl",
        *({"_id": f"q{i}", "text": text} for i, text in enumerate(QUERIES)),
        {"_id": "d3", "text": "ships"},
    )
    wrong = [f"q{i}\td2\t1\n" for i in range(len(QUERIES))]  # nothing is about rabbits
    write(data / "qrels.tsv", "query-id\tcorpus-id\tscore\n", *wrong, "d3\td6\t1\n")
    return folder


def test_text_and_page(made):
    done = run("diagnose", made / "index", made / "data", "-o", made / "page.html", "--explorer", "explorer.html")
    assert done.exit_code == 0, done.output
    assert "over 6 judged queries; the results hold 100 % of their relevant documents" in done.stdout
    assert "(“rabbits”" in done.stdout  # the words behind the common reason
    assert "page.html: for any browser" in done.stdout and "what do rabbits eat" in (made / "page.html").read_text("utf-8")


def test_a_queries_own_id_is_left_out(made):
    plain, own = (run("diagnose", made / "index", made / "data", *more).stdout for more in ([], ["--exclude-own-id"]))
    assert "In 6 queries wrong results" in plain and "In 5 queries wrong results" in own


def test_an_index_alone(made):
    done = run("diagnose", made / "index")
    assert (
        done.exit_code == 0
        and "6 documents; their mean vector has length" in done.stdout
        and "calibrating" in done.stdout.lower()
    )


def test_what_does_not_fit_is_told_in_a_line(made, tmp_path):
    assert "--out goes with a DATASET" in one_line(run("diagnose", made / "index", "-o", tmp_path / "x.html"))
    assert "DATASET is no folder" in one_line(run("diagnose", made / "index", "nosuch"))
    assert "no finished XetrievalIndex" in one_line(run("diagnose", made / "data", made / "data"))
