"""What a corpus of 10 million to a billion documents costs: rates measured here, and the page computed from them.

    python benchmarks/scale.py            measures (some minutes of one core), writes docs/scale.json and docs/scale.md
    python benchmarks/scale.py --render   only the page, from docs/scale.json

Everything is measured on one thread, in this process, in processor time, with the bundled model and encoder: what else
runs on the machine counts as far as it takes memory bandwidth and caches, waits for disks do not. The page is scale_page.py.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import faiss
import numpy as np
import pandas as pd
import pyterrier as pt
import torch
from demo_setting import original_vectors
from pyterrier_dr import FlexIndex
from scale_page import render
from threadpoolctl import threadpool_limits

from pyterrier_xetrieval import MiniLM, Xetrieval, pydocs
from pyterrier_xetrieval.cli.demo_job import Demo
from pyterrier_xetrieval.distributed.corpus_parts import cut
from pyterrier_xetrieval.index import docnos, merge, npids_file
from pyterrier_xetrieval.index.deleted_rows import DeletedRows
from pyterrier_xetrieval.index.storage import DOCUMENT
from pyterrier_xetrieval.labelling import feature_samples

DOCS = Path(__file__).parents[1] / "docs"
PER_SHARD = ("features.bin", "shards.jsonl")  # as large for a small shard as for a large one


def seconds(function, repeat: int = 1) -> float:
    """Median seconds of processor time."""
    times = []
    for _ in range(repeat):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return statistics.median(times)


def mixtures(vectors: np.ndarray, n: int) -> np.ndarray:
    """Unit vectors between two documents each: as many features as those of texts have, or about."""
    rng = np.random.default_rng(0)
    x = vectors[rng.integers(len(vectors), size=n)] + 0.5 * vectors[rng.integers(len(vectors), size=n)]
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def reading(folder: Path) -> dict:
    """Texts: the encoder, and the copy of a corpus that is no Parquet."""
    words = " ".join(document["text"] for document in pydocs().get_corpus_iter(verbose=False)).split()
    texts = [" ".join(words[i : i + 200]) for i in range(0, 200 * 96, 200)]
    found = {}
    for name, encoder in {"": MiniLM(), "_bfloat16": MiniLM(dtype="bfloat16")}.items():
        encoder.encode_docs(texts[:32])
        found[f"encoder{name}_docs_per_s"] = len(texts) / seconds(lambda e=encoder: e.encode_docs(texts))
    documents = [{"docno": f"d{i}", "text": texts[i % len(texts)]} for i in range(20_000)]
    found["copied_docs_per_s"] = len(documents) / seconds(lambda: cut(documents, 10_000, folder / "copy", stage="scale"))
    return found


def indexing(folder: Path, model, real: FlexIndex) -> dict:
    """Views, codes, joining, samples and what grows with the number of shards."""
    index = model.indexer(folder / "real").index(real.get_corpus_iter(verbose=False))
    each = index.bytes_per_document()
    found = {
        "documents_of_real_index": len(index),
        "bytes_per_document": {name: size for name, size in each.items() if name not in PER_SHARD},
        "bytes_per_shard": {name: each[name] * len(index) / len(index.layout.shards) for name in PER_SHARD},
        "bytes_of_model": sum(file.stat().st_size for file in (index.path / "model").iterdir()),
        "codes_per_document": index.layout.ends["postings_activations.u1"] / len(index),
        "dim": model.dim,
    }
    n, parts, times = 10_000, [], []
    vectors = mixtures(real.np_vecs(), 2 * n)
    for i in range(2):
        documents = [{"docno": f"d{j}", "doc_vec": vectors[j]} for j in range(i * n, i * n + n)]
        times.append(seconds(lambda i=i, d=documents: parts.append(model.indexer(folder / f"part{i}").index(d))))
    found["indexer_docs_per_s"] = n / statistics.median(times)
    times = [seconds(lambda i=i: merge(parts, folder / f"whole{i}")) for i in range(3)]
    found["merge_docs_per_s"] = 2 * n / statistics.median(times)
    found["merge_mb_per_s"] = found["merge_docs_per_s"] * sum(parts[0].bytes_per_document().values()) / 1e6
    found["samples_docs_per_s"] = 5120 / seconds(lambda: feature_samples(model, vectors[:5120]))
    shards = [
        model.indexer(folder / f"shards{s}", shard_size=s).index(
            {"docno": str(i), "doc_vec": v} for i, v in enumerate(vectors[:5000])
        )
        for s in (50, 5000)
    ]
    work = [seconds(lambda x=x: x.documents_of(17), 5) for x in shards]
    found["ms_per_shard_of_feature_lookups"] = 1000 * (work[0] - work[1]) / 99
    work = [seconds(lambda x=x: type(x)(x.path), 5) for x in shards]
    found["ms_per_shard_of_opening"] = 1000 * (work[0] - work[1]) / 99
    return found


def searching(folder: Path, real: FlexIndex) -> dict:
    """Exact search, and what approximate structures take to build."""
    matrix, found = mixtures(real.np_vecs(), 200_000), {}
    flex = FlexIndex(str(folder / "flex"), verbose=False)
    flex.index({"docno": f"d{i}", "doc_vec": v} for i, v in enumerate(matrix))
    retriever = flex.np_retriever(num_results=10)
    for queries in (1, 64):
        topics = pd.DataFrame({"qid": [str(i) for i in range(queries)], "query_vec": list(matrix[:queries])})
        retriever(topics)
        per_query = seconds(lambda t=topics: retriever(t), 5) / queries
        found[f"exact_ms_per_million_{queries}"] = 1000 * per_query / len(matrix) * 1e6
    dim = matrix.shape[1]
    hnsw = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
    found["hnsw_add_per_s"], at = {}, 0
    for end in (10_000, 20_000, 80_000, 100_000):
        rate = (end - at) / seconds(lambda a=at, b=end: hnsw.add(matrix[a:b]))
        if end in (20_000, 100_000):
            found["hnsw_add_per_s"][str(end)] = rate
        at = end
    found["hnsw_bytes_per_vector"] = faiss.serialize_index(hnsw).nbytes / at
    pq = faiss.index_factory(dim, "IVF64,PQ64", faiss.METRIC_INNER_PRODUCT)
    pq.train(matrix[:20_000])
    pq.add(matrix[:10])
    before = faiss.serialize_index(pq).nbytes  # centroids and codebooks do not grow with the corpus
    found["pq_add_per_s"] = 20_000 / seconds(lambda: pq.add(matrix[:20_000]))
    found["pq_bytes_per_vector"] = (faiss.serialize_index(pq).nbytes - before) / 20_000
    centroids = faiss.IndexFlatIP(dim)
    centroids.add(matrix[:16_384])
    found["ns_per_list_and_vector"] = 1e9 * seconds(lambda: centroids.search(matrix[-4096:], 1), 3) / 4096 / 16_384
    return found


class Names:
    """As much of an index's layout as the docno lookup reads."""

    def __init__(self, path: Path, n: int):
        path.mkdir()
        self.path, self.deleted = path, DeletedRows(n, np.empty(0, np.int64))
        names = [f"document-{i:09d}" for i in range(n)]
        (path / "docnos.u1").write_text("".join(names))
        records = np.zeros(n, DOCUMENT)
        records["docno_end"] = np.cumsum([len(name) for name in names])
        records.tofile(path / "documents.bin")


def naming(folder: Path) -> dict:
    """The docno lookup, in one pass and in eight; the check for docnos given twice."""
    n = 1 << 20
    names, default, times = Names(folder / "names", n), npids_file._AT_ONCE, []
    for npids_file._AT_ONCE in (n, n // 8):
        times.append(seconds(lambda: npids_file.write_lookup(folder / "npids", n, partial(docnos.docno_blocks, names))))
    npids_file._AT_ONCE = default
    each = (times[1] - times[0]) / 7
    found = {"lookup_us_per_document": 1e6 * (times[0] - each) / n, "lookup_us_per_document_and_pass": 1e6 * each / n}
    rng, seen, rates = np.random.default_rng(0), docnos.SeenDocnos(stage="scale"), []
    for _ in range(20):
        batch = [f"{a:016x}" for a in rng.integers(1 << 62, size=100_000)]  # no order, as docnos of the web have none
        rates.append(100_000 / seconds(lambda b=batch: seen.add(b)))
    seen.close()
    found["seen_docnos_per_s"] = {"first 200,000": statistics.mean(rates[:2]), "at 2,000,000": statistics.mean(rates[-2:])}
    return found


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def measure(folder: Path) -> dict:
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    found = {"date": time.strftime("%Y-%m-%d"), "processor": processor(), "python": platform.python_version()}
    model = Xetrieval.default()
    real = original_vectors(Demo(pydocs(), model, Path(pt.io.pyterrier_home()) / "xetrieval"))
    found |= naming(folder) | reading(folder) | indexing(folder, model, real) | searching(folder, real)
    return found | {"load_per_core": os.getloadavg()[2] / os.cpu_count()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--render", action="store_true", help="do not measure")
    args = parser.parse_args()
    if not args.render:
        with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
            found = measure(Path(folder))
        (DOCS / "scale.json").write_text(json.dumps(found, indent=1) + "\n")
    page = render(json.loads((DOCS / "scale.json").read_text()))
    (DOCS / "scale.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
