"""How long retrieval and explanations take as the corpus grows, and a CoT reasoner (Cai et al. 2026, Fig. 6)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
import pandas as pd
import pyterrier as pt

from ..core.checks import positive_int
from ..core.views import fold_views
from ..llm.endpoints import LanguageModel, as_model
from ..llm.prompts import PROMPTS
from ..model import Xetrieval
from ..training.teacher import Teacher
from ..vector_cells import unstack
from .collection import CUTOFF, EmbeddedCollection, ndcg, rank
from .document_views import document_views
from .tidy_rows import TidyRows

Result = TypeVar("Result")
SIZES = (10_000, 20_000, 30_000, 40_000, 50_000, 60_000)
JITTER = 0.1  # length of the noise added to a copy of a unit vector
WARM_UP = 3  # queries not counted: first touch of memory, threads


def latency(
    model: Xetrieval,
    collection: EmbeddedCollection,
    *,
    sizes: Sequence[int] = SIZES,
    max_queries: int = 100,
    num_results: int = CUTOFF,
    llm: LanguageModel | Callable[[str], str] | None = None,
    n_texts: int = 24,
    seed: int = 0,
) -> pd.DataFrame:
    """Fig. 6: time per query for retrieval and explanation at growing corpus sizes, beside nDCG.

    A corpus of a size up to the collection's holds all relevant documents of the queries asked and random others,
    without replacement, a smaller one always part of a larger. A larger corpus is the whole collection and synthetic
    documents, copies of random ones (with replacement) moved by Gaussian noise of length about 0.1 and brought back to
    their length: they make the work real, but nobody judged them, so that there is no nDCG at these sizes.

    Queries are answered one at a time, from their vectors: encoding them costs the same in every system. Times
    are of this machine under its present load.

    Args:
        model: whose views and weights.
        collection: documents and queries.
        sizes: numbers of documents.
        max_queries: random queries that are asked; all if there are fewer.
        num_results: k: documents retrieved and explained for each query.
        llm: a language model (or a function from prompt to text) that is timed on ``n_texts`` of the documents, see
            :func:`cot_seconds`; None leaves the CoT reasoner out. It needs a collection with texts.
        n_texts: documents that the language model writes about.
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
    drawn = np.random.default_rng(seed).permutation(len(collection.docnos))[:n_texts]
    texts = [] if llm is None else collection.read_texts(drawn, stage="latency")
    chosen = np.random.default_rng(seed).permutation(len(collection.qids))[:max_queries]
    asked = collection.select(np.sort(chosen))
    tables = [_times(model, *sample_corpus(asked, size, seed=seed), num_results, seed) for size in sizes]
    if llm is not None:
        tables.append(cot_seconds(llm, texts, sizes=sizes).assign(collection=collection.name))
    table = pd.concat(tables, ignore_index=True).reindex(columns=tables[0].columns)
    return table.astype({"copies": "Int64", "extrapolated": bool})


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


def cot_seconds(llm: LanguageModel | Callable[[str], str], texts: Sequence[str], *, sizes: Sequence[int] = SIZES) -> pd.DataFrame:
    """What the CoT reasoner costs: a language model really writes a text per aspect about a few dozen documents.

    The model works as it would on a corpus, in its own batches and requests in flight, after one prompt that is not
    counted (loading, warm-up). An unusable answer is not asked for again but its time counts. Larger corpora are
    extrapolated linearly, from the mean over these texts: give it a random sample of them. The encoder's time for
    what was written is left out.

    Args:
        llm: a :class:`~pyterrier_xetrieval.llm.endpoints.LanguageModel`, or a function from prompt to text.
        texts: documents.
        sizes: numbers of documents to extrapolate to.

    Returns:
        columns size, system (``CoT reasoner``), extrapolated, measure (``corpus_seconds``), value, n (documents that
        were timed): one row that was measured, at the number of texts, and one for each of the sizes.

    Raises:
        ValueError: no texts, or an empty one.
    """
    texts = list(texts)
    if not texts or not all(text.strip() for text in texts):
        empty = sum(not text.strip() for text in texts)
        raise ValueError(f"cot_seconds expects texts to write about, found {len(texts)}, {empty} empty")
    give_up = len(texts) * len(PROMPTS) + 1  # never: time is what is measured, and any text is as good as another
    teacher = Teacher(as_model(llm), attempts=1, give_up=give_up, check=lambda aspect, text: None)
    with TemporaryDirectory() as folder:
        teacher.write([{"docno": "0", "text": texts[0]}], Path(folder, "warm-up.jsonl"), aspects=list(PROMPTS)[:1])
        documents = [{"docno": str(i), "text": text} for i, text in enumerate(texts)]
        seconds = teacher.write(documents, Path(folder, "texts.jsonl")).seconds
    measured = [(len(texts), False, seconds), *((size, True, seconds / len(texts) * size) for size in sizes)]
    table = pd.DataFrame(measured, columns=["size", "extrapolated", "value"])
    table = table.assign(system="CoT reasoner", measure="corpus_seconds", n=len(texts))
    return table[["size", "system", "extrapolated", "measure", "value", "n"]]


def _times(model: Xetrieval, corpus: EmbeddedCollection, copies: int, num_results: int, seed: int) -> pd.DataFrame:
    """The rows of one size."""
    n = len(corpus.qids)
    rows = TidyRows(seed, collection=corpus.name, size=len(corpus.docnos), copies=copies)
    folded, spent = timed(lambda: fold_views([*document_views(model, corpus.docs).values()], [*model.weights.values()]))
    rows.number("corpus_seconds", spent, len(folded), system="internalizer", extrapolated=False)
    explain = model.internalizer() >> model.explainer()
    results: dict[str, list[np.ndarray]] = {"dense": [], "multi-view": []}
    seconds: dict[str, list[float]] = {"dense": [], "multi-view": [], "explanation": []}
    for i in [*range(min(WARM_UP, n)), *range(n)]:
        query, excluded = corpus.queries[i : i + 1], corpus.excluded[i : i + 1]
        for system, docs in (("dense", corpus.docs), ("multi-view", folded)):
            (found, _), spent = timed(partial(rank, query, docs, num_results, excluded=excluded))
            results[system].append(found[0])
            seconds[system].append(spent)
        seconds["explanation"].append(timed(partial(_explain, explain, corpus, i, results["multi-view"][-1]))[1])
    for system, own in seconds.items():
        ms = 1000 * np.array(own[-n:])
        rows.number("median_ms", float(np.median(ms)), n, system=system, extrapolated=False)
        rows.number("p95_ms", float(np.percentile(ms, 95)), n, system=system, extrapolated=False)
    for system, ranked in results.items() if not copies else ():
        values = ndcg(corpus, np.stack(ranked[-n:]), cutoff=num_results)
        rows.mean(f"nDCG@{num_results}", values, system=system, extrapolated=False)
    return rows.frame("system", "extrapolated")


def timed(function: Callable[[], Result]) -> tuple[Result, float]:
    """What it returns, and the seconds it took."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def _explain(pipeline: pt.Transformer, corpus: EmbeddedCollection, i: int, rows: np.ndarray) -> pd.DataFrame:
    """Explains the results of query ``i``, from the frame that a retriever and ``VectorLoader`` hand on."""
    rows, qid = rows[rows >= 0], corpus.qids[i]
    frame = pd.DataFrame({"qid": [qid] * len(rows), "docno": corpus.docnos[rows], "score": 0.0, "rank": np.arange(len(rows))})
    query = np.asarray(corpus.queries[i])
    frame = frame.assign(query_vec=unstack(query[None], np.zeros(len(rows), int)), doc_vec=unstack(corpus.docs[rows]))
    return pipeline(frame)
