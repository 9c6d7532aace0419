"""All questions on one collection with one call."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyterrier as pt

from ..core.checks import found_value
from ..core.sae import SparseAutoencoder
from ..llm.endpoints import LanguageModel
from ..model import Xetrieval
from .collection import EmbeddedCollection
from .counterfactual_sets import counterfactual
from .dictionaries import compared_dictionaries
from .embedding import embed
from .explanation_stability import stability
from .faithfulness import faithfulness_curves
from .feature_erasure import erasure
from .feature_steering import steering
from .label_accuracy import label_scores
from .multi_view_retrieval import ablation, retrieval
from .query_latency import latency
from .reconstruction_quality import reconstruction
from .score_parts import score_shares
from .tidy_rows import NUMBERS

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

QUESTIONS: dict[str, Callable[..., pd.DataFrame]] = {
    "retrieval": retrieval,
    "ablation": ablation,
    "reconstruction": reconstruction,
    "labels": label_scores,
    "latency": latency,
    "erasure": erasure,
    "steering": steering,
    "curves": faithfulness_curves,
    "shares": score_shares,
    "stability": stability,
    "counterfactual": counterfactual,
}


def evaluate(
    model: Xetrieval,
    dataset: pt.datasets.Dataset | EmbeddedCollection,
    *,
    encoder: BiEncoder | None = None,
    what: str | Sequence[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    raw_sae: SparseAutoencoder | None = None,
    llm: LanguageModel | Callable[[str], str] | None = None,
    seed: int = 0,
    verbose: bool = False,
) -> pd.DataFrame:
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
        one row per number, with ``what`` and ``collection``, the conditions of its table, ``measure``, ``value``, and where
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
    if isinstance(dataset, EmbeddedCollection):
        collection = dataset
    elif hasattr(dataset, "get_corpus_iter"):
        encoder = encoder or model.encoder()
        folder = Path(cache) if cache is not None else Path(pt.io.pyterrier_home()) / "xetrieval" / "vectors"
        collection = embed(dataset, encoder, cache=folder, verbose=verbose)
    else:
        raise ValueError(f"evaluate expects a PyTerrier dataset with corpus, topics and qrels, found {found_value(dataset)}")
    if collection.dim != model.dim:
        raise ValueError(f"evaluate expects vectors of the model's dimension {model.dim}, found {collection.dim}")
    given = {"encoder": encoder, "raw_sae": raw_sae, "llm": llm, "seed": seed}
    tables = []
    for name in pt.tqdm(names, desc=f"evaluate {collection.name}", unit="table", disable=not verbose):
        tables.append(ask(name, model, collection, given).assign(what=name, collection=collection.name))
    table = pd.concat(tables, ignore_index=True)
    first, last = ["what", "collection"], [name for name in NUMBERS if name in table.columns]
    return table[[*first, *(c for c in table.columns if c not in {*first, *last}), *last]]


def ask(name: str, model: Xetrieval, collection: EmbeddedCollection, given: Mapping[str, Any]) -> pd.DataFrame:
    """The table of one question, as its function returns it.

    Args:
        name: among :data:`QUESTIONS`.
        model: what is asked about; collection: on which documents and queries.
        given: options by name, ``seed`` among them; those that the question's function does not take are not used.
            Where it compares dictionaries and none are given as ``saes``, these are the model's, ``raw_sae`` if that
            is given, and a random one.
    """
    takes = inspect.signature(QUESTIONS[name]).parameters
    options = {option: value for option, value in given.items() if option in takes}
    if "saes" in takes and "saes" not in options:
        options["saes"] = compared_dictionaries(model, None, collection.docs, raw=given.get("raw_sae"), seed=given["seed"])
    return QUESTIONS[name](model, collection, **options)
