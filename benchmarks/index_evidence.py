"""What an index that keeps its documents' words costs, and whether it shows what a pass over the texts shows.

python benchmarks/index_evidence.py [--repeat 15] [--threads 1]

Every tenth document of the Python documentation is indexed three times in turn: plain, with texts, with texts and evidence.
The words of ``index.evidence()`` are then held against those of ``model.evidence()``, which reads the texts again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from demo_setting import demo_setting

SETTINGS = {"plain": {}, "texts": {"texts": True}, "texts and evidence": {"evidence": True}}


def main() -> None:
    args, model, job = demo_setting(__doc__, repeat=15)
    documents = list(job.dataset.get_corpus_iter(verbose=False))[::10]
    job.encoder.encode_docs([d["text"] for d in documents[:20]])  # warm
    with tempfile.TemporaryDirectory() as folder:
        print(f"{len(documents)} documents, {args.threads} thread(s)")
        for name, options in SETTINGS.items():
            start = time.process_time()
            index = model.indexer(Path(folder) / name, encoder=job.encoder, **options).index(documents)
            print(f"{name:20s} {time.process_time() - start:6.1f} s of processor time, ", end="")
            print(f"{sum(index.bytes_per_document().values()):7.0f} bytes a document")
        page = job.encoder >> index.retriever(num_results=10)
        explain, words = index.explainer(), index.evidence(job.encoder)
        texts = index.vec_loader() >> index.text_loader()
        rows = first = 0
        seconds: dict[str, list[float]] = {"explain": [], "words": [], "query's pass": []}
        for query in job.dataset.get_topics()["query"].head(args.repeat):
            frame = page.search(query)
            explained = timed(seconds["explain"], lambda frame=frame: explain(frame))
            found = timed(seconds["words"], lambda explained=explained: words(explained))
            timed(seconds["query's pass"], lambda query=query: job.encoder.encode_queries([query]))
            full = model.evidence(job.encoder)(texts(explained))
            for kept, whole in zip(found["explanation"], full["explanation"]):
                phrases = {row.feature: row.document_words[:1] for row in kept.rows}
                own = {row.feature: row.document_words[:1] for row in whole.rows}
                rows += len(own.keys() | phrases.keys())
                first += sum(own.get(feature) == shown for feature, shown in phrases.items())
        print(f"{rows} rows shown by either; in both with the same first phrase of the document: {first / rows:.3f}")
        print("page of ten, fastest: " + ", ".join(f"{name} {1000 * min(took):.1f} ms" for name, took in seconds.items()))


def timed(seconds: list[float], call: Callable) -> object:
    call()  # warm
    start = time.perf_counter()
    result = call()
    seconds.append(time.perf_counter() - start)
    return result


if __name__ == "__main__":
    main()
