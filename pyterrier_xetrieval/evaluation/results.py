"""The figures of the embedded model: measured into JSON files, and these made into a page.

``python -m pyterrier_xetrieval.evaluation.results measure --out docs/results`` and
``python -m pyterrier_xetrieval.evaluation.results render --results docs/results --out docs``; see ``--help``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pyterrier as pt

from .. import Xetrieval
from ..cli.errors import Command
from ..training import TransformersLLM
from .collection import EmbeddedCollection
from .evaluate import QUESTIONS
from .latency import cot_seconds
from .measuring import (
    LATENCY_SIZES,
    Sources,
    compares_dictionaries,
    digest,
    explicit_views,
    known,
    machine,
    measure_one,
    question_options,
    weights_of,
    write_result,
)
from .weights import choose_weights

MODULE = "pyterrier_xetrieval.evaluation.results"
COT_TEXTS, COT_TOKENS = 24, 128


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Measure the embedded model, and make a page of what was measured."""


@main.command(cls=Command, interrupted="Finished questions are kept; the same command goes on.")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of BEIR-style collections.")
@click.option(
    "--vectors", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Their NAME.f16.npy, NAME.q.f16.npy."
)
@click.option("--collections", multiple=True, help="Only this one; may be repeated.  [default: all in --data, and pydocs]")
@click.option("--leave-out", multiple=True, help="Not this one; may be repeated.")
@click.option(
    "--exclude-own-id", multiple=True, help="A collection whose queries are documents: never retrieve a query's own id."
)
@click.option("--questions", multiple=True, type=click.Choice(list(QUESTIONS)), help="Only this one; may be repeated.")
@click.option(
    "--weights", help="Of the views, comma-separated in the model's order, beside weights 1.  [default: the model's own]"
)
@click.option("--weights-from", help="Choose --weights on this collection, which is then left out.")
@click.option(
    "--raw-sae",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Model whose dictionary saw raw vectors only.",
)
@click.option(
    "--cache", type=click.Path(file_okay=False, path_type=Path), help="Vectors of pydocs.  [default: in PyTerrier's home folder]"
)
@click.option(
    "--cot",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="GGUF file of a language model: time what it takes to write the CoT reasoner's texts about 24 documents.",
)
@click.option("--seed", default=0, show_default=True, help="Of samples and bootstrap.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of one JSON file per question and collection.",
)
def measure(
    data, vectors, collections, leave_out, exclude_own_id, questions, weights, weights_from, raw_sae, cache, cot, seed, out
) -> None:  # fmt: skip
    """Ask every question of the embedded model on every collection.

    What --out holds already for the same weights, collection, seed and options is kept. Latency is measured on the
    largest collection alone, and labels without a language model.
    """
    if (data is None) != (vectors is None):
        raise click.UsageError("--data and --vectors go together")
    if weights and weights_from:
        raise click.UsageError("--weights goes without --weights-from")
    model = Xetrieval.default()
    cache = cache or Path(pt.io.pyterrier_home()) / "xetrieval" / "vectors"
    sources = Sources(data, vectors, cache, exclude_own_id, model)
    base = {"model": weights_of(model), "seed": seed}
    run = Run(model, sources, out, base, _command(data, exclude_own_id, weights, weights_from, raw_sae, seed))
    try:
        chosen = (
            [float(w) for w in weights.split(",")] if weights else list(model.check_weights(None, model.aspects, stage="measure"))
        )
    except ValueError:
        raise click.BadParameter(f"expects numbers such as 0.3,0,0.5, found {weights!r}", param_hint="--weights") from None
    if len(chosen) != len(model.aspects):
        raise click.BadParameter(f"expects one for each of {', '.join(model.aspects)}, found {weights!r}", param_hint="--weights")
    if weights_from:
        chosen = run.choose(weights_from)
    raw = Xetrieval(raw_sae) if raw_sae else None
    names = [n for n in collections or sources.names() if n not in {*leave_out, weights_from}]
    run.all(names, questions or list(QUESTIONS), chosen, raw)
    if cot is not None:
        run.cot(names, cot)


class Run:
    """Measures what is not there yet; ``base`` is the part of every file's key that all of them share."""

    def __init__(self, model, sources: Sources, out: Path, base: dict, command: str):
        self.model, self.sources, self.out, self.base, self.command = model, sources, out, base, command

    def choose(self, name: str) -> list[float]:
        """Weights of the views, chosen on this collection; the table of all sets tried is kept beside the answers."""
        path = self.out / f"weights.{name}.json"
        key = {**self.base, "question": "weights", "collection": name, "digest": digest(self.sources.open(name)), "options": {}}
        self.answer(path, key, lambda: choose_weights(self.model, self.sources.open(name))[1])
        best = next(row for row in json.loads(path.read_text(encoding="utf-8"))["rows"] if row["chosen"])
        return [best[f"weight_{aspect}"] for aspect in self.model.aspects]

    def all(self, names: Sequence[str], questions: Sequence[str], weights: Sequence[float], raw: Xetrieval | None) -> None:
        largest = max(names, key=lambda name: len(self.sources.open(name).docnos)) if "latency" in questions else None
        for name in names:
            collection, reasoning = self.sources.open(name), self.sources.reasoning(name)
            common = {**self.base, "collection": name, "digest": digest(collection)}
            for question in questions:
                if question == "latency" and name != largest:
                    continue
                options = question_options(question, weights)
                texts = reasoning if question in ("retrieval", "ablation") else None
                compared = raw if compares_dictionaries(question) else None
                key = {**common, "question": question, "options": options, "explicit": texts is not None}
                key["raw_sae"] = None if compared is None else compared.meta["sha256"]["sae.safetensors"]

                def table(question=question, options=options, texts=texts, compared=compared, collection=collection):
                    given = self._given(question, collection, texts, compared)
                    return measure_one(question, self.model, collection, options, given)

                self.answer(self.out / f"{question}.{name}.json", key, table)

    def cot(self, names: Sequence[str], gguf: Path) -> None:
        """Times the CoT reasoner with a local language model, on the largest collection."""
        name = max(names, key=lambda name: len(self.sources.open(name).docnos))
        collection = self.sources.open(name)
        chosen = np.random.default_rng(self.base["seed"]).permutation(len(collection.docnos))[:COT_TEXTS]
        llm = TransformersLLM(str(gguf.parent), gguf_file=gguf.name, max_tokens=COT_TOKENS)
        options = {"llm": llm.name, "max_tokens": COT_TOKENS, "sizes": list(LATENCY_SIZES)}
        key = {**self.base, "collection": name, "digest": digest(collection), "question": "cot", "options": options}
        self.command += " --cot FILE"
        self.answer(self.out / f"cot.{name}.json", key, lambda: cot_seconds(llm, collection.texts(chosen), sizes=LATENCY_SIZES))

    def _given(self, question: str, collection: EmbeddedCollection, texts: Path | None, raw: Xetrieval | None) -> dict:
        """What takes long to get and is only needed when a question is really asked."""
        given = {"seed": self.base["seed"], "raw_sae": None if raw is None else raw.sae}
        if question == "stability":
            given["encoder"] = self.sources.encoder
        if texts is not None:
            given["explicit"] = explicit_views(texts, collection.docnos, self.model.aspects, self.sources.encoder)
        return given

    def answer(self, path: Path, key: Mapping, table: Callable[[], pd.DataFrame]) -> None:
        """Writes the file unless it is there with the same key."""
        if known(path, key):
            click.echo(f"{path.name}: kept")
            return
        collection, start = self.sources.open(key["collection"]), time.perf_counter()
        found = table()
        seconds = round(time.perf_counter() - start, 1)
        facts = {
            "documents": len(collection.docnos), "queries": len(collection.qids), **machine(),
            "date": datetime.now(UTC).date().isoformat(), "seconds": seconds,
            "own_weights": list(self.model.check_weights(None, self.model.aspects, stage="measure")),
            "command": f"{self.command} --questions {key['question']}",
        }  # fmt: skip
        write_result(path, key, facts, found.drop(columns="collection", errors="ignore"))
        click.echo(f"{path.name}: {seconds} s")


def _command(data, exclude_own_id, weights, weights_from, raw_sae, seed) -> str:
    """As given, but for folders, which are the reader's own."""
    parts = [f"python -m {MODULE} measure{' --data DIR --vectors DIR' if data else ''}"]
    parts += [f"--exclude-own-id {name}" for name in exclude_own_id]
    parts += [f"--weights {weights}"] if weights else []
    parts += [f"--weights-from {weights_from}"] if weights_from else []
    parts += ["--raw-sae FOLDER"] if raw_sae else []
    return " ".join([*parts, f"--seed {seed} --out docs/results"])


@main.command(cls=Command, interrupted="The page stays as it was.")
@click.option(
    "--results", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True, help="Folder of the JSON files."
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of results.md and figures/.")
def render(results: Path, out: Path) -> None:
    """Make the page and its figures from the JSON files, and from nothing else."""
    from .page import render_page  # matplotlib is an extra

    click.echo(render_page(results, out))


if __name__ == "__main__":
    main(prog_name=f"python -m {MODULE}")
