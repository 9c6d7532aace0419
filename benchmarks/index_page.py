"""Indexing synthetic vectors, and explaining one page of ten results from the index and without it.

python benchmarks/index_page.py --documents 100000                            the bundled model
python benchmarks/index_page.py --documents 1000000 --dict-size 512 --k 16    a random dictionary of this size

Prints documents per second (vectors given: internalizers, codes and writing), the peak memory of the building process,
bytes per document, and median milliseconds per page on one core, query vector given, process and files warm.
"""

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits

from pyterrier_xetrieval import SparseAutoencoder, Xetrieval, XetrievalIndex
from pyterrier_xetrieval.core.internalizer import Internalizer


def random_model(dict_size: int, k: int) -> Xetrieval:
    torch.manual_seed(0)
    aspects = {aspect: Internalizer(384) for aspect in ("summary", "purpose", "qa")}
    sae = SparseAutoencoder(384, dict_size, k)
    return Xetrieval.from_parts(internalizers=aspects, sae=sae, encoder={"name": "", "dim": 384})


def vectors(n: int, seed: int, block: int = 10_000):
    """Unit vectors around 1,000 centres, so that a query has near documents."""
    centres = np.random.default_rng(0).normal(size=(1000, 384)).astype(np.float32)
    rng = np.random.default_rng(seed)
    for start in range(0, n, block):
        x = (
            rng.normal(size=(min(block, n - start), 384)).astype(np.float32)
            + centres[rng.integers(1000, size=min(block, n - start))]
        )
        yield from x / np.linalg.norm(x, axis=1, keepdims=True)


def alternated(calls: dict, inputs: list) -> dict[str, float]:
    """Median milliseconds of each call, which take turns on every input."""
    times = {name: [] for name in calls}
    for given in inputs[:5] + inputs:  # five to warm up
        for name, call in calls.items():
            started = time.perf_counter()
            call(given)
            times[name].append(1000 * (time.perf_counter() - started))
    return {name: statistics.median(values[5:]) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--dict-size", type=int, help="of a random dictionary; the bundled model if not given")
    parser.add_argument("--k", type=int, default=16)
    parser.add_argument("--pages", type=int, default=50)
    parser.add_argument("--path", type=Path, help="where the index stays; an unfinished one is resumed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)  # numpy's own, for the whole run
    path = args.path or Path(tempfile.mkdtemp()) / "index"
    model = random_model(args.dict_size, args.k) if args.dict_size else Xetrieval.default()

    if (path / "pt_meta.json").exists():
        index = XetrievalIndex(path)
    else:
        model.sae, model.internalizers  # noqa: B018  (loads them)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        started = time.perf_counter()
        documents = ({"docno": f"d{i}", "doc_vec": x} for i, x in enumerate(vectors(args.documents, seed=1)))
        index = model.indexer(path).index(documents)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{len(index)} documents in {seconds:.0f} s, {len(index) / seconds:.0f} per second")
        print(f"peak memory {peak:.0f} MB, {before:.0f} MB of it before the first document")
    sizes = index.bytes_per_document()
    for name, size in sizes.items():
        print(f"  {name:26s}{size:8.1f} bytes per document")
    print(f"  {'beside the vectors':26s}{sum(size for name, size in sizes.items() if 'vecs' not in name):8.1f}")

    queries = np.stack(list(vectors(args.pages, seed=2)))
    topics = pd.DataFrame({"qid": [str(i) for i in range(args.pages)], "query_vec": list(queries)})
    started = time.perf_counter()
    results = index.retriever(num_results=10)(topics)
    print(f"first stage: {1000 * (time.perf_counter() - started) / args.pages:.0f} ms per query, {args.pages} at once")
    pages = [page.reset_index(drop=True) for _, page in results.groupby("qid")]
    direct = model.internalizer() >> model.explainer()
    loaded = [index.vec_loader()(page) for page in pages]
    for name, stage, given in (
        ("explain a page from the index", index.explainer(), pages), ("internalize and explain it", direct, loaded),
        ("load vectors, internalize, explain", index.vec_loader() >> direct, pages),
    ):  # fmt: skip
        print(f"{name:34s} {alternated({name: stage}, given)[name]:7.2f} ms")


if __name__ == "__main__":
    main()
