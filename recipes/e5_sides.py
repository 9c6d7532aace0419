"""Sections of the page about the second encoder that show it beside the bundled one: the long mean, and fidelity."""

from __future__ import annotations

import pandas as pd

from recipes.e5_table1 import E5, MINILM
from recipes.tables import NDCG, Results, below, markdown, pick


def long_mean(means: pd.DataFrame) -> str:
    """What the mean that all vectors share does to scores."""
    average = means.groupby("encoder")[["mean_length", "bias", "score", "mean_document", "above_shared", "above_residual"]].mean()
    lines = []
    for name, part in means.groupby("collection", sort=False):
        by = part.set_index("encoder")
        for encoder in by.index:
            own = by.loc[encoder]
            lines.append([
                name, encoder, f"{own['mean_length']:.2f}", f"{own['score']:.3f}", f"{own['mean_document']:.3f}", f"{100 * own['bias']:.0f}%",
                *(f"{100 * own[f'above_{p}']:.0f}%" for p in ("shared", "other", "residual")),
            ])  # fmt: skip
    e5 = average.loc[E5]
    other = f" (MiniLM: {average.loc[MINILM, 'mean_length']:.2f})" if MINILM in average.index else ""
    less = f" (MiniLM: {100 * average.loc[MINILM, 'bias']:.0f} %)" if MINILM in average.index else ""
    above = e5["score"] - e5["mean_document"]
    return "\n\n".join(
        [
            "## The long mean",
            f"The documents' vectors share a mean of length {e5['mean_length']:.2f}{other}. The dictionary's bias takes it up, and "
            f"{100 * e5['bias']:.0f} %{less} of the score of a query's best document is the bias's part: true, and no reason why this document was found. The "
            f"mean training document scores {e5['mean_document']:.3f} where the best one scores {e5['score']:.3f}; {above:.3f} is what the query sees in it. "
            "Explanations therefore say, for such an encoder, what each part has above the mean document; both sums are exact. Of what is above the "
            f"mean document shared features carry {100 * e5['above_shared']:.0f} % and {100 * e5['above_residual']:.0f} % is not explained by the "
            "dictionary (the rest: features of the document alone, or of the mean). Shares of the sums over up to 200 queries' best documents, ⟨q,z⟩ "
            "alone; the bundled model keeps no mean document, its bias stands there.",
            markdown(
                ["collection", "encoder", "length of the mean", "score", "mean document", "bias / score", "above it: shared", "other", "not explained"],
                lines, left=(0, 1),
            ),
        ]
    )  # fmt: skip


def beside(own: Results, bundled: Results) -> list[str]:
    """Fidelity, shares, erasure and counterfactuals of both models on the collections that both have."""
    sections = (_reconstruction, _erasure, _counterfactual)
    found = []
    for section in sections:
        question = section.__name__.removeprefix("_")
        if question in own.frames and question in bundled.frames:
            names = sorted(set(own.frames[question]["collection"]) & set(bundled.frames[question]["collection"]))
            frames = [r.frames[question][r.frames[question]["collection"].isin(names)] for r in (bundled, own)]
            found.append(section(names, *frames))
    return found


def _columns(names: list[str], measures: dict[str, tuple[pd.Series, pd.Series]], form: str = "{:.3f}") -> str:
    """A table with two columns a measure, the bundled model's and the E5 model's, and the means."""
    header = ["collection", *(f"{title}, {model}" for title in measures for model in ("bundled", E5))]
    lines = [[name, *(_told(form, s.get(name)) for pair in measures.values() for s in pair)] for name in names]
    lines.append(["mean", *(_told(form, s.mean()) for pair in measures.values() for s in pair)])
    return markdown(header, lines)


def _told(form: str, value: float | None) -> str:
    """Nothing where nothing was measured."""
    return "" if value is None or pd.isna(value) else form.format(value)


def _reconstruction(names: list[str], *frames: pd.DataFrame) -> str:
    measures: dict[str, list] = {}
    for t in frames:
        t = t.astype({"refit": "boolean", "unit": "boolean"})
        own, random = t[t["sae"] == "explainer"], t[t["sae"] == "random"]
        plain = pick(own, reconstructed="none", measure=NDCG).value
        explained = own[(own["measure"] == "variance_explained") & (own["view"] == "original")]
        for title, refit in (("variance explained", False), ("refitted", True)):
            measures.setdefault(title, []).append(explained[explained["refit"] == refit].set_index("collection")["value"])
        for unit, at in ((True, "at length 1"), (False, "as rebuilt")):
            for title, part in ((f"kept, {at}", own), (f"untrained, {at}", random)):
                kept = pick(part, reconstructed="docs", refit=True, unit=unit, measure=NDCG).value / plain
                measures.setdefault(title, []).append(kept)
    return "\n\n".join(
        [
            "## Fidelity beside the bundled model",
            "Share of variance explained of the documents' vectors (around their mean), as encoded and with refitted coefficients; and the share of "
            "nDCG@10 that is kept when documents are rebuilt from their features, refitted, by the model and by an untrained dictionary of the "
            "same size and sparsity (for E5, with the model's bias). Rebuilt vectors are scaled to length 1, as the encoder's are, or left as they are: "
            "with a long mean a little more length is a little more of every score, and ranks documents by it. The dictionaries differ in "
            "size, and the bundled one has seen about ten times the text.",
            _columns(names, {title: tuple(pair) for title, pair in measures.items()}),
        ]
    )


def _erasure(names: list[str], *frames: pd.DataFrame) -> str:
    sets = {"shared": "overlap", "untrained": "untrained", "not shared": "non_overlap", "random directions": "random_directions"}
    equal = {"shared, equal size": "overlap_cut_untrained", "untrained, equal size": "untrained_cut"}
    erased = [t[(t["mode"] == "erase") & (t["pairs"] == "true positive")] for t in frames]
    measures = {title: tuple(pick(t, set=name, measure="change").value for t in erased) for title, name in (sets | equal).items()}
    counts = {
        f"{title} features": tuple(pick(t, set=sets[title], measure="size").value for t in erased)
        for title in ("shared", "untrained")
    }
    sure = [{s: below(pick(t, set=s, measure="overlap_minus_set")) for s in ("untrained", "untrained_cut")} for t in erased]
    told = "; ".join(
        f"{model}: {s['untrained']} of {len(names)}, at equal size {s['untrained_cut']}"
        for model, s in zip(("bundled", E5), sure)
    )
    return "\n\n".join(
        [
            "## Erasure with its controls beside the bundled model",
            "Change of the cosine of query and relevant document when features are erased from the document: those that the two share, those that an "
            "untrained dictionary shares (for E5 one with the model's bias: without it every pair shares the features nearest to the common mean, and erasing "
            "them erases that), the document's others, random directions; the first two also cut to equal size. Cosines of E5 lie close "
            "together, so that its changes are smaller in any case: compare with the controls. The shared features' drop is larger than the untrained "
            f"ones' (interval of the difference off 0) on: {told}.",
            _columns(names, measures),
            _columns(names, counts, "{:.0f}"),
        ]
    )


def _counterfactual(names: list[str], *frames: pd.DataFrame) -> str:
    measures = {}
    for title, order, measure in (
        ("leave", "contribution", "possible"), ("features", "contribution", "pruned"), ("features, random order", "random", "pruned"),
        ("untrained: leave", "untrained", "possible"), ("untrained: features", "untrained", "pruned"),
        ("not shared: leave", "contribution", "control"),
    ):  # fmt: skip
        measures[title] = tuple(pick(t, order=order, measure=measure).value for t in frames)
    return "\n\n".join(
        [
            "## How few features keep a document on the page, beside the bundled model",
            "Share of the best documents that leave the first ten when shared features are erased, how many features it takes in order of "
            "contribution and in random order, the same by an untrained dictionary, and as many features that the query does not share.",
            _columns(names, measures, "{:.2f}"),
        ]
    )
