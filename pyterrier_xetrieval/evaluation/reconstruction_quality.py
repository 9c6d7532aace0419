"""What a dictionary keeps of the vectors: error, features, meaning and retrieval (Cai et al. 2026, Fig. 3 and 4)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..core.internalizer import ORIGINAL
from ..core.sae import SparseAutoencoder
from ..labelling.quality import intruder_detection
from ..labelling.samples import feature_samples
from ..llm.answer_file import answer_folder
from ..llm.endpoints import LanguageModel
from ..model import Xetrieval
from .collection import CUTOFF, EmbeddedCollection, retrieval_ndcg
from .dictionaries import compared_dictionaries, with_sae
from .document_views import document_views
from .tidy_rows import TidyRows

QUERY = "query"
BATCH = 512  # vectors encoded at once


def reconstruction(
    model: Xetrieval,
    collection: EmbeddedCollection,
    *,
    saes: Mapping[str, SparseAutoencoder] | None = None,
    refit: bool = True,
    num_results: int = CUTOFF,
    llm: LanguageModel | Callable[[str], str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    n_features: int = 500,
    min_docs: int = 50,
    seed: int = 0,
) -> pd.DataFrame:
    """Fig. 3 and 4 for any number of dictionaries: how far off, how sparse, how varied, what retrieval is left.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`; its internalizers make the reasoned vectors of Fig. 4.
        collection: documents and queries; none of them trained on, or the figures flatter.
        saes: name to autoencoder. None: ``explainer``, the model's own, and ``random``, an untrained one of its size
            and k.
        refit: besides the encoder's own activations, measure least-squares coefficients of the same features
            (``sae.refit``; about a tenth of a millisecond a vector on one thread).
        num_results: k of nDCG@k.
        llm: judge of mono-semanticity (:func:`~pyterrier_xetrieval.training.intruder_detection`, on original and
            reasoned vectors); None leaves it out. It needs a collection with texts.
        folder: where its answers are kept, ``intruder.<name>.jsonl``, for a restart to go on with; None keeps nothing.
        n_features, min_docs: of mono-semanticity: features drawn, and activating documents each needs.
        seed: of the bootstrap, the random dictionary and the features drawn.

    Returns:
        columns collection, sae, view, refit, reconstructed, unit, measure, value, low, high, n. ``view`` is
        ``original`` (raw), an aspect (reasoned) or ``query``; ``refit`` tells least-squares coefficients (True) from
        activations (False), and is missing where it makes no difference. For each view:

        - ``mse``: E‖x − x̃‖², summed over dimensions (Eq. 10); normal 95% interval over vectors.
        - ``variance_explained``: 1 − Σ‖x − x̃‖² / Σ‖x − x̄‖².
        - ``l0``: active features of a vector; ``features_active``: distinct ones over all vectors of the view, and of
          all aspects together (``view`` = ``reasoned``).

        and for ``original``, with 95% bootstrap intervals over queries:

        - ``nDCG@k`` by dot product with ``reconstructed`` = ``none``, ``docs`` or ``both`` sides; ``unit`` where
          reconstructed documents were scaled to length 1 (a reconstruction is shorter the more it misses, which
          reorders documents). ``change``: its difference to ``none``, paired by query.
        - ``mono_semanticity``: share of features whose intruder was told; interval over features.

    Raises:
        ValueError: autoencoders of another dimension; an ``llm`` but no texts.

    Example::

        table = reconstruction(model, collection, saes={"TopK": topk, "JumpReLU": jump})
        table[(table.measure == "mse") & (table.view != "query")]      # Fig. 4
    """
    texts = [] if llm is None else collection.read_texts(stage="reconstruction")
    saes = compared_dictionaries(model, saes, collection.docs, seed=seed)
    original = retrieval_ndcg(collection, collection.docs, cutoff=num_results)
    rows, measure = TidyRows(seed, collection=collection.name), f"nDCG@{num_results}"
    for name, sae in saes.items():
        views = (ORIGINAL, *model.aspects, QUERY)
        sums = {v: ViewSums(sae, (False, True) if refit else (False,), keep=v in (ORIGINAL, QUERY)) for v in views}
        for view, x in _batches(model, collection):
            sums[view].add(x)
        for view, found in sums.items():
            found.add_rows(rows, sae=name, view=view)
        if model.aspects:
            active = np.logical_or.reduce([sums[aspect].active for aspect in model.aspects]).sum()
            n = len(collection.docs) * len(model.aspects)
            rows.number("features_active", float(active), n, sae=name, view="reasoned")
        first = {"sae": name, "view": ORIGINAL}
        rows.mean(measure, original, **first, reconstructed="none")
        for how, queries, docs in _reconstructed(sums, collection.queries):
            values = retrieval_ndcg(collection, docs, queries=queries, cutoff=num_results)
            rows.mean(measure, values, **first, **how)
            rows.mean("change", values - original, **first, **how)
        if llm is not None:
            samples = feature_samples(
                with_sae(model, sae), np.asarray(collection.docs), docnos=collection.docnos.tolist(), seed=seed
            )
            with answer_folder(folder) as place:
                path = Path(place) / f"intruder.{name}.jsonl"
                told = intruder_detection(samples, texts, llm, path, n_features=n_features, min_docs=min_docs, seed=seed)
            rows.mean("mono_semanticity", told["correct"], **first)
    return rows.frame("sae", "view", "refit", "reconstructed", "unit").astype({"refit": "boolean", "unit": "boolean"})


class ViewSums:
    """What is known of one view after its batches: error and active features of each vector, and their variance.

    Args:
        sae: the dictionary; refits: which coefficients are measured, activations (False), least-squares ones (True).
        keep: keep the reconstructed vectors.
    """

    def __init__(self, sae: SparseAutoencoder, refits: tuple[bool, ...], *, keep: bool):
        self.sae, self.keep = sae, keep
        self.l0: list[np.ndarray] = []
        self.active = np.zeros(sae.dict_size, bool)
        self.errors: dict[bool, list[np.ndarray]] = {refit: [] for refit in refits}
        self.kept: dict[bool, list[np.ndarray]] = {refit: [] for refit in refits}
        self.total, self.squares = np.zeros(sae.dim), 0.0

    @torch.no_grad()
    def add(self, x: np.ndarray) -> None:
        """Counts float32 ``[b, m]``, the next vectors."""
        batch = torch.from_numpy(x).to(self.sae.w_enc.device)
        codes = self.sae.encode(batch)
        for refit, errors in self.errors.items():
            decoded = self.sae.decode(codes, self.sae.refit(batch, codes) if refit else None).cpu().numpy()
            errors.append(np.square(x - decoded, dtype=np.float64).sum(axis=1))
            if self.keep:
                self.kept[refit].append(decoded)
        active = codes.active()
        self.l0.append(active.sum(1).cpu().numpy())
        self.active[codes.ids[active].cpu().numpy()] = True
        self.total += x.sum(axis=0, dtype=np.float64)
        self.squares += float(np.square(x, dtype=np.float64).sum())

    def add_rows(self, rows: TidyRows, **conditions: Any) -> None:
        """The view's measures."""
        l0 = np.concatenate(self.l0)
        n = len(l0)
        variance = self.squares - float(self.total @ self.total) / n
        for refit, parts in self.errors.items():
            errors = np.concatenate(parts)
            explained = 1 - errors.sum() / variance if variance > 0 else np.nan
            rows.number("mse", **_normal(errors), refit=refit, **conditions)
            rows.number("variance_explained", explained, n, refit=refit, **conditions)
        rows.number("l0", **_normal(l0), **conditions)
        rows.number("features_active", float(self.active.sum()), n, **conditions)


def _normal(values: np.ndarray) -> dict[str, float]:
    """Mean ± 1.96 standard errors: of thousands of vectors as good as the bootstrap, and free."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return {"value": values.mean(), "low": values.mean() - half, "high": values.mean() + half, "n": len(values)}


def _batches(model: Xetrieval, collection: EmbeddedCollection) -> Iterator[tuple[str, np.ndarray]]:
    """Every view of the documents and the queries, float32 ``[b, m]`` at once, each in the order of its rows."""
    for start in range(0, len(collection.docs), BATCH):
        z = np.array(collection.docs[start : start + BATCH], np.float32)
        yield from document_views(model, z).items()
    for start in range(0, len(collection.queries), BATCH):
        yield QUERY, np.array(collection.queries[start : start + BATCH], np.float32)


def _reconstructed(sums: Mapping[str, ViewSums], queries: np.ndarray) -> Iterator[tuple[dict[str, Any], np.ndarray, np.ndarray]]:
    """All ways to retrieve from reconstructions: conditions, queries, documents."""
    for refit, parts in sums[ORIGINAL].kept.items():
        docs, asked = np.concatenate(parts), np.concatenate(sums[QUERY].kept[refit])
        for unit in (False, True):
            if unit:
                docs /= np.maximum(np.linalg.norm(docs, axis=1, keepdims=True), 1e-12)
            yield {"refit": refit, "reconstructed": "docs", "unit": unit}, queries, docs
            yield {"refit": refit, "reconstructed": "both", "unit": unit}, asked, docs
