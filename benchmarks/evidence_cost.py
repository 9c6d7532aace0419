"""What the words behind an explanation cost: one page of ten results of the Python documentation, warm, in milliseconds.

python benchmarks/evidence_cost.py [--repeat 30] [--threads 1]

The encoder has to read the texts once more; "encode 11 texts" is what that costs without evidence. The rest of
"evidence" is splitting each feature's contribution over the words. Documents are read up to 30 and 100 words, and
whole.
"""

import statistics
import time

import pandas as pd
import pyterrier as pt
from demo_setting import demo_setting, original_vectors
from pyterrier_dr import BiEncoder

from pyterrier_xetrieval import VectorLoader


def main() -> None:
    args, model, job = demo_setting(__doc__, repeat=30)
    original = original_vectors(job)
    encoder, topics = job.encoder, job.encoder(job.dataset.get_topics().head(args.repeat))
    pages = original.np_retriever(num_results=10) >> job.dataset.text_loader() >> VectorLoader(original)
    print(f"medians over {len(topics)} queries, {args.threads} thread(s), {len(original)} documents")
    print(f"{'':34s}{'encode 11 texts':>16s}{'explain':>9s}{'evidence':>10s}{'print':>8s}")
    for aspects in ((), model.aspects):
        own = model.with_views(aspects)
        explain, evidence = own.explainer(), own.evidence(encoder)
        for words in (30, 100, None):
            found: list[list[float]] = []
            for i in [0, *range(len(topics))]:  # the first query twice: once to warm up
                frame = own.internalizer()(cut(pages(topics.iloc[i : i + 1]), words, encoder))
                found.append(one_page(explain, evidence, encoder, frame))
            medians = [statistics.median(values) for values in zip(*found[1:])]
            name = f"{1 + len(aspects)} view{'s' if aspects else ''}, {'whole documents' if words is None else f'{words} words'}"
            print(f"{name:34s}{medians[0]:13.1f} ms{medians[1]:6.1f} ms{medians[2]:7.1f} ms{medians[3]:5.1f} ms")


def cut(frame: pd.DataFrame, words: int | None, encoder: BiEncoder) -> pd.DataFrame:
    """The page with the first words of each document alone, and vectors of these texts."""
    if words is None:
        return frame
    texts = [" ".join(text.split()[:words]) for text in frame["text"]]
    return frame.assign(text=texts, doc_vec=list(encoder.encode_docs(texts)))


def one_page(explain: pt.Transformer, evidence: pt.Transformer, encoder: BiEncoder, frame: pd.DataFrame) -> list[float]:
    """Milliseconds of each step."""
    stamps = [time.perf_counter()]
    encoder.encode_queries([frame["query"].iloc[0]])
    encoder.encode_docs(frame["text"].tolist())
    stamps.append(time.perf_counter())
    explained = explain(frame)
    stamps.append(time.perf_counter())
    found = evidence(explained)["explanation"]
    stamps.append(time.perf_counter())
    for explanation in found:
        explanation.to_text()
    stamps.append(time.perf_counter())
    return [1000 * (after - before) for before, after in zip(stamps, stamps[1:])]


if __name__ == "__main__":
    main()
