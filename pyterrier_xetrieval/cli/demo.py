"""``pyterrier-xetrieval demo``: the main job on the bundled model and collection."""

from __future__ import annotations

import platform
import shlex
import time
from pathlib import Path

import click

from .errors import Command
from .params import FOLDER, NewPath

QUERY = "how do I sort a list of words by their length"


@click.command(cls=Command, interrupted="Finished vectors are kept; the same command goes on.")
@click.option("--query", default=QUERY, show_default=True, help="What to ask the Python documentation.")
@click.option("--top", default=3, show_default=True, type=click.IntRange(1, 100), help="How many results to explain.")
@click.option("--report", default="xetrieval-report.html", show_default=True, type=NewPath(), help="The HTML page to write.")
@click.option("--cache", type=FOLDER, help="Where to keep the vectors.  [default: xetrieval in PyTerrier's home folder]")
def demo(query: str, top: int, report: Path, cache: Path | None) -> None:
    """Run the main job on the documentation of your own Python.

    Encodes and indexes the docstrings of the running interpreter with the bundled model, retrieves, explains the
    top results of a query by shared features that add up to the score, erases those features (and, beside it, as
    many others) and shows what the score and the rank become, evaluates with pt.Experiment, and writes one HTML
    page in which the results and the features behind them can be looked through. Nothing is downloaded; vectors are kept, so
    that a second run takes seconds.

    \b
    Example:
      pyterrier-xetrieval demo --query "wait for a thread to finish" --top 2
    """
    if not query.strip():
        raise click.BadParameter("is empty; ask something", param_hint="--query")
    started = time.perf_counter()
    import pandas as pd
    import pyterrier as pt

    from .. import __version__
    from ..datasets import pydocs
    from ..model import Xetrieval
    from ..viz import explore
    from .demo_job import Demo, table

    dataset, model = pydocs(), Xetrieval.default()
    documents, questions, python = len(dataset), len(dataset.get_topics()), platform.python_version()
    job = Demo(dataset, model, cache or Path(pt.io.pyterrier_home()) / "xetrieval")
    click.echo(f"pydocs of Python {python}: {documents} documents, vectors in {job.folder}")

    results = job.explain(query, top=top)
    erased = job.erase(results)
    click.echo(f"\n{query}\n")
    for row, after in zip(results.itertuples(), erased.itertuples()):
        click.echo(
            f"{row.rank + 1}. {row.docno}: {row.explanation.sentence()}\n   {row.explanation.to_text()}\n"
            f"  without these {len(row.explanation)} features: score {after.score:.4f} -> {after.erased_score:.4f}, "
            f"rank {after.rank + 1} -> {after.erased_rank + 1} of {documents}\n"
            f"  without as many of its other features: score {after.control_score:.4f}, rank {after.control_rank + 1}\n"
        )
    experiment = job.evaluate()
    click.echo(f"{questions} queries, against {experiment['name'][0]!r}:\n{experiment.round(4).to_string(index=False)}")
    facts = {
        "collection": f"{documents} docstrings and language topics of Python {python}, {questions} queries",
        "encoder": model.meta["encoder"]["name"],
        "dictionary": f"{model.sae.dict_size} features, inference rule {model.sae.activation}, k = {model.sae.k}",
        "labels": f"{len(model.labels)}, made by: {', '.join(model.labels.methods)}",
        "versions": f"pyterrier_xetrieval {__version__}, pyterrier {pt.__version__}",
        "repeat with": f"pyterrier-xetrieval demo --query {shlex.quote(query)} --top {top}",
    }
    tables = [{"title": f"{questions} queries of the collection", **table(experiment)}]
    topics = pd.DataFrame({"qid": ["1"], "query": [query]})
    about = {"title": query, "notes": facts, "tables": tables}
    explore(job.index, topics, report, documents=max(2000, documents), about=about, verbose=True)
    click.echo(f"\nreport: {report}   ({time.perf_counter() - started:.1f} s)")
