"""Readers of an index that explain pages while documents are added, deleted and replaced.

    python benchmarks/readers.py --documents 20000 --readers 16 --seconds 120

Random vectors of MiniLM's 384 dimensions and the bundled dictionary, no encoder. Each reader is a thread that retrieves ten
documents for a query and explains them, over and over, and opens the index again now and then; a writer adds, deletes and
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


def unit(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    x = rng.normal(size=(n, dim)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def answers(index: XetrievalIndex, topics: pd.DataFrame) -> dict[tuple[str, str], tuple[float, frozenset[int]]]:
    """Score and features of each result of a page, by query and document; the parts have to add up to the score."""
    found = (index.retriever(num_results=PAGE) >> index.explainer())(topics)
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
    """Asks one query after the other, and opens the index again after every fourth."""

    def __init__(self, path: Path, topics: pd.DataFrame, quiet: dict, fixed: int, stop: threading.Event, seed: int):
        super().__init__()
        self.path, self.topics, self.quiet, self.fixed, self.stop = path, topics, quiet, fixed, stop
        self.rng, self.times, self.opened, self.wrong = np.random.default_rng(seed), [], [], []

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                start = time.perf_counter()
                index = XetrievalIndex(self.path)
                self.opened.append(time.perf_counter() - start)
                if len(index) not in (self.fixed, self.fixed + BATCH):
                    self.wrong.append(f"{len(index)} documents, a state that no step ends in")
                for _ in range(4):
                    i = int(self.rng.integers(len(self.topics)))
                    start = time.perf_counter()
                    found = answers(index, self.topics.iloc[i : i + 1])
                    self.times.append(time.perf_counter() - start)
                    self.compare(index, found, self.topics["qid"].iloc[i])
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


def measure(documents: int, readers: int, seconds: float) -> dict:
    """The figures of one run, and what was wrong in it."""
    torch.set_num_threads(1)
    model, rng = Xetrieval.default().with_views(()), np.random.default_rng(0)
    vectors = unit(rng, documents, model.dim)
    topics = pd.DataFrame({"qid": [f"q{i}" for i in range(QUERIES)], "query_vec": list(unit(rng, QUERIES, model.dim))})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        index = model.indexer(path).index({"docno": f"d{i}", "doc_vec": v} for i, v in enumerate(vectors))
        quiet, stop = answers(index, topics), threading.Event()
        threads = [Reader(path, topics, quiet, documents, stop, seed) for seed in range(readers)]
        writer = Writer(path, model.dim, stop)
        for thread in (*threads, writer):
            thread.start()
        memory = []
        for _ in range(10):
            time.sleep(seconds / 10)
            memory.append(resident())
        stop.set()
        for thread in (*threads, writer):
            thread.join()
        end = XetrievalIndex(path)
        end.verify()
        wrong = [message for thread in threads for message in thread.wrong] + ([repr(writer.error)] if writer.error else [])
        if answers(end, topics) != quiet:
            wrong.append("the index at the end is not what it was")
        pages = np.concatenate([thread.times for thread in threads])
        opened = np.concatenate([thread.opened for thread in threads])
        return {
            "documents": documents, "readers": readers, "seconds": seconds, "pages": len(pages), "opened": len(opened),
            "rounds_of_the_writer": writer.rounds, "deleted_rows": len(end.layout.deleted), "wrong_answers": len(wrong),
            "first_wrong": wrong[:3],
            "page_ms": {f"p{p}": round(1000 * float(np.percentile(pages, p)), 1) for p in (50, 95, 99)},
            "open_ms": {f"p{p}": round(1000 * float(np.percentile(opened, p)), 1) for p in (50, 95, 99)},
            "memory_mb": [round(m) for m in memory],
        }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--readers", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=120)
    print(json.dumps(measure(**vars(parser.parse_args())), indent=1))
