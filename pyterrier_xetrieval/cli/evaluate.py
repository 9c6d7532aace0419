"""``pyterrier-xetrieval evaluate``: how well a model explains a collection."""

from __future__ import annotations

from pathlib import Path

import click

from ..store.files import replacing
from .errors import Command
from .params import DEVICE, FOLDER, SEED, Model, NewPath, open_encoder, open_model


class Question(click.ParamType):
    """A name in ``evaluation.QUESTIONS``."""

    name = "question"

    def convert(self, value, param, ctx) -> str:
        from ..evaluation import QUESTIONS

        if value not in QUESTIONS:
            self.fail(f"{value!r} is not one of {', '.join(QUESTIONS)}", param, ctx)
        return value


class Evaluation(Command):
    """Lists the questions at the end of its help."""

    def format_epilog(self, ctx, formatter) -> None:
        from ..evaluation import QUESTIONS

        with formatter.section("Questions for --what"):
            formatter.write_dl([(name, question.about) for name, question in QUESTIONS.items()])


class TableFile(NewPath):
    """A new ``.csv`` or ``.json``."""

    def convert(self, value, param, ctx) -> Path:
        path = super().convert(value, param, ctx)
        if path.suffix not in (".csv", ".json"):
            self.fail(f"expects a name that ends in .csv or .json, found {str(path)!r}", param, ctx)
        return path


@click.command(cls=Evaluation, interrupted="Finished vectors are in the cache; the same command uses them.")
@click.argument("model", type=Model())
@click.argument("dataset")
@click.option("--what", multiple=True, type=Question(), help="Only this question; may be repeated.  [default: all]")
@click.option("--out", type=TableFile(), help="Also write the table, by its name as CSV or JSON records.")
@click.option("--cache", type=FOLDER, help="Where to keep the vectors.  [default: xetrieval/vectors in PyTerrier's home]")
@DEVICE
@SEED
def evaluate(model, dataset, what, out, cache, device, seed) -> None:
    """Ask of a model, on a collection, what the paper asks of its own.

    Encodes the collection with the model's encoder, or takes its vectors from the cache, and prints one table.

    \b
    MODEL    an artifact's folder, or "default" for the embedded model
    DATASET  a BEIR-style folder: corpus.jsonl[.gz], queries.jsonl[.gz]
             ({"_id": ..., "text": ...}), and qrels.tsv or qrels/test.tsv
             (header query-id, corpus-id, score);
             "pydocs", the documentation of the running Python;
             or a benchmark that ir_datasets knows: bright, bright/biology,
             nq, arguana, trec-news, robust04
    --out    columns what, collection, conditions, measure, value, low, high, n;
             low to high is the 95% bootstrap interval

    \b
    Example:
      pyterrier-xetrieval evaluate my-model data/scifact \\
          --what retrieval --what erasure --out scifact.csv

    The table is written when all questions are answered. After an interruption the same command finds the vectors in
    the cache and asks the questions again.
    """
    from ..evaluation import questions as ask

    collection = _dataset(dataset)
    model = open_model(model, device)
    encoder = open_encoder(model, device)
    table = ask(model, collection, encoder=encoder, what=list(what) or None, cache=cache, seed=seed, verbose=True)
    click.echo(table.to_string(index=False))
    if out is not None:
        with replacing(out, "wb") as file:
            if out.suffix == ".csv":
                table.to_csv(file, index=False)
            else:
                table.to_json(file, orient="records", indent=1)
        click.echo(f"{out}: {len(table)} rows")


def _dataset(name: str):
    from ..datasets import beir_folder, benchmark, pydocs

    if Path(name).is_dir():
        return beir_folder(name)
    if name == "pydocs":
        return pydocs()
    try:
        return benchmark(name)
    except ValueError as error:
        raise click.UsageError(f"DATASET is no folder, not pydocs, and {error}") from None
