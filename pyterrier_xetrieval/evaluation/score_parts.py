"""What is a score made of? The shares of listed features, other features, the bias and what nothing explains."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..core.checks import positive_ints
from ..model import Xetrieval
from .collection import EmbeddedCollection
from .dictionaries import untrained_model
from .explained_pairs import ExplainedPairs, explain_pairs
from .pairs import ranked_pairs
from .tidy_rows import TidyRows

PARTS = ("shared", "other", "bias", "residual")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def score_shares(
    model: Xetrieval,
    collection: EmbeddedCollection,
    *,
    num_results: int = 1,
    refit: bool = True,
    per_pair: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Which share of the score ``⟨q,z⟩`` each part makes up, and what the views add to the features that are listed.

    Args:
        model: whose dictionary and views.
        collection: queries and documents.
        num_results: best documents of each query.
        refit: what is explained, as in :class:`~pyterrier_xetrieval.SAEExplainer`.
        per_pair: one row for each pair: ``qid``, ``docno``, ``score`` and the four shares.
        seed: of the bootstrap.

    Returns:
        ``collection``, ``part`` (``shared``, ``other``, ``bias``, ``residual``), ``measure``, ``value``, ``low``,
        ``high``, ``n`` (pairs). Measures: ``mean`` with its interval over queries, and the quantiles ``q05`` to
        ``q95`` over pairs, without one; ``untrained``, the mean by a dictionary of the same size and sparsity that has
        seen no data. The four shares of a pair add up to 1; pairs with a score not above zero are left out. Of
        ``shared`` also, for the explanation of the multi-view score with all views of the model: ``listed``, how many
        features it has; ``view_only``, how many of these are inactive in the original embedding, and
        ``view_only_share``, what share of that score they carry.

    Raises:
        ValueError: a number of results that is not positive.

    Example::

        score_shares(model, embed(pydocs(), model.encoder(), cache="cache")).query("measure == 'mean'")
    """
    positive_ints(stage="score_shares", num_results=num_results)
    pairs, plain = ranked_pairs(collection, num_results=num_results), model.with_views(())
    ids, null = pairs.ids(collection), untrained_model(plain, collection.docs, seed=seed)
    shares, of_null = (_shares(explain_pairs(own, collection, pairs, refit=refit)) for own in (plain, null))
    shares, of_null = shares[shares["score"] > 0], of_null[shares["score"] > 0]
    if per_pair:
        return ids.join(shares, how="inner").reset_index(drop=True)
    rows, qids = TidyRows(seed, collection=collection.name), ids["qid"][shares.index]
    for part in PARTS:
        rows.mean("mean", shares[part], clusters=qids, part=part)
        rows.mean("untrained", of_null[part], clusters=qids, part=part)
        rows.quantiles("q", shares[part], QUANTILES, part=part)
    of_views = _view_only(explain_pairs(model, collection, pairs, refit=refit))
    for measure, values in of_views.items():
        rows.mean(measure, values, clusters=ids["qid"], part="shared")
    return rows.frame("part")


def _shares(explained: ExplainedPairs) -> pd.DataFrame:
    """Of each pair the ``score`` and the share of it of each of :data:`PARTS`, float64; NaN where the score is 0."""
    parts = explained.parts
    shared = np.bincount(explained.owner, weights=parts.contribution, minlength=len(parts.score))
    values = np.stack([shared, parts.other, parts.bias, parts.residual])
    with np.errstate(divide="ignore", invalid="ignore"):
        return pd.DataFrame({"score": parts.score, **dict(zip(PARTS, values / parts.score))})


def _view_only(explained: ExplainedPairs) -> dict[str, np.ndarray]:
    """How many features are listed, how many of them internalised views alone have, and these' share of the score.

    float64 ``[n]`` each, NaN where the score is not above zero.
    """
    parts, only = explained.parts, explained.parts.document_activation[:, 0] == 0
    listed, count, carried = (
        np.bincount(explained.owner, weights=w, minlength=len(parts.score)) for w in (None, only, only * parts.contribution)
    )
    score = np.where(parts.score > 0, parts.score, np.nan)
    found = {"listed": listed, "view_only": count, "view_only_share": carried / score}
    return {measure: np.where(parts.score > 0, values, np.nan) for measure, values in found.items()}
