"""Sections of the results page for measures that the paper does not have; like :mod:`.sections_paper`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recipes.panels import dots, lines, stacked
from recipes.tables import Results, above, below, cell, figure_link, lines_of, markdown, percent, pick, spread, times, unseen

ORDERS = ("contribution", "activation", "random")
NULL = ("untrained", "untrained_random")  # an untrained dictionary's shared features, by contribution and at random


def curves(results: Results):
    """Deletion and insertion."""
    t = results.frames["curves"]
    area = t[t["measure"] == "area_minus_random"]
    gain = {(c, o): pick(area, curve=c, order=o) for c in ("deletion", "insertion") for o in ("contribution", "activation")}
    n = len(gain["deletion", "contribution"])
    mean = t[t["measure"] == "relative_score"].groupby(["curve", "order", "fraction"])["value"].agg(["mean", "min", "max"])
    mean.columns = ["value", "low", "high"]
    panels = {c: {o.replace("_", ", "): mean.loc[c, o] for o in (*ORDERS, *NULL)} for c in ("deletion", "insertion")}
    gain |= {(c, "untrained"): pick(area, curve=c, order="untrained") for c in ("deletion", "insertion")}
    spots = {c: {o: gain[c, o] for o in ("contribution", "activation", "untrained")} for c in ("deletion", "insertion")}
    whole = t[(t["measure"] == "relative_score") & (t["curve"] == "deletion") & (t["fraction"] == 1)]
    left = {order: 100 * pick(whole, order=order).value for order in ("contribution", "untrained")}
    differ = {c: gain[c, "contribution"].value - gain[c, "activation"].value for c in spots}
    text = "\n\n".join(
        [
            "## Deletion and insertion curves",
            f"The shared features of each query's best document are erased, or alone kept, in some order, and the cosine with the query is taken again. "
            f"A faithful order has a small area under the deletion curve and a large one under the insertion curve. In order of contribution the "
            f"deletion area is below that of a random order on {results.count(below(gain['deletion', 'contribution']), n)}, the insertion area above it on "
            f"{above(gain['insertion', 'contribution'])} (interval of the difference). Order by contribution beats order by activation in the mean on "
            f"{int((differ['deletion'] < 0).sum())} of {n} by deletion and {int((differ['insertion'] > 0).sum())} by insertion.",
            _no_training(gain, left),
            markdown(["area − random", *(f"{c}, {o}" for c, o in gain)], lines_of(gain, 3, signed=True)),
            figure_link("curves", "Deletion and insertion curves"),
            "Mean of the collections; bands from the lowest to the highest.",
            figure_link("areas", "Area under the curves, less that of a random order"),
        ]
    )  # fmt: skip
    drawn = {
        "curves": lines(panels, "share of the shared features", "cosine / cosine before"),
        "areas": dots(spots, "area − that of a random order", zero=True),
    }
    return text, drawn


def _no_training(gain, left) -> str:
    """What an untrained dictionary's order and features do."""
    null = {curve: gain[curve, "untrained"] for curve in ("deletion", "insertion")}
    beats = below(null["deletion"]), above(null["insertion"])
    n = len(null["deletion"])
    sizes = [
        " and ".join(spread(gain[curve, order].value, "{:+.3f}") for curve in null) for order in ("untrained", "contribution")
    ]
    arithmetic = ""
    if min(beats) > n / 2:
        parts = (100 * gain[curve, "untrained"].value / gain[curve, "contribution"].value for curve in null)
        parts = " and ".join(spread(part, "{:.0f}%") for part in parts)
        arithmetic = f" So an order by contribution beats chance without any training, by {parts} of the model's margin."
    return (
        "The features that an untrained dictionary of the same size and sparsity shares, in order of contribution, beat its own random orders "
        f"on {beats[0]} of {n} by deletion and {beats[1]} by insertion, with areas of {sizes[0]} against random (the model's: {sizes[1]}).{arithmetic} "
        f"With all shared features erased {spread(left['contribution'], '{:.0f}%')} of the cosine is left, with all of the untrained dictionary's "
        f"{spread(left['untrained'], '{:.0f}%')}."
    )


def shares(results: Results):
    """What a score is made of."""
    t = results.frames["shares"]
    parts = {"shared": "shared features", "other": "other features", "bias": "bias", "residual": "not explained"}
    mean = {part: pick(t, part=part, measure="mean") for part in parts}
    low, high = (pick(t, part="residual", measure=q).value for q in ("q05", "q95"))
    null = {part: 100 * pick(t, part=part, measure="untrained").value for part in parts}
    listed, only, carried = (pick(t, part="shared", measure=m).value for m in ("listed", "view_only", "view_only_share"))
    frame = pd.DataFrame({title: mean[part].value for part, title in parts.items()})
    rows = [
        [name, *(cell(mean[p], name, 1, 100) for p in parts), f"{percent(low[name])} to {percent(high[name])}",
         f"{null['shared'][name]:.1f}", f"{null['residual'][name]:.1f}"]
        for name in frame.index
    ]  # fmt: skip
    text = "\n\n".join(
        [
            "## What a score is made of",
            f"Shares of the score ⟨q,z⟩ of each query's best document, in percent. Shared features carry {spread(100 * mean['shared'].value, '{:.0f}%')}, "
            f"the bias {spread(100 * mean['bias'].value, '{:.0f}%')}, and {spread(100 * mean['residual'].value, '{:.0f}%')} is not explained by the dictionary. "
            f"Shared features are the largest part on {results.count(int((frame.idxmax(axis=1) == parts['shared']).sum()), len(frame))}. A part of one score "
            "can be negative; the four add up to 100.",
            f"An untrained dictionary of the same size and sparsity, its coefficients refitted alike, gives its own shared features {spread(null['shared'], '{:.0f}%')} "
            f"and leaves {spread(null['residual'], '{:.0f}%')} unexplained.",
            f"Explained with all views, the multi-view score has {spread(listed, '{:.0f}')} shared features; {spread(only, '{:.1f}')} of them, {spread(100 * only / listed, '{:.0f}%')}, are "
            f"inactive in the document's original embedding, where the internalised views alone put them, and carry {spread(100 * carried, '{:.1f}%')} of that score.",
            markdown(["collection", *parts.values(), "not explained, 5% to 95% of pairs", "untrained: shared", "not explained"], rows),
            figure_link("shares", "Parts of the score"),
        ]
    )  # fmt: skip
    return text, {"shares": stacked(100 * frame, "share of the score (%), mean over queries")}


def stability(results: Results):
    """Explanations of changed documents."""
    t = results.frames["stability"]
    kinds = {}
    for change, amount in t[["change", "amount"]].drop_duplicates().itertuples(index=False):
        kinds[_change(change, amount)] = change, amount
    panels = {
        measure: {k: pick(t, change=c, amount=a, measure=measure) for k, (c, a) in kinds.items()}
        for measure in ("jaccard", "correlation")
    }
    said = "; ".join(
        f"{kind}: {spread(panels['jaccard'][kind].value, '{:.2f}')} and {spread(panels['correlation'][kind].value, '{:.2f}')}"
        for kind in kinds
    )
    words, other = (pick(t, change=change, measure="cosine").value for change in ("words", "documents"))
    moved = f" Leaving out words moves the embedding to a cosine of {spread(words, '{:.3f}')}." if len(words) else ""
    if len(other):
        moved += (
            f" The floor is not 0: two different documents of the same query, at a cosine of {spread(other, '{:.2f}')}, agree as much as said last, "
            "since both are near the query."
        )
    text = "\n\n".join(
        [
            "## Explanations of slightly changed documents",
            f"How alike the shared features (Jaccard) and their contributions (correlation) stay when the best document changes a little: {said}.{moved}",
            markdown(["Jaccard", *kinds], lines_of(panels["jaccard"], 2)),
            figure_link("stability", "Agreement of explanations before and after the change"),
        ]
    )  # fmt: skip
    return text, {"stability": dots(panels, {"jaccard": "Jaccard similarity", "correlation": "Pearson correlation"})}


def _change(change: str, amount: float) -> str:
    if change == "documents":
        return f"different documents, ranks 1 and {amount:g}"
    return f"noise, cosine {amount:g}" if change == "noise" else f"{100 * amount:.0f}% of words left out"


def counterfactual(results: Results):
    """How few features keep a document among the results."""
    t = results.frames["counterfactual"]
    orders = (*ORDERS, "untrained")
    size, possible, control, listed = (
        {o: pick(t, order=o, measure=m) for o in orders} for m in ("pruned", "possible", "control", "listed")
    )
    fewer = pick(t, order="contribution", measure="pruned_minus_random")
    median = pick(t, order="contribution", measure="pruned_q50").value
    leave, first = 100 * possible["contribution"].value, size["contribution"].value
    rows = [
        [name, percent(possible["contribution"].value[name], 0), *(cell(size[o], name, 1) for o in ORDERS),
         f"{median[name]:.0f}" if name in median.index else "", percent(control["contribution"].value.get(name, np.nan), 0),
         percent(possible["untrained"].value[name], 0), cell(size["untrained"], name, 1)]
        for name in possible["contribution"].index
    ]  # fmt: skip
    header = ["collection", "possible (%)", *(f"features, by {o}" if o != "random" else "features, random order" for o in ORDERS)]
    text = "\n\n".join(
        [
            "## How few features keep a document among the results",
            f"Shared features are erased from the best document of a query until ten others score above it, then those that were not needed are put back. "
            f"That succeeds for {unseen(leave, '{:.0f}%')} of the documents, with {unseen(first, '{:.1f}')} features "
            f"in order of contribution and {spread(size['random'].value, '{:.1f}')} in random order; fewer than in random order on "
            f"{results.count(below(fewer), len(fewer))} (interval of the difference). The sizes are upper bounds of the smallest set.",
            _untrained(t, possible, size, listed),
            f"As many features of the document that the query does not share do it for {spread(100 * control['contribution'].value, '{:.0f}%')} of these documents; "
            "these are not selected to point to the query, so that they tell little.",
            markdown([*header, "median", "not shared (%)", "untrained: possible (%)", "features"], rows),
            figure_link("counterfactual", "Features to erase, and the documents that leave"),
        ]
    )  # fmt: skip
    left = {**{o: possible[o] for o in ("contribution", "untrained")}, "as many that are not shared": control["contribution"]}
    panels = {
        "features that have to go": size,
        "documents that leave": {o: times(frame, 100) for o, frame in left.items()},
    }
    labels = {"features that have to go": "features (mean)", "documents that leave": "share of the documents (%)"}
    return text, {"counterfactual": dots(panels, labels)}


def _untrained(t: pd.DataFrame, possible, size, listed) -> str:
    """What the shared features of an untrained dictionary do."""
    equal = {m: pick(t, order="untrained", measure=m).value for m in ("equal_listed", "equal", "equal_overlap")}
    more = pick(t, order="untrained", measure="pruned_minus_contribution")
    share = 100 * possible["untrained"].value
    return (
        "The fair comparison is with an untrained dictionary of the same size and sparsity, whose shared features are selected in the same way: "
        f"erasing them takes {unseen(share, '{:.0f}%')} of the documents out. It shares {spread(listed['untrained'].value, '{:.0f}')} "
        f"features, the model {spread(listed['contribution'].value, '{:.0f}')}; both cut at random to equal size ({spread(equal['equal_listed'], '{:.0f}')} features) "
        f"and erased whole, the untrained dictionary's take out {spread(100 * equal['equal'], '{:.0f}%')}, the model's {spread(100 * equal['equal_overlap'], '{:.0f}%')}. "
        f"Where it succeeds it takes {spread(size['untrained'].value, '{:.1f}')} features in order of contribution, more than the model's on the same documents on "
        f"{above(more)} of {len(more)} (interval of the difference) and fewer on {below(more)}."
    )
