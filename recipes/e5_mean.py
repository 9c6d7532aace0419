"""What a long mean of an encoder's vectors does to scores, and what is left above the mean document."""

from __future__ import annotations

import numpy as np

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.core.mean_document import MeanDocument, baseline
from pyterrier_xetrieval.evaluation import EmbeddedCollection
from pyterrier_xetrieval.evaluation.explained_pairs import explain_pairs
from pyterrier_xetrieval.evaluation.pairs import ranked_pairs

QUERIES = 200


def mean_facts(model: Xetrieval, collection: EmbeddedCollection, *, seed: int = 0) -> dict[str, float]:
    """How the scores ⟨q,z⟩ of up to 200 queries' best documents are made up, with and without the mean document's part.

    Returns:
        ``mean_length`` of the documents' mean; ``score``, and ``mean_document``, the mean training document's score for the same
        queries (of a model that keeps no means, the bias alone); ``bias``, the bias's share of the score; and of what
        the score has above the mean document's, the shares ``above_shared``, ``above_other`` and ``above_residual``. The shares
        are those of sums over queries: a single query may have next to nothing above the mean.
    """
    n = len(collection.qids)
    if n > QUERIES:
        collection = collection.select(np.sort(np.random.default_rng(seed).permutation(n)[:QUERIES]))
    plain = model.with_views(())
    pairs = ranked_pairs(collection, num_results=1)
    explained = explain_pairs(plain, collection, pairs, refit=True)
    mean = plain.means.get("original") or MeanDocument.without_features(plain.sae, [1.0])
    against = baseline(plain.sae, explained.q, np.arange(len(explained.q)), explained.parts, mean)
    above = against.above(explained.parts)
    total = float(above.score.sum())
    return {
        "mean_length": float(np.linalg.norm(np.asarray(collection.docs).mean(axis=0))),
        "score": float(explained.parts.score.mean()), "mean_document": float(against.score.mean()),
        "bias": float((explained.parts.bias / explained.parts.score).mean()),
        "above_shared": float(above.contribution.sum()) / total, "above_other": float(above.other.sum()) / total,
        "above_residual": float(above.residual.sum()) / total, "n": len(explained.q),
    }  # fmt: skip
