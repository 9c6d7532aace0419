"""The results page: Markdown and figures from the JSON files of :mod:`.results`, and from nothing else."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.store.files import replacing
from pyterrier_xetrieval.viz.figures.axes import save_figure
from recipes import (
    sections_beyond,
    sections_dictionary,
    sections_interventions,
    sections_judged,
    sections_paper,
    sections_sweep,
)
from recipes.tables import Results, markdown

SECTIONS = {
    "retrieval": sections_paper.retrieval,
    "ablation": sections_paper.ablation,
    "reconstruction": sections_dictionary.reconstruction,
    "sweep": sections_sweep.sweep,
    "labels": sections_dictionary.labels,
    "judged": sections_judged.judged,
    "latency": sections_paper.latency,
    "erasure": sections_interventions.erasure,
    "steering": sections_interventions.steering,
    "curves": sections_beyond.curves,
    "shares": sections_beyond.shares,
    "stability": sections_beyond.stability,
    "counterfactual": sections_beyond.counterfactual,
}
_CARD = "What the model was trained on: its [card](../pyterrier_xetrieval/pretrained/minilm/README.md). "
# what the bundled model has seen of a collection, from its card
NOTES = {
    "arguana": "a part of BEIR's corpus; a query's own id is not retrieved",
    "birco_arguana": "graded judgements; a query's own id is not retrieved",
    "liveqa_med": "MedQuAD, the source of its answers, is training text: about a quarter of the answers share a passage with it",
    "msmarco_dl19": "some near copies of its passages are training text",
    "msmarco_dl21": "its passages are training text, without queries and judgements",
    "mutual": "the dialogues of the training split are training text, these are not",
    "nq": "a few passages are training text",
    "pydocs": "docstrings of the running Python: another version of Python is another collection",
    "se_beer": "posts of this site were left out of the training text",
    "se_matheducators": "posts of this site were left out of the training text",
}


def render_page(results: Path, out: Path) -> str:
    """Writes ``out/results.md`` and ``out/figures/*.svg``; returns what was written in a line.

    Raises:
        ValueError: no results in the folder, or results of several models or seeds.
    """
    found = Results.read(results)
    parts, drawn = [_head(found)], {}
    for question, section in SECTIONS.items():
        if question in found.frames:
            text, own = section(found)
            drawn |= own
            parts.append(f"{text}\n\n{_repeat(found, question)}")
    for name, figure in drawn.items():
        save_figure(figure, out / "figures" / f"{name}.svg")
    page = out / "results.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    with replacing(page) as file:
        file.write("\n\n".join(parts) + "\n")
    return f"{page}: {len(parts) - 1} sections, {len(drawn)} figures, {len(found.files)} results"


def _head(found: Results) -> str:
    facts = [file["facts"] for file in found.files]
    key = found.files[0]["key"]
    cpus = sorted({f"{f['cpu']}, {f['threads']} thread{'s' if f['threads'] > 1 else ''}" for f in facts})
    versions = sorted({", ".join(f"{name} {v}" for name, v in f["versions"].items()) for f in facts})
    dates = sorted({f["date"] for f in facts})
    sums = "; ".join(f"`{name}` {value[:16]}…" for name, value in key["model"].items() if name.endswith(".safetensors"))
    sizes = {file["key"]["collection"]: file["facts"] for file in found.files if file["key"]["question"] in SECTIONS}
    rows = [[name, f"{f['documents']:,}", f"{f['queries']:,}", NOTES.get(name, "")] for name, f in sorted(sizes.items())]
    lines = [
        "# Results",
        f"Figures of {_whose(key['model'])}, encoder {key['model']['encoder']}) on {found.count(len(rows))}. "
        "Table and figure numbers are those of Cai et al. (2026), [arXiv:2605.29507](https://arxiv.org/abs/2605.29507), whose "
        "encoders, collections and dictionaries are others: compare directions, not numbers. Intervals are 95% bootstrap "
        "intervals over queries unless said otherwise, in square brackets; round brackets hold the lowest and the highest collection. "
        "nDCG is in percent in all tables. No test is corrected over collections: among "
        f"{len(rows)} of them, {0.05 * len(rows):.1f} are expected to differ at p < .05 by chance.",
        markdown(["collection", "documents", "queries", "what to know of it"], rows, left=(0, 3)),
        f"Weights (sha256): {sums}. Seed {key['seed']}. Measured {dates[0]}{f' to {dates[-1]}' if len(dates) > 1 else ''} on "
        f"{'; '.join(cpus)}; {'; '.join(versions)}; {sum(f['seconds'] for f in facts) / 60:.0f} minutes in all. "
        f"{_CARD if 'bundled model' in _whose(key['model']) else ''}"
        "DIR in the commands: the collections as BEIR-style folders, and their vectors; `pydocs` needs neither. "
        "This page: `python -m recipes.results render --results docs/results --out docs` (needs `[figures]`).",
    ]
    return "\n\n".join(lines)


def _whose(measured: dict[str, str]) -> str:
    """Which model was measured; an edition that no longer ships is told so."""
    bundled = Xetrieval.default().meta
    if all(measured.get(name) == value for name, value in bundled["sha256"].items()):
        return "the bundled model (`Xetrieval.default()`"
    if measured.get("encoder") not in (None, bundled["encoder"]["name"]):
        return "another model (not a bundled one"
    return (
        "an earlier edition of the bundled model (6,144 features; the one that ships now has not been measured on this page yet"
    )


def _repeat(found: Results, question: str) -> str:
    """The command of the section; the options of its files."""
    files = found.of(question)
    # the time of a CoT reasoner is measured beside that of the rest, by the same command with one option more
    timed = found.of("cot") if question == "latency" else []
    limits = {file["key"]["options"].get("max_queries") for file in files} - {None}
    over = [file["key"]["collection"] for file in files if limits and file["facts"]["queries"] > max(limits)]
    sample = f" Of {', '.join(over)}: {max(limits)} random queries." if over else ""
    seconds = pd.Series([file["facts"]["seconds"] for file in files + timed])
    return f"`{(timed or files)[0]['facts']['command']}` ({seconds.sum():.0f} s in all).{sample}"
