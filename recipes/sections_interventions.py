"""Sections of the results page for the paper's interventions, Figures 7 and 8; like :mod:`.sections_paper`."""

from __future__ import annotations

from . import figures
from .tables import Results, above, below, figure_link, interval, markdown, pick, spread, times

SETS = ("overlap", "direct", "non_overlap", "random_features", "random_directions")
KINDS = ("key", "non_key", "non_key_as_active")


def erasure(results: Results):
    """Fig. 7."""
    t = results.frames["erasure"]
    sets, panels = [s for s in SETS if s in set(t["set"])], {}
    for mode in ("erase", "keep_only"):
        for pairs in ("true positive", "false positive"):
            part = t[(t["mode"] == mode) & (t["pairs"] == pairs)]
            panels[f"{mode.replace('_', ' ')}, {pairs}s"] = {
                s.replace("_", " "): pick(part, set=s, measure="change") for s in sets
            }
    erased = t[(t["mode"] == "erase") & (t["pairs"] == "true positive")]
    change = {s: pick(erased, set=s, measure="change") for s in sets}
    than = {s: pick(erased, set=s, measure="overlap_minus_set") for s in sets if s != "overlap"}
    compared = ", ".join(f"{s.replace('_', ' ')} on {below(frame)} of {len(frame)}" for s, frame in than.items())
    false = pick(t[(t["mode"] == "erase") & (t["pairs"] == "false positive")], set="overlap", measure="change").value
    sizes = pick(erased, set="overlap", measure="size").value
    rows = [
        [name, *(interval(change[s].loc[name], 3, signed=True) if name in change[s].index else "" for s in sets)]
        for name in change["overlap"].index
    ]
    direct = (
        ""
        if "direct" in sets
        else " The paper's direct decomposition is left out: it takes a dictionary trained on raw vectors alone."
    )
    text = "\n\n".join(
        [
            "## Figure 7: erasing features, and keeping only them",
            f"Change of the cosine of query and document when a set of features is erased from the document's original embedding. Erasing the "
            f"shared features (on average {spread(sizes, '{:.0f}')} of them) lowers that of relevant documents among the top 32 by "
            f"{spread(-change['overlap'].value, '{:.3f}')}, and that of other results by {spread(-false, '{:.3f}')}; the paper's drops reach about 0.07. "
            f"On relevant documents the drop is more than that of these sets (interval of the difference, pair by pair): {compared}. "
            f"As many random directions lower it by {spread(-change['random_directions'].value, '{:.3f}')}. Erasing the document's own features that the query "
            f"does not share often raises the cosine in the paper; here it does on {results.count(above(change['non_overlap']), len(change['non_overlap']))}, "
            f"and lowers it on {below(change['non_overlap'])}.{direct}",
            markdown(["erased, relevant documents", *(s.replace("_", " ") for s in sets)], rows),
            figure_link("figure7", "Change of the cosine by set, mode and kind of pair"),
        ]
    )  # fmt: skip
    return text, {"figure7": figures.dots(panels, "change of the cosine", zero=True)}


def steering(results: Results):
    """Fig. 8."""
    t = results.frames["steering"]
    change = t[(t["measure"] == "change") & (t["split"] == "unseen")]
    top, bottom = change["alpha"].max(), change["alpha"].min()
    names, by = list(change["collection"].unique()), {}
    for kind in KINDS:
        for alpha in (bottom, top):
            by[kind, alpha] = pick(change, set=kind, alpha=alpha)
    up, down, n = by["key", top], by["key", bottom], len(names)
    best = change[(change["set"] == "key") & (change["alpha"] > 1)].groupby("collection")["value"].max()
    alike = by["non_key_as_active", bottom].value.reindex(down.index)
    raised = by["non_key_as_active", top].value.reindex(up.index)
    means = "; ".join(
        f"{kind.replace('_', ' ')} {' and '.join(f'{100 * by[kind, alpha].value.mean():+.1f}' for alpha in (bottom, top))}"
        for kind in KINDS
    )
    panels = {
        name: {kind.replace("_", " "): times(pick(change, "alpha", collection=name, set=kind), 100) for kind in KINDS}
        for name in names
    }
    held = "holds" if above(up) > n / 2 else "does not hold on most collections here"
    rows = [
        [name, *(interval(by[kind, alpha].loc[name], 1, 100, signed=True) for kind in KINDS for alpha in (bottom, top))]
        for name in names
    ]
    text = "\n\n".join(
        [
            "## Figure 8: turning key features down and up",
            f"Change of nDCG@10, in points, when up to 256 features are scaled by α in all documents; key features are chosen on one half of the queries and "
            f"measured on the other. The paper's claim that α > 1 on key features raises nDCG {held} at α = {top:g}: it rises on "
            f"{results.count(above(up), n)} and falls on {below(up)} (intervals off 0); the mean change is {100 * up.value.mean():+.1f} points, and "
            f"{100 * best.mean():+.1f} at each collection's best α > 1, which is chosen after the fact. At α = {bottom:g} it falls on {below(down)} of {n}. "
            f"Mean changes at α = {bottom:g} and {top:g}: {means}. At α = {bottom:g} key features cost more than others that are active on as many documents "
            f"on {results.count(int((down.value < alike).sum()), n)}, at α = {top:g} on {int((up.value < raised).sum())}; features chosen at random are active "
            "more rarely, so that scaling them moves the vectors less whatever they mean.",
            markdown(["collection", *(f"{k.replace('_', ' ')}, α = {a:g}" for k in KINDS for a in (bottom, top))], rows),
            figure_link("figure8", "Change of nDCG@10 against α"),
        ]
    )  # fmt: skip
    return text, {"figure8": figures.lines(panels, "α", "change of nDCG@10 (points)")}
