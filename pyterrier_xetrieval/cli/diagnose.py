"""``pyterrier-xetrieval diagnose``: what a retriever over an index gets wrong, by features."""

from __future__ import annotations

from pathlib import Path

import click

from .errors import Command
from .params import EXISTING, POSITIVE, SEED, NewPath, open_dataset


@click.command(cls=Command, interrupted="OUT is as it was; the same command starts again.")
@click.argument("index", type=EXISTING)
@click.argument("dataset", required=False)
@click.option("-o", "--out", type=NewPath(), help="The HTML page to write.")
@click.option("--num-results", default=100, show_default=True, type=POSITIVE, help="How many results of a query to look at.")
@click.option("--exclude-own-id", is_flag=True, help="Queries are documents: never retrieve a query's own id.")
@click.option("--dense", is_flag=True, help="Look at the original vectors alone, without the index's views.")
@click.option("--explorer", metavar="ADDRESS", help="A page that `explore` wrote; features in OUT link to it.")
@SEED
def diagnose(
    index: Path, dataset: str | None, out: Path | None, num_results: int, exclude_own_id: bool, dense: bool,
    explorer: str | None, seed: int,
) -> None:  # fmt: skip
    """Find what a retriever gets wrong, by features, and what turning these down would give.

    INDEX is the folder of an index that `index` or `model.indexer(…)` has made. Its own encoder encodes the queries. With a
    DATASET: which features lift wrong results over relevant documents, which features of queries no relevant document shows, and groups of
    queries that fail for one reason. Without: what all documents share, near-duplicates, and whether calibrating is advised.

    \b
    DATASET  a BEIR-style folder: queries.jsonl[.gz] and qrels.tsv or
             qrels/test.tsv, JSON lines {"_id": ..., "text": ...}
             and a header query-id, corpus-id, score;
             or "pydocs", or a benchmark that ir_datasets knows

    \b
    Example:
      pyterrier-xetrieval diagnose corpus.xetrieval data/scifact \\
          -o diagnosis.html

    OUT is replaced when all is done. An interruption leaves what was there, and the command starts again.
    """
    if dataset is None and out is not None:
        raise click.UsageError("--out goes with a DATASET: an index alone is told in text")
    from .. import evaluation
    from ..index import XetrievalIndex

    opened = XetrievalIndex(index)
    if dataset is None:
        click.echo(evaluation.diagnose_corpus(opened, seed=seed))
        return
    collection = open_dataset(dataset, exclude_own_id=exclude_own_id)
    opened = opened.with_views(()) if dense else opened
    pipeline = opened.encoder() >> opened.retriever(num_results=num_results) >> opened.explainer()
    found = evaluation.diagnose(
        pipeline, collection.get_topics(), collection.get_qrels(), index=opened, excluded=collection.get_excluded(), seed=seed,
        verbose=True,
    )  # fmt: skip
    click.echo(found)
    if out is not None:
        click.echo(f"{found.to_html(out, explorer=explorer)}: for any browser")
