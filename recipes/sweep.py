"""All kinds of dictionaries at several sparsities, on reasoned and on raw vectors (Cai et al. 2026, Fig. 3 and 4).

``python -m recipes.sweep train --vectors FILE --out DICTIONARIES``, then ``… measure
--dictionaries DICTIONARIES --out docs/results``; the page is made by :mod:`.results`. See ``--help``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
import pandas as pd

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.evaluation import reconstruction
from pyterrier_xetrieval.training import train_sae
from pyterrier_xetrieval.training.vector_rows import VectorRows
from recipes.command import FILE, FOLDER, GROUP, NEW_FOLDER, Command
from recipes.measured_collections import digest, on_sources
from recipes.result_files import known, measured_facts, weights_of, write_result

MODULE = "recipes.sweep"
QUESTION = "sweep"
# k, or λ for vectors of variance 1: chosen for about 16, 32, 64 and 128 active features with the default options
LEVELS = {
    "topk": {"k": (16, 32, 64, 128)},
    "batch_topk": {"k": (16, 32, 64, 128)},
    "matryoshka": {"k": (16, 32, 64, 128)},
    "relu": {"sparsity": (0.08, 0.18, 0.42, 0.95)},
    "p_anneal": {"sparsity": (0.07, 0.12, 0.2, 0.34)},
    "gated": {"sparsity": (0.15, 0.25, 0.4, 0.63)},
    "gated_anneal": {"sparsity": (0.09, 0.15, 0.22, 0.33)},
    "jumprelu": {"sparsity": (0.0003, 0.001, 0.0027, 0.0068)},
}
RAW = ("topk",)  # trained on raw vectors as well
TRAINED_ON = ("reasoned", "raw")
OWN = ["variant", "trained_on", "k", "sparsity"]  # what dictionaries differ in
OUTCOME = ("l0", "fve", "dead_share", "never_active", "seconds")


@click.group(context_settings=GROUP)
def main() -> None:
    """Train dictionaries of every kind at several sparsities, and measure what each keeps."""


@main.command(cls=Command, interrupted="Finished dictionaries are kept; the same command goes on.")
@click.option(
    "--vectors", "files", multiple=True, required=True, type=FILE,
    help="Vectors of training documents by the bundled model's encoder, .npy [n, m]; may be repeated.",
)  # fmt: skip
@click.option("--variant", "variants", multiple=True, type=click.Choice(list(LEVELS)), help="Only this one; may be repeated.")
@click.option("--dict-size", default=1536, show_default=True, type=click.IntRange(min=1), help="Features of a dictionary.")
@click.option("--steps", default=500, show_default=True, type=click.IntRange(min=1), help="Of each training.")
@click.option("--batch-size", default=512, show_default=True, type=click.IntRange(min=1), help="Vectors of a step.")
@click.option("--lr", default=1e-3, show_default=True, type=click.FloatRange(min=0, min_open=True), help="Of Adam.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of all random choices.")
@click.option("--out", type=NEW_FOLDER, required=True, help="Folder of one artifact per dictionary.")
def train(files, variants, dict_size, steps, batch_size, lr, seed, out) -> None:
    """Train every variant at four sparsities on reasoned vectors, and some of them on raw vectors alone.

    Reasoned: the given vectors and what the bundled model's internalizers make of each. Raw: the given vectors.
    What --out holds already is kept, if it was trained with the same options on the same vectors.
    """
    model = Xetrieval.default()
    arrays = [np.load(path, mmap_mode="r") for path in files]
    shared = {
        "dict_size": dict_size, "steps": steps, "batch_size": batch_size, "lr": lr, "seed": seed,
        "documents": sum(len(array) for array in arrays), "vectors": VectorRows(arrays).digest(),
        "internalizers": model.meta["sha256"]["internalizers.safetensors"],
    }  # fmt: skip
    for trained_on in TRAINED_ON:
        for variant in variants or LEVELS:
            for name, level in _levels(variant, trained_on):
                facts = {"variant": variant, "trained_on": trained_on, **level, **shared}
                click.echo(_train_one(model, arrays, facts, out / name))


def _levels(variant: str, trained_on: str) -> list[tuple[str, dict]]:
    """Folder name and level, ``{"k": …}`` or ``{"sparsity": …}``, of all dictionaries of a variant."""
    if trained_on == "raw" and variant not in RAW:
        return []
    ((control, values),) = LEVELS[variant].items()
    return [(f"{variant}.{trained_on}.{control}{value:g}", {control: value}) for value in values]


def _train_one(model: Xetrieval, arrays: Sequence[np.ndarray], facts: dict, path: Path) -> str:
    """Trains and writes one dictionary unless it is there; what was done, in a line."""
    if path.exists():
        if Xetrieval(path).meta.get("training") != facts:
            raise ValueError(f"train expects {path} to be trained with the same options on the same vectors, found others; "
                             "remove it or choose another folder")  # fmt: skip
        return f"{path.name}: kept"
    views = model.internalizers if facts["trained_on"] == "reasoned" else {}
    options = {name: facts[name] for name in ("variant", "dict_size", "steps", "batch_size", "lr", "seed")}
    options |= {name: facts[name] for name in ("k", "sparsity") if name in facts}
    sae, history = train_sae(list(arrays), internalizers=views, eval_every=facts["steps"], **options)
    outcome = {name: history[-1][name] for name in OUTCOME}
    made = Xetrieval.from_parts(
        internalizers=views, sae=sae, encoder=model.meta["encoder"], facts={"training": facts, "outcome": outcome}
    )
    made.save(path)
    return f"{path.name}: {', '.join(f'{name} {value:.3g}' for name, value in outcome.items())}"


@main.command(cls=Command, interrupted="Finished collections are kept; the same command goes on.")
@click.option("--dictionaries", type=FOLDER, required=True, help="Folder that train wrote.")
@on_sources
@click.option("--seed", default=0, show_default=True, help="Of the bootstrap.")
@click.option("--out", type=NEW_FOLDER, required=True, help="Folder of one JSON file per collection.")
def measure(dictionaries, opened, seed, out) -> None:
    """Measure error, active features and retrieval with rebuilt documents, for every dictionary and collection.

    What --out holds already for the same weights, dictionaries, collection and seed is kept. Coefficients are the
    encoders' own: refitted ones take about a tenth of a millisecond a vector on one thread, and there are many
    dictionaries.
    """
    model = Xetrieval.default()
    found = read_dictionaries(dictionaries, model)
    training = shared_facts(found)
    base = {"model": weights_of(model), "seed": seed, "question": QUESTION, "options": training}
    base["dictionaries"] = {name: made.meta["sha256"]["sae.safetensors"] for name, made in found.items()}
    sources = opened(model)
    command = f"python -m {MODULE} measure --dictionaries DICTIONARIES{sources.told} --seed {seed} --out docs/results"
    for name in sources.names():
        collection = sources.open(name)
        key, path = {**base, "collection": name, "digest": digest(collection)}, out / f"{QUESTION}.{name}.json"
        if known(path, key):
            click.echo(f"{path.name}: kept")
            continue
        start = time.perf_counter()
        table = rows_of(model, collection, found, seed=seed)
        facts = {
            "documents": len(collection.docnos), "queries": len(collection.qids),
            **measured_facts(command, time.perf_counter() - start), "training_command": _training_command(training),
        }  # fmt: skip
        write_result(path, key, facts, table)
        click.echo(f"{path.name}: {facts['seconds']} s")


def read_dictionaries(folder: Path, model: Xetrieval) -> dict[str, Xetrieval]:
    """All artifacts of a folder by name, in the order of :data:`TRAINED_ON` and :data:`LEVELS`.

    Raises:
        ValueError: none; one that :func:`train` did not write, or whose views another model's internalizers made.
    """
    found = {path.name: Xetrieval(path) for path in sorted(folder.iterdir()) if (path / "pt_meta.json").is_file()}
    if not found:
        raise ValueError(f"measure expects dictionaries that train wrote, found none in {folder}")
    for name, made in found.items():
        if not {"training", "outcome"} <= made.meta.keys() or "trained_on" not in made.meta["training"]:
            raise ValueError(f"measure expects dictionaries that train wrote, found another artifact in {folder / name}")
        if made.meta["training"]["internalizers"] != model.meta["sha256"]["internalizers.safetensors"]:
            raise ValueError(f"measure expects views by the bundled model's internalizers, found others in {folder / name}")

    def place(name: str):
        facts = found[name].meta["training"]
        return TRAINED_ON.index(facts["trained_on"]), list(LEVELS).index(facts["variant"]), facts.get("k", facts.get("sparsity"))

    return {name: found[name] for name in sorted(found, key=place)}


def shared_facts(found: Mapping[str, Xetrieval]) -> dict:
    """The options and vectors that all dictionaries were trained with.

    Raises:
        ValueError: they differ, so that their figures could not be compared.
    """
    shared = {name: {k: v for k, v in made.meta["training"].items() if k not in OWN} for name, made in found.items()}
    first_name, first = next(iter(shared.items()))
    for name, facts in shared.items():
        if facts != first:
            raise ValueError(f"measure expects dictionaries trained alike, found {first} in {first_name} and {facts} in {name}")
    return first


def rows_of(model: Xetrieval, collection, found: Mapping[str, Xetrieval], *, seed: int = 0) -> pd.DataFrame:
    """The part of :func:`~pyterrier_xetrieval.evaluation.reconstruction` that is shown, of all dictionaries.

    Returns:
        columns sae, variant, trained_on, k, sparsity (one of the two is missing), view, reconstructed, unit, measure,
        value,
        low, high, n: error, variance explained and active features of the documents' views, nDCG@10 with original and
        with rebuilt documents.
    """
    table = reconstruction(model, collection, saes={name: made.sae for name, made in found.items()}, refit=False, seed=seed)
    table = table[(table["view"] != "query") & (table["reconstructed"].isna() | (table["reconstructed"] != "both"))]
    training = pd.DataFrame({name: made.meta["training"] for name, made in found.items()}).T.reindex(columns=OWN)
    table = table.join(training, on="sae")
    columns = ["sae", *OWN, "view", "reconstructed", "unit", "measure", "value", "low", "high", "n"]
    return table[columns]


def _training_command(facts: Mapping) -> str:
    options = " ".join(f"--{name.replace('_', '-')} {facts[name]}" for name in ("dict_size", "steps", "batch_size", "lr", "seed"))
    return f"python -m {MODULE} train --vectors FILE {options} --out DICTIONARIES"


if __name__ == "__main__":
    main(prog_name=f"python -m {MODULE}")
