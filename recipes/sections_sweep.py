"""Section of the results page for the paper's Figures 3 and 4 over kinds and sparsities; like :mod:`.sections_paper`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recipes.panels import lines
from recipes.tables import NDCG, Results, figure_link, markdown, percent, times

ONE = ["variant", "trained_on", "level"]  # tells a dictionary
SIDES = {"original": "original vectors", "reasoned": "internalised views"}
MEASURES = {"l0": "l0", "mse": "mse", "variance_explained": "fve", "features_active": "active"}

AXES = {"panel": (3.6, 3.0), "doubling": True}


def sweep(results: Results):
    """Fig. 3 and 4, of small dictionaries of all kinds.

    Raises:
        ValueError: result files of different dictionaries, whose means would mix them.
    """
    files = results.of("sweep")
    if any(file["key"]["dictionaries"] != files[0]["key"]["dictionaries"] for file in files):
        raise ValueError("render expects all sweep.*.json to be of the same dictionaries, found others; measure them again")
    t = _levels(results.frames["sweep"])
    means = averages(t)
    reasoned = means[means["trained_on"] == "reasoned"]
    kinds = list(reasoned["variant"].unique())
    both = [kind for kind in kinds if kind in set(means.loc[means["trained_on"] == "raw", "variant"])]
    active = "active features of a vector"
    drawn = {
        "sweep": lines(
            _by_kind(reasoned, ("fve_original", "fve_reasoned"), SIDES.values()), active, "variance explained", **AXES
        ),
        "sweep_ndcg": lines(
            _by_kind(
                reasoned, ("kept", "kept_unit"), ("rebuilt documents", "scaled to length 1"),
                x=("l0_original", "l0_original"), factor=100,
            ),
            active, f"{NDCG} kept (%)", **AXES,
        ),
    }  # fmt: skip
    links = [
        figure_link("sweep", "Variance explained against active features"),
        figure_link("sweep_ndcg", "nDCG@10 with rebuilt documents against active features"),
    ]
    if both:
        drawn["sweep_mse"] = lines(_by_training(means, both, "mse"), active, "mean squared error", **AXES)
        drawn["sweep_active"] = lines(_by_training(means, both, "active"), active, "features that any document activates", **AXES)
        links += [
            figure_link("sweep_mse", "Error of original vectors and internalised views, by what the dictionary was trained on"),
            figure_link("sweep_active", "Distinct features that any document activates, by what the dictionary was trained on"),
        ]
    parts = [
        "## Figures 3 and 4: kinds of dictionaries and sparsities",
        _what(files[0], means, kinds, both, Results.count(t["collection"].nunique())),
        _equal(t, reasoned, kinds),
        _paper(means),
        _training(means, both),
        _table(means),
        *links,
    ]
    return "\n\n".join(part for part in parts if part), drawn


def _levels(t: pd.DataFrame) -> pd.DataFrame:
    """With ``level``, the k or λ, and ``control``, which of them."""
    t = t.reindex(columns=list(dict.fromkeys([*t.columns, "k", "sparsity"])))
    return t.assign(level=t["k"].fillna(t["sparsity"]), control=np.where(t["k"].notna(), "k", "λ"))


def averages(t: pd.DataFrame) -> pd.DataFrame:
    """Means over collections, a row for each dictionary in order of variant and active features.

    Returns:
        columns variant, trained_on, level, control, ``l0``, ``mse``, ``fve``, ``active`` each as ``_original`` and
        ``_reasoned`` (mean of the internalised views), and ``kept``, ``kept_unit``, the shares of nDCG@10.
    """
    keys, found = ["collection", *ONE], {}
    views = t[~t["view"].isin(["reasoned"])]
    for measure, name in MEASURES.items():
        part = views[views["measure"] == measure]
        found[f"{name}_original"] = part[part["view"] == "original"].groupby(keys)["value"].mean()
        found[f"{name}_reasoned"] = part[part["view"] != "original"].groupby(keys)["value"].mean()
    ranked = t[t["measure"] == NDCG]
    original = ranked[ranked["reconstructed"] == "none"].groupby(keys)["value"].mean()
    for name, unit in (("kept", False), ("kept_unit", True)):
        part = ranked[(ranked["reconstructed"] == "docs") & (ranked["unit"] == unit)]
        found[name] = part.groupby(keys)["value"].mean() / original
    means = pd.DataFrame(found).groupby(ONE).mean().reset_index()
    order = {kind: i for i, kind in enumerate(dict.fromkeys(t["variant"]))}
    means = means.merge(t[[*ONE, "control"]].drop_duplicates(), on=ONE)
    means = means.assign(place=means["variant"].map(order)).sort_values(
        ["trained_on", "place", "l0_original"], ascending=[False, True, True]
    )
    return means.drop(columns="place").reset_index(drop=True)


def at_equal(points: pd.DataFrame, at: float, y: str, *, x: str = "l0_original") -> float:
    """``y`` at ``at`` active features, between the two nearest dictionaries (linear in log L0); NaN outside of them."""
    points = points[points[x] > 0].sort_values(x)
    if not len(points) or not points[x].iloc[0] <= at <= points[x].iloc[-1]:
        return np.nan
    return float(np.interp(np.log(at), np.log(points[x]), points[y]))


def spanned(means: pd.DataFrame, kinds) -> float:
    """The middle (geometric) of the numbers of active features that all kinds have dictionaries on both sides of; NaN if none."""
    own = [means.loc[(means["variant"] == kind) & (means["l0_original"] > 0), "l0_original"] for kind in kinds]
    low, high = max(l0.min() for l0 in own), min(l0.max() for l0 in own)
    middle = float(np.round(np.sqrt(low * high)))
    return middle if low <= middle <= high else np.nan


def _what(file, means, kinds, both, collections: str) -> str:
    training = file["key"]["options"]
    raw = f", {_and(both)} also on these documents' vectors alone (raw), with as many steps" if both else ""
    return (
        f"{len(means)} dictionaries of {training['dict_size']:,} features: {_and(kinds)}, each at several sparsities, trained on "
        f"the vectors of {training['documents']:,} documents and their internalised views (reasoned){raw}; "
        f"{training['steps']:,} steps of {training['batch_size']:,} vectors, Adam {training['lr']:g}. They are trained alike, to "
        "be compared with each other and not with larger or longer trained ones. "
        f"`{file['facts']['training_command']}`\n\n"
        f"All figures are means of {collections}, with the encoders' own coefficients. The number of active features is the one "
        "counted on the documents evaluated: λ sets it only indirectly, and k, where a threshold stands in for it, only on "
        "average over the training vectors."
    )


def _equal(t: pd.DataFrame, reasoned: pd.DataFrame, kinds: list[str]) -> str:
    """Who keeps most at the same number of active features."""
    living = reasoned[reasoned["l0_original"] > 0].groupby("variant").size()
    missing = [kind for kind in kinds if living.get(kind, 0) < 2]
    kinds = [kind for kind in kinds if kind not in missing]
    if len(kinds) < 2:
        return ""
    at = spanned(reasoned, kinds)
    if np.isnan(at):
        return "There is no number of active features that all kinds span, so their order at equal sparsity is left open."
    said, places = [], []
    for y, form, title in (
        ("fve_original", "{:.3f}", "variance explained of original vectors"),
        ("kept", "{:.1%}", f"{NDCG} kept"),
    ):
        values = pd.Series({kind: at_equal(reasoned[reasoned["variant"] == kind], at, y) for kind in kinds})
        values = values.sort_values(ascending=False, kind="stable")
        places += [f"number {1 + int((values > values['topk']).sum())} of {len(kinds)} in {title}"] if "topk" in kinds else []
        said.append(f"{title}: {', '.join(f'{kind} {form.format(value)}' for kind, value in values.items())}")
    topk = f" topk, which the paper chose, is {' and '.join(places)}." if places else ""
    change = t[(t["measure"] == "change") & (t["reconstructed"] == "docs")]
    half = 100 * ((change["high"] - change["low"]) / 2).mean()
    gain = 100 * (reasoned["kept_unit"] - reasoned["kept"])
    return (
        f"At {at:.0f} active features, read off between each kind's points, with the encoders' own coefficients (not refitted), one "
        f"learning rate and one seed: {'; '.join(said)}.{topk} Each was trained once and "
        f"differences between kinds are not tested; for scale, the 95% interval of one dictionary's loss of {NDCG} on one "
        f"collection is ±{half:.1f} points on average. A penalty shortens reconstructions; scaling rebuilt documents to length 1 "
        f"changes the share of {NDCG} kept by {gain.min():+.1f} to {gain.max():+.1f} points."
        + (f" Left out, for want of two dictionaries with any active feature: {_and(missing)}." if missing else "")
    )


def _paper(means: pd.DataFrame) -> str:
    counted = []
    for trained_on, own in means.groupby("trained_on", sort=False):
        lower, better, more = (
            (sign * (own[f"{name}_reasoned"] - own[f"{name}_original"]) > 0).sum()
            for name, sign in (("mse", -1), ("fve", 1), ("active", 1))
        )
        counted.append(
            f"of {len(own)} dictionaries trained on {trained_on} vectors {lower} with a lower error, {better} with a larger "
            f"share of variance explained and {more} with more distinct active features"
        )
    return (
        "In the paper (Fig. 4) reasoned vectors have a lower error and more distinct active features than raw ones at every "
        "sparsity. Here, for an internalised view (mean of the aspects) against the original vectors: "
        f"{'; '.join(counted)}."
    )


def _training(means: pd.DataFrame, both: list[str]) -> str:
    """What training on the views as well changes, at equal sparsity."""
    said = []
    for kind in both:
        own = means[means["variant"] == kind]
        parts = {trained_on: own[own["trained_on"] == trained_on] for trained_on in ("reasoned", "raw")}
        at, pairs = spanned(own, [kind]), []
        for side, title in SIDES.items():
            reasoned, raw = (at_equal(part, at, f"fve_{side}", x=f"l0_{side}") for part in parts.values())
            if not np.isnan(reasoned - raw):
                pairs.append(f"{reasoned:.3f} against {raw:.3f} of {title}")
        if pairs:
            said.append(f"{kind} at {at:.0f} active features {' and '.join(pairs)}")
    if not said:
        return ""
    return f"Variance explained by dictionaries trained on reasoned vectors against those trained on raw ones: {'; '.join(said)}."


def _table(means: pd.DataFrame) -> str:
    rows = [
        [row.variant, row.trained_on, f"{row.control} = {row.level:g}", f"{row.l0_original:.1f}", f"{row.l0_reasoned:.1f}",
         f"{row.fve_original:.3f}", f"{row.fve_reasoned:.3f}", f"{row.mse_original:.3f}", f"{row.mse_reasoned:.3f}",
         f"{row.active_original:,.0f}", f"{row.active_reasoned:,.0f}", percent(row.kept), percent(row.kept_unit)]
        for row in means.itertuples()
    ]  # fmt: skip
    header = ["kind", "trained on", "sparsity", "active", "views", "variance explained", "views", "error", "views",
              "distinct features", "views", f"{NDCG} kept (%)", "length 1"]  # fmt: skip
    return markdown(header, rows, left=(0, 1, 2))


def _by_kind(means: pd.DataFrame, columns, titles, *, x=("l0_original", "l0_reasoned"), factor: float = 1.0) -> dict:
    """Panels of one line for each kind."""
    return {
        title: {kind: times(_line(own, over, y), factor) for kind, own in means.groupby("variant", sort=False)}
        for title, y, over in zip(titles, columns, x)
    }


def _by_training(means: pd.DataFrame, kinds: list[str], name: str) -> dict:
    """A panel for each kind; lines for what was trained on and what is measured."""
    return {
        kind: {
            f"{title}, trained on {trained_on}": _line(own, f"l0_{side}", f"{name}_{side}")
            for trained_on, own in means[means["variant"] == kind].groupby("trained_on", sort=False)
            for side, title in SIDES.items()
        }
        for kind in kinds
    }


def _line(points: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    return pd.DataFrame({"value": points[y].to_numpy(), "low": np.nan, "high": np.nan}, index=points[x].to_numpy())


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
