"""How far labels can be trusted, learned from what judges said of rows of explanations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pyterrier_xetrieval.core.confidence import Confidence, predictors
from pyterrier_xetrieval.labelling.judged_confidence import WEIGHTS, likeliest

FITS = 2  # the verdict of a judge on a row that clearly fits both texts


def fit_pairs(rows: pd.DataFrame, start: Confidence, use: Sequence[str] = WEIGHTS) -> Confidence:
    """The likeliest parameters of :class:`Confidence` given verdicts on rows of explanations.

    Args:
        rows: columns verdict (2: clearly fits both texts; 1 and 0 do not), query_activation, document_activation (over
            the feature's maximum), clarity, detection (NaN where unknown) and, if used, contribution, and support
            and similarity of each text, ``query_support`` and so on.
        start: parameters to begin with, those of single texts; what the rows do not tell stays near them.
        use: names of the weights that may be above 0; may have ``contribution``, ``support`` and ``similarity``.
    """
    sides = [
        predictors(rows[f"{side}_activation"], **_of_both_texts(rows, use), **_of_one_text(rows, side, use))
        for side in ("query", "document")
    ]
    return likeliest(sides, (rows["verdict"] == FITS).to_numpy(np.float64), use, start)


def confidence_of_rows(confidence: Confidence, rows: pd.DataFrame, use: Sequence[str]) -> np.ndarray:
    """The confidence of rows as :func:`fit_pairs` takes them, float64 ``[n]``, from what is to be used."""
    by_text = {f"{side}_{n}": v for side in ("query", "document") for n, v in _of_one_text(rows, side, use).items()}
    return confidence(rows["query_activation"], rows["document_activation"], **_of_both_texts(rows, use), **by_text)


def _of_both_texts(rows: pd.DataFrame, use: Sequence[str]) -> dict[str, pd.Series | None]:
    """What is known of rows for both texts, without what is not to be used."""
    return {
        "clarity": rows["clarity"],
        "detection": rows["detection"],
        "contribution": rows["contribution"] if "contribution" in use else None,
    }


def _of_one_text(rows: pd.DataFrame, side: str, use: Sequence[str]) -> dict[str, pd.Series | None]:
    """What is known of rows for one text beside the activation, without what is not to be used."""
    return {name: rows[f"{side}_{name}"] if name in use else None for name in ("support", "similarity")}
