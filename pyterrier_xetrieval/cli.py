"""The command ``pyterrier-xetrieval``."""

from __future__ import annotations

import logging
import platform
import shlex
import time
from pathlib import Path

import click

DEFAULT_QUERY = "how do I sort a list of words by their length"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="pyterrier-xetrieval")
def main() -> None:
    """Explain dense retrieval: why was this document retrieved, and what happens without those features?"""
    logging.getLogger("httpx").setLevel(logging.WARNING)


@main.command()
@click.option("--query", default=DEFAULT_QUERY, show_default=True, help="What to ask the Python documentation.")
@click.option("--top", default=3, show_default=True, type=click.IntRange(1, 100), help="How many results to explain.")
@click.option(
    "--report", default="xetrieval-report.html", show_default=True, type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Where to write the HTML report.",
)  # fmt: skip
@click.option(
    "--cache", default=None, type=click.Path(file_okay=False, path_type=Path),
    help="Where to keep the vectors.  [default: xetrieval in PyTerrier's home folder]",
)  # fmt: skip
def demo(query: str, top: int, report: Path, cache: Path | None) -> None:
    """Run the main job on the documentation of your own Python.

    Encodes and indexes the docstrings of the running interpreter with the embedded model, retrieves, explains the
    top results of a query by shared features that add up to the score, erases those features and shows what the
    score and the rank become, evaluates with pt.Experiment, and writes one HTML report. Nothing is downloaded;
    vectors are kept, so that a second run takes seconds.
    """
    if not query.strip():
        raise click.BadParameter("is empty; ask something", param_hint="--query")
    if not report.absolute().parent.is_dir():
        raise click.BadParameter(f"folder {report.parent} does not exist", param_hint="--report")
    started = time.perf_counter()
    import pyterrier as pt

    from . import Xetrieval, __version__, pydocs
    from .demo import Demo
    from .viz import render_report

    dataset, model = pydocs(), Xetrieval.default()
    job = Demo(dataset, model, cache or Path(pt.io.pyterrier_home()) / "xetrieval")
    click.echo(f"pydocs of Python {platform.python_version()}: {len(job.original)} documents, vectors in {job.folder}")

    results = job.explain(query, top=top)
    erased = job.erase(results)
    click.echo(f"\n{query}\n")
    for row, after in zip(results.itertuples(), erased.itertuples()):
        click.echo(f"{row.rank + 1}. {row.explanation}")
        click.echo(
            f"  without these {len(row.explanation)} features: score {after.score:.4f} -> {after.erased_score:.4f}, "
            f"rank {after.rank + 1} -> {after.erased_rank + 1} of {len(job.original)}\n"
        )
    experiment = job.evaluate()
    click.echo(f"{len(dataset.get_topics())} queries, against {experiment['name'][0]!r}:")
    click.echo(experiment.round(4).to_string(index=False))
    facts = {
        "collection": f"{len(job.original)} docstrings and language topics of Python {platform.python_version()}, "
        f"{len(dataset.get_topics())} queries",
        "encoder": model.meta["encoder"]["name"],
        "dictionary": f"{model.sae.dict_size} features, inference rule {model.sae.activation}, k = {model.sae.k}",
        "labels": f"{len(model.labels)}, made by: {', '.join(model.labels.methods)}",
        "versions": f"pyterrier_xetrieval {__version__}, pyterrier {pt.__version__}",
        "repeat with": f"pyterrier-xetrieval demo --query {shlex.quote(query)} --top {top}",
    }
    render_report(report, query=query, results=results, erased=erased, experiment=experiment, facts=facts)
    click.echo(f"\nreport: {report}   ({time.perf_counter() - started:.1f} s)")


@main.command()
@click.argument("pairs", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("output", type=click.Path(dir_okay=False, writable=True, path_type=Path))
@click.option(
    "--model", "folder", default=None, type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="An Xetrieval artifact's folder.  [default: the embedded model]",
)  # fmt: skip
@click.option("--attribution", is_flag=True, help="Also write the score, its parts, and each feature's contribution.")
@click.option("--threshold", default=0.0, show_default=True, type=click.FloatRange(min=0), help="A feature is active above it.")
def explain(pairs: Path, output: Path, folder: Path | None, attribution: bool, threshold: float) -> None:
    """Explain query-document pairs by the features they share.

    PAIRS is JSONL with {"query": TEXT, "doc": TEXT} and optionally "query_id" and "doc_id" on each line. OUTPUT gets
    one line per pair: shared_features, per_view_shared_features and feature_explanations, the format of the released
    Xetrieval program.
    """
    from . import Xetrieval
    from .pairs import explain_pairs

    if not output.absolute().parent.is_dir():
        raise click.BadParameter(f"folder {output.parent} does not exist", param_hint="OUTPUT")
    try:
        model = Xetrieval(str(folder)) if folder else Xetrieval.default()
        count = explain_pairs(model, pairs, output, attribution=attribution, threshold=threshold)
    except (ValueError, FileNotFoundError) as error:
        raise click.UsageError(str(error)) from None
    click.echo(f"{count} pairs explained in {output}")


if __name__ == "__main__":
    main()
