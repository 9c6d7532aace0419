"""``pyterrier-xetrieval evaluate``: how well a model explains a collection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..store.files import replacing
from .errors import Command
from .params import DEVICE, FOLDER, SEED, Model, NewPath, open_dataset, open_model

ROWS = 60  # more than a person reads on a screen

if TYPE_CHECKING:
    import pandas as pd

QUESTIONS = (
    "retrieval", "ablation", "reconstruction", "labels", "latency", "erasure", "steering", "curves", "shares", "stability",
    "counterfactual",
)  # fmt: skip


@click.command(cls=Command, interrupted="The vectors so far are in the cache; the same command goes on with them.")
@click.argument("name", type=Model(), metavar="MODEL")
@click.argument("dataset")
@click.option(
    "--what",
    multiple=True,
    type=click.Choice(QUESTIONS),
    metavar="QUESTION",
    help="Only this one; may be repeated.  [default: all]",
)
@click.option("--out", type=NewPath(), help="Also write the table, by its name as CSV or JSON records.")
@click.option("--cache", type=FOLDER, help="Where to keep the vectors.  [default: xetrieval/vectors in PyTerrier's home]")
@DEVICE
@SEED
def evaluate(
    name: str, dataset: str, what: tuple[str, ...], out: Path | None, cache: Path | None, device: str | None, seed: int
) -> None:
    """Ask of a model, on a collection, what the paper asks of its own.

    Encodes the collection with the model's encoder, or takes its vectors from the cache, and prints one table, or a summary
    of one that is longer than a screen.

    \b
    MODEL    an artifact's folder, or "default" for the bundled model
    DATASET  a BEIR-style folder: corpus.jsonl[.gz], queries.jsonl[.gz]
             ({"_id": ..., "text": ...}), and qrels.tsv or qrels/test.tsv
             (header query-id, corpus-id, score);
             "pydocs", the documentation of the running Python;
             or a benchmark that ir_datasets knows: bright, bright/biology,
             nq, arguana, trec-news, robust04
    --out    columns what, collection, conditions, measure, value, low, high, n;
             low to high is the 95% bootstrap interval

    \b
    QUESTION  of --what, one of
      retrieval       nDCG@10 without views, with internalised and with
                      explicit ones (Table 1)
      ablation        nDCG@10 of every subset of the views
      reconstruction  error, active features and nDCG@10 of reconstructed
                      vectors (Fig. 3, 4)
      labels          how well labels tell which texts activate a feature
                      (Fig. 5)
      latency         time and nDCG@10 against the size of the corpus (Fig. 6)
      erasure         cosine without the shared features, and with them alone
                      (Fig. 7)
      steering        nDCG@10 when key features are amplified or suppressed
                      (Fig. 8)
      curves          deletion and insertion curves of explanations
      shares          the parts of a score: features, bias, residual
      stability       explanations of slightly changed documents
      counterfactual  the smallest set of features that keeps a document among
                      the results

    \b
    Example:
      pyterrier-xetrieval evaluate my-model data/scifact \\
          --what retrieval --what erasure --out scifact.csv

    The table is written when all questions are answered. After an interruption the same command finds the vectors in
    the cache and asks the questions again.
    """
    from ..evaluation import evaluate as ask

    if out is not None and out.suffix not in (".csv", ".json"):
        raise click.BadParameter(f"expects a name that ends in .csv or .json, found {str(out)!r}", param_hint="--out")
    collection = open_dataset(dataset)
    model, encoder = open_model(name, device)
    table = ask(model, collection, encoder=encoder, what=list(what) or None, cache=cache, seed=seed, verbose=True)
    click.echo(_summary(table).to_string(index=False))
    if out is not None:
        with replacing(out, "wb") as file:
            if out.suffix == ".csv":
                table.to_csv(file, index=False)
            else:
                table.to_json(file, orient="records", indent=1)
        click.echo(f"{out}: {len(table)} rows")


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    """The table itself if a person can read it; else the mean of each measure over its conditions, with how many there are.

    Dictionaries and views are kept apart: a control is no part of a mean.
    """
    if len(table) <= ROWS:
        return table
    apart = ["what", "collection", *(name for name in ("sae", "view") if name in table), "measure"]
    mean = table.groupby(apart, sort=False, dropna=False)["value"].agg(["mean", "min", "max", "size"])
    click.echo(f"{len(table):,} rows; this is their summary over all other conditions, --out writes them")
    return mean.rename(columns={"size": "rows"}).reset_index()
