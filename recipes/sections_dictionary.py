"""Sections of the results page for the paper's Figures 3 to 5, what the dictionary keeps and means; like :mod:`.sections_paper`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recipes.panels import dots, histogram
from recipes.tables import NDCG, Results, below, figure_link, interval, markdown, percent, pick, spread, times


def reconstruction(results: Results):
    """Fig. 3 and 4, of one dictionary."""
    t = results.frames["reconstruction"].astype({"refit": "boolean", "unit": "boolean"})
    own, random = t[t["sae"] == "explainer"], t[t["sae"] == "random"]
    ways = {
        "original vectors": pick(own, reconstructed="none", measure=NDCG),
        "documents": pick(own, reconstructed="docs", refit=True, unit=False, measure=NDCG),
        "documents and queries": pick(own, reconstructed="both", refit=True, unit=False, measure=NDCG),
        "documents, not refitted": pick(own, reconstructed="docs", refit=False, unit=False, measure=NDCG),
        "documents, random": pick(random, reconstructed="docs", refit=True, unit=False, measure=NDCG),
    }
    ways = {name: frame for name, frame in ways.items() if len(frame)}
    kept = {name: frame.value / ways["original vectors"].value for name, frame in ways.items()}
    loss = pick(own, reconstructed="docs", refit=True, unit=False, measure="change")
    aspects = [v for v in own["view"].unique() if v not in ("original", "query", "reasoned")]
    mse, share, active = (
        own[(own["measure"] == m) & (own["refit"].isna() | ~own["refit"].fillna(False))]
        for m in ("mse", "variance_explained", "features_active")
    )
    lower = _all_views(mse, aspects, np.less)
    better, more = _all_views(share, aspects, np.greater), _all_views(active, aspects, np.greater)
    n, raw = len(loss), pick(share, view="original").value
    rows = [
        [name, *(percent(frame.value.get(name, np.nan)) for frame in ways.values()),
         f"{raw[name]:.3f}", *(f"{pick(share, view=a).value[name]:.3f}" for a in aspects)]
        for name in loss.index
    ]  # fmt: skip
    text = "\n\n".join(
        [
            "## Figures 3 and 4: what the dictionary keeps",
            f"nDCG@10 with vectors rebuilt from their features alone. Documents rebuilt with refitted coefficients keep "
            f"{spread(100 * kept['documents'], '{:.1f}%')} of the original nDCG@10, documents and queries "
            f"{spread(100 * kept['documents and queries'], '{:.1f}%')}. The loss of the documents' reconstruction is more than "
            f"chance on {results.count(below(loss), n)}.",
            _random(own, random, kept),
            f"In the paper reasoned vectors have a lower error and more distinct active features than raw ones. Here every internalised "
            f"view has a lower error than the original one on {results.count(lower, n)}, explains a larger share of its variance on "
            f"{better}, and has more distinct active features on {more}. The paper compares seven kinds of dictionaries at nine sparsities; "
            + ("here is the bundled one, in the next section small ones of all kinds." if "sweep" in results.frames else "here is the bundled one alone."),
            markdown(["collection", *ways, "variance explained, original", *aspects], rows),
            figure_link("figure3", "nDCG@10 with reconstructed vectors"),
            figure_link("figure4", "Error of each view"),
        ]
    )  # fmt: skip
    errors = {view: pick(mse, view=view) for view in ("original", *aspects)}
    drawn = {
        "figure3": dots({"retrieval with reconstructed vectors": {k: times(f, 100) for k, f in ways.items()}}, "nDCG@10 (%)"),
        "figure4": dots({"error by view, coefficients not refitted": errors}, "mean squared error, summed over dimensions"),
    }
    return text, drawn


def _random(own: pd.DataFrame, random: pd.DataFrame, kept: dict[str, pd.Series]) -> str:
    """How much of what is kept takes no training."""
    shares = {
        (name, refit): pick(part, view="original", refit=refit, measure="variance_explained").value.mean()
        for name, part in (("own", own), ("random", random))
        for refit in (False, True)
    }
    plain = (
        pick(random, reconstructed="docs", refit=False, unit=False, measure=NDCG).value
        / pick(own, reconstructed="none", measure=NDCG).value
    )
    refitted = kept["documents, random"]
    little = refitted.mean() > 0.9 * kept["documents"].mean()
    return (
        f"An untrained, random dictionary of the same size and sparsity keeps {spread(100 * refitted, '{:.1f}%')} "
        f"with refitted coefficients, {spread(100 * plain, '{:.1f}%')} without (the model's: "
        f"{spread(100 * kept['documents, not refitted'], '{:.1f}%')}); it explains {shares['random', True]:.3f} of the variance with and "
        f"{shares['random', False]:.3f} without (the model's: {shares['own', True]:.3f}, {shares['own', False]:.3f})."
        + (
            " So many directions keep the order of scores whatever they are: the nDCG kept says little about the features."
            if little
            else ""
        )
    )


def _all_views(frame: pd.DataFrame, aspects: list[str], better) -> int:
    """On how many collections every aspect's value is better than the original view's."""
    original = pick(frame, view="original").value
    return int(
        np.logical_and.reduce([better(pick(frame, view=a).value.reindex(original.index), original) for a in aspects]).sum()
    )


def labels(results: Results):
    """Fig. 5, without a language model."""
    t = results.frames["labels"]
    t = t[t["labels"] == "keywords"]
    scores = {sae: pick(t, sae=sae, measure="balanced_accuracy") for sae in t["sae"].unique()}
    first = scores["explainer"]
    counts = {
        sae: np.sum(t[(t["sae"] == sae) & (t["measure"] == "balanced_accuracy")]["counts"].tolist(), axis=0) for sae in scores
    }
    against = []
    for sae, other in scores.items():
        if sae != "explainer":
            other = other.reindex(first.index)
            over, under = int((first.low > other.high).sum()), int((first.high < other.low).sum())
            against.append(
                f"Against the {sae} dictionary it is higher on {results.count(over, len(first))} and lower on {under} (intervals apart)."
            )
    means = ", ".join(f"{sae} {spread(frame.value, '{:.3f}')}" for sae, frame in scores.items())
    rows = [
        [name, *(c for sae in scores for c in (interval(scores[sae].loc[name], 3), f"{scores[sae].n[name]:,.0f}"))]
        for name in first.index
    ]
    text = "\n\n".join(
        [
            "## Figure 5: do labels tell which texts activate a feature?",
            "Balanced accuracy of predicting from a word of its keyword label whether a text activates a feature; labels from one half of the "
            f"texts, scores from the other, every dictionary labelled alike; .5 is chance, and is given to a feature without a label. Means: {means}. "
            f"{' '.join(against)} The paper's detection scores are a language model's judgements of its own hypotheses: another measure, "
            "of which only the comparison of dictionaries can be set beside this one. Intervals are over features.",
            markdown(["collection", *(c for sae in scores for c in (sae, "features"))], rows),
            figure_link("figure5", "Distribution of label scores over features"),
        ]
    )
    return text, {"figure5": histogram(counts, "balanced accuracy of a feature's label")}
