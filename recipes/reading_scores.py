"""What the verdicts of judges come to: shares by form, by collection, and by the least confidence that is shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pyterrier_xetrieval.core.confidence import is_shown

NONSENSE, VAGUE, CLEAR = 0, 1, 2
NAMED = {"clear": CLEAR, "vague": VAGUE, "nonsense": NONSENSE}
ALL = "all"  # in place of a collection's name: all of them
LEVELS = tuple(round(0.05 * i, 2) for i in range(19))
MEASURES = ["value", "low", "high", "n"]
_RESAMPLES = 2000


def reading_scores(verdicts: pd.DataFrame, *, min_confidence: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Shares of the verdicts of each form, over all collections and in each.

    Every judge's verdicts count alike. Shown are a pair's rows with at least this confidence, all whose confidence is
    unknown, and where that are fewer than three, the surest as :func:`~pyterrier_xetrieval.core.confidence.is_shown` says. Intervals are 95 % percentile bootstrap intervals over pairs.

    Args:
        verdicts: as :func:`recipes.reading_verdicts.read_verdicts` gives them.
        min_confidence: from which on a row is shown; decoys are counted whatever theirs is.
        seed: of the resampling.

    Returns:
        ``form``, ``collection`` (``all`` for all of them), ``measure``, ``value``, ``low``, ``high``, ``n`` (pairs).
        Measures:

        - ``clear``, ``vague``, ``nonsense``: shares of the verdicts 2, 1 and 0 over shown rows; ``clear_weighted``, …:
          weighted by contribution (rows that count against the document are left out);
        - ``first_nonsense``: the first shown row is nonsense (the surest one; where the confidence is unknown, that of
          largest contribution); ``one_of_three_nonsense``: one of the first three is, or of as many as there are; over
          pairs with a shown row;
        - ``decoys_clear``, ``decoys_vague``, ``decoys_nonsense``: shares over decoys.

    Example::

        table = reading_scores(read_verdicts("run1"), min_confidence=0.3)
        table[table.collection == "all"].pivot(index="measure", columns="form", values="value")
    """
    parts = []
    for form, own in verdicts.groupby("form", sort=False):
        for collection in [ALL, *dict.fromkeys(own["collection"])]:
            part = own if collection == ALL else own[own["collection"] == collection]
            found = _scores(part, min_confidence, seed)
            parts.append(pd.DataFrame(found, columns=["measure", *MEASURES]).assign(form=form, collection=collection))
    return pd.concat(parts, ignore_index=True)[["form", "collection", "measure", *MEASURES]]


def _scores(verdicts: pd.DataFrame, min_confidence: float, seed: int) -> list[list]:
    decoys, rows = verdicts[verdicts["decoy"]], shown_rows(verdicts, min_confidence)
    weights = rows["contribution"].clip(lower=0).to_numpy()
    out: list[list] = []
    for name, verdict in NAMED.items():
        is_it = (rows["verdict"] == verdict).to_numpy(np.float64)
        out.append([name, *resampled(is_it, np.ones(len(rows)), rows["pair"], seed=seed)])
        out.append([f"{name}_weighted", *resampled(is_it, weights, rows["pair"], seed=seed)])
    for name, first in {"first_nonsense": 1, "one_of_three_nonsense": 3}.items():
        bad = _any_nonsense(rows, first)
        out.append([name, *resampled(bad["bad"].to_numpy(np.float64), np.ones(len(bad)), bad["pair"], seed=seed)])
    for name, verdict in NAMED.items():
        is_it = (decoys["verdict"] == verdict).to_numpy(np.float64)
        out.append([f"decoys_{name}", *resampled(is_it, np.ones(len(decoys)), decoys["pair"], seed=seed)])
    return out


def shown_rows(verdicts: pd.DataFrame, min_confidence: float) -> pd.DataFrame:
    """The rows that are no decoys and are shown by :func:`~pyterrier_xetrieval.core.confidence.is_shown`, in the order in which users see them."""
    rows = verdicts[~verdicts["decoy"]]
    each = rows.drop_duplicates(["section", "row"]).set_index(["section", "row"])["confidence"]
    shown = each.groupby(level="section").transform(is_shown, min_confidence).astype(bool)
    rows = rows[shown.loc[pd.MultiIndex.from_frame(rows[["section", "row"]])].to_numpy()]
    return rows.sort_values(["confidence", "contribution"], ascending=False, kind="stable")


def _any_nonsense(rows: pd.DataFrame, first: int) -> pd.DataFrame:
    """For each pair and judge, whether one of the first rows is nonsense: ``pair``, ``bad``."""
    own = rows.groupby(["section", "judge"], sort=False).head(first)
    bad = own.assign(bad=own["verdict"] == NONSENSE).groupby(["section", "judge"], sort=False)
    return bad.agg(pair=("pair", "first"), bad=("bad", "any")).reset_index(drop=True)


def reading_levels(
    verdicts: pd.DataFrame, explained: pd.DataFrame, *, levels: Sequence[float] = LEVELS, seed: int = 0
) -> pd.DataFrame:
    """What each least confidence shows and what it costs, for forms whose confidence is known: to choose one.

    Args:
        verdicts: as :func:`recipes.reading_verdicts.read_verdicts` gives them.
        explained: as :func:`recipes.reading_verdicts.read_explained` gives it, of the same run.
        levels: the least confidences.
        seed: of the resampling.

    Returns:
        ``form``, ``min_confidence``, then from the verdicts (on the rows of largest contribution, which the sheets
        hold): ``nonsense``, ``clear`` with ``_low`` and ``_high``, ``first_nonsense``, ``one_of_three_nonsense``; and
        from all shared features: ``rows`` shown for a pair (mean), ``three_rows``: share of pairs with three or more,
        ``none``: with not one, ``carried``: share of the shared features' contribution that shown rows carry (median
        pair).

    Example::

        reading_levels(read_verdicts("run1"), read_explained("run1")).query("nonsense < .1").head(1)
    """
    out = []
    for form, own in verdicts[~verdicts["decoy"]].groupby("form", sort=False):
        if own["confidence"].isna().all():
            continue
        listed = explained[explained["section"].isin(own["section"].unique())]
        total = listed.groupby("section")["contribution"].sum()
        for level in levels:
            scores = {name: values for name, *values in _scores(own, level, seed)}
            by_section = listed.groupby("section")["confidence"]
            shown = by_section.transform(is_shown, level).astype(bool)
            rows = shown.groupby(listed["section"]).sum()
            carried = listed["contribution"].where(shown, 0.0).groupby(listed["section"]).sum() / total
            out.append({
                "form": form, "min_confidence": level,
                **{name + end: scores[name][i] for name in ("nonsense", "clear") for i, end in enumerate(("", "_low", "_high"))},
                "first_nonsense": scores["first_nonsense"][0], "one_of_three_nonsense": scores["one_of_three_nonsense"][0],
                "rows": rows.mean(), "three_rows": (rows >= 3).mean(), "none": (rows == 0).mean(), "carried": carried.median(),
            })  # fmt: skip
    return pd.DataFrame(out)


def resampled(
    values: np.ndarray, weights: np.ndarray, pairs: Sequence | pd.Series, *, seed: int = 0
) -> tuple[float, float, float, int]:
    """The weighted mean of values with its 95 % percentile bootstrap interval over pairs.

    Args:
        values, weights: float ``[n]``; pairs: ``[n]`` labels; what is of one pair is drawn together.
        seed: of 2,000 resamples.

    Returns:
        Mean, low, high and the number of pairs; NaN where there is nothing, no interval for a single pair.

    Example::

        >>> resampled(np.array([0.0, 1.0]), np.array([1.0, 3.0]), ["a", "b"])[0]
        0.75
    """
    names, of_pair = np.unique(np.asarray(pairs), return_inverse=True)
    if not np.sum(weights) > 0:
        return np.nan, np.nan, np.nan, 0
    sums = np.stack([np.bincount(of_pair, weights=parts) for parts in (values * weights, weights)])
    value = float(sums[0].sum() / sums[1].sum())
    if len(names) < 2:
        return value, np.nan, np.nan, 1
    counts = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), _RESAMPLES)
    drawn = sums @ counts.T
    low, high = np.nanpercentile(np.divide(drawn[0], drawn[1], out=np.full(_RESAMPLES, np.nan), where=drawn[1] > 0), [2.5, 97.5])
    return value, float(low), float(high), len(names)
