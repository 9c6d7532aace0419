"""What storing vectors in half the bytes costs, on pydocs with its 194 questions, against float32 storage.

    python benchmarks/storage.py [--repeat 3] [--threads 1]

float32 and float16 are indexes made with ``model.indexer(dtype=…)``; bfloat16, which no index offers, is the float32
index of vectors rounded to it, with folded vectors rounded again. Each row: bytes per document (two vectors; the whole
index), nDCG@10 of the folded first stage, top-10 lists that are the same (order too; as sets), explained pairs (query and
document, of float32's lists) with the same shared features, the largest difference of any query's score of any document,
and median milliseconds per query, one query at a time, alternated.
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyterrier as pt
import torch
from demo_setting import demo_setting, original_vectors
from ir_measures import nDCG
from pyterrier_dr import FlexIndex


def bfloat16(x: np.ndarray) -> np.ndarray:
    return torch.from_numpy(np.array(x)).bfloat16().float().numpy()


def indexes(model, documents, folder: Path) -> dict:
    """Name to the index whose codes are read, and the folded vectors that are searched."""
    out = {}
    for dtype in ("float32", "float16"):
        index = model.indexer(folder / dtype, dtype=dtype).index(documents)
        out[dtype] = index, index.folded
    coarse = [{**d, "doc_vec": v} for d, v in zip(documents, bfloat16(np.stack([d["doc_vec"] for d in documents])))]
    index = model.indexer(folder / "coarse").index(coarse)
    folded = FlexIndex(str(folder / "bfloat16"), verbose=False)
    folded.index({**d, "doc_vec": v} for d, v in zip(coarse, bfloat16(index.folded.np_vecs())))
    return {**out, "bfloat16": (index, folded)}


def main() -> None:
    args, model, job = demo_setting(__doc__, repeat=3)
    original = original_vectors(job)
    documents = list(original.get_corpus_iter(verbose=False))
    topics, qrels = job.encoder(job.dataset.get_topics()), job.dataset.get_qrels()
    queries = np.stack(topics["query_vec"].to_list())
    with tempfile.TemporaryDirectory() as folder:
        built = indexes(model, documents, Path(folder))
        retrievers = {name: folded.np_retriever(num_results=10) for name, (_, folded) in built.items()}
        times = {name: [] for name in retrievers}
        for repeat in range(args.repeat + 1):  # the first round warms up
            for i in range(len(topics)):
                for name, retriever in retrievers.items():
                    started = time.perf_counter()
                    retriever(topics.iloc[i : i + 1])
                    if repeat:
                        times[name].append(1000 * (time.perf_counter() - started))
        quality = pt.Experiment(list(retrievers.values()), topics, qrels, [nDCG @ 10], names=list(retrievers))
        base = retrievers["float32"](topics)
        pairs = base[["qid", "docno", "query_vec", "score", "rank"]]
        print(f"{len(documents)} documents, {len(topics)} queries, {len(pairs)} pairs, {args.threads} thread(s)")
        print(
            f"{'':10s}{'bytes':>7s}{'index':>7s}{'nDCG@10':>9s}{'lists':>8s}{'as sets':>9s}{'features':>10s}{'score':>10s}{'ms':>7s}"
        )
        for name, (index, folded) in built.items():
            sizes = index.bytes_per_document()
            vectors = sum(size for file, size in sizes.items() if "vecs" in file) / (2 if name == "bfloat16" else 1)
            whole = vectors + sum(size for file, size in sizes.items() if "vecs" not in file)
            found = retrievers[name](topics)["docno"].to_numpy().reshape(-1, 10)
            lists = base["docno"].to_numpy().reshape(-1, 10)
            explained = index.explainer()(pairs)["explanation"]
            features = [frozenset(e.features.tolist()) for e in explained]
            scores = queries @ np.asarray(folded.np_vecs()).T
            if name == "float32":
                expected, expected_scores = features, scores
            same = np.mean((found == lists).all(axis=1)), np.mean([set(a) == set(b) for a, b in zip(found, lists)])
            print(
                f"{name:10s}{vectors:7.0f}{whole:7.0f}{quality[quality['name'] == name]['nDCG@10'].iloc[0]:9.4f}{same[0]:8.1%}"
                f"{same[1]:9.1%}{np.mean([a == b for a, b in zip(features, expected)]):10.2%}"
                f"{abs(scores - expected_scores).max():10.1e}{statistics.median(times[name]):7.2f}"
            )


if __name__ == "__main__":
    main()
