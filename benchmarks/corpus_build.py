"""What indexing costs beside encoding texts: internalizers, codes and writing, as a share of the encoder's time.

    OMP_NUM_THREADS=1 python benchmarks/corpus_build.py [--texts 128] [--documents 5120] [--words 200]

Texts of 200 words of pydocs; the bundled encoder as ``model.encoder()`` runs it (float32) and with
``dtype="bfloat16"``. The rest is ``model.indexer(path)`` over vectors, float32: all of it, and its parts called on the
same batches. The index and the encoders take turns, so that a slow moment of the machine meets all. Processor time in
milliseconds per document.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from index_page import vectors

from pyterrier_xetrieval import Xetrieval, pydocs
from pyterrier_xetrieval.core.codes import encode_view, join_views
from pyterrier_xetrieval.core.internalizer import internalize
from pyterrier_xetrieval.core.views import fold_views
from pyterrier_xetrieval.index.packing import pack

BATCH, ROUNDS = 256, 4


def texts_of(words: int, n: int) -> list[str]:
    """So many words each, one text after the other from the collection's documents joined."""
    collection = itertools.chain.from_iterable(d["text"].split() for d in pydocs().get_corpus_iter(verbose=False))
    return [" ".join(itertools.islice(collection, words)) for _ in range(n)]


def timed(call, *args, **options) -> tuple:
    """What it returns, and the seconds that took."""
    started = time.process_time()
    out = call(*args, **options)
    return out, time.process_time() - started


def packed(codes, dict_size: int):
    return pack(join_views(codes, dict_size))


def parts_of(model, batches) -> dict[str, float]:
    """Seconds of each step of encoding a batch of documents; what is left of indexing is writing."""
    seconds = dict.fromkeys(("internalizers", "folding", "codes", "least squares", "packing"), 0.0)
    weights, sae = list(model.weights.values()), model.sae
    for z in batches:
        views = [z]
        for module in model.internalizers.values():
            view, took = timed(internalize, module, z, batch_size=BATCH)
            views.append(view)
            seconds["internalizers"] += took
        seconds["folding"] += timed(fold_views, views, weights)[1]
        codes = []
        for view in views:
            plain = timed(encode_view, sae, view, refit=False, batch_size=BATCH)[1]
            code, refitted = timed(encode_view, sae, view, refit=True, batch_size=BATCH)
            codes.append(code)
            seconds["codes"] += plain
            seconds["least squares"] += refitted - plain
        seconds["packing"] += timed(packed, codes, sae.dict_size)[1]
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=128)
    parser.add_argument("--documents", type=int, default=5120)
    parser.add_argument("--words", type=int, default=200)
    args = parser.parse_args()

    model = Xetrieval.default()
    encoders = {dtype: model.encoder(dtype=dtype) for dtype in ("float32", "bfloat16")}
    texts = texts_of(args.words, args.texts)
    z = np.stack(list(vectors(args.documents, seed=1)))
    share = np.array_split(z, ROUNDS)
    kinds = {"index": {"refit": True}, "index, refit=False": {"refit": False}}
    encoding, indexing = {dtype: [] for dtype in encoders}, {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        for encoder in encoders.values():
            encoder.encode_docs(texts[:8])
        model.indexer(Path(folder) / "warm").index({"docno": f"d{i}", "doc_vec": v} for i, v in enumerate(z[:BATCH]))
        for number, part in enumerate(share):
            documents = [{"docno": f"d{i}", "doc_vec": vector} for i, vector in enumerate(part)]
            for kind, options in kinds.items():
                indexer = model.indexer(Path(folder) / f"{kind} {number}", **options)
                indexing[kind].append(1000 * timed(indexer.index, documents)[1] / len(part))
            for dtype, encoder in encoders.items():
                some = texts[number::ROUNDS]
                encoding[dtype].append(1000 * timed(encoder.encode_docs, some)[1] / len(some))
    parts = parts_of(model, [z[i : i + BATCH] for i in range(0, len(z), BATCH)])
    medians = {name: statistics.median(values) for name, values in {**encoding, **indexing}.items()}
    print(f"{args.texts} texts of {args.words} words, {args.documents} vectors, {torch.get_num_threads()} thread(s)")
    for dtype in encoders:
        print(f"encoder, {dtype:24s}{medians[dtype]:8.2f} ms per document")
    for kind in kinds:
        shares = ", ".join(f"{medians[kind] / medians[dtype]:.1%} of the {dtype} encoder" for dtype in encoders)
        print(f"{kind:33s}{medians[kind]:8.2f} ms per document: {shares}")
    for name, seconds in parts.items():
        print(f"  {name:31s}{1000 * seconds / len(z):8.2f}")
    print(f"  {'writing, docnos, the rest':31s}{medians['index'] - 1000 * sum(parts.values()) / len(z):8.2f}")


if __name__ == "__main__":
    main()
