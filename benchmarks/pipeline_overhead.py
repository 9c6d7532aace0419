"""What data frames cost: the stages of a pipeline against the functions they call, handed the same vectors as arrays.

    python benchmarks/pipeline_overhead.py [--queries 100] [--depth 100] [--repeat 7] [--threads 1]

Frames: ``model.internalizer() >> model.scorer() >> model.explainer() >> model.intervention("erase", features="shared")`` over
results with vectors, the same without the intervention, and ``index.explainer()`` over results of the index. Arrays:
``internalize`` (the index: ``unpack``), ``explain_vectors`` and ``intervene`` on distinct vectors, and which of them each pair has;
they end in arrays of contributions where the frames end in one ``Explanation`` per row. Medians of processor time of alternated
runs, and what the frames cost on top.
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from demo_setting import demo_setting, original_vectors

from pyterrier_xetrieval import VectorLoader
from pyterrier_xetrieval.core.attribution import explain_vectors
from pyterrier_xetrieval.core.edits import intervene
from pyterrier_xetrieval.core.internalizer import internalize
from pyterrier_xetrieval.index.packing import unpack
from pyterrier_xetrieval.index.storage import FOLDED


class Arrays:
    """The same pairs as distinct vectors and row numbers."""

    def __init__(self, model, index, frame):
        self.model, self.index = model, index
        self.query_rows, first = frame["qid"].factorize()[0], ~frame["qid"].duplicated()
        self.queries = np.stack(frame["query_vec"][first].to_list())
        self.doc_rows, docs = frame["docno"].factorize()[0], ~frame["docno"].duplicated()
        self.docs, self.docids = np.stack(frame["doc_vec"][docs].to_list()), frame["docid"][docs].to_numpy()

    def direct(self):
        return self._explained()[0]

    def erased(self):
        """The shared features of each pair, erased from all views of its document."""
        parts, views = self._explained()
        sets = [np.sort(own) for own in np.split(parts.features, parts.offsets[1:-1])]
        edited = np.concatenate([view[self.doc_rows] for view in views])
        intervene(self.model.sae, edited, sets * len(views), "erase")
        return parts

    def _explained(self):
        model = self.model
        views = [self.docs, *(internalize(module, self.docs, batch_size=4096) for module in model.internalizers.values())]
        weights = (1.0, *model.weights.values())
        return explain_vectors(model.sae, self.queries, self.query_rows, views, self.doc_rows, weights=weights), views

    def stored(self):
        index, layout = self.index, self.index.layout
        folded = layout.vectors(FOLDED)[self.docids]
        codes = unpack(layout.codes(self.docids), 1 + len(index.aspects), index.model.sae.dict_size)
        weights = (1.0, *index.settings["weights"])
        return explain_vectors(
            index.model.sae, self.queries, self.query_rows, codes, self.doc_rows, folded=folded, weights=weights
        )


def compare(name: str, stage, frame, arrays, repeat: int) -> None:
    parts, explained = arrays(), stage(frame)["explanation"]
    assert len(parts.features) == sum(map(len, explained)) and np.allclose(parts.score, [e.score for e in explained], atol=1e-5)
    times = [], []
    for _ in range(repeat):
        for seconds, call in zip(times, (lambda: stage(frame), arrays)):
            started = time.process_time()
            call()
            seconds.append(time.process_time() - started)
    frames, bare = (1000 * statistics.median(seconds) for seconds in times)
    print(f"{name:50s}{frames:9.2f} ms{bare:9.2f} ms{frames / bare - 1:9.0%}{1000 * (frames - bare) / len(frame):9.1f} µs")


def main() -> None:
    args, model, job = demo_setting(__doc__, queries=100, depth=100, repeat=7)
    original = original_vectors(job)
    topics = job.encoder(job.dataset.get_topics().head(args.queries))
    stages = model.internalizer() >> model.scorer() >> model.explainer()
    four = stages >> model.intervention("erase", features="shared")
    with tempfile.TemporaryDirectory() as folder:
        index = model.indexer(Path(folder) / "index").index(original.get_corpus_iter(verbose=False))
        retrieve = index.retriever(num_results=args.depth) >> VectorLoader(original)
        print(f"{'':50s}{'frames':>12s}{'arrays':>12s}{'on top':>9s}{'per pair':>12s}")
        pages = (
            (topics, args.depth, 1),
            (topics.head(10), args.depth, 3),
            (topics.head(1), args.depth, 10),
            (topics.head(1), 10, 10),
        )
        for asked, depth, more in pages:
            frame, repeat = retrieve(asked).head(depth * len(asked)), more * args.repeat
            arrays, pairs = Arrays(model, index, frame), f"{len(frame):,} pairs"
            compare(f"internalize, score, explain, erase {pairs}", four, frame, arrays.erased, repeat)
            compare(f"internalize, score, explain {pairs}", stages, frame, arrays.direct, repeat)
            compare(f"index.explainer() {pairs}", index.explainer(), frame, arrays.stored, repeat)


if __name__ == "__main__":
    main()
