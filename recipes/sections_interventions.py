"""Sections of the results page for the paper's interventions, Figures 7 and 8; like :mod:`.sections_paper`."""

from __future__ import annotations

import numpy as np

from recipes.panels import dots, lines
from recipes.tables import Results, above, below, cell, figure_link, lines_of, markdown, pick, spread, times, unseen

SETS = ("overlap", "untrained", "direct", "non_overlap", "random_features", "random_directions")
KINDS = ("key", "non_key", "non_key_as_active")
READINGS = {"": "by dot product", "_at_length": "at the original length"}


def erasure(results: Results):
    """Fig. 7."""
    t = results.frames["erasure"]
    sets, panels = [s for s in SETS if s in set(t["set"])], {}
    for mode in ("erase", "keep_only"):
        for pairs in ("true positive", "false positive"):
            panels[f"{_words(mode)}, {pairs}s"] = {
                _words(s): pick(t, mode=mode, pairs=pairs, set=s, measure="change") for s in sets
            }
    erased = t[(t["mode"] == "erase") & (t["pairs"] == "true positive")]
    change = {s: pick(erased, set=s, measure="change") for s in sets}
    false = pick(t, mode="erase", pairs="false positive", set="overlap", measure="change").value
    drop = -change["overlap"].value
    text = "\n\n".join(
        [
            "## Figure 7: erasing features, and keeping only them",
            f"Change of the cosine of query and document when a set of features is erased from the document's original embedding. Erasing the "
            f"shared features, {_size(erased, 'overlap')} of them, lowers that of relevant documents among the top 32 by "
            f"{unseen(drop, '{:.3f}')}, and that of other results by {spread(-false, '{:.3f}')}; the paper's drops reach about 0.07.",
            _untrained(erased, change),
            _direct(results, erased, change),
            "Sets that are not selected to be active in both are too easy to beat, and tell little: erasing the document's own features that "
            f"the query does not share lowers the cosine by {spread(-change['non_overlap'].value, '{:.3f}')}, as many random features as there "
            f"are shared ones by {spread(-change['random_features'].value, '{:.3f}')}, as many random directions by "
            f"{spread(-change['random_directions'].value, '{:.3f}')}. In the paper erasing features that are not shared often raises the cosine; "
            f"here it does on {results.count(above(change['non_overlap']), len(change['non_overlap']))}, and lowers it on {below(change['non_overlap'])}.",
            markdown(["erased, relevant documents", *map(_words, sets)], lines_of(change, 3, signed=True)),
            _equal_table(erased, sets),
            figure_link("figure7", "Change of the cosine by set, mode and kind of pair"),
        ]
    )  # fmt: skip
    return text, {"figure7": dots(panels, "change of the cosine", zero=True)}


def _untrained(erased, change) -> str:
    """How much of the drop takes no training."""
    other, drop = -change["untrained"].value, -change["overlap"].value
    at_equal = {s: -pick(erased, set=s, measure="change").value for s in ("overlap_cut_untrained", "untrained_cut")}
    difference = {s: pick(erased, set=s, measure="overlap_minus_set") for s in ("untrained", "untrained_cut")}
    return (
        "The fair comparison: shared features are selected to be active in query and document, and point to both for that alone. "
        f"Those of an untrained dictionary of the same size and sparsity, {_size(erased, 'untrained')} of them, are selected in the same way, "
        f"and erasing them lowers the cosine by {unseen(other, '{:.3f}')}: {spread(100 * other / drop, '{:.0f}%')} of the "
        "model's drop takes no training. Part of the rest is that the trained dictionary shares more features. At equal size, the larger of each pair's "
        f"two sets cut at random to that of the smaller, {_size(erased, 'untrained_cut')} features, the drops are "
        f"{spread(at_equal['overlap_cut_untrained'], '{:.3f}')} and {spread(at_equal['untrained_cut'], '{:.3f}')}: "
        f"{spread(100 * at_equal['untrained_cut'] / at_equal['overlap_cut_untrained'], '{:.0f}%')} takes no training. (At random, "
        "because keeping the largest contributions would select by what is measured, in favour of the side with more to choose from.) "
        f"The model's drop is the larger on {_of(difference['untrained'])} collections, at equal size on {_of(difference['untrained_cut'])} "
        "(interval of the difference, pair by pair)."
    )


def _direct(results: Results, erased, change) -> str:
    """The paper's comparison with a dictionary of raw vectors."""
    if "direct" not in change:
        return "The paper's direct decomposition is left out: it takes a dictionary trained on raw vectors alone."
    at_equal = {s: -pick(erased, set=s, measure="change").value for s in ("overlap_cut_direct", "direct_cut")}
    difference = {s: pick(erased, set=s, measure="overlap_minus_set") for s in ("direct", "direct_cut")}
    alone = pick(erased, set="overlap_original", measure="change").value
    original = (
        f"Of the model's shared features {_size(erased, 'overlap_original')} are active in the edited embedding itself, not in internalised views alone; "
        f"erasing these alone lowers the cosine by {spread(-alone, '{:.3f}')}, {spread(100 * alone / change['overlap'].value, '{:.0f}%')} of the whole drop."
    )
    text = (
        f"The paper's direct decomposition, the {_size(erased, 'direct')} features that a dictionary of raw vectors shares, lowers it by "
        f"{spread(-change['direct'].value, '{:.3f}')}, less than the model's on {_of(difference['direct'])} collections and more on "
        f"{above(difference['direct'])}. At equal size, cut in the same way to {_size(erased, 'direct_cut')} features, the model's drop is "
        f"{spread(at_equal['overlap_cut_direct'], '{:.3f}')} and the raw dictionary's {spread(at_equal['direct_cut'], '{:.3f}')}: the model's is larger "
        f"on {_of(difference['direct_cut'])} and smaller on {above(difference['direct_cut'])}."
    )
    notes = [f["facts"]["raw_sae"]["note"] for f in results.files if "note" in f["facts"].get("raw_sae", {})]
    return " ".join([text, *notes[:1], original])


def _equal_table(erased, sets) -> str:
    """Sizes of the sets, and drops at equal size."""
    compared = [s for s in ("untrained", "direct") if s in sets]
    names = pick(erased, set="overlap", measure="size").index

    def sizes(s: str) -> list[str]:
        return [cell(pick(erased, set=s, measure="size").assign(low=np.nan), name, 1) for name in names]

    def changes(s: str) -> list[str]:
        return [cell(pick(erased, set=s, measure="change"), name, 3, signed=True) for name in names]

    columns = {_words(s): sizes(s) for s in ("overlap", "overlap_original", *compared)}
    columns["overlap original, change"] = changes("overlap_original")
    for s in compared:
        columns[f"at equal size with {s}"] = sizes(f"{s}_cut")
        columns[f"overlap, as {s}"] = changes(f"overlap_cut_{s}")
        columns[f"{s}, equal"] = changes(f"{s}_cut")
    return markdown(["features, and change at equal size", *columns], list(zip(names, *columns.values())))


def _size(erased, name: str) -> str:
    return spread(pick(erased, set=name, measure="size").value, "{:.0f}")


def _of(difference) -> str:
    """On how many collections the overlap lowers the cosine by more, interval off 0."""
    return f"{below(difference)} of {len(difference)}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def steering(results: Results):
    """Fig. 8."""
    t = results.frames["steering"]
    t = t[t["split"] == "unseen"]
    readings = {name: t[t["measure"] == f"change{suffix}"] for suffix, name in READINGS.items()}
    plain, at_length = readings.values()
    top, bottom = plain["alpha"].max(), plain["alpha"].min()
    names = list(plain["collection"].unique())
    panels = {
        name: {
            "key": times(pick(plain, "alpha", collection=name, set="key"), 100),
            "key, at the original length": times(pick(at_length, "alpha", collection=name, set="key"), 100),
            "non key as active": times(pick(plain, "alpha", collection=name, set="non_key_as_active"), 100),
            "non key as active, at the original length": times(
                pick(at_length, "alpha", collection=name, set="non_key_as_active"), 100
            ),
        }
        for name in names
    }
    tables = []
    for name, change in readings.items():
        by = {(kind, alpha): pick(change, set=kind, alpha=alpha) for kind in KINDS for alpha in (bottom, top)}
        header = [f"collection, {name}", *(f"{_words(k)}, α = {a:g}" for k, a in by)]
        tables.append(markdown(header, lines_of(by, 1, 100, signed=True)))
    text = "\n\n".join(
        [
            "## Figure 8: turning key features down and up",
            "Change of nDCG@10, in points, when up to 256 features are scaled by α in all documents; key features are chosen on one half of the queries and "
            "measured on the other. Two readings, because scaling changes a document's length and the dot product ranks by that too: the edited "
            "documents as they are, and brought back to their length, as in Figure 7. "
            f"By dot product: {_claim(results, plain, top, bottom)}",
            f"At the original length: {_claim(results, at_length, top, bottom)}{_neither(plain, at_length, top)}",
            "Features chosen at random are active more rarely, so that scaling them moves the vectors less whatever they mean.",
            *tables,
            figure_link("figure8", "Change of nDCG@10 against α"),
        ]
    )  # fmt: skip
    return text, {"figure8": lines(panels, "α", "change of nDCG@10 (points)")}


def _claim(results: Results, change, top: float, bottom: float) -> str:
    """What becomes of the paper's claim in one reading."""
    by = {(kind, alpha): pick(change, set=kind, alpha=alpha) for kind in KINDS for alpha in (bottom, top)}
    up, down = by["key", top], by["key", bottom]
    n = len(up)
    best = change[(change["set"] == "key") & (change["alpha"] > 1)].groupby("collection")["value"].max()
    alike = {alpha: by["non_key_as_active", alpha].value.reindex(up.index) for alpha in (bottom, top)}
    means = "; ".join(
        f"{_words(kind)} {' and '.join(f'{100 * by[kind, alpha].value.mean():+.1f}' for alpha in (bottom, top))}"
        for kind in KINDS
    )
    held = "holds" if _holds(up) else "does not hold on most collections here"
    return (
        f"the paper's claim that α > 1 on key features raises nDCG {held} at α = {top:g}: it rises on {results.count(above(up), n)} and falls on "
        f"{below(up)} (intervals off 0); the mean change is {100 * up.value.mean():+.1f} points, and {100 * best.mean():+.1f} at each collection's best "
        f"α > 1, which is chosen after the fact. At α = {bottom:g} it falls on {below(down)} of {n}. Mean changes at α = {bottom:g} and {top:g}: {means}. "
        f"At α = {bottom:g} key features cost more than others that are active on as many documents on "
        f"{results.count(int((down.value < alike[bottom]).sum()), n)}, at α = {top:g} on {int((up.value < alike[top]).sum())}."
    )  # fmt: skip


def _holds(up) -> bool:
    return above(up) > len(up) / 2


def _neither(plain, at_length, top: float) -> str:
    kept = [_holds(pick(change, set="key", alpha=top)) for change in (plain, at_length)]
    return "" if any(kept) else f" So the paper's gain at α > 1 appears in neither reading at α = {top:g}."
