"""``pyterrier-xetrieval explore``: an index and some queries in, one HTML file to look through out."""

from __future__ import annotations

from pathlib import Path

import click

from .errors import Command
from .params import EXISTING, EXISTING_FILE, POSITIVE, NewPath


@click.command(cls=Command, interrupted="OUT is as it was; the same command starts again.")
@click.argument("index", type=EXISTING)
@click.option("--topics", type=EXISTING_FILE, help="One query a line: its id, a tab, its text; or the text alone.")
@click.option("--query", "queries", multiple=True, metavar="TEXT", help="A query; may be repeated.")
@click.option("-o", "--out", type=NewPath(), default="explorer.html", show_default=True, help="The HTML file to write.")
@click.option("--corpus", type=EXISTING_FILE, help="JSON lines with docno and text, for an index that does not keep its texts.")
@click.option("--documents", default=2000, show_default=True, type=POSITIVE, help="How many documents are in the page at most.")
def explore(index: Path, topics: Path | None, queries: tuple[str, ...], out: Path, corpus: Path | None, documents: int) -> None:
    """Write one HTML file that explains the results of some queries in any browser, offline.

    INDEX is the folder of an index that `index` or `model.indexer(…, evidence=True)` has made. The page holds each query's
    first results and examples of features: it shows why each was found, in which words; compares two; says why a document
    is not higher; shows what each feature is about; and ranks again as features of the query are turned down or up.

    \b
    Example:
      pyterrier-xetrieval explore corpus.xetrieval \\
          --query "sort a list by two keys" -o explorer.html

    \b
    --corpus FILE  JSON lines {"docno": "d1", "text": "..."}, or "_id", "title"

    OUT is replaced when all is done. An interruption leaves what was there, and the command starts again.
    """
    asked = [*_read(topics), *((None, query) for query in queries)]
    if not asked:
        raise click.UsageError("give the queries: --query TEXT, or --topics FILE")
    if blank := [i for i, (_, query) in enumerate(asked) if not query.strip()]:
        raise click.UsageError(f"query {blank[0] + 1} is empty; ask something")
    import pandas as pd

    from ..datasets.corpus_file import CorpusFile
    from ..index import XetrievalIndex
    from ..viz import explore as write

    frame = pd.DataFrame([(qid or str(i + 1), query) for i, (qid, query) in enumerate(asked)], columns=["qid", "query"])
    texts = None if corpus is None else {row["docno"]: row["text"] for row in CorpusFile(corpus)}
    write(XetrievalIndex(index), frame, out, documents=documents, texts=texts, verbose=True)
    click.echo(
        f"{len(frame)} {'query' if len(frame) == 1 else 'queries'}: {out} ({out.stat().st_size / 1e6:.1f} MB), for any browser"
    )


def _read(topics: Path | None) -> list[tuple[str | None, str]]:
    """Ids and texts of the lines that are not empty; the id is None where a line has no tab."""
    lines = [] if topics is None else topics.read_text(encoding="utf-8").splitlines()
    split = [line.partition("\t") for line in lines if line.strip()]
    return [(before, after) if tab else (None, before) for before, tab, after in split]
