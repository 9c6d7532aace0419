"""What judges said of each reading of a label, and the table in which a feature has the readings that fit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from pyterrier_xetrieval.feature_names import readings_of
from recipes.broad_verdicts import KEY, STRICTER, lines, qualities

MOST = 4  # readings of a feature
LEAN = 1.0  # cosines that a detection score of 1 is worth when a reading is chosen here; the model's confidence says its own


def read_verdicts(work: Path) -> list[dict[str, Any]]:
    """The judges' lines in ``verdicts.*.tsv``: by feature, what the key says and ``verdicts``, a string for each reading.

    Raises:
        ValueError: a reading without its verdicts, a verdict too many or too few.
    """
    said = {(int(j), name): digits.replace(" ", "") for j, name, digits in lines(work, "verdicts")}
    rows = []
    for j, feature in sorted((int(j), feature) for j, feature in json.loads((work / KEY).read_text(encoding="utf-8")).items()):
        verdicts = [said.get((j, chr(65 + i)), "") for i in range(len(feature["readings"]))]
        for own in verdicts:
            if len(own) != len(feature["docnos"]) or set(own) - {"0", "1"}:
                raise ValueError(f"label_readings expects {len(feature['docnos'])} verdicts of feature {j}, found {own!r}")
        rows.append({"feature": j, **feature, "verdicts": verdicts})
    return rows


def with_readings(table: pd.DataFrame, rows: Sequence[dict[str, Any]]) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The table of labels, with up to :data:`MOST` readings of each judged feature, and what is shown of old and new labels.

    A reading is kept if it fits an active text, and more of them than of the silent ones. The label before stays where the
    readings would, on texts that their scores do not know, fit less. ``hits`` of a reading is that of the label before,
    moved as far (in logits) as the reading is better on the same texts, so that scores of all labels mean the same.

    Args:
        table: columns feature, label, clarity, detection, hits, false.

    Returns:
        The table with a column ``detections``; and rows as :func:`.broad_verdicts.by_text` reads them, in which the verdict on
        a text is that on the reading which is shown for it.
    """
    table, shown = table.assign(detections="").set_index("feature"), []
    rows = [row | {"fits": _digits(row["verdicts"]), "near": np.array(row["near"])} for row in rows]
    quality, before = _qualities(rows), _before(rows)
    for row in rows:
        j, active = row["feature"], np.array(row["strengths"]) > 0
        known = table.loc[j]
        hits, false = row["fits"][:, active].sum(axis=1), row["fits"][:, ~active]
        good = (hits > 0) & (hits / active.sum() > (false.mean(axis=1) if false.size else 0.0))
        order = [i for i in np.argsort(-quality[j], kind="stable").tolist() if good[i]][:MOST]
        old = [row["readings"].index(_same(reading, row["readings"])) for reading in readings_of(row["old"])]
        told = {"feature": j, "strengths": row["strengths"], "fits_old": _shown(row, old)}
        if order and sorted(order) != sorted(old):
            found = _shown(row, order)
            better = sum(int(new) - int(o) for new, o, on in zip(found, told["fits_old"], active) if on)
            worse = sum(int(new) - int(o) for new, o, on in zip(found, told["fits_old"], active) if not on)
            if better >= max(0, worse):
                told["fits_new"] = found
                base = logit(np.clip(known["hits"], 0.1, 0.9)) - before[j]
                scores = expit(base + quality[j][order])
                alarms = false.mean(axis=1)[order] if false.size else np.zeros(len(order))
                alarms = np.minimum(1, known["false"] + np.maximum(0, alarms - _false(row, old)))
                detections = (scores + 1 - alarms) / 2
                table.loc[j, "label"] = " / ".join(row["readings"][i] for i in order)
                table.loc[j, "detections"] = " / ".join(f"{score:.3f}" for score in detections)
                first = int(np.argmax(detections))
                table.loc[j, ["hits", "false", "detection"]] = (
                    round(float(scores[first]), 3), round(float(alarms[first]), 3), round(float(detections[first]), 4)
                )  # fmt: skip
                table.loc[j, "clarity"] = max(known["clarity"], min(2, row["clarity"] + STRICTER))
        shown.append(told | {"fits_new": told.get("fits_new", told["fits_old"])})
    return table.reset_index(), shown


def _shown(row: dict[str, Any], own: Sequence[int]) -> str:
    """The verdict on each text and the reading that would be shown for it: near, and good on the other texts."""
    fits, active = row["fits"][own], np.array(row["strengths"]) > 0
    out = []
    for text in range(fits.shape[1]):
        others = active.copy()
        others[text] = False
        hits = (fits[:, others].sum(axis=1) + 0.6) / (others.sum() + 2)  # drawn to the mean of all readings, about .3
        out.append(fits[int(np.argmax(2 * row["near"][own, text] + LEAN * hits / 2)), text])
    return "".join(str(int(fit)) for fit in out)


def _digits(verdicts: Sequence[str]) -> np.ndarray:
    return np.array([[int(digit) for digit in own] for own in verdicts])


def _same(reading: str, readings: Sequence[str]) -> str:
    """The reading as it is written on the sheet, where each is once, whatever its case."""
    return next(own for own in readings if own.lower() == reading.lower())


def _qualities(rows: Sequence[dict[str, Any]]) -> dict[int, np.ndarray]:
    """How well each reading fits where its feature is active, apart from how strong the texts were, by feature."""
    each = [
        {"feature": (row["feature"], i), "strengths": row["strengths"], "fits_old": own, "fits_new": own}
        for row in rows for i, own in enumerate(row["verdicts"])
    ]  # fmt: skip
    found = qualities([own | {"feature": n} for n, own in enumerate(each)])["old"]
    by_feature: dict[int, list[float]] = {}
    for n, own in enumerate(each):
        by_feature.setdefault(own["feature"][0], []).append(float(found[n]))
    return {j: np.array(values) for j, values in by_feature.items()}


def _before(rows: Sequence[dict[str, Any]]) -> dict[int, float]:
    """The same of the label before, of which the nearest reading is shown."""
    old = []
    for row in rows:
        own = [row["readings"].index(_same(reading, row["readings"])) for reading in readings_of(row["old"])]
        fits = _shown(row, own)
        old.append({"feature": row["feature"], "strengths": row["strengths"], "fits_old": fits, "fits_new": fits})
    return qualities(old)["old"].to_dict()


def _false(row: dict[str, Any], own: Sequence[int]) -> float:
    silent = [int(fit) for fit, strength in zip(_shown(row, own), row["strengths"]) if strength == 0]
    return float(np.mean(silent)) if silent else 0.0
