"""What judges said of old and new labels, and the table in which each feature has the better one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit

from recipes.label_sheets import KEY

BANDS = (0.0, 0.25, 0.4, 0.6, 1.0)  # of the feature's maximum
STRICTER = 1  # a writer who sees weak texts gives one point less: its 1 fits as well as a 2 of one who saw the strongest alone
SPREAD = 1.0  # standard deviation of labels' quality, in logits, that few verdicts are drawn to the mean by


def read_labels(work: Path) -> dict[int, tuple[str, int]]:
    """The writers' lines in ``labels.*.tsv``: label and clarity by feature.

    Raises:
        ValueError: a line of another form, a feature twice.
    """
    found: dict[int, tuple[str, int]] = {}
    for feature, label, clarity in lines(work, "labels"):
        if int(feature) in found or not label.strip() or clarity not in ("0", "1", "2"):
            raise ValueError(f"broad_labels expects one label with a clarity of 0 to 2, found {feature} {label!r} {clarity!r}")
        found[int(feature)] = " ".join(label.split()), int(clarity)
    return found


def read_verdicts(work: Path) -> list[dict[str, Any]]:
    """The judges' lines in ``verdicts.*.tsv``, one row for each feature: what ``keep`` writes, without the texts.

    Raises:
        ValueError: a feature without its verdicts, a verdict too many or too few.
    """
    key = {int(j): feature for j, feature in json.loads((work / KEY).read_text(encoding="utf-8")).items()}
    said = {(int(j), name): digits.replace(" ", "") for j, name, digits in lines(work, "verdicts")}
    rows = []
    for j, feature in sorted(key.items()):
        row = {name: feature[name] for name in ("old", "new", "clarity", "docnos", "strengths")}
        by_label = {which: said.get((j, name), "") for name, which in zip("AB", feature["order"])}
        for which in ("old", "new"):
            row[f"fits_{which}"] = verdicts = by_label.get(which, by_label["old"])
            if len(verdicts) != len(feature["docnos"]) or set(verdicts) - {"0", "1"}:
                raise ValueError(f"broad_labels expects {len(feature['docnos'])} verdicts of feature {j}, found {verdicts!r}")
        rows.append({"feature": j, **row})
    return rows


def lines(work: Path, name: str) -> list[list[str]]:
    """The lines of all files ``NAME.*.tsv``, each in three columns; ValueError for another one."""
    paths = sorted(work.glob(f"{name}.*.tsv"))
    rows = [line.split("\t") for path in paths for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if bad := [row for row in rows if len(row) != 3]:
        raise ValueError(f"broad_labels expects lines of three columns in {work}/{name}.*.tsv, found {bad[0]}")
    return rows


def by_text(verdicts: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """One row for each label and text: feature, which (old, new), strength (0 where silent), fits."""
    rows = [
        {"feature": row["feature"], "which": which, "strength": strength, "fits": int(digit)}
        for row in verdicts for which in ("old", "new") for strength, digit in zip(row["strengths"], row[f"fits_{which}"])
    ]  # fmt: skip
    return pd.DataFrame(rows)


def table_of(verdicts: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Share of texts that the old and the new labels fit, by the strength of the feature; silent texts first."""
    texts = by_text(verdicts)
    names = ["silent", *(f"{low:g}-{high:g}" for low, high in zip(BANDS, BANDS[1:]))]
    texts["strength"] = pd.cut(texts["strength"], [-1, *BANDS], labels=names)
    shares = texts.pivot_table(index="strength", columns="which", values="fits", aggfunc="mean", observed=True)
    return shares.assign(texts=texts[texts["which"] == "old"].groupby("strength", observed=True).size())


def qualities(verdicts: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """How well each label fits where its feature is active, apart from how strong the judged texts were.

    ``logit P(fits) = a + b ln(strength) + u(label)`` with ``u ~ N(0, SPREAD²)``; a and b are those of all labels together.

    Returns:
        by feature: old, new (``u``), and false_old, false_new (share of silent texts that it fits).
    """
    texts = by_text(verdicts)
    active = texts[texts["strength"] > 0]
    x, fits = np.log(active["strength"].to_numpy()), active["fits"].to_numpy(float)
    a = b = 0.0
    for _ in range(50):  # Newton's steps; two parameters
        p = expit(a + b * x)
        design = np.column_stack([np.ones_like(x), x])
        step = np.linalg.solve((design * (p * (1 - p))[:, None]).T @ design, design.T @ (fits - p))
        a, b = a + step[0], b + step[1]

    def quality(own: pd.DataFrame) -> float:
        at, hits = a + b * np.log(own["strength"].to_numpy()), own["fits"].sum()
        return float(brentq(lambda u: hits - expit(at + u).sum() - u / SPREAD**2, -30, 30))

    found = active.groupby(["feature", "which"])[["strength", "fits"]].apply(quality).unstack()
    false = texts[texts["strength"] == 0].pivot_table(index="feature", columns="which", values="fits").add_prefix("false_")
    return found.join(false)


def with_broad_labels(table: pd.DataFrame, verdicts: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The table of hypotheses, with the new label where it fits more and no more silent texts by as much.

    ``hits`` of a new label is that of the old one, moved as far (in logits) as the new one is better on the same texts, so
    that all labels' scores mean the same: shares of texts of the strengths of the first verdicts, by the first judge.

    Args:
        table: columns feature, hypothesis, clarity, detection, hits, false.
    """
    table, found = table.set_index("feature"), qualities(verdicts)
    for row in verdicts:
        j, own = row["feature"], found.loc[row["feature"]]
        gain = expit(own["new"]) - expit(own["old"]) - (own["false_new"] - own["false_old"])
        if row["new"].lower() == row["old"].lower() or gain <= 0:
            continue
        hits = np.clip(table.loc[j, "hits"], 0.1, 0.9)  # of four texts: none or all of them is no certainty
        hits = expit(np.log(hits / (1 - hits)) + own["new"] - own["old"])
        false = min(1.0, table.loc[j, "false"] + max(0.0, own["false_new"] - own["false_old"]))
        table.loc[j, ["hypothesis", "clarity"]] = row["new"], min(2, row["clarity"] + STRICTER)
        table.loc[j, ["hits", "false", "detection"]] = round(hits, 3), round(false, 3), round((hits + 1 - false) / 2, 4)
    return table.reset_index()
