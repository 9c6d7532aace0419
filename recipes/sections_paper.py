"""Sections of the results page for the paper's Table 1 and Figure 6: text whose numbers are computed, and figures."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pyterrier_xetrieval.evaluation.multi_view_retrieval import COT, INTERNALIZER
from pyterrier_xetrieval.evaluation.significance import SIGNIFICANT
from recipes.panels import dots, lines
from recipes.tables import NDCG, Results, cell, figure_link, markdown, p_value, percent, pick, significant, times

DELTA = f"{NDCG}_minus_dense"


def retrieval(results: Results):
    """Table 1."""
    t = results.frames["retrieval"]
    dense = pick(t, enhancement="none", measure=NDCG)
    own, n = t[t["enhancement"] == INTERNALIZER], len(dense)
    header, sentences, drawn = ["collection", "dense"], [], {}
    columns = {name: [percent(row.value)] for name, row in dense.iterrows()}
    for weights in own["weights"].unique():
        kind, part = _weights_name(weights), own[own["weights"] == weights]
        value, delta, p = (pick(part, measure=measure) for measure in (NDCG, DELTA, "p_holm"))
        header += [kind, "difference", "p"]
        for name in dense.index:
            columns[name] += [
                percent(value.value.get(name, np.nan)), cell(delta, name, 1, 100, signed=True), p_value(p.value.get(name, np.nan)),
            ]  # fmt: skip
        drawn[kind] = times(delta, 100)
        better, worse = significant(delta.value, p.value.reindex(delta.index))
        mean = 100 * delta.value.mean()
        sentences.append(
            f"With {kind}, multi-view retrieval is significantly worse than dense retrieval on {results.count(worse, len(delta))}, "
            f"significantly better on {better}; the mean difference is {mean:+.1f} points."
        )
    first = pick(own[own["weights"] == own["weights"].iloc[0]], measure=DELTA).value.mean()
    verdict = "Here the mean rises too." if first > 0 else "That gain is not reproduced here."
    text = [
        "## Table 1: retrieval with internalised views",
        f"nDCG@10 of ⟨q,z⟩ alone and of all views with a weight each (Eq. 11). {' '.join(sentences)} In the paper six of eight "
        f"retrievers gain on average with weights 1, two lose. {verdict} The p values are those of paired t-tests, Holm-corrected "
        f"over the systems of a collection.{_own_weights(results)}",
        markdown(header, [[name, *cells] for name, cells in columns.items()]),
    ]
    if (explicit := t[t["enhancement"] == COT]).size:
        text.append(_explicit(results, explicit, dense))
    text.append(figure_link("table1", "Difference of nDCG@10 to dense retrieval"))
    return "\n\n".join(text), {"table1": dots({f"{n} collections": drawn}, "nDCG@10 − dense (points)", zero=True)}


def _explicit(results: Results, explicit: pd.DataFrame, dense: pd.DataFrame) -> str:
    """Views of texts that a language model wrote, where a collection has them."""
    rows, ablation = [], results.frames.get("ablation")
    for (name, views), part in explicit[explicit["weights"].str.fullmatch(r"1( \+ 1)*")].groupby(["collection", "views"]):
        same = None if ablation is None else ablation[(ablation["enhancement"] == INTERNALIZER) & (ablation["views"] == views)]
        value = pd.Series(dtype=float) if same is None else pick(same, measure=NDCG).value
        own = percent(value.get(name, np.nan))
        rows.append([name, views, percent(dense.value[name]), own, percent(pick(part, measure=NDCG).value[name])])
    return (
        "The CoT reasoner's column of the paper exists only where a language model's texts about every document are at hand, with weights 1:\n\n"
        + markdown(["collection", "views", "dense", "internalised", "written"], rows)
    )


def _own_weights(results: Results) -> str:
    weights = results.of("retrieval")[0]["facts"].get("own_weights")
    return f" The model's own weights are {', '.join(f'{w:g}' for w in weights)}." if weights else ""


def _weights_name(weights: str) -> str:
    own = weights.split(" + ")[1:]
    return f"weights {own[0]}" if len(set(own)) == 1 else f"weights {', '.join(own)}"


def ablation(results: Results):
    """Every subset of the views."""
    t = results.frames["ablation"]
    t = t[t["enhancement"].isin(["none", INTERNALIZER])]
    dense, delta = pick(t, enhancement="none", measure=NDCG), t[t["measure"] == DELTA]
    added = [v for v in delta["views"].unique() if v.startswith("original + ")]
    alone = [v for v in delta["views"].unique() if " + " not in v]
    means = {v: 100 * delta[delta["views"] == v]["value"].mean() for v in (*added, *alone)}
    best = max(added, key=means.get)
    best_alone = max(alone, key=means.get)
    p = t[(t["measure"] == "p_holm") & t["views"].isin(added)].set_index(["collection", "views"])["value"]
    gains = delta[delta["views"].isin(added)].set_index(["collection", "views"])["value"]
    helped = gains[(gains > 0) & (p.reindex(gains.index) < SIGNIFICANT)]
    where = ", ".join(f"{name} ({views.removeprefix('original + ')})" for name, views in helped.index[:8])
    rows = []
    for name in dense.index:
        own = delta[delta["collection"] == name].set_index("views")["value"]
        rows.append([name, percent(dense.value[name]), *(f"{100 * own[v]:+.1f}" if v in own else "" for v in (*added, *alone))])
    titles = [*(f"+ {v.removeprefix('original + ')}" for v in added), *(f"{v} alone" for v in alone)]
    text = (
        "## Ablation: which views where\n\n"
        f"nDCG@10 of dense retrieval, and the difference to it of every set of views with the original one, and of each view alone, weights 1. "
        f"On average over {results.count(len(dense))} the best set with the original view is {best} ({means[best]:+.1f} points), and the best "
        f"view alone is {best_alone} ({means[best_alone]:+.1f}), both chosen after the fact. Adding views gains significantly (Holm over all sets of a collection) "
        f"in {len(helped)} of {len(gains)} cases{f', among them {where}' if where else ''}.\n\n"
        + markdown(["collection", "dense", *titles], rows)
    )  # fmt: skip
    return text, {}


def _cot(results: Results, whole) -> str:
    """What writing texts costs beside internalising vectors, if it was timed."""
    if "cot" not in results.frames:
        return "The paper's CoT reasoner needs a language model and was not timed."
    t, options = results.frames["cot"], results.of("cot")[0]["key"]["options"]
    measured, guessed = t[~t["extrapolated"].astype(bool)].iloc[0], t[t["extrapolated"].astype(bool)].set_index("size")["value"]
    size = guessed.index.max()
    return (
        f"The CoT reasoner's side: {options['llm']} (a small model, at most {options['max_tokens']} tokens a text, on the same processor) wrote the three texts about "
        f"{measured['size']:.0f} documents in {measured['value']:.0f} s; extrapolated, not measured: {guessed[size] / 3600:.0f} hours for {size:,} documents, "
        f"{guessed[size] / whole[size]:,.0f} times the internalizers' {whole[size]:.1f} s. Larger models take longer, graphics processors less."
    )


def latency(results: Results):
    """Fig. 6."""
    t = results.frames["latency"]
    name, largest = t["collection"].iloc[0], t["size"].max()
    t = t[t["collection"] == name]
    at = t[t["size"] == largest]
    median, p95 = (pick(at, "system", measure=m).value for m in ("median_ms", "p95_ms"))
    whole = pick(t, "size", system="internalizer", measure="corpus_seconds").value
    explained = median["multi-view"] + median["explanation"]
    verdict = "within" if explained < 1000 else "not within"
    drawn = {}
    for system in ("dense", "multi-view", "explanation"):
        own = pick(t, "size", system=system, measure="median_ms")
        drawn[system] = own.assign(low=own["value"], high=pick(t, "size", system=system, measure="p95_ms").value)
    systems = ("dense", "multi-view", "explanation")
    rows = []
    for size, group in t.groupby("size"):
        medians, quality = pick(group, "system", measure="median_ms").value, pick(group, "system", measure=NDCG).value
        cells = [percent(quality.get(s, np.nan)) for s in ("dense", "multi-view")]
        rows.append(
            [f"{size:,}", f"{group['copies'].max():,.0f}", *(f"{medians[s]:.1f}" for s in systems), f"{whole[size]:.1f}", *cells]
        )
    synthetic = " Sizes above the collection's are filled with synthetic documents, which nobody judged: no nDCG there."
    text = "\n\n".join(
        [
            "## Figure 6: time against the size of the corpus",
            f"{name}, one query at a time from its vector, exact search. At {largest:,} documents retrieving with folded views takes {median['multi-view']:.0f} ms "
            f"(median; dense {median['dense']:.0f} ms), explaining ten results {median['explanation']:.0f} ms (95th percentile {p95['explanation']:.0f} ms); "
            f"together they stay {verdict} the paper's second. The views of the whole corpus take {whole[largest]:.0f} s once."
            f"{synthetic if t['copies'].max() > 0 else ''} {_cot(results, whole)}",
            markdown(["documents", "of these synthetic", *(f"{s} (ms)" for s in systems), "views of the corpus (s)", "nDCG@10 dense", "multi-view"], rows),
            figure_link("figure6", "Median time per query against corpus size"),
        ]
    )  # fmt: skip
    title = f"{name}: median, and up to the 95th percentile"
    return text, {"figure6": lines({title: drawn}, "documents", "milliseconds per query")}
