"""Explanations as data: one as plain values, two side by side, and many in one frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt

if TYPE_CHECKING:
    from .explanation import Explanation

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


def record(e: Explanation) -> dict:
    """See :meth:`Explanation.to_dict`."""
    ids, confidence = sorted(e.features.tolist()), e.confidence
    return {
        "query_id": _plain(e.qid),
        "doc_id": _plain(e.docno),
        "shared_features": ids,
        "per_view_shared_features": e.per_view,
        "feature_explanations": [{"feature_id": j, "hypothesis": e.labels.name(j)} for j in ids],
        "score": e.score,
        "parts": {"shared": e.shared, "other": e.other, "bias": e.bias, "residual": e.residual},
        "features": [
            {
                "feature_id": int(j),
                "label": e.labels[j],
                "views": e.views_of(i),
                "query_activation": float(e.query_activations[i]),
                "document_activations": dict(zip(e.views, map(float, e.document_activations[i]))),
                "contribution": float(e.contributions[i]),
                "confidence": None if np.isnan(confidence[i]) else float(confidence[i]),
                "shown": not confidence[i] < e.min_confidence,
                **e.words(i),
            }
            for i, j in enumerate(e.features)
        ],
    }


def explanation_frame(results: pd.DataFrame) -> pd.DataFrame:
    """All explanations of a result frame as one long table, one row for each part of each score.

    Args:
        results: a frame with an ``explanation`` column.

    Returns:
        Columns ``qid``, ``docno``, ``feature`` (Int64), ``label``, ``views`` (comma-separated), ``query_activation``,
        ``document_activation`` (the largest over the views), ``contribution``, ``share`` (of the score). The last
        three rows of each pair, whose ``feature`` is missing, are the other features, the bias and what the
        dictionary does not explain, so that ``contribution`` adds up to the score of the pair.

    Raises:
        ValueError: a row whose ``explanation`` is none.

    Example::

        explanation_frame(pipeline.search("sort a list")).dropna(subset="feature").groupby("label").contribution.sum()
    """
    from .explanation import Explanation  # which compares with this module's functions

    pt.validate.columns(results, includes=["explanation"])
    rows = []
    for e in results["explanation"].tolist():
        if not isinstance(e, Explanation):
            raise ValueError(f"explanation_frame expects an Explanation in every row, found {type(e).__name__}")
        scale = e.score or float("nan")
        strongest = e.document_activations.max(axis=1, initial=0.0)
        own = (e.features, e.query_activations, strongest, e.contributions)
        for i, (j, query, document, c) in enumerate(zip(*(values.tolist() for values in own))):
            rows.append((e.qid, e.docno, j, e.labels[j], ",".join(e.views_of(i)), query, document, c, c / scale))
        for name, value in ((OTHER, e.other), (BIAS, e.bias), (RESIDUAL, e.residual)):
            rows.append((e.qid, e.docno, None, name, "", None, None, value, value / scale))
    columns = ["qid", "docno", "feature", "label", "views"]
    numbers = ["query_activation", "document_activation", "contribution", "share"]
    frame = pd.DataFrame(rows, columns=columns + numbers)
    return frame.astype({"feature": "Int64", **dict.fromkeys(numbers, "float64")})


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value
