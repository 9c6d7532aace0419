"""What a document's similarity loses when features are erased, or when only they are kept (Cai et al. 2026, Fig. 7, App. C)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from ..core.edits import intervene
from ..core.sae import SparseAutoencoder
from .bootstrap import estimate
from .collection import EmbeddedCollection
from .dictionaries import baseline
from .explained_pairs import NUM_RESULTS, cosines, equal_sizes, explain_pairs, sample_pairs, view_modules

MODES = ("erase", "keep_only")
COMPARED = ("untrained", "direct")  # other dictionaries' sets, compared with the overlap at equal size as well
_CONDITION = ["set", "mode", "pairs"]


def erasure(
    model, collection: EmbeddedCollection, *, raw_sae: SparseAutoencoder | None = None, aspects=None,
    num_results: int = NUM_RESULTS, per_query: int = 4, per_pair: bool = False, seed: int = 0, batch_size: int = 256,
) -> pd.DataFrame:  # fmt: skip
    """Erases feature sets from documents, or keeps only them, and reports the change of the cosine with the query.

    Eq. 21-26: the query stays, only the original document embedding is edited, by ridge projection (λ = 1e-6), and
    brought back to its length. Seven kinds of sets:

    - ``overlap``: ``S_x``, features shared by the query and any view of the document (Eq. 23);
    - ``untrained``: the ``S_x`` of a dictionary of the same size and sparsity that has seen no data. The null that counts:
      its features are selected as the overlap's are, to be active in query and document, and the following ones are not;
    - ``overlap_original``: those of the overlap that are active in the original embedding too, not in internalised views alone;
    - ``direct``: features that a dictionary trained on raw embeddings finds in query and document (Eq. 21);
    - ``non_overlap``: features active on the document's original embedding, less the overlap;
    - ``random_features``: as many as the overlap has, drawn from the whole dictionary, for each pair anew. Not only
      from inactive ones: "any features would do" is the claim they test, and active ones are among any;
    - ``random_directions``: as many random unit vectors in place of the dictionary's, which tells the effect of the
      dictionary's directions from that of removing so many dimensions.

    More features change more, so that the sets of the other dictionaries are compared with the overlap at equal size too:
    of each pair's two sets the larger is cut to the size of the smaller, ``untrained_cut`` with ``overlap_cut_untrained``
    and ``direct_cut`` with ``overlap_cut_direct``. Which features stay is drawn at random: to keep those of largest
    contribution would select one side by what is measured, and the side with more to choose from would gain.

    Args:
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        raw_sae: the dictionary of ``direct``; without it that set is left out.
        aspects: the views of ``S_x`` beside the original one (default: all that the model has).
        num_results, per_query: which pairs, see :func:`~pyterrier_xetrieval.evaluation.explained_pairs.sample_pairs`.
        per_pair: the pairs themselves: ``qid``, ``docno``, ``pairs``, ``set``, ``mode``, ``size`` (of the set),
            ``before``, ``after``, ``change`` (cosines).

    Returns:
        ``collection``, ``set``, ``mode``, ``pairs`` (``"true positive"``, ``"false positive"``), ``measure``, ``value``, ``low``,
        ``high``, ``n``. Measures: ``change`` of the cosine; ``size``, features in the set; ``overlap_minus_set``, by how
        much the overlap's change exceeds this set's on the same pairs, for ``untrained_cut`` and ``direct_cut`` that of
        the overlap of the same size. Intervals are over queries, ``n`` counts pairs; a pair for which a set is empty is
        left out of that set's rows.

    Example::

        table = erasure(Xetrieval.default(), collection)
        table[(table.measure == "change") & (table["mode"] == "erase")].pivot(index="set", columns="pairs", values="value")
    """
    frame = _changes(model, collection, raw_sae, aspects, num_results, per_query, seed, batch_size)
    if per_pair:
        return frame
    keys = ["qid", "docno", "mode"]
    against = frame["set"].map({f"{name}_cut": f"overlap_cut_{name}" for name in COMPARED}).fillna("overlap")
    changes = frame.set_index([*keys, "set"])["change"].rename("overlap")
    frame = frame.assign(against=against).join(changes, on=[*keys, "against"])
    frame["overlap_minus_set"] = frame["overlap"] - frame["change"]
    rows = []
    for condition, group in frame.groupby(_CONDITION, sort=False):
        for measure in ("change", "size", "overlap_minus_set"):
            if measure != "overlap_minus_set" or not condition[0].startswith("overlap"):
                numbers = estimate(group[measure], clusters=group["qid"].astype(str), seed=seed)
                rows.append({"collection": collection.name, **dict(zip(_CONDITION, condition)), "measure": measure, **numbers})
    return pd.DataFrame(rows, columns=["collection", *_CONDITION, "measure", "value", "low", "high", "n"])


def _changes(model, collection, raw_sae, aspects, num_results, per_query, seed, batch_size) -> pd.DataFrame:
    """One row for each pair, set and mode."""
    internalizers = view_modules(model, aspects, stage="erasure")
    if raw_sae is not None and getattr(raw_sae, "dim", None) != model.dim:
        raise ValueError(f"erasure expects raw_sae to be an autoencoder of {model.dim} dimensions, found {raw_sae!r:.80}")
    pairs = sample_pairs(collection, num_results=num_results, per_query=per_query, seed=seed)
    options = {"internalizers": internalizers, "batch_size": batch_size}
    explained = explain_pairs(model.sae, collection, pairs, **options)
    rng, dict_size = np.random.default_rng(seed), model.sae.dict_size
    random = [rng.choice(dict_size, len(own), replace=False) for own in explained.sets]
    null = baseline(model, collection.docs, seed=seed)
    sets = {
        "overlap": (model.sae, explained.sets),
        "overlap_original": (model.sae, explained.original_sets),
        "untrained": (null, explain_pairs(null, collection, pairs, **options).sets),
        "non_overlap": (model.sae, explained.own_features(dict_size)),
        "random_features": (model.sae, random),
        "random_directions": (random_directions(model.sae, seed), random),
    }
    if raw_sae is not None:
        sets["direct"] = (raw_sae, explain_pairs(raw_sae, collection, pairs, batch_size=batch_size).sets)
    cut = np.random.default_rng([seed, 1])
    for name in [name for name in COMPARED if name in sets]:
        own, other = equal_sizes(explained.sets, sets[name][1], cut)
        sets |= {f"overlap_cut_{name}": (model.sae, own), f"{name}_cut": (sets[name][0], other)}
    before = cosines(explained.q, explained.z)
    common = pd.DataFrame(
        {
            "qid": np.asarray(collection.qids)[pairs.queries],
            "docno": np.asarray(collection.docnos)[pairs.docs],
            "pairs": np.where(pairs.relevant, "true positive", "false positive"),
            "before": before,
        }
    )
    frames = []
    for name, (dictionary, own) in sets.items():
        size = np.array([len(s) for s in own], np.int64)
        for mode in MODES:
            after = cosines(explained.q, intervene(dictionary, explained.z, own, mode, batch_size=batch_size))
            one = common.assign(set=name, mode=mode, size=size, after=after, change=after - before)
            frames.append(one[size > 0])
    columns = ["qid", "docno", "pairs", "set", "mode", "size", "before", "after", "change"]
    return pd.concat(frames, ignore_index=True)[columns]


def random_directions(sae: SparseAutoencoder, seed: int) -> SparseAutoencoder:
    """A dictionary of the same size and bias whose directions are random unit vectors."""
    random = SparseAutoencoder(sae.dim, sae.dict_size, 1)
    random.reset_parameters(torch.Generator().manual_seed(seed))
    with torch.no_grad():
        random.b_dec.copy_(sae.b_dec)
    return random.to(sae.w_dec.device).eval().requires_grad_(False)
