"""The page about calibration and links: tables from the files that ``recipes.tuning`` wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from pyterrier_xetrieval.core.calibration import calibration_strength
from pyterrier_xetrieval.evaluation.significance import holm
from recipes.tables import markdown
from recipes.tuning_methods import METHODS, UNSUPERVISED

TOPICAL = 0.4  # topicality from which on a corpus counts as one about one thing


def page(folder: Path) -> str:
    """Markdown: one section for each question, each figure a mean over queries in points of nDCG@10."""
    files = sorted(folder.glob("*.json"))
    told = {f.stem: json.loads(f.read_text(encoding="utf-8")) for f in files}
    runs = {name: run for name, run in told.items() if "ndcg" in run}
    parts = [_HEAD, _unsupervised(runs), _supervised(runs), _grouped(runs), _links(runs)]
    parts += [_curve(told["curve"]["rows"])] if "curve" in told else []
    parts += [_transfer(told["transfer"]["rows"])] if "transfer" in told else []
    parts.insert(1, _calibration(runs, *(told[name]["rows"] if name in told else [] for name in ("strength", "query_maps"))))
    return "\n".join(parts)


def _gain(run: Mapping, method: str, over: str = "dense") -> np.ndarray:
    return 100 * (np.array(run["ndcg"][method]) - np.array(run["ndcg"][over]))


def _p(gain: np.ndarray) -> float:
    return float(stats.ttest_1samp(gain, 0).pvalue) if gain.any() else 1.0


def _cells(runs: Mapping[str, Mapping], methods: Sequence[str], over: str = "dense") -> dict[str, list[str]]:
    """Gains by collection; bold where Holm's correction over all cells of the table leaves p < .05."""
    gains = [(name, m, _gain(run, m, over)) for name, run in runs.items() for m in methods]
    corrected = holm([_p(gain) for _, _, gain in gains])
    cells: dict[str, list[str]] = {name: [] for name in runs}
    for (name, _, gain), p in zip(gains, corrected):
        cells[name].append(f"**{gain.mean():+.1f}**" if p < 0.05 else f"{gain.mean():+.1f}")
    return cells


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return markdown(head, rows, left=None) + "\n"


def _calibration(runs: Mapping[str, Mapping], strength: Sequence[Mapping], maps: Sequence[Mapping]) -> str:
    """How the strength of the calibration was chosen, and how it does elsewhere; ``strength`` and ``maps`` may be empty."""
    text = {"most": calibration_strength(1), "anew": "", "pydocs": "was not measured", "maps": ""}
    if strength:
        topical = np.mean([row["gain"] for row in strength if row["topicality"] >= TOPICAL])
        lost = [row["collection"] for row in strength if row["gain"] < 0 and row["p"] < 0.05]
        border = [row for row in strength if row["topicality"] < TOPICAL and row["gain"]]
        told = "".join(
            f", and {r['gain']:+.1f} (p = {_short(r['p'])}) on {r['collection']}, which lies at the border" for r in border
        )
        loss = f"a significant loss on {', '.join(lost)}" if lost else "no\nsignificant loss"
        text["anew"] = (
            f"Chosen anew with each of these left out, they give a mean gain of {topical:+.1f} on the topical ones, {loss}{told} (`python -m\nrecipes.calibration_strength`). "
        )
    if "pydocs" in runs:
        gain = _gain(runs["pydocs"], "calibrated")
        text["pydocs"] = (
            f"{'gains' if gain.mean() > 0 else 'loses'} {abs(gain.mean()):.1f} points (p = {_short(_p(gain))} before any correction)"
        )
    if maps:
        text["maps"] = (
            f"Of the {len(maps)} maps of `python -m recipes.query_maps` (powers of covariance and second moment, with and\n"
            "without ridge and centring, components taken away), each at one strength for all collections, the best has "
            f"{max(row['topical'] for row in maps):+.2f} on the topical\nones: a map that knows the corpus alone goes no further here."
        )
    return _CALIBRATION.format(**text)


def _short(p: float) -> str:
    return f"{p:.2f}".lstrip("0")


def _unsupervised(runs: Mapping[str, Mapping]) -> str:
    methods = [m for m in UNSUPERVISED if m != "dense"]
    order = sorted(runs, key=lambda name: -runs[name]["topicality"])
    runs = {name: runs[name] for name in order}
    cells = _cells(runs, methods)
    rows = [
        [name, str(run["queries"]), f"{run['topicality']:.2f}", f"{100 * np.mean(run['ndcg']['dense']):.1f}", *cells[name]]
        for name, run in runs.items()
    ]
    for title, own in (("mean, topical", [n for n in runs if runs[n]["topicality"] >= TOPICAL]),
                       ("mean, general", [n for n in runs if runs[n]["topicality"] < TOPICAL])):  # fmt: skip
        means = [f"{np.mean([_gain(runs[n], m).mean() for n in own]):+.2f}" for m in methods]
        rows.append(
            [f"{title} ({len(own)})", "", "", f"{100 * np.mean([np.mean(runs[n]['ndcg']['dense']) for n in own]):.1f}", *means]
        )
    return _table(["collection", "queries", "topicality", "dense", *methods], rows)


def _cross_validated(runs: Mapping[str, Mapping]) -> dict[str, Mapping]:
    return {name: run for name, run in runs.items() if "calibrated + links" in run["ndcg"]}


def _supervised(runs: Mapping[str, Mapping]) -> str:
    runs = _cross_validated(runs)
    methods = [m for m in METHODS if m != "dense" and all(m in run["ndcg"] for run in runs.values())]
    cells = _cells(runs, methods)
    rows = [[m, *(cells[name][i] for name in runs), f"{np.mean([_gain(run, m).mean() for run in runs.values()]):+.2f}"]
            for i, m in enumerate(methods)]  # fmt: skip
    dense = [f"{100 * np.mean(run['ndcg']['dense']):.1f}" for run in runs.values()]
    beyond = _cells(runs, ["calibrated + links"], over="calibrated")
    over = [f"{np.mean([_gain(run, 'calibrated + links', 'calibrated').mean() for run in runs.values()]):+.2f}"]
    rows = [
        ["dense, nDCG@10", *dense, ""],
        *rows,
        ["calibrated + links, over calibrated", *(c[0] for c in beyond.values()), *over],
    ]
    means = {m: float(np.mean([_gain(run, m).mean() for run in runs.values()])) for m in methods}
    first = ", ".join(f"{m} {means[m]:+.2f}" for m in sorted(means, key=lambda m: -means[m])[:3])
    told = f"\nLargest mean gains: {first}."
    if "random features" in means:
        told += (
            f" Links between features of a dictionary that was never trained have {means['random features']:+.2f}: what helps is a "
            "direction, and any few thousand directions can write it. What the trained dictionary adds is that it can be read."
        )
    return _TUNING + _table(["gain over dense", *runs, "mean"], rows) + told + "\n"


def _grouped(runs: Mapping[str, Mapping]) -> str:
    """Both protocols side by side; a collection that was not measured by group has the same folds in both."""
    by_query = _cross_validated(runs)
    by_group = {n: {**run, "ndcg": {**run["ndcg"], **run.get("grouped", {}).get("ndcg", {})}} for n, run in by_query.items()}
    ours = "calibrated + links"
    shared = [name for name, run in by_query.items() if ours in run.get("grouped", {}).get("ndcg", {})]
    if not shared:
        return ""
    methods = ["calibrated", *(m for m in METHODS if all(m in by_query[name]["grouped"]["ndcg"] for name in shared))]
    protocols: dict[str, Mapping[str, Mapping]] = {"by query": by_query, "by group": by_group}
    both = {f"{name}, {title}": own[name] for name in shared for title, own in protocols.items()}
    cells = _cells(both, methods)
    told = [_sharing(name, by_query[name], by_group[name]) for name in shared if "adapter" in methods]
    means = {title: {m: float(np.mean([_gain(run, m).mean() for run in own.values()])) for m in methods}
             for title, own in protocols.items()}  # fmt: skip
    rows = [[m, *(own[i] for own in cells.values()), *(f"{own[m]:+.2f}" for own in means.values()),
             "" if m == ours else _difference(by_group, ours, m)] for i, m in enumerate(methods)]  # fmt: skip
    for title, own in means.items():
        order = sorted(methods, key=lambda m: -own[m])
        told.append(f"The largest means {title}: " + ", ".join(f"{m} {own[m]:+.2f}" for m in order[:4]) + ".")
        best, other = ("the", order[1]) if order[0] == ours else ("not the", order[0])
        told[-1] += f" So {ours} is {best} best of all columns: less {other} it is {_difference(protocols[title], ours, other)}."
    head = ["gain over dense", *both, "mean, by query", "mean, by group", f"{ours} less this, by group"]
    return _GROUPED.format(shared=" and ".join(shared), count=len(by_query)) + _table(head, rows) + "\n" + "\n".join(told) + "\n"


def _difference(runs: Mapping[str, Mapping], one: str, other: str) -> str:
    """The mean over collections of one method's nDCG less another's, ± its standard error over queries."""
    gains = [_gain(run, one, other) for run in runs.values()]
    error = np.sqrt(sum(gain.var(ddof=1) / len(gain) for gain in gains)) / len(gains)
    return f"{np.mean([gain.mean() for gain in gains]):+.2f} ± {error:.2f}"


def _sharing(name: str, by_query: Mapping, by_group: Mapping) -> str:
    """What an adapter gains on queries that share relevant documents, and on the others."""
    own = np.isin(np.arange(by_query["queries"]), by_query["sharing"])
    gains = [_gain(run, "adapter") for run in (by_query, by_group)]
    on, elsewhere = ([f"{gain[rows].mean():+.1f}" for gain in gains] for rows in (own, ~own))
    return (f"On the {own.sum()} queries of {name} that share a relevant document with another, the adapter gains {on[0]} by query and {on[1]} "
            f"by group; on the other {(~own).sum()} it gains {elsewhere[0]} and {elsewhere[1]}.")  # fmt: skip


def _links(runs: Mapping[str, Mapping]) -> str:
    lines = [_LINKS]
    for name, run in runs.items():
        if "links" not in run:
            continue
        rows = run["links"]
        lines.append(
            f"{name}: {len(rows)} links, the strongest:\n" if rows else f"{name}: nothing that gains more than chance.\n"
        )
        lines += [
            f"- {row['source_label']} → {'more' if row['weight'] > 0 else 'less'} *{row['target_label']}* "
            f"({row['weight']:+.2f}; {row['queries']} queries, helped {row['helped']}, hurt {row['hurt']})"
            for row in rows[:6]
        ]
        lines.append("")
    return "\n".join(lines)


def _curve(rows: Sequence[Mapping]) -> str:
    sizes = sorted({row["queries"] for row in rows})
    by = {(row["collection"], row["queries"]): row for row in rows}
    names = list(dict.fromkeys(row["collection"] for row in rows))
    table = [[n, *(f"{100 * by[n, s]['gain']:+.1f} ± {100 * by[n, s]['error']:.1f} ({by[n, s]['links']})" if (n, s) in by else ""
                   for s in sizes)] for n in names]  # fmt: skip
    return _CURVE + _table(["judged queries", *map(str, sizes)], table)


def _transfer(rows: Sequence[Mapping]) -> str:
    table = [[f"{r['from']} → {r['to']}", str(r["links"]), f"{100 * r['gain']:+.1f}", f"{r['p']:.3f}"] for r in rows]
    return _TRANSFER + _table(["learned on → used on", "links", "gain over calibrated", "p"], table)


_HEAD = """# Does it make retrieval better?

Calibration and links change the query vector alone: the index stays as it is. All figures are points of nDCG@10 (ir-measures), all
documents ranked exactly, with the bundled encoder and model. Bold: significant by a paired t-test over queries after Holm's correction over all cells of the
table (p < .05), in either direction. `python -m recipes.tuning measure | curve | transfer | report` repeats it.
"""
_CALIBRATION = """
## Without judgements

`model.calibrated(index)` whitens the query softly by the corpus's covariance, q' = Σ^(−p) q. The strength follows from the corpus's *topicality*, the
distance of its mean document from the dictionary's bias (1: all documents are one): 0 up to .35, {most:.1f} from .40 on. These
three numbers were chosen on the collections of this table but pydocs. {anew}pydocs, the bundled collection, was measured when they stood:
it {pydocs}. Its questions rarely say what its documents are about. *Centred* subtracts the mean
document, *feature idf* weighs the query's features by how few documents show them, *VectorPrf* is pyterrier_dr's, *feature PRF* adds the strongest
features of the first three documents. {maps}
"""
_TUNING = """
## With judged queries

5-fold cross-validation over queries, on every collection with at least 300 queries that is not at its ceiling (dense under .9); penalties chosen inside of the training folds.
*Random features*: the same links between features of a dictionary that was never trained; *shuffled judgements*: learned from
other queries' relevant documents; both on top of calibration, as *calibrated + links* is. *Shift* is one vector learned for all queries, 384 numbers and
no words, and *adapter* a matrix of 147,456. A method that is not in the table was not measured. Queries may share relevant documents with those that were
learned from; the next section is about queries that do not.

"""
_GROUPED = """
## On relevant documents that no training query has

What learns from some queries of a document gains on the others by learning the document, not what queries want. *By query* are the folds of the table above.
*By group*, queries that share a relevant document, if only by way of other queries, are in one fold (connected
components of queries and relevant documents; the folds are about equally large): no query's relevant documents are those of a query that
was learned from. Penalties are chosen by group as well, except those of links, whose tuner draws its own folds by query. Queries share relevant
documents on {shared} alone; on the others the two protocols have the same folds, and each mean is over all {count} collections. The
last column is a mean over these as well, ± its standard error over queries; less than two of these is no evidence of a difference. Besides what
was learned, the two protocols differ in the draw of the folds; a method that gains more by group shows what that is worth.

"""
_LINKS = """
## What was learned

From all queries of each collection, with how many of these have a better or worse nDCG@10 with the link than without it. Most are links of
every query: a shift, in words. On se_matheducators and mutual the words say what was wrong. On arguana they do not: the shift from
an argument to its counter-argument is no matter of houses, and the labels name the directions that happen to lie near it.
"""
_CURVE = """
## How many judged queries does it take?

Gain of calibration and links over calibration alone on a fifth of the queries, ± its standard error (number of links).

"""
_TRANSFER = """
## On another collection

"""
