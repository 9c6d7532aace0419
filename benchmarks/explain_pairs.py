"""Explaining 10,000 (query, document) pairs with cached vectors: this package against the plain algorithm.

The plain algorithm is that of the released Xetrieval program: every pair's query and document views become dense
rows of codes (64 at a time), every row a Python set, every pair and view an intersection. It gives feature sets
only. ``SAEExplainer`` gives the same sets, and the attribution of the score; timed from the data frame to the
``explanation`` column. ``XetrievalIndex.explainer()`` gives the same from the codes that an index of the documents
stores, made before the clock starts. All sides: the same vectors, threads and float32.

    python benchmarks/explain_pairs.py [--queries 100] [--depth 100] [--repeat 3] [--model PATH]
"""

import argparse
import platform
import statistics
import tempfile
import timeit
from pathlib import Path

import numpy as np
import pandas as pd
import pyterrier as pt
import torch
from demo_setting import original_vectors

from pyterrier_xetrieval import MultiViewScorer, VectorLoader, Xetrieval, pydocs
from pyterrier_xetrieval.cli.demo_job import Demo


@torch.no_grad()
def plain_supports(sae, x: np.ndarray, batch_size: int = 64) -> list[set[int]]:
    """One Python set of active features per row, by way of dense codes."""
    dense = []
    for start in range(0, len(x), batch_size):
        top = torch.relu(sae.pre_activations(torch.from_numpy(x[start : start + batch_size]))).topk(sae.k, sorted=False)
        dense.append(torch.zeros(len(top.values), sae.dict_size).scatter_(1, top.indices, top.values))
    return [{int(j) for j in torch.nonzero(row > 0).flatten().tolist()} for row in torch.cat(dense)]


def plain(sae, frame: pd.DataFrame, columns: dict[str, str]) -> list[dict[str, list[int]]]:
    """Shared features of every pair and view, pair by pair."""
    queries = plain_supports(sae, np.stack(frame["query_vec"].to_list()))
    views = {view: plain_supports(sae, np.stack(frame[column].to_list())) for view, column in columns.items()}
    return [{view: sorted(queries[i] & supports[i]) for view, supports in views.items()} for i in range(len(frame))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--model", default=None, help="an artifact's folder; the bundled model by default")
    args = parser.parse_args()

    model = Xetrieval(args.model) if args.model else Xetrieval.default()
    job = Demo(pydocs(), model, Path(pt.io.pyterrier_home()) / "xetrieval")
    original = original_vectors(job)
    topics = job.encoder(job.dataset.get_topics().head(args.queries))
    retrieve = original.np_retriever(num_results=args.depth) >> VectorLoader(original) >> model.internalizer()
    frame = (retrieve >> MultiViewScorer())(topics)
    folder = tempfile.TemporaryDirectory()
    index = model.indexer(Path(folder.name) / "index").index(original.get_corpus_iter(verbose=False))
    columns = {"original": "doc_vec", **{a: f"doc_vec_{a}" for a in model.aspects}}
    methods = {
        "plain, sets only": lambda: plain(model.sae, frame, columns),
        "SAEExplainer(refit=False)": lambda: model.explainer(refit=False)(frame)["explanation"],
        "SAEExplainer()": lambda: model.explainer()(frame)["explanation"],
        "XetrievalIndex.explainer()": lambda: index.explainer()(frame)["explanation"],
    }
    for stage in (model.explainer(), index.explainer()):
        stage(frame.head(50))  # weights loaded, kernels warm

    times, results = {name: [] for name in methods}, {}
    for _ in range(args.repeat):
        for name, method in methods.items():
            timer = timeit.Timer(lambda n=name, run=method: results.update({n: run()}))
            loops, seconds = timer.autorange()  # as many as 0.2 s have room for, the garbage collector off
            times[name].append(seconds / loops)
    expected = results.pop("plain, sets only")
    for name, explanations in results.items():
        different = sum(e.per_view != sets for e, sets in zip(explanations, expected))
        print(f"{name}: feature sets of {different} of {len(frame)} pairs differ")
    print(f"\n{len(frame)} pairs, {frame['docno'].nunique()} documents, {len(topics)} queries; dictionary {model.sae.dict_size}, "
          f"k = {model.sae.k}; {platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, "
          f"median of {args.repeat}")  # fmt: skip
    base = statistics.median(times["plain, sets only"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{name:28s} {1e6 * median / len(frame):9.1f} µs per pair   {base / median:6.1f} x")


if __name__ == "__main__":
    main()
