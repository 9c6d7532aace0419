"""``pyterrier-xetrieval search``: a query in, the first results and why they were found out."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .errors import Command
from .params import DEVICE, EXISTING, POSITIVE


@click.command(cls=Command, interrupted="The index is as it was.")
@click.argument("index", type=EXISTING)
@click.argument("query")
@click.option("-k", "--num-results", default=3, show_default=True, type=POSITIVE, help="How many documents.")
@click.option("--parts", is_flag=True, help="Also print all parts of each score.")
@click.option("--dense", is_flag=True, help="By the original vectors alone, without the index's views.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line instead, with all features.")
@DEVICE
def search(index: Path, query: str, num_results: int, parts: bool, dense: bool, as_json: bool, device: str | None) -> None:
    """Search an index, and say why each document was found.

    INDEX is the folder of an index that `index` or `model.indexer(…)` has made. Its own encoder encodes the query.

    \b
    Example:
      pyterrier-xetrieval search corpus.xetrieval "sort a list by two keys"

    Nothing is written, so that an interruption leaves everything as it was.
    """
    if not query.strip():
        raise click.BadParameter("is empty; ask something", param_hint="QUERY")
    from ..index import XetrievalIndex

    opened = XetrievalIndex(index)
    opened = opened.with_views(()) if dense else opened
    options = {} if device is None else {"device": device}
    encoder = opened.encoder(**options)
    pipeline = encoder >> opened.retriever(num_results=num_results) >> opened.explainer()
    if opened.settings.get("evidence", False):
        pipeline = pipeline >> opened.evidence(encoder)
    for row in pipeline.search(query).itertuples():
        e = row.explanation
        if as_json:
            click.echo(json.dumps({"rank": row.rank, "sentence": e.sentence(), **e.to_dict()}, ensure_ascii=False))
        else:
            click.echo(f"{row.rank + 1}. {row.docno} ({row.score:.4f}): {e.sentence()}")
            if parts:
                click.echo(f"   {e.to_text()}\n")
