"""Sections of the results page for measures that the paper does not have; like :mod:`.sections_paper`."""

from __future__ import annotations

import pandas as pd

from . import figures
from .tables import Results, above, below, figure_link, interval, markdown, percent, pick, spread

ORDERS = ("contribution", "activation", "random")


def curves(results: Results):
    """Deletion and insertion."""
    t = results.frames["curves"]
    area = t[t["measure"] == "area_minus_random"]
    gain = {(c, o): pick(area, curve=c, order=o) for c in ("deletion", "insertion") for o in ("contribution", "activation")}
    n = len(gain["deletion", "contribution"])
    mean = t[t["measure"] == "relative_score"].groupby(["curve", "order", "fraction"])["value"].agg(["mean", "min", "max"])
    mean.columns = ["value", "low", "high"]
    panels = {c: {o: mean.loc[c, o] for o in ORDERS} for c in ("deletion", "insertion")}
    spots = {c: {o: gain[c, o] for o in ("contribution", "activation")} for c in ("deletion", "insertion")}
    differ = {c: gain[c, "contribution"].value - gain[c, "activation"].value for c in spots}
    rows = [
        [name, *(interval(frame.loc[name], 3, signed=True) for frame in gain.values())]
        for name in spots["deletion"]["activation"].index
    ]
    text = "\n\n".join(
        [
            "## Deletion and insertion curves",
            f"The shared features of each query's best document are erased, or alone kept, in some order, and the cosine with the query is taken again. "
            f"A faithful order has a small area under the deletion curve and a large one under the insertion curve. In order of contribution the "
            f"deletion area is below that of a random order on {results.count(below(gain['deletion', 'contribution']), n)}, the insertion area above it on "
            f"{above(gain['insertion', 'contribution'])} (interval of the difference). Order by contribution beats order by activation in the mean on "
            f"{int((differ['deletion'] < 0).sum())} of {n} by deletion and {int((differ['insertion'] > 0).sum())} by insertion.",
            markdown(["area − random", *(f"{c}, {o}" for c, o in gain)], rows),
            figure_link("curves", "Deletion and insertion curves"),
            "Mean of the collections; bands from the lowest to the highest.",
            figure_link("areas", "Area under the curves, less that of a random order"),
        ]
    )  # fmt: skip
    drawn = {
        "curves": figures.lines(panels, "share of the shared features", "cosine / cosine before"),
        "areas": figures.dots(spots, "area − that of a random order", zero=True),
    }
    return text, drawn


def shares(results: Results):
    """What a score is made of."""
    t = results.frames["shares"]
    parts = {"shared": "shared features", "other": "other features", "bias": "bias", "residual": "not explained"}
    mean = {part: pick(t, part=part, measure="mean") for part in parts}
    low, high = (pick(t, part="residual", measure=q).value for q in ("q05", "q95"))
    frame = pd.DataFrame({title: mean[part].value for part, title in parts.items()})
    rows = [
        [name, *(interval(mean[p].loc[name], 1, 100) for p in parts), f"{percent(low[name])} to {percent(high[name])}"]
        for name in frame.index
    ]
    text = "\n\n".join(
        [
            "## What a score is made of",
            f"Shares of the score ⟨q,z⟩ of each query's best document, in percent. Shared features carry {spread(100 * mean['shared'].value, '{:.0f}%')}, "
            f"the bias {spread(100 * mean['bias'].value, '{:.0f}%')}, and {spread(100 * mean['residual'].value, '{:.0f}%')} is not explained by the dictionary. "
            f"Shared features are the largest part on {results.count(int((frame.idxmax(axis=1) == parts['shared']).sum()), len(frame))}. A part of one score "
            "can be negative; the four add up to 100.",
            markdown(["collection", *parts.values(), "not explained, 5% to 95% of pairs"], rows),
            figure_link("shares", "Parts of the score"),
        ]
    )  # fmt: skip
    return text, {"shares": figures.stacked(100 * frame, "share of the score (%), mean over queries")}


def stability(results: Results):
    """Explanations of changed documents."""
    t = results.frames["stability"]
    kinds = {}
    for change, amount in t[["change", "amount"]].drop_duplicates().itertuples(index=False):
        kinds[f"noise, cosine {amount:g}" if change == "noise" else f"{100 * amount:.0f}% of words left out"] = change, amount
    panels = {
        measure: {k: pick(t, change=c, amount=a, measure=measure) for k, (c, a) in kinds.items()}
        for measure in ("jaccard", "correlation")
    }
    said = "; ".join(
        f"{kind}: {spread(panels['jaccard'][kind].value, '{:.2f}')} and {spread(panels['correlation'][kind].value, '{:.2f}')}"
        for kind in kinds
    )
    words = pick(t, change="words", measure="cosine").value
    moved = f" Leaving out words moves the embedding to a cosine of {spread(words, '{:.3f}')}." if len(words) else ""
    names = panels["jaccard"][next(iter(kinds))].index
    rows = [
        [name, *(interval(panels["jaccard"][k].loc[name], 2) if name in panels["jaccard"][k].index else "" for k in kinds)]
        for name in names
    ]
    text = "\n\n".join(
        [
            "## Explanations of slightly changed documents",
            f"How alike the shared features (Jaccard) and their contributions (correlation) stay when the best document changes a little: {said}.{moved}",
            markdown(["Jaccard", *kinds], rows),
            figure_link("stability", "Agreement of explanations before and after the change"),
        ]
    )  # fmt: skip
    return text, {"stability": figures.dots(panels, {"jaccard": "Jaccard similarity", "correlation": "Pearson correlation"})}


def counterfactual(results: Results):
    """How few features keep a document among the results."""
    t = results.frames["counterfactual"]
    size, possible, control = ({o: pick(t, order=o, measure=m) for o in ORDERS} for m in ("pruned", "possible", "control"))
    fewer = pick(t, order="contribution", measure="pruned_minus_random")
    median = pick(t, order="contribution", measure="pruned_q50").value
    rows = [
        [name, percent(possible["contribution"].value[name], 0), *(interval(size[o].loc[name], 1) if name in size[o].index else "" for o in ORDERS),
         f"{median[name]:.0f}" if name in median.index else "", percent(control["contribution"].value[name], 0) if name in control["contribution"].index else ""]
        for name in possible["contribution"].index
    ]  # fmt: skip
    text = "\n\n".join(
        [
            "## How few features keep a document among the results",
            f"Shared features are erased from the best document of a query until ten others score above it, then those that were not needed are put back. "
            f"That succeeds for {spread(100 * possible['contribution'].value, '{:.0f}%')} of the documents, with {spread(size['contribution'].value, '{:.1f}')} features "
            f"in order of contribution and {spread(size['random'].value, '{:.1f}')} in random order; fewer than in random order on "
            f"{results.count(below(fewer), len(fewer))} (interval of the difference). As many features of the document that the query does not share do it for "
            f"{spread(100 * control['contribution'].value, '{:.0f}%')} of these documents. The sizes are upper bounds of the smallest set.",
            markdown(["collection", "possible (%)", *(f"features, by {o}" if o != "random" else "features, random order" for o in ORDERS), "median", "control (%)"], rows),
            figure_link("counterfactual", "Features to erase, and the control"),
        ]
    )  # fmt: skip
    panels = {
        "features that have to go": size,
        "as many that are not shared": {
            o: control[o].assign(**{c: 100 * control[o][c] for c in ("value", "low", "high")}) for o in ORDERS
        },
    }
    labels = {"features that have to go": "features (mean)", "as many that are not shared": "take the document out (%)"}
    return text, {"counterfactual": figures.dots(panels, labels)}
