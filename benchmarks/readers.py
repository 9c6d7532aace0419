"""Readers of an index that explain pages while documents are added, deleted and replaced.

    python benchmarks/readers.py --documents 20000 --readers 16 --requests 2000
    python benchmarks/readers.py --documents 1000000 --readers 16 --requests 100000 --given --path FOLDER

Random vectors of MiniLM's 384 dimensions and the bundled dictionary, no encoder. Each reader is a thread that retrieves ten
documents for a query and explains them, over and over, and opens the index again now and then; with ``--given`` it explains pages
of ten documents that somebody else has found, for an exact search of a million vectors takes a hundred times as long as explaining; a writer adds, deletes and
replaces documents meanwhile. Whatever an opened index answers is compared with what a quiet index answered: documents that are
in neither of the writer's batches have the scores and the features that they had before, and a reader sees a state of the index
that was finished, never half of one. Prints the number of wrong answers, latencies, and how memory grew.
"""

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pyterrier_xetrieval import Xetrieval, XetrievalIndex

QUERIES, PAGE, BATCH = 24, 10, 64
OPENED_FOR = 20  # pages; then the index is opened again, as a reader does that wants to see new documents


def unit(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    x = rng.normal(size=(n, dim)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def answers(index: XetrievalIndex, asked: pd.DataFrame) -> dict[tuple[str, str], tuple[float, frozenset[int]]]:
    """Score and features of each result of a page, by query and document; the parts have to add up to the score.

    ``asked`` are queries, or pages, which have a column ``docno``.
    """
    explainer = index.explainer()
    found = (explainer if "docno" in asked.columns else index.retriever(num_results=PAGE) >> explainer)(asked)
    for e in found["explanation"]:
        if abs(e.contributions.sum(dtype=np.float64) + e.other + e.bias + e.residual - e.score) > 1e-6:
            raise AssertionError(f"the parts of {e.qid}, {e.docno} do not add up")
    return {(e.qid, e.docno): (e.score, frozenset(e.features.tolist())) for e in found["explanation"]}


def resident() -> float:
    """Megabytes of anonymous memory of this process: those of mapped files are the system's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return float("nan")


class Writer(threading.Thread):
    """Adds documents, replaces them, and deletes them again; each step is one finished state of the index."""

    def __init__(self, path: Path, dim: int, stop: threading.Event):
        super().__init__()
        self.path, self.dim, self.stop, self.rounds = path, dim, stop, 0
        self.error: BaseException | None = None

    def run(self) -> None:
        rng = np.random.default_rng(7)
        names = [f"moving{i}" for i in range(BATCH)]
        try:
            while not self.stop.is_set():
                for replace in (False, True):
                    new = [{"docno": name, "doc_vec": v} for name, v in zip(names, unit(rng, BATCH, self.dim))]
                    XetrievalIndex(self.path).indexer(replace=replace, batch_size=BATCH).index(new)
                XetrievalIndex(self.path).delete(names)
                self.rounds += 1
        except BaseException as error:
            self.error = error


class Reader(threading.Thread):
    """Asks one query after the other, and opens the index again after some."""

    def __init__(self, path: Path, asked: pd.DataFrame, quiet: dict, fixed: int, requests: int, seed: int):
        super().__init__()
        self.path, self.quiet, self.fixed, self.requests = path, quiet, fixed, requests
        self.pages = list(asked.groupby("qid", sort=False))
        self.rng, self.times, self.opened, self.wrong = np.random.default_rng(seed), [], [], []

    def run(self) -> None:
        try:
            while len(self.times) < self.requests and not self.wrong:
                start = time.perf_counter()
                index = XetrievalIndex(self.path)
                self.opened.append(time.perf_counter() - start)
                if len(index) not in (self.fixed, self.fixed + BATCH):
                    self.wrong.append(f"{len(index)} documents, a state that no step ends in")
                for _ in range(OPENED_FOR):
                    qid, page = self.pages[int(self.rng.integers(len(self.pages)))]
                    start = time.perf_counter()
                    found = answers(index, page)
                    self.times.append(time.perf_counter() - start)
                    self.compare(index, found, qid)
        except BaseException as error:
            self.wrong.append(repr(error))

    def compare(self, index: XetrievalIndex, found: dict, qid: str) -> None:
        """Documents that never change have the answers of the quiet index; moving ones are there only in a state that has them."""
        expected = {key: value for key, value in self.quiet.items() if key[0] == qid}
        fixed = {key: value for key, value in found.items() if not key[1].startswith("moving")}
        moving = [score for (_, docno), (score, _) in found.items() if docno.startswith("moving")]
        if moving and len(index) == self.fixed:
            self.wrong.append("a deleted document")
        best = sorted(expected, key=lambda key: -expected[key][0])[: len(fixed)]
        for key in best:
            if key not in fixed or abs(fixed[key][0] - expected[key][0]) > 1e-6 or fixed[key][1] != expected[key][1]:
                self.wrong.append(f"{key}: {fixed.get(key)} instead of {expected[key]}")
        if len(fixed) + len(moving) != PAGE or (moving and min(moving) < min(expected.values())[0] - 1e-6):
            self.wrong.append("another page")


def quiet_index(path: Path, documents: int) -> XetrievalIndex:
    """The index of so many random documents; the one that is there, if it is."""
    if (path / "pt_meta.json").exists():
        return XetrievalIndex(path)
    model, rng = Xetrieval.default().with_views(()), np.random.default_rng(0)
    blocks = (unit(rng, min(10_000, documents - start), model.dim) for start in range(0, documents, 10_000))
    return model.indexer(path).index({"docno": f"d{i}", "doc_vec": v} for i, v in enumerate(v for block in blocks for v in block))


def asked_of(index: XetrievalIndex, given: bool) -> pd.DataFrame:
    """Queries, and with ``given`` ten documents for each."""
    rng = np.random.default_rng(1)
    topics = pd.DataFrame({"qid": [f"q{i}" for i in range(QUERIES)], "query_vec": list(unit(rng, QUERIES, index.model.dim))})
    if not given:
        return topics
    docnos = [f"d{i}" for i in rng.permutation(len(index))[: QUERIES * PAGE]]
    return topics.loc[np.repeat(topics.index, PAGE)].assign(docno=docnos, rank=list(range(PAGE)) * QUERIES).reset_index(drop=True)


def measure(documents: int, readers: int, requests: int, given: bool, path: Path) -> dict:
    """The figures of one run, and what was wrong in it."""
    torch.set_num_threads(1)
    index = quiet_index(path, documents)
    asked, before = asked_of(index, given), resident()
    quiet, stop = answers(index, asked), threading.Event()
    threads = [Reader(path, asked, quiet, documents, requests // readers, seed) for seed in range(readers)]
    writer = Writer(path, index.model.dim, stop)
    start = time.perf_counter()
    for thread in (*threads, writer):
        thread.start()
    memory: list[float] = []
    while any(thread.is_alive() for thread in threads) or not (writer.rounds or writer.error):  # a whole round at least
        time.sleep(0.2)
        if len(memory) < 10 and sum(len(thread.times) for thread in threads) >= requests * (len(memory) + 1) / 10:
            memory.append(resident())
    seconds = time.perf_counter() - start
    stop.set()
    writer.join()
    end = XetrievalIndex(path)
    end.verify()
    wrong = [message for thread in threads for message in thread.wrong] + ([repr(writer.error)] if writer.error else [])
    if answers(end, asked) != quiet:
        wrong.append("the index at the end is not what it was")
    pages = np.concatenate([thread.times for thread in threads])
    opened = np.concatenate([thread.opened for thread in threads])
    return {
        "documents": documents, "readers": readers, "seconds": round(seconds), "pages": len(pages), "opened": len(opened),
        "rounds_of_the_writer": writer.rounds, "deleted_rows": len(end.layout.deleted), "wrong_answers": len(wrong),
        "first_wrong": wrong[:3],
        "page_ms": {f"p{p}": round(1000 * float(np.percentile(pages, p)), 1) for p in (50, 95, 99)},
        "open_ms": {f"p{p}": round(1000 * float(np.percentile(opened, p)), 1) for p in (50, 95, 99)},
        "memory_mb_before": round(before), "memory_mb_by_tenths": [round(m) for m in memory],
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--readers", type=int, default=16)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--given", action="store_true")
    parser.add_argument("--path", type=Path, help="where the index stays, to be used again")
    options = vars(parser.parse_args())
    with tempfile.TemporaryDirectory() as folder:
        options["path"] = options["path"] or Path(folder) / "index"
        print(json.dumps(measure(**options), indent=1))
