"""What the confidence of rows depends on, of rows that judges have read, as this version of the package finds it.

``python -m recipes.row_facts --data DIR --vectors DIR --labels labels.tsv --form NAME docs/reading/runN.json`` explains the pairs of a
run again, and writes the numbers of each row of one form anew; verdicts and the confidence that the sheet was made with stay. The
labels are those that the sheets showed: of the model that wrote them.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import pandas as pd

from pyterrier_xetrieval import FeatureLabels, Xetrieval
from pyterrier_xetrieval.evaluation import EmbeddedCollection, read_embedded
from recipes.command import FILE, FOLDER, HELP, Command
from recipes.reading_pairs import ReadingPair, pair_of
from recipes.reading_rows import ModelForm
from recipes.reading_verdicts import NUMBERS
from recipes.result_files import write_result

KEPT = "confidence"  # by which the rows were chosen


@click.command(cls=Command, interrupted="Nothing was written.", context_settings=HELP)
@click.option("--data", type=FOLDER, required=True, help="Folder of BEIR-style collections.")
@click.option("--vectors", type=FOLDER, required=True, help="Their NAME.f16.npy, NAME.q.f16.npy.")
@click.option("--labels", type=FILE, required=True, help="The table of labels that the sheets showed.")
@click.option("--form", required=True, help="Of the rows.")
@click.argument("run", type=FILE)
def main(data: Path, vectors: Path, labels: Path, form: str, run: Path) -> None:
    """Write the numbers of the rows of one form in RUN, what recipes.reading score --out wrote, anew."""
    written = json.loads(run.read_text(encoding="utf-8"))
    rows = pd.DataFrame(written["rows"]).drop(columns="support", errors="ignore")
    own = rows[(rows["form"] == form) & ~rows["decoy"]]
    if not len(own):
        raise ValueError(f"row_facts expects a form among {rows['form'].unique().tolist()}, found {form!r}")
    model = with_labels(Xetrieval.default(), labels).with_views(())
    numbers = [name for name in NUMBERS if name != KEPT]
    rows = rows.reindex(columns=[*rows.columns, *(name for name in numbers if name not in rows)])
    for name, part in own.groupby("collection"):
        collection = read_embedded(data, str(name), vectors=vectors)
        pairs = pairs_of(collection, part)
        for (_, listed), explained in zip(part.groupby(["qid", "docno"], sort=False), ModelForm(model).explain(pairs)):
            found = {row.feature: row for row in explained.rows}
            for i, feature in listed["feature"].astype(int).items():
                if feature in found:  # else this version does not find it shared; its numbers stay
                    rows.loc[i, numbers] = [getattr(found[feature], number) for number in numbers]
    tables = {name: pd.DataFrame(table) for name, table in written.items() if name not in ("key", "facts", "rows")}
    write_result(run, written["key"], written["facts"], rows, **tables)
    told = rows.loc[own.index, [n for n in numbers if n.endswith(("support", "similarity"))]].mean().round(3).to_dict()
    click.echo(f"{run}: {len(own)} rows of {form!r}, means {told}")


def with_labels(model: Xetrieval, table: Path) -> Xetrieval:
    """The model with another table of labels, encoded."""
    named = FeatureLabels.read(table, model.sae.dict_size, confidence=model.labels.confidence).encoded(model.encoder())
    return Xetrieval.from_parts(
        internalizers=model.internalizers, sae=model.sae, labels=named, encoder=model.meta["encoder"], weights=model.weights,
    )  # fmt: skip


def pairs_of(collection: EmbeddedCollection, rows: pd.DataFrame) -> list[ReadingPair]:
    """The pairs of rows (qid, docno) of one collection, each once, in the order of the rows."""
    queries, documents = ({str(i): place for place, i in enumerate(ids)} for ids in (collection.qids, collection.docnos))
    own = rows[["qid", "docno"]].astype(str).drop_duplicates()
    return [pair_of(collection, queries[qid], documents[docno]) for qid, docno in own.itertuples(index=False)]


if __name__ == "__main__":
    main(prog_name="python -m recipes.row_facts")
