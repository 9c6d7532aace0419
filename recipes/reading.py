"""The reading test on a folder of collections: sheets for blind judges, and what their verdicts come to.

``python -m recipes.reading sheets …``, have the sheets judged, then ``python -m recipes.reading score …``; see ``--help``.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pandas as pd

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.cli.llm import language_model
from pyterrier_xetrieval.evaluation import EmbeddedCollection, read_embedded
from pyterrier_xetrieval.store.files import replacing
from recipes.command import FILE, FOLDER, GROUP, NEW_FILE, NEW_FOLDER, Command
from recipes.measured_collections import Sources, on_sources
from recipes.reading_baselines import OverlapForm, untrained_form
from recipes.reading_choices import choices_of, write_choices
from recipes.reading_encoder import label_similarity
from recipes.reading_erasure import erase_shown, erasure_scores
from recipes.reading_judge import judge_sheets
from recipes.reading_pairs import ReadingPair, draw_pairs, even_counts
from recipes.reading_report import RUN, of_common_pairs, pairs_read, read_run, rows_for_confidence, show, write_report
from recipes.reading_rows import Form, ModelForm
from recipes.reading_sheets import sections_of, write_sheets
from recipes.reading_words import measure_words, table_of
from recipes.result_files import weights_of

MODULE, DEFAULT = "recipes.reading", "default"
KINDS = ("words-and-label", "words", "label", "untrained", "overlap")


@click.group(context_settings=GROUP)
def main() -> None:
    """Let judges who know nothing read the rows of explanations, and report what they say."""


def on_collections(function: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that say which pairs; the command gets ``collections``, opened, and ``seed``."""

    @click.option("--data", type=FOLDER, required=True, help="Folder of BEIR-style collections.")
    @click.option("--vectors", type=FOLDER, required=True, help="Their NAME.f16.npy, NAME.q.f16.npy.")
    @click.option("--collections", "names", multiple=True, required=True, help="A collection; repeat it for more.")
    @click.option("--exclude-own-id", "own", multiple=True, help="One whose queries are documents: never their own id.")
    @click.option("--seed", default=0, show_default=True, help="Of everything drawn.")
    @functools.wraps(function)
    def command(*, data: Path, vectors: Path, names: tuple[str, ...], own: tuple[str, ...], seed: int, **options) -> None:
        collections = [read_embedded(data, name, vectors=vectors, exclude_own_id=name in own) for name in names]
        function(collections=collections, seed=seed, **options)

    return command


@main.command(cls=Command, interrupted="Sheets that are written stay.")
@on_collections
@click.option("--pairs", "n", default=120, show_default=True, help="How many, spread evenly over the collections.")
@click.option(
    "--form", "forms", type=(str, click.Choice(KINDS), str), multiple=True, required=True, metavar="NAME KIND MODEL",
    help=f"A name, one of {', '.join(KINDS)}, and a model's folder or {DEFAULT}; may be repeated.",
)  # fmt: skip
@click.option("--original", multiple=True, metavar="NAME", help="A form that explains ⟨q,z⟩ alone, without the model's views.")
@click.option("--fewer", type=(str, int), multiple=True, metavar="NAME N", help="Only N of the pairs in this form.")
@click.option("--identify", multiple=True, metavar="NAME", help="Also write sheets: which pair are the rows of this form of?")
@click.option("--min-confidence", type=float, help="Judge the rows shown from it on.  [default: the ten of largest contribution]")
@click.option(
    "--without", type=FILE, multiple=True, help="What score wrote of an earlier run, whose pairs are left out; may be repeated."
)
@click.option("--out", type=NEW_FOLDER, required=True, help="Folder of the sheets and the key.")
def sheets(
    collections: list[EmbeddedCollection], seed: int, n: int, forms: list[tuple[str, str, str]], original: tuple[str, ...],
    fewer: list[tuple[str, int]], identify: tuple[str, ...], min_confidence: float | None, without: tuple[Path, ...], out: Path,
) -> None:  # fmt: skip
    """Write sheets for blind judges, sheet_NN.md.

    A judge's verdicts go into sheet_NN.JUDGE.txt beside the sheet. Judges must not see key.jsonl and explained.jsonl.
    """
    names = [name for name, _, _ in forms]
    if len(set(names)) != len(names):
        raise click.UsageError(f"--form expects different names, found {', '.join(names)}")
    if unknown := {*original, *dict(fewer), *identify} - set(names):
        raise click.UsageError(f"--original, --fewer and --identify expect names of forms, found {', '.join(sorted(unknown))}")
    read, sections, choices, models = pairs_read(without), [], [], {}
    drawn = draw_pairs(collections, n, seed=seed)
    pairs = [pair for pair in drawn if (pair.collection, pair.qid, pair.docno) not in read]
    if without:
        click.echo(f"{len(drawn) - len(pairs)} of {len(drawn)} pairs were read before and are left out")
    if not pairs:
        raise click.UsageError("--without leaves no pair to read; draw others with --seed, or more with --pairs")
    for place, (name, kind, folder) in enumerate(forms):
        form, model = form_of(kind, folder, name in original, collections, seed)
        own = spread(pairs, dict(fewer).get(name, n), seed=seed)
        explained = form.explain(own)
        sections += sections_of(name, own, explained, min_confidence=min_confidence, seed=seed + place)
        if name in identify:
            choices += choices_of(name, own, explained, min_confidence=min_confidence or 0.0, seed=seed + place)
        models[name] = {"kind": kind, "original": name in original, "model": None if model is None else weights_of(model)}
        click.echo(f"{name}: {len(own)} pairs")
    paths = write_sheets(out, sections, seed=seed)
    paths += write_choices(out, choices, seed=seed) if choices else []
    asked = {"seed": seed, "pairs": len(pairs), "min_confidence": min_confidence, "collections": [c.name for c in collections]}
    with replacing(out / RUN) as file:
        json.dump({**asked, "forms": models}, file, indent=1)
    click.echo(f"{len(paths)} sheets with {len(sections)} sections and {len(choices)} choices in {out}")


def spread(pairs: list[ReadingPair], n: int, *, seed: int) -> list[ReadingPair]:
    """``n`` of the pairs, as many of each collection as of any other, or one more; the first ones drawn."""
    names = list(dict.fromkeys(pair.collection for pair in pairs))
    counts = even_counts(n, len(names), np.random.default_rng([seed, n]))
    return [pair for name, count in zip(names, counts) for pair in [p for p in pairs if p.collection == name][:count]]


def _model(folder: str) -> Xetrieval:
    return Xetrieval.default() if folder == DEFAULT else Xetrieval(folder)


def form_of(
    kind: str, folder: str, original: bool, collections: list[EmbeddedCollection], seed: int
) -> tuple[Form, Xetrieval | None]:
    """A way to write explanations, one of :data:`KINDS`, and the model that it is of, if it has one."""
    if kind == "overlap":
        return OverlapForm(collections), None
    model = _model(folder).with_views(() if original else None)
    if kind == "untrained":
        return untrained_form(model, seed=seed), model
    return ModelForm(model, kind.replace("-", " ")), model


@main.command(cls=Command, interrupted="Answers are kept; the same command goes on.")
@click.option("--folder", type=FOLDER, required=True, help="Of the sheets.")
@click.option("--judge", required=True, help="The judge's name, in the names of files.")
@language_model
def judge(folder: Path, judge: str, llm, device: str | None) -> None:
    """Let a language model judge the sheets: each section is one question. A person writes the same files by hand."""
    click.echo(f"{len(judge_sheets(folder, llm, judge, verbose=True))} files of verdicts in {folder}")


@main.command(cls=Command, interrupted="Nothing was written.")
@click.option("--folder", type=FOLDER, required=True, help="Of the sheets, with the verdicts beside them.")
@click.option("--min-confidence", default=0.0, show_default=True, help="From which on a row is shown.")
@click.option("--common", is_flag=True, help="Count only the pairs that every form has.")
@click.option("--seed", default=0, show_default=True, help="Of the resampling.")
@click.option("--rows", type=NEW_FILE, help="Table for recipes.confidence --pairs.")
@click.option("--rows-of", metavar="NAME", help="The form of that table.  [default: the first with a confidence]")
@click.option("--out", type=NEW_FILE, help="Ids, verdicts and figures: reading.NAME.json.")
def score(
    folder: Path, min_confidence: float, common: bool, seed: int, rows: Path | None, rows_of: str | None, out: Path | None
) -> None:
    """Report what the judges said: shares, decoys, agreement, and what each least confidence shows."""
    run = of_common_pairs(read_run(folder)) if common else read_run(folder)
    tables = show(run, min_confidence=min_confidence, seed=seed)
    if rows is not None:
        table = rows_for_confidence(run.verdicts, rows_of)
        with replacing(rows) as file:
            table.to_csv(file, sep="\t", index=False)
        click.echo(f"{rows}: {len(table)} verdicts on rows of explanations")
    if out is not None:
        write_report(out, run, tables, min_confidence=min_confidence)


@main.command(cls=Command, interrupted="Nothing was written.")
@on_collections
@click.option("--pairs", "n", default=120, show_default=True, help="As for sheets: the same seed draws the same pairs.")
@click.option("--model", "folder", default=DEFAULT, show_default=True, help="A model's folder.")
@click.option("--min-confidence", type=float, help="From which on a row is shown.  [default: the model's own]")
@click.option("--out", type=NEW_FILE, help="What became of each pair, a table.")
def erase(
    collections: list[EmbeddedCollection], seed: int, n: int, folder: str, min_confidence: float | None, out: Path | None
) -> None:
    """Erase the shown rows' features from each document, and as a control other shared features of the same weight."""
    model, pairs = _model(folder).with_views(()), draw_pairs(collections, n, seed=seed)
    least = model.min_confidence if min_confidence is None else min_confidence
    erased = erase_shown(pairs, ModelForm(model).explain(pairs), collections, min_confidence=least)
    scores = erasure_scores(erased, seed=seed)
    click.echo(scores.round(4).to_string(index=False))
    if out is not None:
        with replacing(out) as file:
            erased.round(6).to_csv(file, sep="\t", index=False)


@main.command(cls=Command, interrupted="Nothing was written.")
@on_collections
@click.option("--model", "folder", default=DEFAULT, show_default=True, help="A model's folder.")
def labels(collections: list[EmbeddedCollection], seed: int, folder: str) -> None:
    """Let the encoder judge labels: cosine with texts that have or lack the feature. Circular: it ranks labels."""
    model = _model(folder).with_views(())
    for collection in collections:
        found: pd.DataFrame = label_similarity(model, collection, seed=seed)
        means = found[["auc", "other"]].mean()
        click.echo(f"{collection.name}: AUC {means['auc']:.3f}, of another label {means['other']:.3f}, {len(found)} features")


@main.command(cls=Command, interrupted="Finished collections are kept; the same command goes on.")
@on_sources
@click.option("--leave-out", multiple=True, help="Not this one; may be repeated.")
@click.option("--texts", default=12, show_default=True, type=click.IntRange(min=1), help="Of each collection, one feature each.")
@click.option("--max-words", default=120, show_default=True, type=click.IntRange(min=10), help="At which a text is cut.")
@click.option("--word-share", default=0.1, show_default=True, help="Of a text's words that are taken out.")
@click.option("--seed", default=0, show_default=True, help="Of everything drawn.")
@click.option("--out", type=NEW_FILE, required=True, help="The file of all rows, JSON.")
def words(
    opened: Callable[[Xetrieval], Sources], leave_out: tuple[str, ...], texts: int, max_words: int, word_share: float, seed: int,
    out: Path,
) -> None:  # fmt: skip
    """Take the words with the largest shares of a feature out of texts: does its activation fall, and is it in them?

    Exact evidence is compared with the shares that explanations print, leave-one-out, gradient x input and random words.
    """
    sources = opened(Xetrieval.default())
    chosen = [name for name in sources.names() if name not in leave_out]
    left_out = "".join(f" --leave-out {name}" for name in leave_out)
    command = f"python -m {MODULE} words{sources.told}{left_out} --seed {seed} --out FILE"
    options = {"n_docs": texts, "max_words": max_words, "word_share": word_share}
    click.echo(table_of(measure_words(sources, chosen, out, options, seed=seed, command=command)))


if __name__ == "__main__":
    main(prog_name=f"python -m {MODULE}")
