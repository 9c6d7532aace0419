"""Which of five pairs of one collection is an explanation of? Sheets for blind judges, and how often they are right.

``python -m recipes.identification sheets …``, have the sheets answered, then ``python -m recipes.identification score …``;
see ``--help``.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.evaluation import EmbeddedCollection
from pyterrier_xetrieval.store.files import replacing
from recipes.command import FILE, FOLDER, GROUP, NEW_FILE, NEW_FOLDER, Command
from recipes.reading import DEFAULT, KINDS, form_of, on_collections
from recipes.reading_candidates import PAGE, QUERIES, choices_within, page_candidates, query_candidates
from recipes.reading_choices import identification_scores, read_choices, write_choices
from recipes.reading_report import RUN
from recipes.result_files import machine, weights_of, write_result

MODULE = "recipes.identification"
CANDIDATES = {PAGE: page_candidates, QUERIES: query_candidates}


@click.group(context_settings=GROUP)
def main() -> None:
    """Let judges find the pair that an explanation is of, among five that are hard to tell apart."""


@main.command(cls=Command, interrupted="Sheets that are written stay.")
@on_collections
@click.option("--pairs", "n", default=25, show_default=True, help="Of each kind, spread evenly over the collections.")
@click.option(
    "--among", "kinds", type=click.Choice(list(CANDIDATES)), multiple=True, default=list(CANDIDATES), show_default=True,
    help="page: one query's five best documents, any of which is explained. queries: a query and those nearest to it, each "
    "with its best document. May be repeated.",
)  # fmt: skip
@click.option(
    "--form", "forms", type=(str, click.Choice(KINDS), str), multiple=True, required=True, metavar="NAME KIND MODEL",
    help=f"A name, one of {', '.join(KINDS)}, and a model's folder or {DEFAULT}; may be repeated. The first one decides how "
    "many rows of a pair the others show.",
)  # fmt: skip
@click.option("--original", multiple=True, metavar="NAME", help="A form that explains ⟨q,z⟩ alone, without the model's views.")
@click.option("--min-confidence", type=float, help="From which on a row is shown.  [default: the bundled model's own]")
@click.option("--out", type=NEW_FOLDER, required=True, help="Folder of the sheets and the key.")
def sheets(
    collections: list[EmbeddedCollection], seed: int, n: int, kinds: tuple[str, ...], forms: list[tuple[str, str, str]],
    original: tuple[str, ...], min_confidence: float | None, out: Path,
) -> None:  # fmt: skip
    """Write sheets for blind judges, identify_NN.md.

    Each sheet says what is asked and how to answer. Judges must not see identify_key.jsonl. No pair is twice in a sheet,
    so a judge of one sheet alone never sees a pair in two forms.
    """
    names = [name for name, _, _ in forms]
    if len(set(names)) != len(names) or set(original) - set(names):
        raise click.UsageError(f"--form expects different names, and --original some of them, found {', '.join(names)}")
    least = Xetrieval.default().min_confidence if min_confidence is None else min_confidence
    choices, models = [], {}
    written = {name: form_of(kind, folder, name in original, collections, seed) for name, kind, folder in forms}
    for among in kinds:
        candidates = CANDIDATES[among](collections, n, seed=seed)
        explained = {name: form.explain([own.pair for own in candidates]) for name, (form, _) in written.items()}
        choices += choices_within(candidates, explained, min_confidence=least)
    for name, kind, _ in forms:
        model = written[name][1]
        models[name] = {"kind": kind, "original": name in original, "model": None if model is None else weights_of(model)}
    paths = write_choices(out, choices, seed=seed)
    asked = {
        "seed": seed,
        "pairs": n,
        "among": list(kinds),
        "min_confidence": least,
        "collections": [c.name for c in collections],
    }
    with replacing(out / RUN) as file:
        json.dump({**asked, "forms": models}, file, indent=1)
    click.echo(f"{len(paths)} sheets with {len(choices)} sections in {out}")


@main.command(cls=Command, interrupted="Nothing was written.")
@click.option("--folder", type=FOLDER, required=True, help="Of the sheets and the key.")
@click.option(
    "--answers", type=FILE, multiple=True,
    help="A judge's answers; may be repeated.  [default: identify_NN.JUDGE.txt beside the sheets]",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of the resampling.")
@click.option("--out", type=NEW_FILE, help="Ids, answers and scores, JSON.")
def score(folder: Path, answers: tuple[Path, ...], seed: int, out: Path | None) -> None:
    """Report how often judges found the pair; chance is one in five.

    \b
    An answers file is one judge's. It has a line for each section that the
    judge was given: the section's number and the number of the pair, 1 to 5,
    with a space between them. Sections are numbered through all sheets, so a
    file may be about one sheet or several, but of each sheet it answers all:
      7 3
      8 1
    """
    chosen = read_choices(folder, answers)
    scores = identification_scores(chosen, seed=seed)
    judges = chosen.groupby("judge")["right"].agg(["size", "mean"])
    click.echo(f"{len(judges)} judges, {len(chosen)} answers; right by judge:\n{judges.round(3).to_string()}\n")
    click.echo(scores.round(3).to_string(index=False))
    if out is not None:
        asked = json.loads((folder / RUN).read_text(encoding="utf-8"))
        key = {"question": "identification", "seed": asked["seed"], "options": asked}
        facts = {**machine(), "date": datetime.now(UTC).date().isoformat(), "command": f"python -m {MODULE} score"}
        write_result(out, key, facts, chosen, scores=scores)


if __name__ == "__main__":
    main(prog_name=f"python -m {MODULE}")
