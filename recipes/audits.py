"""What the bundled encoder prefers that has nothing to do with relevance: the tables of docs/audit.md.

``python -m recipes.audits --data DIR --collection NAME``; see ``--help``. Encodes some thousand texts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import pandas as pd

from pyterrier_xetrieval import Xetrieval, audit, beir_folder, pydocs
from pyterrier_xetrieval.datasets import Collection
from pyterrier_xetrieval.evaluation import Audit, boilerplate_pairs, length_pairs, spelling_pairs
from pyterrier_xetrieval.evaluation.retriever_audit import FOR_INTERVAL
from recipes.command import FOLDER, HELP, Command

KINDS: dict[str, Callable[..., pd.DataFrame]] = {
    "padding of 48 words": length_pairs,
    "British spelling": spelling_pairs,
    "header and footer": boilerplate_pairs,
}
FIRST_WORDS = 60  # so that padding and footer are within the 256 word pieces that the encoder reads


@click.command(cls=Command, interrupted="Nothing was written.", context_settings=HELP)
@click.option("--data", type=FOLDER, help="Folder of BEIR-style folders.")
@click.option("--collection", "names", multiple=True, help="A folder in there; may be repeated. The bundled one comes first.")
@click.option("--pairs", "n", default=40, show_default=True, help="At most, of each kind and collection.")
@click.option("--seed", default=0, show_default=True)
def main(data: Path | None, names: tuple[str, ...], n: int, seed: int) -> None:
    """Audit the bundled encoder with all kinds of pairs and their placebos, and print tables in Markdown.

    Texts are the first 60 words of relevant documents, one for each query.
    """
    if names and data is None:
        raise click.UsageError("--collection names folders of --data DIR, which is missing")
    model = Xetrieval.default()
    encoder = model.encoder()
    scored = encoder.query_encoder() >> encoder.doc_encoder() >> model.explainer()
    for collection in [pydocs(), *(beir_folder(data / name) for name in names if data is not None)]:
        rows, found = relevant_rows(collection, seed), {}
        for kind, make in KINDS.items():
            for what, pipeline in (("pairs", scored >> model.evidence()), ("placebo", scored)):
                pairs = make(rows, placebo=what == "placebo", seed=seed).head(n)
                if len(pairs) >= FOR_INTERVAL:
                    found[kind, what] = audit(pipeline, pairs)
                    click.echo(f"{collection.name}, {kind}, {what}: {found[kind, what]!r}", err=True)
        click.echo(f"## {collection.name}\n\n{differences(found)}\n{carriers(found)}")


def relevant_rows(collection: Collection, seed: int) -> pd.DataFrame:
    """``qid``, ``query``, ``docno`` and ``text`` of one relevant document for each query, shuffled."""
    texts = {d["docno"]: d["text"] for d in collection.get_corpus_iter()}
    judged = collection.get_qrels()
    rows = judged[judged["label"] > 0].merge(collection.get_topics(), on="qid")
    rows["text"] = [" ".join(texts[docno].split()[:FIRST_WORDS]) for docno in rows["docno"]]
    return rows.sample(frac=1, random_state=seed).drop_duplicates("qid")[["qid", "query", "docno", "text"]]


def differences(found: dict[tuple[str, str], Audit]) -> str:
    """A row for each audit."""
    head = "| text_b has | | pairs | score of text_a | difference [95%] | higher / lower / equal | features |\n"
    lines = []
    for (kind, what), a in found.items():
        d, s = a.difference, a.signs
        lines.append(
            f"| {kind} | {what if what == 'placebo' else ''} | {d['n']} | {a.pairs['score_a'].mean():.3f} "
            f"| {d['value']:+.4f} [{d['low']:+.4f}, {d['high']:+.4f}] | {s['higher']} / {s['lower']} / {s['equal']} "
            f"| {len(a.carriers)} of {int(a.parts['p_holm'].notna().sum())} |"
        )
    return head + "| --- | --- | ---: | ---: | --- | --- | --- |\n" + "\n".join(lines) + "\n"


def carriers(found: dict[tuple[str, str], Audit], most: int = 4) -> str:
    """The features that carry the difference of each audit that is no placebo, largest first."""
    lines = ["| text_b has | feature | difference [95%] | pairs | words |", "| --- | --- | --- | ---: | --- |"]
    for (kind, what), a in found.items():
        for row in a.carriers.head(most if what == "pairs" else 0).itertuples():
            words = ", ".join(f"“{' '.join(word.replace('|', ' ').split())}”" for word in row.words)
            lines.append(
                f"| {kind} | {row.label} [{row.feature}] | {row.value:+.4f} [{row.low:+.4f}, {row.high:+.4f}] "
                f"| {row.pairs} | {words} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
