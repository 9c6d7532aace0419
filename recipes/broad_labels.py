"""Labels that also fit weak activations: a language model reads texts of every strength and names features again.

Labels that are written from a feature's strongest texts are too narrow for most of the pairs in which the feature is met.
``python -m recipes.broad_labels sheets`` chooses the features that most often stay below the model's least confidence and
writes sheets for a writer; ``judge`` writes sheets for judges, who do not know which label is the old one; ``keep`` puts the
better label of each feature into the table of hypotheses; ``model`` writes the bundled model with these labels and a confidence
fitted on rows of explanations that were read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.store.files import replacing
from recipes import default
from recipes.broad_verdicts import read_labels, read_verdicts, table_of, with_broad_labels
from recipes.command import FILE, FOLDER, GROUP, NEW_FILE, Command
from recipes.confidence import BY_ROW
from recipes.label_sheets import SHEETS, WORK, choosing, features_that_matter, write_for_judges, write_for_writer
from recipes.relabelled import OUT, RUNS, confidence_of_runs, refuse_existing, write_relabelled

SHOWN, JUDGED = (2, 3, 3, 2), (1, 2, 3, 2)  # texts of each strength for the writer, and others for the judges

WRITE = """# Naming features of a text embedding model

A sparse feature is active in some texts and silent in others. Its label must say what it stands for, to a person who reads
"this query and this document share the feature ...". The present labels were written from the strongest texts only, and many are
too narrow for texts where the feature is weak, which is where people meet it most.

Each section has the present label; active texts with their strength in percent of the feature's maximum, the words that carry the
feature between **asterisks**; and three silent texts about similar things.

Write the label that is true of as many of the active texts as possible, the weak ones included, yet says something definite and does
not fit the silent ones just as well. The marked words should be evidence of it. Plain words, 1 to 8; two readings that really are both
there may be joined with " / ". If it is about a form of words, say so. Repeat the present label if it is the best one.
Clarity: 2 if nearly all active texts fit the label, 1 if most do, 0 if they have nothing in common that can be named.

One line for each section, in labels.NAME.tsv: ID<TAB>label<TAB>clarity
"""
JUDGE = """# Does the text fit the label?

Each section has one label or two (A and B) and numbered texts. For every label and every text: 1 if the text is about what the label
says, or of the kind that it says (a part of the text is enough); 0 if not. Judge each label by itself, as written; both may fit a text,
or neither. Of a label with " / " one reading is enough. No benefit of the doubt, and no more strictness with long texts.

One line for each label, in verdicts.NAME.tsv: ID<TAB>A or B<TAB>one digit for each text, in order
"""


@click.group(context_settings=GROUP)
def main() -> None:
    """Name features again by texts of every strength, and keep the labels that judges prefer."""


@main.command(cls=Command, interrupted="Nothing was written.")
@choosing
@click.option("--from", "first", default=0, show_default=True, help="Leave out so many of the features that matter most.")
@click.option("--features", "n", default=600, show_default=True, help="How many to name.")
@WORK
def sheets(data: Path, names: Sequence[str], own: Sequence[str], first: int, n: int, work: Path) -> None:
    """Choose features and write write_NN.md for a writer."""
    model = Xetrieval.default()
    chosen = features_that_matter(model, data, names, own).index[first : first + n].tolist()
    drawn = write_for_writer(work, WRITE, data, chosen, model, shown=SHOWN, judged=JUDGED)
    click.echo(f"{drawn} features in {SHEETS} sheets in {work}; write their labels, then: judge --work {work}")


@main.command(cls=Command, interrupted="Nothing was written.")
@WORK
def judge(work: Path) -> None:
    """Write judge_NN.md: the old and the new label of each feature, in random order, and texts that the writer has not seen."""

    def names(old: str, new: str, rng: np.random.Generator) -> tuple[list[str], dict[str, Any]]:
        both = ["old", "new"] if old.lower() != new.lower() else ["old"]
        both = [both[i] for i in rng.permutation(len(both))]
        return [{"old": old, "new": new}[which] for which in both], {"order": both}

    click.echo(f"{write_for_judges(work, JUDGE, read_labels(work), names)} sections in {work}; have them judged, then: keep")


@main.command(cls=Command, interrupted="Nothing was written.")
@click.option("--work", "folders", type=FOLDER, multiple=True, help="Folder of judged sheets; may be repeated.")
@click.option("--kept", type=NEW_FILE, required=True, help="Verdicts as kept: read without --work.")
@click.option("--hypotheses", type=FILE, required=True, help="The old labels.")
@click.option("--out", type=NEW_FILE, help="The new table.")
def keep(folders: Sequence[Path], kept: Path, hypotheses: Path, out: Path | None) -> None:
    """Say which labels judges prefer, and write the table of hypotheses with the better label of each feature."""
    if folders:
        read = [row for folder in folders for row in read_verdicts(folder)]
        with replacing(kept) as file:
            file.write("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in read) + "\n]\n")
    verdicts = json.loads(kept.read_text(encoding="utf-8"))
    click.echo(table_of(verdicts).round(3).to_string())
    if out is not None:
        table = with_broad_labels(pd.read_csv(hypotheses, sep="\t", quoting=3), verdicts)
        with replacing(out) as file:
            table.to_csv(file, sep="\t", index=False, quoting=3)


@main.command(cls=Command, interrupted="Nothing was written.")
@click.option("--data", type=FOLDER, required=True, help="Folder of the training text's SOURCE.md files.")
@click.option("--hypotheses", type=FILE, required=True, help="What keep wrote.")
@click.option("--kept", type=FILE, required=True, help="The verdicts that it kept.")
@RUNS
@OUT
def model(data: Path, hypotheses: Path, kept: Path, runs: Sequence[tuple[Path, str]], out: Path) -> None:
    """Write the bundled model with other labels and a confidence fitted on readings; everything else stays."""
    refuse_existing(out)
    earlier = Xetrieval.default()
    found, read = confidence_of_runs(runs, earlier.labels.confidence, BY_ROW[-2])
    labels = default.read_labels(hypotheses, earlier.sae.dict_size, found)
    verdicts, now = json.loads(kept.read_text(encoding="utf-8")), labels.table.set_index("feature")["label"]
    new = sum(now[row["feature"]] == row["new"] != row["old"] for row in verdicts)
    shares = {name: own.dropna().to_dict() for name, own in table_of(verdicts)[["old", "new"]].round(3).items()}
    facts = {"broad_labels": {"read": len(verdicts), "new": new, "fits": shares}}
    write_relabelled(out, earlier, labels, facts, read, data=data)


if __name__ == "__main__":
    main(prog_name="python -m recipes.broad_labels")
