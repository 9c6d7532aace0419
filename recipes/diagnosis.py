"""What the bundled encoder gets wrong on judged collections, as Markdown tables.

``python -m recipes.diagnosis --data DIR --vectors DIR --exclude-own-id arguana birco_relic mutual scifact arguana``
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pandas as pd

from pyterrier_xetrieval import Xetrieval, XetrievalIndex, diagnose, diagnose_corpus
from pyterrier_xetrieval.core.calibration import CorpusStatistics
from pyterrier_xetrieval.evaluation import Diagnosis, EmbeddedCollection, read_embedded
from pyterrier_xetrieval.evaluation.bootstrap import estimate
from pyterrier_xetrieval.evaluation.collection import retrieval_ndcg
from recipes.command import FOLDER, Command
from recipes.measured_collections import qrels_of

MODULE = "recipes.diagnosis"
FOUND = 100  # results of each query


class Judged(NamedTuple):
    """A collection with vectors as a pipeline takes it."""

    index: XetrievalIndex
    topics: pd.DataFrame
    qrels: pd.DataFrame
    excluded: pd.DataFrame


def judged(collection: EmbeddedCollection, path: Path) -> Judged:
    """Indexes the vectors under ``path``, without views."""
    docs = ({"docno": str(docno), "doc_vec": vector} for docno, vector in zip(collection.docnos, collection.docs))
    index = Xetrieval.default().with_views(()).indexer(path).index(docs)
    qids, docnos = [str(qid) for qid in collection.qids], collection.docnos
    topics = pd.DataFrame({"qid": qids, "query": collection.query_texts, "query_vec": list(collection.queries)})
    excluded = [(qid, str(docnos[row])) for qid, own in zip(qids, collection.excluded) for row in own]
    return Judged(index, topics, qrels_of(collection), pd.DataFrame(excluded, columns=["qid", "docno"]))


def found_in(own: Judged, *, seed: int = 0) -> Diagnosis:
    pipeline = own.index.retriever(num_results=FOUND) >> own.index.explainer()
    return diagnose(pipeline, own.topics, own.qrels, index=own.index, excluded=own.excluded, seed=seed)


@click.command(cls=Command, interrupted="Nothing is kept.")
@click.argument("names", nargs=-1, required=True)
@click.option("--data", type=FOLDER, required=True, help="Folder of collections.")
@click.option("--vectors", type=FOLDER, required=True, help="NAME.f16.npy and so on.")
@click.option("--exclude-own-id", multiple=True, help="A collection whose queries are documents; may be repeated.")
@click.option("--seed", default=0, show_default=True)
def main(names: tuple[str, ...], data: Path, vectors: Path, exclude_own_id: tuple[str, ...], seed: int) -> None:
    """Diagnose collections and print what is found, without any text of theirs."""
    for name in names:
        collection = read_embedded(data, name, vectors=vectors, exclude_own_id=name in exclude_own_id)
        with tempfile.TemporaryDirectory() as folder:
            own = judged(collection, Path(folder) / "index")
            corpus = diagnose_corpus(own.index, seed=seed).facts
            click.echo(section(name, found_in(own, seed=seed), corpus, calibrated(collection, corpus["strength"], seed=seed)))


def calibrated(collection: EmbeddedCollection, strength: float, *, seed: int) -> dict[str, float]:
    """What calibrating the queries by the corpus gains, which asks for no judgements: the cheap alternative."""
    mapped = CorpusStatistics.from_vectors([collection.docs]).whitening(strength).astype(np.float32)
    after = retrieval_ndcg(collection, collection.docs, queries=collection.queries @ mapped)
    return estimate(after - retrieval_ndcg(collection, collection.docs), seed=seed)


def section(name: str, found: Diagnosis, corpus: dict[str, float], cheap: dict[str, float]) -> str:
    """A heading, a line of facts, and ten findings."""
    f, t = found.facts, found.together
    lines = [
        f"## {name}", "",
        f"nDCG@10 {_points(f['ndcg'])}, {f['queries']} queries, {f['failing']} failing, of these {f['in_groups']} in groups; difference "
        f"in score by shared features {f['by_features']:.0%}, other features {f['by_other']:.0%}, not explained {f['unexplained']:.0%}. "
        f"Distractors: {len(found.distractors)}; found on one half of the queries and turned down in the other: {_gain(t)}; calibrating by the corpus "
        f"instead: {_points(cheap['value'])} ({_points(cheap['low'])} to {_points(cheap['high'])}). Corpus: "
        f"topicality {corpus['topicality']:.2f}, effective rank {corpus['effective_rank']:.0f}, {corpus['in_duplicates']} of "
        f"{corpus['looked_at']} documents in near-duplicates.", "",
        "| kind | feature | queries | what was measured | gain over its queries, held out |", "|---|---|---|---|---|",
    ]  # fmt: skip
    half = max(10 - min(5, len(found.groups)) - 2, 3)
    for row in found.distractors.head(half).itertuples():
        lines.append(_line("distractor", row, row.queries, f"lift {row.lift:.4f}, p {row.p_holm:.3f}"))
    for row in found.groups.head(5).itertuples():
        lines.append(_line(f"group ({row.kind})", row, row.queries, f"{row.lift:.3f} of a gap of {row.gap:.3f}"))
    for row in found.blind_spots.head(10 - (len(lines) - 6)).itertuples():
        lines.append(_line("blind spot", row, row.asked, f"blind in {row.blind}, shown by {row.on_page:.0%} of the page"))
    return "\n".join([*lines, ""])


def _line(kind: str, row: object, queries: int, measured: str) -> str:
    return f"| {kind} | {row.label} [{row.feature}] | {queries} | {measured} | {_gain(row._asdict())} |"


def _gain(gain: dict[str, float]) -> str:
    if gain["alpha"] == 1:
        return "none"
    low, high = (_points(gain[end]) for end in ("gain_low", "gain_high"))
    return f"{_points(gain['gain'])} ({low} to {high})"


def _points(value: float) -> str:
    return f"{100 * value:.1f}".replace("-", "−")


if __name__ == "__main__":
    main(prog_name=f"python -m {MODULE}")
