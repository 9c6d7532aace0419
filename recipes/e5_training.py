"""The trainings of the recipe of :mod:`.e5`: internalizers in several ways, two dictionaries, and the artifact."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from pyterrier_xetrieval import FeatureLabels, SparseAutoencoder, Xetrieval
from pyterrier_xetrieval.core.internalizer import Internalizer, internalize
from pyterrier_xetrieval.core.vector_facts import VectorFacts
from pyterrier_xetrieval.encoders import probe_vectors
from pyterrier_xetrieval.labelling.evidence_words import UNJUDGED_FACTS, evidence_labels
from pyterrier_xetrieval.store.files import replacing
from pyterrier_xetrieval.training import fraction_of_variance_explained, train_internalizers, train_sae
from pyterrier_xetrieval.training.model_card import model_card
from pyterrier_xetrieval.training.own_encoder import description
from pyterrier_xetrieval.training.whole_model import mean_documents
from recipes import e5_vectors as texts
from recipes.data import read_jsonl
from recipes.default import DRAW, figures_of
from recipes.default import INTERNALIZERS as OPTIONS

MAIN, DISTILLED, SCRATCH = "the model's", "as the bundled model's", "from scratch"
CURVE = (290, 580, 1160, 2320)  # documents with teacher texts; the last is all of them, which is the model's own training
VAL_SHARE = 0.15
WEIGHT = 0.33  # of each view, as in the trial that this recipe repeats; not chosen on what is reported
DICTIONARIES = ({"dict_size": 1024, "k": 64}, {"dict_size": 2048, "k": 64})
STEPS = {"steps": 1000, "lr": 1e-3, "patience": 3, "eval_every": 100}
HELD_OUT = 500  # passages of train_varied that no dictionary sees
LABEL_TEXTS = 1200

Modules = dict[str, Internalizer]


def ways(n: int) -> dict[str, dict[str, Any]]:
    """How internalizers are trained on ``n`` documents with teacher texts: by name, how many of them and the options."""
    curve = {f"{size} documents": {"documents": size} for size in CURVE if size < n}
    return {
        MAIN: {"documents": n},
        DISTILLED: {"documents": n, "distilled": True},
        SCRATCH: {"documents": n, "scratch": True},
        **curve,
    }


def fit(
    z: np.ndarray, targets: Mapping[str, np.ndarray], unlabelled: np.ndarray, *, documents: int, scratch: bool = False,
    distilled: bool = False, seed: int = 0,
) -> tuple[Modules, dict[str, dict]]:  # fmt: skip
    """Internalizers of some of the documents, and what the training found; all held out the same 15 % of all documents.

    Args:
        z, targets: float32 ``[n, m]``, of documents and by aspect of their teacher texts.
        unlabelled: float32 ``[u, m]``, documents without any.
        documents: how many of the ``n`` there are to learn from; 85 % of them are learned from.
        scratch: the paper's training (App. A): random start. distilled: the bundled model's: what an ensemble predicts of the
            unlabelled ones is learned first. Else from z → z, on the teacher texts alone, as ``train_model`` does.
        seed: of the split and the training.
    """
    rows = np.random.default_rng([seed, 7]).permutation(len(z))
    held, own = rows[: round(VAL_SHARE * len(z))], rows[round(VAL_SHARE * len(z)) :]
    chosen = np.concatenate([held, own[: round((1 - VAL_SHARE) * documents)]])
    # train_internalizers holds out the first rows of a permutation of its own: the held-out documents are laid there
    places = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(seed)).numpy()
    order = np.empty(len(chosen), np.int64)
    order[places] = chosen
    options = {} if scratch else {**OPTIONS, "pretrain": unlabelled} if distilled else {"identity_start": True}
    by_aspect = {aspect: vectors[order] for aspect, vectors in targets.items()}
    return train_internalizers(z[order], by_aspect, val_share=len(held) / len(chosen), seed=seed, **options)


def internalizers(vectors: Path, work: Path, *, seed: int = 0) -> dict[str, tuple[Modules, dict]]:
    """Every way's modules and figures, by its name; those that ``work`` holds are not trained again."""
    z = texts.read(vectors, texts.TEACHER)
    targets = {aspect: texts.read(vectors, f"{texts.TEACHER}.{aspect}", len(z)) for aspect in texts.ASPECTS}
    unlabelled = documents_of(vectors)[len(z) :]
    found = {}
    for name, options in ways(len(z)).items():
        path = work / f"views-{name.replace(' ', '-')}.pt"
        if not path.is_file():
            modules, history = fit(z, targets, unlabelled, seed=seed, **options)
            figures = figures_of(history)
            states = {aspect: module.state_dict() for aspect, module in modules.items()}
            with replacing(path, "wb") as file:
                torch.save({"states": states, "figures": figures}, file)
            click.echo(f"{name}: " + ", ".join(f"{a} {own['val_mse']:.4f}" for a, own in figures.items()))
        found[name] = read_internalizers(path)
    return found


def read_internalizers(path: Path) -> tuple[Modules, dict]:
    """The modules of a file in the work folder, and the figures of their training."""
    kept = torch.load(path, weights_only=True)
    modules = {}
    for aspect, state in kept["states"].items():
        hidden, dim = state["layer1.weight"].shape
        modules[aspect] = Internalizer(dim, hidden).eval()
        modules[aspect].load_state_dict(state)
    return modules, kept["figures"]


def documents_of(vectors: Path) -> np.ndarray:
    """All training documents, float32 ``[n, m]``: those with teacher texts first, then passages."""
    passages = [x for name, x in texts.encoded_samples(vectors).items() if name not in texts.ASKED]
    return np.concatenate([texts.read(vectors, texts.TEACHER), *passages])


def training_set(vectors: Path, modules: Modules, *, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray, dict]:
    """What the dictionaries learn from by kind, how often a vector of each kind is drawn, and what is held out by kind.

    Held out are passages of ``train_varied`` with their views, and a tenth of the short texts.
    """
    samples = texts.encoded_samples(vectors)
    varied, short = (
        x[np.random.default_rng([seed, 8]).permutation(len(x))] for x in (samples["train_varied"], samples["train_short"])
    )
    cuts = min(HELD_OUT, len(varied) // 4), len(short) // 10
    z = texts.read(vectors, texts.TEACHER)
    teacher = [texts.read(vectors, f"{texts.TEACHER}.{aspect}") for aspect in modules]

    def views(x: np.ndarray) -> np.ndarray:
        return np.concatenate([internalize(module, x, batch_size=4096) for module in modules.values()])

    held = {"document": varied[: cuts[0]], "short": short[: cuts[1]], "view": views(varied[: cuts[0]])}
    passages = varied[cuts[0] :]
    kinds = {
        "document": np.concatenate([z, *teacher]), "varied": passages, "short": short[cuts[1] :],
        "view": views(np.concatenate([z, passages])),
    }  # fmt: skip
    weights = np.concatenate([np.full(len(x), DRAW[kind]) for kind, x in kinds.items()])
    return kinds, weights, held


def dictionary(vectors: Path, modules: Modules, work: Path, *, seed: int = 0) -> tuple[SparseAutoencoder, dict]:
    """The dictionary that explains most of the held-out passages, and the facts of all that were tried."""
    kinds, weights, held = training_set(vectors, modules, seed=seed)
    rows, found = np.concatenate([*kinds.values()]), []
    for size in DICTIONARIES:
        path = work / f"sae-{size['dict_size']}-{size['k']}.pt"
        sae, history = train_sae(
            rows, weights=weights, validation=held["document"], checkpoint=path, seed=seed, verbose=True, **size, **STEPS
        )
        last = {name: history[-1][name] for name in ("step", "fve", "l0", "train_fve", "never_active", "dead_share")}
        by_kind = {}
        for kind, x in held.items():
            by_kind[kind] = fraction_of_variance_explained(sae, torch.from_numpy(x))[0]
            by_kind[f"{kind}_refit"] = fraction_of_variance_explained(sae, torch.from_numpy(x), refit=True, batch_size=256)[0]
        found.append((sae, {**size, **last, "held_out": by_kind}))
        click.echo(f"dictionary {size}: {last}")
    sae, chosen = max(found, key=lambda one: one[1]["fve"])
    return sae, {"chosen": chosen, "tried": [facts for _, facts in found], "vectors": {k: len(x) for k, x in kinds.items()}}


def label_texts(data: Path, *, seed: int = 0) -> list[str]:
    """Training texts that features are named after, cut as they were encoded: passages, and documents with teacher texts."""
    pool = [texts.first_words(texts.text_of(r), texts.SAMPLE_WORDS) for r in texts.sampled(data)["train_varied"]]
    pool += [
        texts.first_words(texts.text_of(r), texts.SAMPLE_WORDS) for r in read_jsonl(data / texts.TEACHER / "corpus.jsonl.gz")
    ]
    rows = np.random.default_rng([seed, 3]).permutation(len(pool))[:LABEL_TEXTS]
    return [pool[i] for i in np.sort(rows)]


def train(data: Path, vectors: Path, encoder_folder: Path, out: Path, *, seed: int = 0) -> Xetrieval:
    """All trainings, their results in ``OUT.work`` as they come, and the artifact at ``out``."""
    if out.exists():
        raise FileExistsError(f"{out} already exists; choose another path or remove it first")
    work = work_of(out)
    work.mkdir(parents=True, exist_ok=True)
    all_ways = internalizers(vectors, work, seed=seed)
    modules, figures = all_ways[MAIN]
    sae, tried = dictionary(vectors, modules, work, seed=seed)
    encoder, z = texts.open_encoder(encoder_folder), documents_of(vectors)
    path = work / f"labels-{sae.dict_size}-{sae.k}.tsv"
    if not path.is_file():
        evidence_labels(sae, label_texts(data, seed=seed), encoder, seed=seed, verbose=True).write(path)
    facts = {
        "arguments": {"variant": "topk"}, "corpus": {"documents": len(z)}, "described": len(texts.read(vectors, texts.TEACHER)), "seed": seed, "threads": torch.get_num_threads(),
        "internalizers": figures, "sae": tried["chosen"], "dictionaries": tried["tried"], "vectors": tried["vectors"],
        "samples": {name: len(x) for name, x in texts.encoded_samples(vectors).items()},
        "mean_length": float(np.linalg.norm(z.mean(axis=0))), "label_texts": LABEL_TEXTS,
    }  # fmt: skip
    model = Xetrieval.from_parts(
        internalizers=modules, sae=sae, labels=FeatureLabels.read(path, sae.dict_size), weights=WEIGHT,
        encoder=description(encoder, z, out), means=mean_documents(sae, modules, z),
        facts={
            "training": facts, "vectors": VectorFacts.measure(sae, z, seed=seed).to_dict(), "probes": probe_vectors(encoder),
            **UNJUDGED_FACTS,
        },
    )  # fmt: skip
    return model.save(out, card=model_card(model).replace(" The losses are in `history.json`.", ""))


def work_of(model: Path) -> Path:
    """Where the trainings of a model keep their results."""
    return model.with_name(f"{model.name}.work")
