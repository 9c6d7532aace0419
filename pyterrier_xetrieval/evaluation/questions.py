"""All questions on one collection with one call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyterrier as pt

from .collection import EmbeddedCollection
from .counterfactual import counterfactual
from .dictionaries import dictionaries
from .embedding import embed
from .erasure import erasure
from .faithfulness import faithfulness_curves, score_shares
from .label_scores import label_scores
from .latency import latency
from .reconstruction import reconstruction
from .retrieval import ablation, retrieval
from .stability import stability
from .steering import steering


@dataclass(frozen=True)
class Question:
    """One table: the function that makes it, and what it answers."""

    function: Callable[..., pd.DataFrame]
    about: str


QUESTIONS = {
    "retrieval": Question(retrieval, "nDCG@10 without views, with internalised and with explicit ones (Table 1)"),
    "ablation": Question(ablation, "nDCG@10 of every subset of the views"),
    "reconstruction": Question(reconstruction, "error, active features and nDCG@10 of reconstructed vectors (Fig. 3, 4)"),
    "labels": Question(label_scores, "how well labels tell which texts activate a feature (Fig. 5)"),
    "latency": Question(latency, "time and nDCG@10 against the size of the corpus (Fig. 6)"),
    "erasure": Question(erasure, "cosine without the shared features, and with them alone (Fig. 7)"),
    "steering": Question(steering, "nDCG@10 when key features are amplified or suppressed (Fig. 8)"),
    "curves": Question(faithfulness_curves, "deletion and insertion curves of explanations"),
    "shares": Question(score_shares, "the parts of a score: features, bias, residual"),
    "stability": Question(stability, "explanations of slightly changed documents"),
    "counterfactual": Question(counterfactual, "the smallest set of features that keeps a document among the results"),
}


def evaluate(
    model, dataset, *, encoder=None, what: str | Sequence[str] | None = None, cache=None, raw_sae=None, llm=None,
    seed: int = 0, verbose: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """Asks the model's features the paper's questions, and a few more, on one collection.

    The collection is encoded once and its vectors are kept in ``cache``; everything after that works on the unique
    documents' vectors, memory-mapped, whatever the number of queries and results. A table of one question is also to
    be had from its own function, with more options.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        dataset: a PyTerrier dataset with corpus, topics and qrels, or an :class:`.collection.EmbeddedCollection`.
        encoder: a pyterrier_dr bi-encoder, or None for the model's own.
        what: names among :data:`QUESTIONS`, or one; None for all.
        cache: folder of the vectors; ``xetrieval/vectors`` in PyTerrier's home folder unless said otherwise.
        raw_sae: an autoencoder trained on raw embeddings alone, to compare with where the paper does.
        llm: a language model, for the measures that ask one; left out without it.
        seed: of samples and bootstrap.
        verbose: show progress.

    Returns:
        one row per number: ``what`` and ``collection``, the conditions of its table, ``measure``, ``value``, and where
        they apply ``low`` and ``high`` (95% bootstrap interval) and ``n``.

    Raises:
        ValueError: an unknown question, no dataset, or vectors of another dimension than the model's.

    Example::

        table = evaluate(Xetrieval.default(), pydocs(), what=["retrieval", "erasure"])
    """
    names = list(QUESTIONS) if what is None else [what] if isinstance(what, str) else list(what)
    if not names:
        raise ValueError("evaluate expects at least one question, found none")
    if unknown := [name for name in names if name not in QUESTIONS]:
        raise ValueError(f"evaluate expects questions among {list(QUESTIONS)}, found {unknown}")
    if not isinstance(dataset, EmbeddedCollection) and not hasattr(dataset, "get_corpus_iter"):
        raise ValueError(f"evaluate expects a PyTerrier dataset with corpus, topics and qrels, found {dataset!r}")
    encoder = model.encoder() if encoder is None and not isinstance(dataset, EmbeddedCollection) else encoder
    if isinstance(dataset, EmbeddedCollection):
        collection = dataset
    else:
        folder = Path(cache) if cache is not None else Path(pt.io.pyterrier_home()) / "xetrieval" / "vectors"
        collection = embed(dataset, encoder, cache=folder, verbose=verbose)
    if collection.dim != model.dim:
        raise ValueError(f"evaluate expects vectors of the model's dimension {model.dim}, found {collection.dim}")
    given = {"encoder": encoder, "raw_sae": raw_sae, "llm": llm, "seed": seed}
    tables = []
    for name in pt.tqdm(names, desc=f"evaluate {collection.name}", unit="table", disable=not verbose):
        tables.append(ask(name, model, collection, given).assign(what=name, collection=collection.name))
    table = pd.concat(tables, ignore_index=True)
    last = [name for name in ("measure", "value", "low", "high", "n") if name in table.columns]
    first = ["what", "collection"]
    return table[[*first, *(c for c in table.columns if c not in {*first, *last}), *last]]


def ask(name: str, model, collection: EmbeddedCollection, given: Mapping) -> pd.DataFrame:
    """The table of one question, as its function returns it.

    Args:
        name: among :data:`QUESTIONS`.
        given: options by name, ``seed`` among them; those that the question's function does not take are not used.
            Where it compares dictionaries and none are given as ``saes``, these are the model's, ``raw_sae`` if that
            is given, and a random one.
    """
    function = QUESTIONS[name].function
    takes = inspect.signature(function).parameters
    options = {option: value for option, value in given.items() if option in takes}
    if "saes" in takes and "saes" not in options:
        options["saes"] = _saes(model, collection, given.get("raw_sae"), given["seed"])
    return function(model, collection, **options)


def _saes(model, collection, raw_sae, seed) -> dict:
    """The dictionaries compared where one is: the explainer's, the raw one if given, a random one."""
    own = dictionaries(model, None, collection.docs, seed=seed)
    return own if raw_sae is None else {"explainer": own["explainer"], "raw": raw_sae, "random": own["random"]}
