"""A second encoder, multilingual-e5-small: vectors, internalizers, a dictionary, and the paper's Table 1 on it.

``python -m recipes.e5 encode --data DIR --encoder FOLDER --out VECTORS``, then ``train``, ``table1``, the questions of
:mod:`.results` with ``measure --model``, and ``report``; see ``--help``. DIR is that of :mod:`.default`. The encoder is a folder of
multilingual-e5-small that sentence-transformers or transformers can read; any E5 that averages its tokens will do.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np
import pandas as pd

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.store.files import replacing
from recipes import e5_training, e5_vectors
from recipes.command import FOLDER, GROUP, NEW_FILE, NEW_FOLDER, Command
from recipes.data import vectors_of
from recipes.e5_mean import mean_facts
from recipes.e5_report import page
from recipes.e5_table1 import DENSE, E5, ELSEWHERE, MINILM, SHOWN, SUMMARY, Table, name_of
from recipes.measured_collections import Sources
from recipes.result_files import measured_facts, weights_of, write_result

MODULE = "recipes.e5"


@click.group(context_settings=GROUP)
def main() -> None:
    """Do for another encoder what was done for the bundled one, and measure what views are worth there."""


@main.command(cls=Command, interrupted="Finished blocks are kept; the same command goes on.")
@click.option("--data", type=FOLDER, required=True, help="Folder of training texts and BEIR-style collections.")
@click.option("--encoder", type=FOLDER, required=True, help="The encoder's folder.")
@click.option("--out", type=NEW_FOLDER, required=True, help="Folder of the vectors.")
@click.option("--only", multiple=True, help="Only this collection or training text; may be repeated, in this order.")
def encode(data: Path, encoder: Path, out: Path, only: tuple[str, ...]) -> None:
    """Encode training texts and collections, 512 texts at a time; what is there is kept."""
    e5_vectors.encode(data, e5_vectors.open_encoder(encoder), out, only)


@main.command(cls=Command, interrupted="Finished trainings are kept in OUT.work; the same command goes on.")
@click.option("--data", type=FOLDER, required=True, help="As for encode.")
@click.option("--vectors", type=FOLDER, required=True, help="What encode wrote.")
@click.option("--encoder", type=FOLDER, required=True, help="The encoder's folder.")
@click.option("--out", type=NEW_FOLDER, required=True, help="Folder of the artifact; must not exist.")
@click.option("--seed", default=0, show_default=True, help="Of all trainings.")
def train(data: Path, vectors: Path, encoder: Path, out: Path, seed: int) -> None:
    """Train internalizers (in several ways, and on fewer documents), two dictionaries, and make the artifact."""
    click.echo(f"wrote {e5_training.train(data, vectors, encoder, out, seed=seed)}")


@main.command(cls=Command, interrupted="Nothing was written.")
@click.option("--data", type=FOLDER, required=True, help="As for encode.")
@click.option("--vectors", type=FOLDER, required=True, help="What encode wrote.")
@click.option("--model", "path", type=FOLDER, required=True, help="What train wrote, with its folder .work beside it.")
@click.option("--seed", default=0, show_default=True, help="Of the resampling.")
@click.option("--out", type=NEW_FILE, required=True, help="The file of all figures, JSON.")
def table1(data: Path, vectors: Path, path: Path, seed: int, out: Path) -> None:
    """Measure dense retrieval and views on every collection with vectors, beside the bundled model where it has vectors."""
    start, model = time.perf_counter(), Xetrieval(path)
    work = e5_training.work_of(path)
    ways = {
        name: e5_training.read_internalizers(work / f"views-{name.replace(' ', '-')}.pt")
        for name in e5_training.ways(len(e5_vectors.read(vectors, e5_vectors.TEACHER)))
    }
    names = e5_vectors.encoded_collections(data, vectors)
    if not names:
        raise ValueError(f"table1 expects a collection of {data} with vectors in {vectors}, found none; run encode first")
    bundled, tables, means = Xetrieval.default(), {}, []
    known = [name for name in names if (vectors_of(data) / f"{name}.q.f16.npy").is_file()]
    sources = {E5: Sources(data, vectors, names, e5_vectors.OWN_ID, None, model)}
    if known:
        sources[MINILM] = Sources(data, vectors_of(data), known, e5_vectors.OWN_ID, None, bundled)
    modules = {E5: {way: own for way, (own, _) in ways.items()}, MINILM: {e5_training.MAIN: bundled.internalizers}}
    for encoder, own in sources.items():
        tables[encoder] = Table(modules[encoder])
        for name in own.names():
            tables[encoder].measure(own.open(name), _summaries(encoder, data, vectors, name, bundled))
            means.append({"encoder": encoder, "collection": name, **mean_facts(own.model, own.open(name), seed=seed)})
    shown = [DENSE, *(name_of(e5_training.MAIN, weight) for weight in SHOWN), ELSEWHERE]
    rows = _joined({encoder: table.rows() for encoder, table in tables.items()})
    parts = {
        "pooled": _joined({encoder: table.pooled(seed=seed) for encoder, table in tables.items()}),
        "means": pd.DataFrame(means),
        "internalizers": pd.DataFrame([{"way": w, "aspect": a, **f} for w, (_, own) in ways.items() for a, f in own.items()]),
        "queries": _joined({encoder: table.queries(shown) for encoder, table in tables.items()}),
    }
    key = {
        "model": weights_of(model),
        "seed": seed,
        "question": "table1",
        "collection": "all",
        "options": {"weights": list(SHOWN)},
    }
    command = f"python -m {MODULE} table1 --data DIR --vectors VECTORS --model MODEL --seed {seed} --out docs/e5/table1.json"
    facts = {
        **measured_facts(command, time.perf_counter() - start),
        "labels": len(model.labels), "training": {name: value for name, value in model.meta["training"].items() if name != "arguments"},
    }  # fmt: skip
    write_result(out, key, facts, rows, **parts)
    click.echo(f"{out}: {len(names)} collections")


def _summaries(encoder: str, data: Path, vectors: Path, name: str, bundled: Xetrieval) -> np.ndarray | None:
    """Vectors of the summaries that a language model wrote of a collection, float32 ``[n, m]``; None where there are none."""
    if not e5_vectors.has_texts(data, name) or SUMMARY not in (texts := e5_vectors.written(data, name)):
        return None
    if encoder == MINILM:
        return np.asarray(bundled.encoder().encode_docs(texts[SUMMARY]), np.float32)
    stem = f"{name}.{SUMMARY}"
    return e5_vectors.read(vectors, stem) if (vectors / f"{stem}.f16.npy").is_file() else None


def _joined(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([table.assign(encoder=encoder) for encoder, table in tables.items()], ignore_index=True)


@main.command(cls=Command, interrupted="The page stays as it was.")
@click.option("--results", type=FOLDER, required=True, help="table1.json and what results measure wrote of the model.")
@click.option("--bundled", type=FOLDER, required=True, help="The bundled model's result files, docs/results.")
@click.option("--out", type=NEW_FILE, required=True, help="The page, Markdown.")
def report(results: Path, bundled: Path, out: Path) -> None:
    """Write the page from the JSON files, and from nothing else."""
    text = page(results, bundled)
    with replacing(out) as file:
        file.write(text)
    click.echo(f"{out}: {text.count(chr(10))} lines")


if __name__ == "__main__":
    main(prog_name=f"python -m {MODULE}")
