"""The second encoder's rows, read blind: a section of its page, from the file that :mod:`.reading` ``score`` wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from recipes.tables import interval, markdown

FORM, LEVELS = "e5", (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)


def rows_read(path: Path) -> str:
    """The section; empty where nobody has read rows."""
    if not path.is_file():
        return ""
    file = json.loads(path.read_text(encoding="utf-8"))
    scores = pd.DataFrame(file["scores"]).query("collection == 'all'").set_index(["form", "measure"])
    levels = pd.DataFrame(file["levels"]).query("form == @FORM and min_confidence in @LEVELS")
    kappa = next(row["kappa"] for row in file["agreement"] if row["form"] == FORM and row["rows"] == "shown")

    def told(form: str, measure: str) -> str:
        return interval(scores.loc[(form, measure)], 2)

    head = [
        "confidence from", "clear", "nonsense", "first row nonsense", "rows a pair", "three rows or more", "no row",
        "of the shared contribution",
    ]  # fmt: skip
    lines = [
        [f"{row.min_confidence:g}", f"{row.clear:.2f}", f"{row.nonsense:.3f}", f"{row.first_nonsense:.3f}", f"{row.rows:.1f}",
         f"{row.three_rows:.0%}", f"{row.none:.0%}", f"{row.carried:.0%}"] for row in levels.itertuples()
    ]  # fmt: skip
    return f"""## The rows, read blind

{int(scores["n"].max())} pairs of five collections, the ten largest rows of each (words of the query ↔ words of the document · label by evidence words) among
decoys, as on [the page about reading](reading.md): two judges, instances of a large language model that saw the sheets and nothing
else (weighted κ {kappa:.2f}). Of all rows {told(FORM, "clear")} were clear and {told(FORM, "nonsense")} nonsense, of the decoys {told(FORM, "decoys_clear")} and
{told(FORM, "decoys_nonsense")}; of words that both texts have, which stand for no feature, {told("overlap", "clear")} were clear. Far
below the bundled model, whose labels a language model wrote and whose dictionary has seen ten times the text.

What nobody has judged gets a low confidence, as judges found of the bundled model's labels. It orders these rows well and is too low:
{_low(file)} So a model whose labels nobody has judged shows rows from .1 on, where the bundled one
shows them from .4 on. In the table, verdicts are of the ten largest rows, and counts of all shared features.

{markdown(head, lines)}"""


def _low(file: dict) -> str:
    """How often the rows of one level of confidence were clear."""
    row = next(row for row in file["reliability"] if row["form"] == FORM and row["from"] == 0.2)
    return f"rows of .2 to .3 were clear in {row['observed']:.0%} of the cases."
