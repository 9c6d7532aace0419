"""How long answers and explanations take as the corpus grows, and what a CoT reasoner would need (Cai et al. 2026, Fig. 6)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from ..core.checks import positive_int
from ..core.internalizer import internalize
from ..core.views import fold_views
from ..llm.prompts import PROMPTS
from ..stages.columns import unstack
from ..training.teacher import Teacher
from .bootstrap import estimate
from .collection import CUTOFF, EmbeddedCollection, ndcg, rank

SIZES = (10_000, 20_000, 30_000, 40_000, 50_000, 60_000)
JITTER = 0.1  # length of the noise added to a copy of a unit vector
WARM_UP = 3  # queries not counted: first touch of memory, threads
COLUMNS = ["collection", "size", "copies", "system", "extrapolated", "measure", "value", "low", "high", "n"]


def latency(
    model, collection: EmbeddedCollection, *, sizes: Sequence[int] = SIZES, weights=None, max_queries: int = 100,
    num_results: int = CUTOFF, llm=None, n_texts: int = 24, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Fig. 6: time per query for retrieval and explanation at growing corpus sizes, beside nDCG.

    A corpus of a size up to the collection's holds all relevant documents of the queries asked and random others,
    without replacement, a smaller one always part of a larger. A larger corpus is the whole collection and synthetic
    documents, copies of random ones (with replacement) moved by Gaussian noise of length about 0.1 and brought back to
    their length: they make the work real, but nobody judged them, so that there is no nDCG at these sizes.

    Queries are answered one at a time, from their vectors: encoding them costs the same in every system. Times
    are of this machine under its present load.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        collection: documents and queries.
        sizes: numbers of documents.
        weights: of the views; the model's own unless given.
        max_queries: random queries that are asked; all if there are fewer.
        num_results: k: documents retrieved and explained for each query.
        llm: a language model (or a function from prompt to text) that is timed on ``n_texts`` of the documents, see
            :func:`cot_seconds`; None leaves the CoT reasoner out. It needs a collection with texts.
        seed: of queries, documents and copies.

    Returns:
        columns collection, size, copies (synthetic documents among them), system, extrapolated, measure, value, low,
        high, n. Systems and measures:

        - ``dense``, ``multi-view`` (folded vectors): ``median_ms`` and ``p95_ms`` of retrieving k documents for one
          query, n queries; ``nDCG@k`` with 95% bootstrap intervals.
        - ``explanation``: ``median_ms`` and ``p95_ms`` of explaining the k multi-view results of one query, from
          the vectors of the documents found: views, codes, attribution.
        - ``internalizer``: ``corpus_seconds`` for all views of the whole corpus and folding them.
        - ``CoT reasoner``: ``corpus_seconds`` for a text per document and aspect, extrapolated.

    Raises:
        ValueError: a size that cannot hold the relevant documents; an ``llm`` but no texts.

    Example::

        table = latency(model, collection, sizes=[10_000, 60_000])
        table[table.measure == "median_ms"].pivot(index="size", columns="system", values="value")
    """
    sizes = [positive_int(size, "sizes", stage="latency") for size in sizes]
    max_queries = positive_int(max_queries, "max_queries", stage="latency")
    if llm is not None and collection.texts is None:
        raise ValueError(f"latency expects a collection with texts for an llm to read, found none in {collection.name!r}")
    chosen = np.random.default_rng(seed).permutation(len(collection.qids))[:max_queries]
    asked, weights = collection.select(np.sort(chosen)), model.check_weights(weights, model.aspects, stage="latency")
    rows = []
    for size in sizes:
        corpus, copies = sample_corpus(asked, size, seed=seed)
        first = {"collection": collection.name, "size": size, "copies": copies, "extrapolated": False}
        rows += [{**first, **row} for row in _times(model, corpus, weights, num_results, copies, seed)]
    if llm is not None:
        drawn = np.random.default_rng(seed).permutation(len(collection.docnos))[:n_texts]
        cot = cot_seconds(llm, collection.texts(drawn), sizes=sizes)
        rows += cot.assign(collection=collection.name).to_dict("records")
    return pd.DataFrame(rows, columns=COLUMNS).astype({"copies": "Int64", "extrapolated": bool})


def sample_corpus(collection: EmbeddedCollection, size: int, *, seed: int) -> tuple[EmbeddedCollection, int]:
    """The collection with ``size`` documents, as :func:`latency` describes it, and how many of them are copies.

    Relevant are those of a grade above 0 for a query of the collection. Copies are named ``<docno>~<number>`` and are
    judged for, and excluded from, no query.

    Raises:
        ValueError: fewer than the relevant documents.
    """
    n, docs = len(collection.docnos), np.asarray(collection.docs)
    relevant = np.array(sorted({d for judged in collection.judged for d, grade in judged.items() if grade > 0}), np.int64)
    if size < len(relevant):
        raise ValueError(f"a corpus of {collection.name!r} needs its {len(relevant)} relevant documents, found size {size}")
    rng = np.random.default_rng(seed)
    others = rng.permutation(n)
    others = others[~np.isin(others, relevant)]
    rows = np.sort(np.concatenate([relevant, others[: size - len(relevant)]]))
    place = np.full(n, -1)
    place[rows] = np.arange(len(rows))
    docnos, vectors, copies = collection.docnos[rows], docs[rows], size - len(rows)
    if copies:
        source = rng.integers(n, size=copies)
        moved = docs[source] + rng.normal(0, JITTER / np.sqrt(docs.shape[1]), (copies, docs.shape[1])).astype(np.float32)
        lengths = np.linalg.norm(docs[source], axis=1) / np.maximum(np.linalg.norm(moved, axis=1), 1e-12)
        vectors = np.concatenate([vectors, moved * lengths[:, None]])
        names = [f"{docno}~{i}" for i, docno in enumerate(collection.docnos[source])]
        docnos = np.concatenate([docnos.astype(object), np.array(names, object)])
    judged = [{int(place[d]): grade for d, grade in own.items() if place[d] >= 0} for own in collection.judged]
    excluded = [place[own][place[own] >= 0] for own in collection.excluded]
    return replace(collection, docnos=docnos, docs=vectors, judged=judged, excluded=excluded, texts=None), copies


def cot_seconds(
    llm, texts: Sequence[str], *, sizes: Sequence[int] = SIZES, prompts: Mapping[str, str] = PROMPTS
) -> pd.DataFrame:  # fmt: skip
    """What the CoT reasoner costs: a language model really writes a text per aspect about a few dozen documents.

    The model works as it would on a corpus, in its own batches and requests in flight, after one prompt that is not
    counted (loading, warm-up). An unusable answer is not asked for again but its time counts. Larger corpora are
    extrapolated linearly, from the mean over these texts: give it a random sample of them. The encoder's time for
    what was written is left out.

    Args:
        llm: a :class:`~pyterrier_xetrieval.llm.endpoints.LanguageModel`, or a function from prompt to text.
        texts: documents.
        sizes: numbers of documents to extrapolate to.
        prompts: aspect to template.

    Returns:
        columns size, system (``CoT reasoner``), extrapolated, measure (``corpus_seconds``), value, n (documents that
        were timed): one row that was measured, at the number of texts, and one for each of the sizes.

    Raises:
        ValueError: no texts, or an empty one.
    """
    texts = list(texts)
    if not texts or not all(text.strip() for text in texts):
        raise ValueError(
            f"cot_seconds expects texts to write about, found {len(texts)}, {sum(not t.strip() for t in texts)} empty"
        )
    teacher = Teacher(llm, prompts=prompts, attempts=1, give_up=len(texts) * len(prompts) + 1, check=_anything)
    with TemporaryDirectory() as folder:
        teacher.write([{"docno": "0", "text": texts[0]}], Path(folder, "warm-up.jsonl"), aspects=list(prompts)[:1])
        documents = [{"docno": str(i), "text": text} for i, text in enumerate(texts)]
        seconds = teacher.write(documents, Path(folder, "texts.jsonl")).seconds
    measured = [(len(texts), False, seconds), *((size, True, seconds / len(texts) * size) for size in sizes)]
    table = pd.DataFrame(measured, columns=["size", "extrapolated", "value"])
    return table.assign(system="CoT reasoner", measure="corpus_seconds", n=len(texts))[
        ["size", "system", "extrapolated", "measure", "value", "n"]
    ]


def _anything(aspect: str, text: str) -> None:
    """Time is what is measured, whatever was written."""


def _times(model, corpus, weights, num_results, copies, seed) -> list[dict]:
    start = time.perf_counter()
    views = [internalize(module, corpus.docs, batch_size=4096) for module in model.internalizers.values()]
    folded = fold_views([corpus.docs, *views], weights)
    rows = [{"system": "internalizer", "measure": "corpus_seconds", "value": time.perf_counter() - start, "n": len(folded)}]
    del views
    explain = model.internalizer() >> model.explainer(weights=weights)
    results: dict[str, list] = {"dense": [], "multi-view": []}
    seconds: dict[str, list] = {"dense": [], "multi-view": [], "explanation": []}
    n = len(corpus.qids)
    for i in [*range(min(WARM_UP, n)), *range(n)]:
        query, excluded = corpus.queries[i : i + 1], corpus.excluded[i : i + 1]
        for system, docs in (("dense", corpus.docs), ("multi-view", folded)):
            found, spent = timed(partial(rank, query, docs, num_results, excluded=excluded))
            results[system].append(found[0][0])
            seconds[system].append(spent)
        seconds["explanation"].append(timed(partial(_explain, explain, corpus, i, found[0][0]))[1])
    for system, spent in seconds.items():
        ms = 1000 * np.array(spent[-n:])
        rows.append({"system": system, "measure": "median_ms", "value": float(np.median(ms)), "n": n})
        rows.append({"system": system, "measure": "p95_ms", "value": float(np.percentile(ms, 95)), "n": n})
    for system, found in results.items() if not copies else ():
        values = ndcg(corpus, np.stack(found[-n:]), cutoff=num_results)
        rows.append({"system": system, "measure": f"nDCG@{num_results}", **estimate(values, seed=seed)})
    return rows


def timed(function: Callable):
    """What it returns, and the seconds it took."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def _explain(pipeline, corpus: EmbeddedCollection, i: int, rows: np.ndarray) -> pd.DataFrame:
    """Explains the results of query ``i``, from the frame that a retriever and ``VectorLoader`` hand on."""
    rows, qid = rows[rows >= 0], corpus.qids[i]
    frame = pd.DataFrame({"qid": [qid] * len(rows), "docno": corpus.docnos[rows], "score": 0.0, "rank": np.arange(len(rows))})
    query = np.asarray(corpus.queries[i])
    frame = frame.assign(query_vec=unstack(query[None], np.zeros(len(rows), int)), doc_vec=unstack(corpus.docs[rows]))
    return pipeline(frame)
