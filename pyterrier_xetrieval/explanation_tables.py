"""Explanations as tables: two side by side, and many in one frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt

from .core.checks import found_type

if TYPE_CHECKING:
    from .explanation import Explanation

SHARED = "shared feature"
OTHER, BIAS, RESIDUAL = "other features", "bias", "not explained by the dictionary"


def compared(left: Explanation, right: Explanation) -> pd.DataFrame:
    """See :meth:`Explanation.compare`."""
    sides = {
        name: pd.Series(e.contributions, index=e.features, dtype="float64") for name, e in (("left", left), ("right", right))
    }
    table = pd.concat(sides, axis=1).fillna(0.0).rename_axis("feature").reset_index()
    table.insert(1, "label", [left.labels[j] for j in table["feature"]])
    table["difference"] = table["left"] - table["right"]
    table = table.sort_values("difference", key=abs, ascending=False, kind="stable")
    rest = pd.DataFrame({
        "feature": pd.NA, "label": [OTHER, BIAS, RESIDUAL], "left": [left.other, left.bias, left.residual],
        "right": [right.other, right.bias, right.residual],
    })  # fmt: skip
    rest["difference"] = rest["left"] - rest["right"]
    return pd.concat([table.astype({"feature": "Int64"}), rest.astype({"feature": "Int64"})], ignore_index=True)


def explanation_frame(results: pd.DataFrame) -> pd.DataFrame:
    """All explanations of a result frame as one long table, one row for each part of each score.

    Args:
        results: a frame with an ``explanation`` column.

    Returns:
        One row for each part, with the columns ``qid``, ``docno``, ``part``, ``feature`` (Int64), ``label``, ``views`` (in which
        the feature is active, comma-separated), ``query_activation``, ``document_activation`` (the largest over the views) and:

        - ``contribution``, which adds up to the score of the pair;
        - ``above_mean``, the contribution less the mean document's, which adds up to ``score - baseline``; NaN where the bias is
          short and there is no baseline;
        - ``change``, what a change of the query vector, such as calibration, did to the contribution; 0 where there was none;
        - ``share``, the part's share of the score; where there is a baseline, its share of ``score - baseline``.

        ``part`` is ``"shared feature"`` or, in the last three rows of each pair, ``"other features"``, ``"bias"`` and ``"not
        explained by the dictionary"``. These three have neither ``feature`` nor ``label``, so that grouping by one of the two
        counts features alone.

    Raises:
        ValueError: a row whose ``explanation`` is none.

    Example::

        frame = explanation_frame(pipeline.search("sort a list"))
        frame.groupby("label").contribution.sum()                       # of the features
        frame.groupby(["docno", "part"]).contribution.sum()             # of all parts of each score
    """
    from .explanation import Explanation  # which compares with this module's functions

    pt.validate.columns(results, includes=["explanation"])
    rows: list[tuple] = []
    for e in results["explanation"].tolist():
        if not isinstance(e, Explanation):
            raise ValueError(f"explanation_frame expects an Explanation in every row, found {found_type(e)}")
        above = e.above_mean
        scale = (e if above is None else above).score or float("nan")
        less = np.full(len(e), np.nan) if above is None else above.contributions
        strongest = e.document_activations.max(axis=1, initial=0.0)
        own = (e.features, e.query_activations, strongest, e.contributions, less, e.changes)
        before = e if (earlier := e.before) is None else earlier
        for i, (j, query, document, c, d, change) in enumerate(zip(*(values.tolist() for values in own))):
            share = (c if above is None else d) / scale
            rows.append((e.qid, e.docno, SHARED, j, e.labels[j], ",".join(e.views_of(i)), query, document, c, d, change, share))
        for name, part in ((OTHER, "other"), (BIAS, "bias"), (RESIDUAL, "residual")):
            value, d = getattr(e, part), np.nan if above is None else getattr(above, part)
            change = value - getattr(before, part)
            rows.append(
                (e.qid, e.docno, name, None, None, "", None, None, value, d, change, (value if above is None else d) / scale)
            )
    columns = ["qid", "docno", "part", "feature", "label", "views"]
    numbers = ["query_activation", "document_activation", "contribution", "above_mean", "change", "share"]
    frame = pd.DataFrame(rows, columns=columns + numbers)
    return frame.astype({"feature": "Int64", **dict.fromkeys(numbers, "float64")})
