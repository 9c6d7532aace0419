"""Explaining one page of ten results, warm, vectors indexed: each stage and the whole, in milliseconds.

python benchmarks/explain_page.py [--repeat 50] [--threads 1]
"""

import statistics
import time

from demo_setting import demo_setting, original_vectors

from pyterrier_xetrieval import VectorLoader


def main() -> None:
    args, model, job = demo_setting(__doc__, repeat=50)
    original = original_vectors(job)
    topics = job.encoder(job.dataset.get_topics().head(args.repeat))
    stages = {
        "retrieve 10": original.np_retriever(num_results=10),
        "load vectors": VectorLoader(original),
        "internalize": model.internalizer(),
        "score": model.scorer(),
        "explain": model.explainer(),
    }
    times = {name: [] for name in stages}
    for i in [0, *range(len(topics))]:  # the first query twice: once to warm up
        frame = topics.iloc[i : i + 1]
        for name, stage in stages.items():
            started = time.perf_counter()
            frame = stage(frame)
            times[name].append(1000 * (time.perf_counter() - started))
    print(f"medians over {len(topics)} queries, {args.threads} thread(s), {len(original)} documents, query encoded before")
    for name, values in times.items():
        print(f"{name:14s} {statistics.median(values[1:]):7.2f} ms")
    whole = [sum(parts) for parts in zip(*(values[1:] for values in times.values()))]
    print(f"{'all':14s} {statistics.median(whole):7.2f} ms")


if __name__ == "__main__":
    main()
