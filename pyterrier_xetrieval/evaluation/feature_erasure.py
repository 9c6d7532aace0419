"""What a similarity loses when features are erased, or alone kept (Cai et al. 2026, Fig. 7, App. C)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..core.edits import intervene
from ..core.sae import SparseAutoencoder
from ..model import Xetrieval
from .collection import EmbeddedCollection
from .dictionaries import untrained, untrained_model, with_sae
from .explained_pairs import cosines, equal_sizes, explain_pairs
from .pairs import NUM_RESULTS, Pairs, sample_pairs
from .tidy_rows import TidyRows

MODES = ("erase", "keep_only")
COMPARED = ("untrained", "direct")  # other dictionaries' sets, compared with the overlap at equal size as well


def erasure(
    model: Xetrieval,
    collection: EmbeddedCollection,
    *,
    raw_sae: SparseAutoencoder | None = None,
    num_results: int = NUM_RESULTS,
    per_query: int = 4,
    per_pair: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Erases feature sets from documents, or keeps only them, and reports the change of the cosine with the query.

    Eq. 21-26: the query stays, only the original document embedding is edited, by ridge projection (λ = 1e-6), and
    brought back to its length. The sets:

    - ``overlap``: ``S_x``, features shared by the query and any view of the document (Eq. 23);
    - ``untrained``: the ``S_x`` of a dictionary of the same size and sparsity that has seen no data. This is the null
      that counts: its features are selected as the overlap's are, to be active in query and document; those of the
      following sets are not;
    - ``overlap_original``: those of the overlap that are active in the original embedding too;
    - ``direct``: features that a dictionary trained on raw embeddings finds in query and document (Eq. 21);
    - ``non_overlap``: features active on the document's original embedding, less the overlap;
    - ``random_features``: as many as the overlap has, drawn from the whole dictionary, for each pair anew. Not only
      from inactive ones: "any features would do" is the claim they test, and active ones are among any;
    - ``random_directions``: as many random unit vectors in place of the dictionary's, which tells the effect of its
      directions from that of removing so many dimensions.

    More features change more, so the sets of the other dictionaries are compared with the overlap at equal size too: of
    each pair's two sets the larger is cut at random to the size of the smaller, ``untrained_cut`` with
    ``overlap_cut_untrained`` and ``direct_cut`` with ``overlap_cut_direct``. To keep the features of largest
    contribution would favour the side that has more to choose from.

    Args:
        model: whose dictionary, and whose views are those of ``S_x``.
        collection: queries and documents.
        raw_sae: the dictionary of ``direct``; without it that set is left out.
        num_results, per_query: which pairs, see :func:`~pyterrier_xetrieval.evaluation.pairs.sample_pairs`.
        per_pair: the pairs themselves: ``qid``, ``docno``, ``pairs``, ``set``, ``mode``, ``size`` (of the set),
            ``before``, ``after``, ``change`` (cosines).
        seed: of the pairs, the random sets and the bootstrap.

    Returns:
        ``collection``, ``set``, ``mode``, ``pairs`` (``"true positive"``, ``"false positive"``), ``measure``,
        ``value``, ``low``, ``high``, ``n``. Measures: ``change`` of the cosine; ``size``, features in the set;
        ``overlap_minus_set``, by how much the overlap's change exceeds this set's on the same pairs, for
        ``untrained_cut`` and ``direct_cut`` that of the overlap of the same size. Intervals are over queries, ``n``
        counts pairs; a pair for which a set is empty is left out of that set's rows.

    Raises:
        ValueError: a ``raw_sae`` of another dimension than the model's.

    Example::

        table = erasure(Xetrieval.default(), collection)
        table[(table.measure == "change") & (table["mode"] == "erase")].pivot(index="set", columns="pairs", values="value")
    """
    if raw_sae is not None and getattr(raw_sae, "dim", None) != model.dim:
        raise ValueError(f"erasure expects raw_sae to be an autoencoder of {model.dim} dimensions, found {raw_sae!r:.80}")
    pairs = sample_pairs(collection, num_results=num_results, per_query=per_query, seed=seed)
    # which features are shared does not depend on the views' weights, but the order from which sets are cut does
    frame = _changes(model.with_views(weights=1), collection, pairs, raw_sae, seed)
    if per_pair:
        return frame
    keys = ["qid", "docno", "mode"]
    against = frame["set"].map({f"{name}_cut": f"overlap_cut_{name}" for name in COMPARED}).fillna("overlap")
    changes = frame.set_index([*keys, "set"])["change"].rename("overlap")
    frame = frame.assign(against=against).join(changes, on=[*keys, "against"])
    frame["overlap_minus_set"] = frame["overlap"] - frame["change"]
    rows = TidyRows(seed, collection=collection.name)
    for (name, mode, kind), group in frame.groupby(["set", "mode", "pairs"], sort=False):
        for measure in ("change", "size", "overlap_minus_set")[: 2 if name.startswith("overlap") else 3]:
            rows.mean(measure, group[measure], clusters=group["qid"], set=name, mode=mode, pairs=kind)
    return rows.frame("set", "mode", "pairs")


def _changes(
    model: Xetrieval, collection: EmbeddedCollection, pairs: Pairs, raw_sae: SparseAutoencoder | None, seed: int
) -> pd.DataFrame:
    """One row for each pair, set and mode."""
    explained = explain_pairs(model, collection, pairs)
    null = untrained_model(model, collection.docs, seed=seed)
    rng = np.random.default_rng(seed)
    random = [rng.choice(model.sae.dict_size, len(own), replace=False) for own in explained.sets]
    sets = {
        "overlap": (model.sae, explained.sets),
        "overlap_original": (model.sae, explained.original_sets),
        "untrained": (null.sae, explain_pairs(null, collection, pairs).sets),
        "non_overlap": (model.sae, explained.own_features()),
        "random_features": (model.sae, random),
        "random_directions": (untrained(model.sae, k=1, with_bias=True, seed=seed), random),
    }
    if raw_sae is not None:
        raw = with_sae(model, raw_sae).with_views(())
        sets["direct"] = (raw_sae, explain_pairs(raw, collection, pairs).sets)
    cut = np.random.default_rng([seed, 1])
    for name in [name for name in COMPARED if name in sets]:
        own, other = equal_sizes(explained.sets, sets[name][1], cut)
        sets |= {f"overlap_cut_{name}": (model.sae, own), f"{name}_cut": (sets[name][0], other)}
    before = cosines(explained.q, explained.z)
    kind = np.where(pairs.relevant, "true positive", "false positive")
    common = pairs.ids(collection).assign(pairs=kind, before=before)
    frames = []
    for name, (dictionary, features) in sets.items():
        size = np.array([len(s) for s in features], np.int64)
        for mode in MODES:
            after = cosines(explained.q, intervene(dictionary, explained.z, features, mode, around="origin"))
            one = common.assign(set=name, mode=mode, size=size, after=after, change=after - before)
            frames.append(one[size > 0])
    columns = ["qid", "docno", "pairs", "set", "mode", "size", "before", "after", "change"]
    return pd.concat(frames, ignore_index=True)[columns]
