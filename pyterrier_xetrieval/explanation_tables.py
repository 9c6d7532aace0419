"""Explanations as tables: two side by side, and many in one frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt

if TYPE_CHECKING:
    from .explanation import Explanation

SHARED = "shared feature"
OTHER, BIAS, RESIDUAL = "other features", "bias", "not explained by the dictionary"


def compared(left: Explanation, right: Explanation) -> pd.DataFrame:
    """See :meth:`Explanation.compare`."""
    return side_by_side({"left": [left], "right": [right]}, "difference", key=abs)


def side_by_side(
    sides: Mapping[str, Sequence[Explanation]], difference: str, *, key: Callable[[pd.Series], pd.Series] | None = None
) -> pd.DataFrame:
    """The parts of two scores, or of two mean scores: features in order of their difference, then the rest of the scores.

    Args:
        sides: the names of two columns, and the explanations whose mean parts stand in each, by one dictionary.
        difference: the name of the column with the first less the second, largest first; key: what of it is compared.

    Returns:
        ``feature`` (Int64), ``label`` and ``confidence`` (where the feature contributes most), the two sides (0 where a
        feature is not shared) and the difference. The last three rows, without a feature, are the other features, the bias
        and what the dictionary does not explain.
    """
    (first, own), (second, _) = sides.items()
    table = pd.concat({name: _mean_contributions(es) for name, es in sides.items()}, axis=1).fillna(0.0)
    table = table.rename_axis("feature").reset_index()
    where = _most(table["feature"].tolist(), [e for es in sides.values() for e in es])
    table.insert(1, "label", [_label(e, i) for e, i in where])
    table.insert(2, "confidence", np.array([e.confidence[i] for e, i in where], np.float64))
    rest = pd.DataFrame({"feature": pd.NA, "label": [OTHER, BIAS, RESIDUAL], "confidence": np.nan})
    for name, es in sides.items():
        rest[name] = [float(np.mean([getattr(e, part) for e in es])) for part in ("other", "bias", "residual")]
    for part in (table, rest):
        part[difference] = part[first] - part[second]
    table = table.sort_values(difference, key=key, ascending=False, kind="stable")
    return pd.concat([part.astype({"feature": "Int64"}) for part in (table, rest)], ignore_index=True)


def _most(features: Sequence[int], explained: Sequence[Explanation]) -> list[tuple[Explanation, int]]:
    """Where each feature contributes most, which says what it is called: the explanation, and its place there."""
    most: dict[int, tuple[float, Explanation, int]] = {}
    for e in explained:
        for i, (j, contribution) in enumerate(zip(e.features.tolist(), e.contributions.tolist())):
            if j not in most or contribution > most[j][0]:
                most[j] = contribution, e, i
    return [most[j][1:] for j in features]


def _label(e: Explanation, i: int) -> str:
    """What the ``i``-th shared feature is called there: as its row says it, where somebody has looked for words."""
    return e.row(i).label if e.evidence is not None else e._meant(i) or e.labels[int(e.features[i])]


def _mean_contributions(explained: Sequence[Explanation]) -> pd.Series:
    """By feature, float64; an explanation that does not share a feature counts as 0."""
    parts = [pd.Series(e.contributions, index=e.features, dtype="float64") for e in explained]
    return parts[0] if len(parts) == 1 else pd.concat(parts).groupby(level=0).sum() / len(parts)


def explanation_frame(results: pd.DataFrame) -> pd.DataFrame:
    """All explanations of a result frame as one long table, one row for each part of each score.

    Args:
        results: a frame with an ``explanation`` column.

    Returns:
        One row for each part, with the columns ``qid``, ``docno``, ``part``, ``feature`` (Int64), ``label`` (of several readings
        the one that fits this pair; group by ``feature`` to count a feature), ``views`` (in which the feature is active,
        comma-separated), ``query_activation``, ``document_activation`` (the largest over the views) and:

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
        frame.groupby("feature").contribution.sum()                     # a feature's label may differ from pair to pair
        frame.groupby(["docno", "part"]).contribution.sum()             # of all parts of each score
    """
    from .explanation import explained_in  # which compares with this module's functions

    pt.validate.columns(results, includes=["explanation"])
    rows: list[tuple] = []
    for e in explained_in(results, stage="explanation_frame"):
        above = e.above_mean
        scale = (e if above is None else above).score or float("nan")
        less = np.full(len(e), np.nan) if above is None else above.contributions
        strongest = e.document_activations.max(axis=1, initial=0.0)
        own = (e.features, e.query_activations, strongest, e.contributions, less, e.changes)
        before = e if (earlier := e.before) is None else earlier
        for i, (j, query, document, c, d, change) in enumerate(zip(*(values.tolist() for values in own))):
            share = (c if above is None else d) / scale
            rows.append((e.qid, e.docno, SHARED, j, _label(e, i), ",".join(e.views_of(i)), query, document, c, d, change, share))
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
