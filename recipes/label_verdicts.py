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
from recipes.broad_verdicts import STRICTER, lines, qualities
from recipes.label_sheets import KEY

MOST = 4  # readings of a feature
LEAN = 1.0  # cosines that a detection score of 1 is worth when a reading is chosen here; the model's confidence says its own


def read_verdicts(work: Path) -> list[dict[str, Any]]:
    """The judges' lines in ``verdicts.*.tsv``: by feature, what the key says and ``verdicts``, a string for each reading.

    Raises:
        ValueError: a reading without its verdicts, one that is judged twice or is not on the sheets, a verdict too many or too few.
    """
    said: dict[tuple[int, str], str] = {}
    for feature, name, digits in lines(work, "verdicts"):
        if (int(feature), name) in said:
            raise ValueError(f"label_readings expects each reading once, {feature} {name} is judged twice")
        said[int(feature), name] = digits.replace(" ", "")
    rows = []
    for j, feature in sorted((int(j), feature) for j, feature in json.loads((work / KEY).read_text(encoding="utf-8")).items()):
        verdicts = [said.pop((j, chr(65 + i)), "") for i in range(len(feature["readings"]))]
        for own in verdicts:
            if len(own) != len(feature["docnos"]) or set(own) - {"0", "1"}:
                raise ValueError(f"label_readings expects {len(feature['docnos'])} verdicts of feature {j}, found {own!r}")
        rows.append({"feature": j, **feature, "verdicts": verdicts})
    for feature, name in said:
        raise ValueError(f"label_readings expects verdicts on readings of {work / KEY}, {feature} {name} is not on the sheets")
    return rows


def with_readings(table: pd.DataFrame, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The table of labels, with up to :data:`MOST` readings of each judged feature and a column ``detections`` of their scores.

    A reading is kept if it fits an active text, and more of them than of the silent ones. The label before stays where the
    readings that would be shown fit fewer active texts, or gain less on these than on silent ones. ``hits`` of a reading is that
    of the label before, moved as far (in logits) as the reading is better. The two are measured against different means, that of
    all readings and that of the labels before, so that readings score about half a logit more than labels that were not judged
    here; the confidence is fitted on rows of both.

    Args:
        table: columns feature, label, clarity, detection, hits, false; its labels are those that were judged.

    Raises:
        ValueError: a label that is not the one before, whose hits and false alarms the readings' would start from.
    """
    table = table.assign(detections="").set_index("feature")
    for row in rows:
        if (label := table["label"].get(row["feature"])) != row["old"]:
            raise ValueError(f"label_readings expects {row['old']!r} as the label of feature {row['feature']}, found {label!r}")
    rows = [_as_arrays(row) for row in rows]
    quality, before = _qualities(rows), _before(rows)
    for row in rows:
        j, active = row["feature"], np.array(row["strengths"]) > 0
        share = {
            on: row["fits"][:, active == on].mean(axis=1) if (active == on).any() else 0 * quality[j] for on in (True, False)
        }
        good = (share[True] > 0) & (share[True] > share[False])
        order = [i for i in np.argsort(-quality[j], kind="stable").tolist() if good[i]][:MOST]
        old = _places(row, row["old"])
        if not order or sorted(order) == sorted(old):
            continue
        gain = np.array([int(a) - int(b) for a, b in zip(_shown(row, order), _shown(row, old))])
        if gain[active].sum() < max(0, gain[~active].sum()):
            continue
        known = table.loc[j]
        hits = expit(logit(np.clip(known["hits"], 0.1, 0.9)) + quality[j][order] - before[j])
        false = np.minimum(1, known["false"] + np.maximum(0, share[False][order] - _false(row, old)))
        detections = (hits + 1 - false) / 2
        best = int(np.argmax(detections))
        table.loc[j, "label"] = " / ".join(row["readings"][i] for i in order)
        table.loc[j, "detections"] = " / ".join(f"{score:.3f}" for score in detections)
        table.loc[j, ["hits", "false"]] = round(float(hits[best]), 3), round(float(false[best]), 3)
        table.loc[j, "detection"] = round(float(detections[best]), 4)
        table.loc[j, "clarity"] = max(known["clarity"], min(2, row["clarity"] + STRICTER))
    return table.reset_index()


def shown(table: pd.DataFrame, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What judges said of the readings that the label before and that of the table would show: for ``broad_verdicts.table_of``."""
    labels = table.set_index("feature")["label"]
    out = []
    for row in map(_as_arrays, rows):
        own = {which: _shown(row, _places(row, label)) for which, label in (("old", row["old"]), ("new", labels[row["feature"]]))}
        out.append({"feature": row["feature"], "strengths": row["strengths"], "fits_old": own["old"], "fits_new": own["new"]})
    return out


def _as_arrays(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"fits": np.array([[int(d) for d in own] for own in row["verdicts"]]), "near": np.array(row["near"])}


def _places(row: dict[str, Any], label: str) -> list[int]:
    """Where a label's readings stand on the sheet, on which each is once, whatever its case."""
    known = {reading.lower(): i for i, reading in enumerate(row["readings"])}
    return [known[reading.lower()] for reading in readings_of(label)]


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
        fits = _shown(row, _places(row, row["old"]))
        old.append({"feature": row["feature"], "strengths": row["strengths"], "fits_old": fits, "fits_new": fits})
    return qualities(old)["old"].to_dict()


def _false(row: dict[str, Any], own: Sequence[int]) -> float:
    silent = [int(fit) for fit, strength in zip(_shown(row, own), row["strengths"]) if strength == 0]
    return float(np.mean(silent)) if silent else 0.0
