"""Multi-view first-stage retrieval against plain dense retrieval, and against scoring four views one by one.

    OMP_NUM_THREADS=1 python benchmarks/retrieval_latency.py [--documents 50000] [--queries 50]

Synthetic unit vectors of 384 dimensions, the bundled model's views and weights. Both sides of each backend: FlexIndexes
of as many float32 vectors, the same queries one at a time, alternated, the same number of results. Then, on arrays
without a data frame, one product with the folded vectors against four products and their weighted sum, best 1,000 kept;
and the folded vectors stored as float16. Medians in milliseconds per query.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from index_page import alternated, vectors
from pyterrier_dr import FlexIndex

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.core.internalizer import internalize
from pyterrier_xetrieval.core.views import fold_views
from pyterrier_xetrieval.index.flex_index import ConvertedFlexIndex
from pyterrier_xetrieval.index.storage import HalfVectors

RESULTS, BLOCK = 1000, 4096


def index_of(path: Path, matrix: np.ndarray) -> FlexIndex:
    index = FlexIndex(str(path), verbose=False)
    index.index({"docno": f"d{i}", "doc_vec": vector} for i, vector in enumerate(matrix))
    return index


class Halved:
    """As much of an index's layout as a ConvertedFlexIndex reads."""

    def __init__(self, path: Path, index: FlexIndex):
        shutil.copytree(index.index_path, path / "half", ignore=shutil.ignore_patterns("vecs.f4"))
        shape = index.np_vecs().shape
        np.asarray(index.np_vecs()).astype(np.float16).tofile(path / "half" / "vecs.f2")
        self.path, self.settings = path, {"dim": shape[1]}
        self.stored = np.memmap(path / "half" / "vecs.f2", "<f2", "c", shape=shape).view(np.ndarray)

    def __len__(self) -> int:
        return len(self.stored)

    def vectors(self, folder: str) -> HalfVectors:
        return HalfVectors(self.stored)


def search(query: np.ndarray, views: list[np.ndarray], weights: list[float]):
    """Rows and scores of the best documents by ``Σ_v w_v ⟨q,v⟩``."""
    scores = np.empty(len(views[0]), np.float32)
    for start in range(0, len(scores), BLOCK):
        block = slice(start, start + BLOCK)
        scores[block] = sum(np.float32(w) * (query @ view[block].T) for w, view in zip(weights, views))
    best = np.argpartition(-scores, RESULTS)[:RESULTS]
    return best[np.argsort(-scores[best])], scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=50_000)
    parser.add_argument("--queries", type=int, default=50)
    args = parser.parse_args()

    model = Xetrieval.default()
    documents = np.stack(list(vectors(args.documents, seed=1)))
    views = [documents, *(internalize(module, documents, batch_size=4096) for module in model.internalizers.values())]
    weights = [1.0, *model.weights.values()]
    matrix = fold_views(views, weights[1:])
    queries = np.stack(list(vectors(args.queries, seed=2)))
    topics = pd.DataFrame({"qid": [str(i) for i in range(len(queries))], "query_vec": list(queries)})
    pages = [topics.iloc[i : i + 1] for i in range(len(topics))]
    with tempfile.TemporaryDirectory() as folder:
        plain, folded = index_of(Path(folder) / "plain", documents), index_of(Path(folder) / "folded", matrix)
        half = ConvertedFlexIndex(Halved(Path(folder), folded), "half")
        backends = {
            "np_retriever": lambda index: index.np_retriever(num_results=RESULTS),
            "torch_retriever": lambda index: index.torch_retriever(num_results=RESULTS, device="cpu"),
            "faiss_flat_retriever": lambda index: index.faiss_flat_retriever(),
            "faiss_hnsw_retriever": lambda index: index.faiss_hnsw_retriever(num_results=RESULTS),
        }
        print(f"{args.documents} documents, {args.queries} queries, {torch.get_num_threads()} thread(s)")
        print(f"{'':26s}{'dense':>9s}{'folded':>9s}{'ratio':>8s}")
        for name, backend in backends.items():
            stages = {"dense": backend(plain), "folded": backend(folded)}
            found = alternated(stages, pages)
            print(f"{name:26s}{found['dense']:9.2f}{found['folded']:9.2f}{found['folded'] / found['dense']:8.3f}")
        print(f"\n{'':26s}{'float32':>9s}{'float16':>9s}{'ratio':>8s}")
        for name in ("np_retriever", "torch_retriever"):
            found = alternated({"float32": backends[name](folded), "float16": backends[name](half)}, pages)
            print(
                f"{name + ', folded':26s}{found['float32']:9.2f}{found['float16']:9.2f}{found['float16'] / found['float32']:8.3f}"
            )
        calls = {
            "one dense vector": lambda q: search(q, views[:1], [1.0]),
            "one folded vector": lambda q: search(q, [matrix], [1.0]),
            "four views": lambda q: search(q, views, weights),
        }
        (rows, scores), (_, expected) = calls["one folded vector"](queries[0]), calls["four views"](queries[0])
        assert np.abs(scores - expected).max() < 1e-5 and (np.diff(scores[rows]) <= 0).all()
        print("\narrays:")
        found = alternated(calls, list(queries))
        for name, ms in found.items():
            print(f"{name:26s}{ms:9.2f}  {ms / found['one folded vector']:.2f} of one folded vector")


if __name__ == "__main__":
    main()
