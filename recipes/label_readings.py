"""Labels of several readings: a language model says what a feature stands for in texts of every kind and strength.

A feature that is weak in a text often stands for something near its strong meaning, and one label does not fit both.
``python -m recipes.label_readings sheets`` chooses the features that most often stay below the model's least confidence and
writes sheets for a writer, who gives each feature up to four readings; ``judge`` writes sheets for judges, who read every
reading beside those of the present label, on other texts, and do not know which is which; ``keep`` writes down what they said; ``table`` gives each feature the readings that fit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from pyterrier_xetrieval import FeatureLabels, Xetrieval
from pyterrier_xetrieval.feature_names import readings_of
from pyterrier_xetrieval.label_vectors import LabelVectors
from pyterrier_xetrieval.store.files import replacing
from recipes.broad_verdicts import read_labels, table_of
from recipes.command import FILE, FOLDER, GROUP, NEW_FILE, Command
from recipes.confidence import BY_ROW
from recipes.label_sheets import WORK, choosing, features_that_matter, read_texts, write_for_judges, write_for_writer
from recipes.label_verdicts import read_verdicts, shown, with_readings
from recipes.relabelled import OUT, RUNS, confidence_of_runs, refuse_existing, write_relabelled

SHOWN, JUDGED = (
    (2, 4, 5, 3),
    (1, 2, 4, 3),
)  # texts of each strength (the strongest first) for the writer, and others for the judges
WRITE = """# Naming features of a text embedding model

A sparse feature is active in some texts and silent in others. A person will read "this query and this document share the feature
..." and should agree. A feature that is strong in a text usually has one clear meaning; where it is weak, which is where people meet
it most, it often stands for something near that meaning, and one label does not fit all.

Each section has the present label; active texts with their strength in percent of the feature's maximum, the words that carry the
feature between **asterisks**; and silent texts about similar things.

Write one to four *readings*, joined by " / ". A reader will see the one reading that is nearest to the query and the document. So:
- each reading is 1 to 6 plain words that name something definite (a subject, a situation, a kind of text, a form of words), and is
  clearly true of two or more of the active texts; a person who reads such a text agrees at once that it is about that;
- together they cover as many of the active texts as possible, the weak ones included;
- the marked words are evidence of them, and none fits the silent texts just as well ("information", "text about something" is no reading);
- the present label, or a part of it, is one of them if it is right for the strong texts; readings are in order of how many texts they fit.
If it is about a form of words, say so ("words beginning with cr-").
Clarity: 2 if nearly all active texts fit one of the readings, 1 if most do, 0 if they have nothing in common that can be named.

One line for each section, in labels.NAME.tsv: ID<TAB>reading / reading / reading<TAB>clarity
"""
JUDGE = """# Does the text fit the label?

Each section has labels (A, B, C and so on) and numbered texts. For every label and every text: 1 if the text is clearly about what the
label says, or of the kind that it says (a part of the text is enough); 0 if not. Judge each label by itself, as written; several may
fit a text, or none. No benefit of the doubt, and no more strictness with long texts.

One line for each label, in verdicts.NAME.tsv: ID<TAB>letter<TAB>one digit for each text, in order
"""


@click.group(context_settings=GROUP)
def main() -> None:
    """Give features labels of several readings, and keep those that judges prefer."""


@main.command(cls=Command, interrupted="Nothing was written.")
@choosing
@click.option("--features", "n", default=1200, show_default=True, help="How many to name.")
@WORK
def sheets(data: Path, names: Sequence[str], own: Sequence[str], n: int, work: Path) -> None:
    """Choose features and write write_NN.md for a writer."""
    model = Xetrieval.default()
    hidden = features_that_matter(model, data, names, own)
    click.echo(f"the first {n} of {len(hidden)} features carry {hidden[:n].sum() / hidden.sum():.3f} of what is not shown")
    drawn = write_for_writer(work, WRITE, data, hidden.index[:n].tolist(), model, shown=SHOWN, judged=JUDGED)
    click.echo(f"{drawn} features in {work}; write their labels, then: judge --work {work}")


@main.command(cls=Command, interrupted="Nothing was written.")
@WORK
def judge(work: Path) -> None:
    """Write judge_NN.md: all readings of the present and the new label, in random order, and texts that the writer has not seen."""

    def names(old: str, new: str, rng: np.random.Generator) -> tuple[list[str], dict[str, Any]]:
        readings = list({reading.lower(): reading for reading in (*readings_of(old), *readings_of(new))}.values())
        readings = [readings[i] for i in rng.permutation(len(readings))]
        return readings, {"readings": readings}

    click.echo(f"{write_for_judges(work, JUDGE, read_labels(work), names)} sections in {work}; have them judged, then: keep")


@main.command(cls=Command, interrupted="Nothing was written.")
@click.option("--data", type=FOLDER, required=True, help="As for sheets.")
@click.option("--work", type=FOLDER, required=True, help="Folder of the judged sheets.")
@click.option("--out", type=NEW_FILE, required=True, help="The verdicts, JSON, with the cosine of every reading and text.")
def keep(data: Path, work: Path, out: Path) -> None:
    """Keep the verdicts: ids, labels and numbers, and no text."""
    model = Xetrieval.default()
    texts, _ = read_texts(data, model.sae)
    place, rows = {docno: i for i, docno in enumerate(texts.docnos)}, read_verdicts(work)
    vectors = LabelVectors.of((reading for row in rows for reading in row["readings"]), model.encoder())
    for row in rows:
        own = texts.vectors[[place[docno] for docno in row["docnos"]]]
        row["near"] = (np.array([vectors[reading] for reading in row["readings"]]) @ own.T).round(3).tolist()
    with replacing(out) as file:
        file.write("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")
    click.echo(f"{out}: {len(rows)} features; then: table --kept {out}")


@main.command(cls=Command, interrupted="Nothing was written.")
@click.option("--kept", type=FILE, required=True, help="What keep wrote.")
@click.option("--labels", type=FILE, required=True, help="The table of the labels before, labels.tsv of the model.")
@click.option("--out", type=NEW_FILE, required=True, help="The new table.")
def table(kept: Path, labels: Path, out: Path) -> None:
    """Give features the readings that judges found to fit, and say how often the one that is shown does."""
    rows = json.loads(kept.read_text(encoding="utf-8"))
    new = with_readings(pd.read_csv(labels, sep="\t", quoting=3, keep_default_na=False), rows)
    click.echo(table_of(shown(new, rows)).round(3).to_string())
    with replacing(out) as file:
        new.to_csv(file, sep="\t", index=False, quoting=3)
    counts = new["label"].map(lambda label: len(readings_of(label))).value_counts().sort_index().to_dict()
    click.echo(f"{out}: {(new['detections'] != '').sum()} features with tested readings; labels by their number: {counts}")


@main.command(cls=Command, interrupted="Nothing was written.")
@click.option("--data", type=FOLDER, required=True, help="Folder of the training text's SOURCE.md files.")
@click.option("--labels", type=FILE, required=True, help="What table wrote.")
@click.option("--kept", type=FILE, required=True, help="The verdicts that it was made of.")
@RUNS
@click.option("--min-confidence", type=float, help="From which on a row is shown.  [default: as before]")
@OUT
def model(
    data: Path, labels: Path, kept: Path, runs: Sequence[tuple[Path, str]], min_confidence: float | None, out: Path
) -> None:  # fmt: skip
    """Write the bundled model with these labels, their vectors, and a confidence fitted on readings; everything else stays."""
    refuse_existing(out)
    earlier, rows = Xetrieval.default(), json.loads(kept.read_text(encoding="utf-8"))
    found, read = confidence_of_runs(runs, earlier.labels.confidence, BY_ROW[-1])
    named = FeatureLabels.read(labels, earlier.sae.dict_size, confidence=found).encoded(earlier.encoder())
    shares = {name: own.dropna().to_dict() for name, own in table_of(shown(named.table, rows))[["old", "new"]].round(3).items()}
    told = int((named.table["detections"].astype(str) != "").sum())
    facts = {"label_readings": {"read": len(rows), "new": told, "readings": len(named.vectors), "fits": shares}}
    write_relabelled(out, earlier, named, facts, read, data=data, min_confidence=min_confidence)


if __name__ == "__main__":
    main(prog_name="python -m recipes.label_readings")
