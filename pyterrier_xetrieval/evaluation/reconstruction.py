"""What a dictionary keeps of the vectors: error, features, meaning and retrieval (Cai et al. 2026, Fig. 3 and 4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch

from ..core.internalizer import internalize
from ..core.sae import SparseAutoencoder
from ..labelling.quality import intruder_detection
from ..labelling.samples import feature_samples
from .bootstrap import estimate
from .collection import CUTOFF, EmbeddedCollection, ndcg, rank
from .dictionaries import dictionaries, with_sae

ORIGINAL = "original"
COLUMNS = ["collection", "sae", "view", "refit", "reconstructed", "unit", "measure", "value", "low", "high", "n"]


def reconstruction(
    model, collection: EmbeddedCollection, *, saes: Mapping[str, SparseAutoencoder] | None = None, refit: bool = True,
    num_results: int = CUTOFF, llm=None, folder=None, n_features: int = 500, min_docs: int = 50,
    batch_size: int = 512, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Fig. 3 and 4 for any number of dictionaries: how far off, how sparse, how varied, what retrieval is left.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`; its internalizers make the reasoned vectors of Fig. 4.
        collection: documents and queries; none of them trained on, or the figures flatter.
        saes: name to autoencoder. None: ``explainer``, the model's own, and ``random``, an untrained one of its size and k.
        refit: besides the encoder's own activations, measure least-squares coefficients of the same features
            (``sae.refit``; about a tenth of a millisecond a vector on one thread).
        num_results: k of nDCG@k.
        llm: judge of mono-semanticity (:func:`~pyterrier_xetrieval.training.intruder_detection`, on original and
            reasoned vectors); None leaves it out. It needs a collection with texts.
        folder: where its answers are kept, ``intruder.<name>.jsonl``, for a restart to go on with; None keeps nothing.
        n_features, min_docs: of mono-semanticity: features drawn, and activating documents each needs.
        batch_size: vectors encoded at once.
        seed: of the bootstrap, the random dictionary and the features drawn.

    Returns:
        columns collection, sae, view, refit, reconstructed, unit, measure, value, low, high, n. ``view`` is ``original``
        (raw), an aspect (reasoned) or ``query``; ``refit`` tells least-squares coefficients (True) from activations
        (False), and is missing where it makes no difference. For each view:

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
    if llm is not None and collection.texts is None:
        raise ValueError(f"reconstruction expects a collection with texts for an llm to judge, found none in {collection.name!r}")
    saes = dictionaries(model, saes, collection.docs, seed=seed)
    refits = (False, True) if refit else (False,)
    original = _ndcg(collection, collection.queries, collection.docs, num_results)
    rows = []
    for name, sae in saes.items():
        first = {"collection": collection.name, "sae": name}
        sums = {view: ViewSums(sae, refits, keep=view in (ORIGINAL, "query")) for view in (ORIGINAL, *model.aspects, "query")}
        for view, x in _batches(model, collection, batch_size):
            sums[view].add(x)
        for view, found in sums.items():
            rows += [{**first, "view": view, **row} for row in found.rows()]
        if model.aspects:
            active = np.logical_or.reduce([sums[aspect].active for aspect in model.aspects]).sum()
            n = len(collection.docs) * len(model.aspects)
            rows.append({**first, "view": "reasoned", "measure": "features_active", "value": float(active), "n": n})
        first["view"], measure = ORIGINAL, f"nDCG@{num_results}"
        rows.append({**first, "reconstructed": "none", "measure": measure, **estimate(original, seed=seed)})
        for how, queries, docs in _reconstructed(sums, collection.queries):
            values = _ndcg(collection, queries, docs, num_results)
            rows.append({**first, **how, "measure": measure, **estimate(values, seed=seed)})
            rows.append({**first, **how, "measure": "change", **estimate(values - original, seed=seed)})
        if llm is not None:
            with TemporaryDirectory() if folder is None else nullcontext(folder) as place:
                path = Path(place) / f"intruder.{name}.jsonl"
                told = _intruders(model, sae, collection, llm, path, n_features, min_docs, seed)
            rows.append({**first, "measure": "mono_semanticity", **estimate(told, seed=seed)})
    return pd.DataFrame(rows, columns=COLUMNS).astype({"refit": "boolean", "unit": "boolean"})


class ViewSums:
    """What is known of one view after its batches: error and active features of each vector, and their variance."""

    def __init__(self, sae: SparseAutoencoder, refits: tuple[bool, ...], *, keep: bool):
        self.sae, self.keep, self.l0 = sae, keep, []
        self.active = np.zeros(sae.dict_size, bool)
        self.errors, self.kept = {refit: [] for refit in refits}, {refit: [] for refit in refits}
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

    def rows(self) -> Iterator[dict]:
        l0 = np.concatenate(self.l0)
        n = len(l0)
        variance = self.squares - float(self.total @ self.total) / n
        for refit, parts in self.errors.items():
            errors = np.concatenate(parts)
            explained = 1 - errors.sum() / variance if variance > 0 else np.nan
            yield {"refit": refit, "measure": "mse", **_normal(errors)}
            yield {"refit": refit, "measure": "variance_explained", "value": explained, "n": n}
        yield {"measure": "l0", **_normal(l0)}
        yield {"measure": "features_active", "value": float(self.active.sum()), "n": n}


def _normal(values: np.ndarray) -> dict:
    """Mean ± 1.96 standard errors: of thousands of vectors as good as the bootstrap, and free."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return {"value": values.mean(), "low": values.mean() - half, "high": values.mean() + half, "n": len(values)}


def _batches(model, collection, batch_size) -> Iterator[tuple[str, np.ndarray]]:
    """Every view of the documents and the queries, float32 ``[b, m]`` at once, each in the order of its rows."""
    for start in range(0, len(collection.docs), batch_size):
        z = np.array(collection.docs[start : start + batch_size], np.float32)
        yield ORIGINAL, z
        for aspect, module in model.internalizers.items():
            yield aspect, internalize(module, z, batch_size=batch_size)
    for start in range(0, len(collection.queries), batch_size):
        yield "query", np.array(collection.queries[start : start + batch_size], np.float32)


def _reconstructed(sums, queries) -> Iterator[tuple[dict, np.ndarray, np.ndarray]]:
    """All ways to retrieve from reconstructions: conditions, queries, documents."""
    for refit, parts in sums[ORIGINAL].kept.items():
        docs, asked = np.concatenate(parts), np.concatenate(sums["query"].kept[refit])
        for unit in (False, True):
            if unit:
                docs /= np.maximum(np.linalg.norm(docs, axis=1, keepdims=True), 1e-12)
            yield {"refit": refit, "reconstructed": "docs", "unit": unit}, queries, docs
            yield {"refit": refit, "reconstructed": "both", "unit": unit}, asked, docs


def _ndcg(collection, queries, docs, k) -> np.ndarray:
    return ndcg(collection, rank(queries, docs, k, excluded=collection.excluded)[0], cutoff=k)


def _intruders(model, sae, collection, llm, path, n_features, min_docs, seed) -> np.ndarray:
    """Whether each of the features drawn had its intruder told, float ``[n]``."""
    samples = feature_samples(with_sae(model, sae), np.asarray(collection.docs), docnos=collection.docnos, seed=seed)
    texts = collection.texts(np.arange(len(collection.docnos)))
    found = intruder_detection(samples, texts, llm, path, n_features=n_features, min_docs=min_docs, seed=seed)
    return found["correct"].to_numpy(float)
