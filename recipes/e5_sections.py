"""Sections of the page about the second encoder: Table 1, starts and learning curve, written summaries, the trainings."""

from __future__ import annotations

import pandas as pd

from pyterrier_xetrieval.evaluation.view_weights import GRID
from recipes.e5_table1 import DENSE, E5, ELSEWHERE, INTERNALISED, MINILM, REPLACED, SHOWN, WRITTEN, name_of
from recipes.e5_training import DISTILLED, MAIN, SCRATCH, WEIGHT
from recipes.tables import TRAINED_ON, markdown, p_value, percent, points, significant

SYSTEMS = {f"weight {w:g}": name_of(MAIN, w) for w in SHOWN} | {"weight chosen elsewhere": ELSEWHERE}


def _effect(pooled: pd.DataFrame, encoder: str, system: str, method: str, of: str = "all") -> pd.Series:
    own = pooled[(pooled["encoder"] == encoder) & (pooled["system"] == system) & (pooled["method"] == method)]
    own = own[own["collections"] == of]
    return own.iloc[0] if len(own) else pd.Series(dtype=float)


def views(rows: pd.DataFrame, pooled: pd.DataFrame) -> str:
    """Table 1: both encoders by collection, and what it comes to over all collections."""
    rows = rows[~rows["bound"]]
    parts = [
        "## Table 1: dense retrieval with reasoning views",
        "nDCG@10 of ⟨q,z⟩, and the difference when three internalised views are added (Eq. 11): with weight 1 each, as in the paper, with "
        f"{WEIGHT:g} each, and with the one weight of {_grid()} that is best on the *other* collections, which is the fair choice: {WEIGHT:g} was first seen to "
        "be good on some of these. Paired t-tests over queries; p after Holm's correction over the collections of a column.",
    ]
    for encoder in (e for e in (E5, MINILM) if (rows["encoder"] == e).any()):
        own = rows[rows["encoder"] == encoder]
        parts += [_verdict(own, encoder), _by_collection(own, encoder)]
    parts += ["### Over all collections", _pooling(pooled)]
    for of, title in {"all": "all collections", "unseen": "without " + " and ".join(TRAINED_ON)}.items():
        table = [
            [encoder, system, *_both(pooled, encoder, SYSTEMS[system], of)]
            for encoder in (E5, MINILM) for system in SYSTEMS if len(pooled) and (_of(pooled, encoder, of))
        ]  # fmt: skip
        if table:
            header = [title, "views", "random effects", "Hartung-Knapp", "p (normal)", "I²", "plain mean"]
            parts.append(markdown(header, table, left=(0, 1)))
    return "\n\n".join(parts)


def _grid() -> str:
    return ", ".join(f"{w:g}" for w in GRID)


def _of(pooled: pd.DataFrame, encoder: str, of: str) -> bool:
    return bool(((pooled["encoder"] == encoder) & (pooled["collections"] == of)).any())


def _both(pooled: pd.DataFrame, encoder: str, system: str, of: str) -> list[str]:
    """Cells of a line: the effect with both intervals, its p, the part of the spread that is not chance, and the plain mean."""
    effect, mean = (_effect(pooled, encoder, system, method, of) for method in ("random effects", "plain mean"))
    if effect.empty:
        return ["", "", "", "", points(mean)]
    beyond = max(0.0, 1 - (effect["k"] - 1) / effect["q"]) if effect["q"] > 0 else 0.0
    wide = points(_hartung_knapp(effect)).partition(" ")[2]
    return [points(effect), wide, p_value(effect["p"]), f"{100 * beyond:.0f}%", points(mean)]


def _hartung_knapp(effect: pd.Series) -> dict[str, float]:
    """The effect with the wider interval."""
    return {"value": effect["value"], "low": effect["hk_low"], "high": effect["hk_high"]}


def _verdict(own: pd.DataFrame, encoder: str) -> str:
    """How often each weight helps and hurts."""
    said = []
    for title, system in SYSTEMS.items():
        cells = own[own["system"] == system]
        up, down = int((cells["value"] > 0).sum()), int((cells["value"] < 0).sum())
        better, worse = significant(cells["value"], cells["p_holm"])
        said.append(f"{title}: {up} of {len(cells)} up ({better} significantly), {down} down ({worse})")
    return f"**{encoder}.** " + "; ".join(said) + "."


def _by_collection(own: pd.DataFrame, encoder: str) -> str:
    lines = []
    for name, part in own.groupby("collection", sort=False):
        by = part.set_index("system")
        cells = [name, f"{by.loc[DENSE, 'n']:.0f}", percent(by.loc[DENSE, "ndcg"])]
        for system in SYSTEMS.values():
            cells += [points(by.loc[system]), p_value(by.loc[system, "p_holm"])]
        lines.append([*cells, f"{by.loc[ELSEWHERE, 'weight']:g}"])
    header = [f"{encoder}, collection", "queries", "dense", *(h for title in SYSTEMS for h in (title, "p")), "which"]
    return markdown(header, lines)


def _pooling(pooled: pd.DataFrame) -> str:
    told = (
        "Two ways, which ask different things. *Random effects* (DerSimonian and Laird) estimate the mean over a population of such "
        "collections, each weighted by how precisely it was measured; the normal interval is too narrow with few collections, that of Hartung and Knapp is "
        "the one to believe. I² is the share of the spread between collections that is not chance. *Plain mean*: each collection counts "
        "the same; the interval draws collections, then queries. liveqa_med and msmarco_dl21 share passages with the training text; "
        "without them, below."
    )
    if not len(pooled):
        return told
    said = []
    for of, among in {"all": "all collections", "unseen": "those that are no training text"}.items():
        effect, mean = (_effect(pooled, E5, ELSEWHERE, method, of) for method in ("random effects", "plain mean"))
        if not effect.empty:
            sure = (
                "above chance" if effect["hk_low"] > 0 else "below chance" if effect["hk_high"] < 0 else "not told from nothing"
            )
            said.append(
                f"over {among} ({effect['k']:.0f}) {points(_hartung_knapp(effect))} points, which is {sure} (plain mean {points(mean)})"
            )
    if not said:
        return told
    return f"{told}\n\nThe E5 model with the weight chosen elsewhere gains {'; '.join(said)}. The paper's gain for its e5-small, with weight 1, is 3.4."


def learning(rows: pd.DataFrame, pooled: pd.DataFrame, ways: pd.DataFrame) -> str:
    """How the internalizers are trained, and on how many documents."""
    rows = rows[(rows["encoder"] == E5) & ~rows["bound"]]
    curve = [way for way in ways["way"].unique() if way.endswith(" documents")]
    cells = []
    for way in (*curve, MAIN, DISTILLED, SCRATCH):
        errors = ways[ways["way"] == way].set_index("aspect")["val_mse"]
        line = [f"{way}{' (all)' if way == MAIN else ''}", *(f"{errors[a]:.4f}" for a in errors.index)]
        for weight in SHOWN:
            system = name_of(way, weight)
            own = rows[rows["system"] == system]
            mean = _effect(pooled, E5, system, "plain mean") if len(pooled) else pd.Series(dtype=float)
            _, worse = significant(own["value"], own["p_holm"])
            line += ["" if mean.empty else points(mean), f"{worse}"]
        cells.append(line)
    aspects = list(ways["aspect"].unique())
    identity = ways[ways["way"] == MAIN].set_index("aspect")["identity_mse"]
    shares = " · ".join(f"{a} {identity[a]:.4f}" for a in aspects)
    header = ["training", *(f"error, {a}" for a in aspects)]
    header += [h for w in SHOWN for h in (f"gain, weight {w:g} [95 %]", "losses")]
    return "\n\n".join(
        [
            "## How the views are learned, and from how many documents",
            "Errors are E‖R(z) − z_t‖² on the same 15 % of the described documents, which no training saw "
            f"(z itself: {shares}). Gains are plain means over the collections, in points; *losses* counts collections that "
            "are significantly worse (Holm). *The model's*: the network first learns z → z, then the teacher texts, as in `train_model`. *As the bundled "
            "model's*: what an ensemble with dropout and a kernel regression predicts of unlabelled passages is learned in between; "
            f"{_distilled(ways)}, which is why the model does without: chosen by these errors, not by retrieval. *From scratch*: the paper's. The "
            "lines above are the model's training on fewer described documents (85 % of so many are learned from).",
            markdown(header, cells),
        ]
    )


def _distilled(ways: pd.DataFrame) -> str:
    """Whether what helps the bundled encoder helps here."""
    mean = ways.groupby("way")["val_mse"].mean()
    return f"here that is {'worse' if mean[DISTILLED] > mean[MAIN] else 'better'} (mean error {mean[DISTILLED]:.4f} against {mean[MAIN]:.4f})"


def written(bound: pd.DataFrame) -> str:
    """The upper bound: real summaries in the place of the internalised view."""
    lines = []
    for (encoder, name), part in bound.groupby(["encoder", "collection"], sort=False):
        by = part.set_index("system")
        for kind in (INTERNALISED, WRITTEN, REPLACED):
            cells = [h for w in SHOWN for h in (points(by.loc[name_of(kind, w)]), p_value(by.loc[name_of(kind, w), "p"]))]
            lines.append([encoder, name, percent(by.loc[DENSE, "ndcg"]), kind, *cells])
    header = ["encoder", "collection", "dense", "views beside ⟨q,z⟩", *(h for w in SHOWN for h in (f"weight {w:g}", "p"))]
    return "\n\n".join(
        [
            "## What a perfect internalizer could give",
            "Where a language model has written a summary of every document, its vector takes the place of the internalised summary: what is between "
            "the first two lines is lost by internalising. p without correction.",
            markdown(header, lines, left=(0, 1, 3)),
        ]
    )


def made(training: dict, labels: int) -> str:
    """What the dictionaries were trained on, and what they explain."""
    kinds = training["vectors"]
    told = ", ".join(f"{n:,} {name}" for name, n in kinds.items())
    lines = []
    for own in training["dictionaries"]:
        held = own["held_out"]
        chosen = " (taken)" if own["dict_size"] == training["sae"]["dict_size"] and own["k"] == training["sae"]["k"] else ""
        lines.append([
            f"{own['dict_size']:,}, k = {own['k']}{chosen}", f"{own['step']:,}", f"{own['train_fve']:.3f}", *(f"{held[k]:.3f} ({held[k + '_refit']:.3f})" for k in ("document", "view", "short")),
            f"{100 * own['never_active']:.1f}%",
        ])  # fmt: skip
    header = ["features", "steps", "trained on", "held-out passages", "their views", "short texts", "never active"]
    return "\n\n".join(
        [
            "## The dictionary",
            f"Trained on {told} vectors (document: with the teacher's texts; view: internalised). Share of variance explained around the mean of "
            "the vectors; in brackets with refitted coefficients. Held out are passages, their views, and short texts that are encoded as queries.",
            markdown(header, lines),
            f"{_larger(training['dictionaries'])}{labels:,} "
            f"features have a label, the words that carry them in {training['label_texts']:,} texts. Nobody has judged these labels, and from so few texts "
            "many are poor: features that are active everywhere are called by rare words. Their confidence is counted as low.",
        ]
    )


def _larger(tried: list[dict]) -> str:
    """Whether more features were worth it."""
    small, large = sorted(tried, key=lambda own: own["dict_size"])
    gain, learned = (large[name] - small[name] for name in ("fve", "train_fve"))
    if learned > 2 * abs(gain):
        return f"More features explain {learned:.3f} more of what they were trained on and {gain:.3f} more of what they were not: this text carries no more. "
    return ""
