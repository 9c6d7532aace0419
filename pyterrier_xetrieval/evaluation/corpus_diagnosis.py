"""What a corpus alone says about its retrieval: what all documents share, near-duplicates, the spectrum of the vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..core.calibration import CorpusStatistics, calibration_strength
from ..core.checks import positive_ints
from ..core.codes import DocumentCodes
from ..index import XetrievalIndex
from ..index.packing import unpack
from ..index.storage import VECTORS
from .collection import rank

_BLOCK = 16_384  # vectors read at once
_NEAR = 0.95  # the cosine of two documents' codes from which on they are near-duplicates
_FIRST = 10  # directions whose share of the variance is told
_NEIGHBOURS = 6  # of a document, itself among them, that are looked at as its duplicates


@dataclass(frozen=True, eq=False)
class CorpusDiagnosis:
    """What :func:`diagnose_corpus` found; printed, a page of text.

    Attributes:
        shared: features by their part of the mean vector: ``feature``, ``label``, ``documents`` that have it, ``share`` of all,
            and ``mean_part``, the share of the length of the mean vector that it accounts for: ``m_j ⟨w_j, μ⟩ / ⟨μ, μ⟩`` with
            ``m_j`` its mean coefficient over all documents. These shares, ``bias_part`` and ``unexplained_part`` add up to 1.
        near_duplicates: pairs whose codes agree: ``docno``, ``other``, ``agreement`` (the cosine of the codes), closest first.
        facts: ``documents``, ``mean_length`` (of the mean vector), ``topicality`` (0 to 1: how far the mean lies from the
            dictionary's bias, see :meth:`.CorpusStatistics.topicality`), ``effective_rank`` and ``dimensions`` (of the vectors),
            ``first_share`` (the share of the variance in the first ten directions), ``bias_part`` and ``unexplained_part``
            (of the mean vector), ``looked_at`` (documents among which near-duplicates were looked for), ``in_duplicates``
            (how many of these are in a pair), ``strength`` (of the calibration that follows from the topicality; 0 for
            none).
    """

    shared: pd.DataFrame
    near_duplicates: pd.DataFrame
    facts: dict[str, float]

    def __str__(self) -> str:
        f = self.facts
        lines = [
            f"{f['documents']} documents; their mean vector has length {f['mean_length']:.2f}, topicality {f['topicality']:.2f}.",
            f"The vectors spread over {f['effective_rank']:.0f} of {f['dimensions']} directions; the first {_FIRST} hold "
            f"{100 * f['first_share']:.0f} % of the variance.",
            f"Calibrating the queries by the corpus is advised, with strength {f['strength']:.2f}." if f["strength"] else
            "The corpus is a general one: calibrating the queries by it is not advised.",
            "What the documents share:",
        ]  # fmt: skip
        lines += [
            f"  {row.label} [{row.feature}]: in {100 * row.share:.0f} % of the documents, {100 * row.mean_part:.0f} % of the mean vector"
            for row in self.shared.head(10).itertuples()
        ]
        lines.append(
            f"Near-duplicates: {f['in_duplicates']} of {f['looked_at']} documents looked at are in {len(self.near_duplicates)} "
            f"pair{'' if len(self.near_duplicates) == 1 else 's'} "
            f"whose codes agree by {_NEAR} and more."
        )
        lines += [f"  {row.docno} and {row.other}: {row.agreement:.3f}" for row in self.near_duplicates.head(5).itertuples()]
        return "\n".join(lines)


def diagnose_corpus(index: XetrievalIndex, *, sample: int = 10_000, seed: int = 0) -> CorpusDiagnosis:
    """Looks at an index without any query: what all its documents share, and which of them say the same.

    Everything is of the original vectors and of the stored codes; nothing is encoded.

    Args:
        index: of this package.
        sample: among how many documents, drawn at random, near-duplicates are looked for; each is compared with its five nearest
            neighbours by vector.
        seed: of the draw.

    Raises:
        ValueError: no XetrievalIndex; fewer than two documents.

    Example::

        print(diagnose_corpus(index))
    """
    if not isinstance(index, XetrievalIndex):
        raise ValueError(f"diagnose_corpus expects a XetrievalIndex, found {index!r}; a FlexIndex has no codes")
    positive_ints(stage="diagnose_corpus", sample=sample)
    vectors, bias = index.layout.vectors(VECTORS), index.model.sae.b_dec.detach().cpu().numpy().astype(np.float64)
    statistics = CorpusStatistics.from_vectors(vectors[i : i + _BLOCK] for i in range(0, len(vectors), _BLOCK))
    spectrum = np.clip(np.linalg.eigvalsh(statistics.covariance)[::-1], 0, None)
    topicality = float(statistics.topicality(bias))
    pairs, looked_at = _near_duplicates(index, sample, seed)
    shared, squared = _shared(index, statistics.mean), float(statistics.mean @ statistics.mean) or 1.0
    of_bias = float(bias @ statistics.mean) / squared
    facts = {
        "documents": len(index), "mean_length": float(np.linalg.norm(statistics.mean)), "topicality": topicality,
        "effective_rank": statistics.effective_rank, "dimensions": len(spectrum),
        "bias_part": of_bias, "unexplained_part": 1 - of_bias - float(shared["mean_part"].sum()),
        "first_share": float(spectrum[:_FIRST].sum() / spectrum.sum()) if spectrum.any() else 0.0, "looked_at": looked_at,
        "in_duplicates": len(set(pairs["docno"]) | set(pairs["other"])), "strength": calibration_strength(topicality),
    }  # fmt: skip
    return CorpusDiagnosis(shared, pairs, facts)


def _shared(index: XetrievalIndex, mean: np.ndarray) -> pd.DataFrame:
    size, n = index.settings["dict_size"], len(index)
    documents, amount = np.zeros(size, np.int64), np.zeros(size)
    for start in range(0, n, _BLOCK):
        codes = _codes(index, np.arange(start, min(start + _BLOCK, n)))
        documents += np.bincount(codes.features, minlength=size)
        amount += np.bincount(codes.features, weights=codes.coefficients[:, 0], minlength=size)
    directions, squared = index.model.sae.w_dec.detach().cpu().numpy().astype(np.float64), float(mean @ mean)
    part = amount / n * (directions @ mean) / squared if squared else np.zeros(size)
    features = np.flatnonzero(documents)
    features = features[np.argsort(-part[features], kind="stable")]
    labels, counts = index.model.labels, documents[features]
    return pd.DataFrame({
        "feature": features, "label": [labels[j] for j in features.tolist()], "documents": counts, "share": counts / n,
        "mean_part": part[features],
    })  # fmt: skip


def _codes(index: XetrievalIndex, docids: np.ndarray) -> DocumentCodes:
    """Of the original vectors."""
    stored = index.layout.codes(docids)
    return unpack(stored, 1 + len(index.settings["aspects"]), index.settings["dict_size"]).first_views(1)


def _near_duplicates(index: XetrievalIndex, sample: int, seed: int) -> tuple[pd.DataFrame, int]:
    """Pairs of documents whose codes agree, and among how many they were looked for.

    Two codes agree only where the vectors do, so that the nearest neighbours by vector are enough to look at.
    """
    from scipy import sparse  # late: it takes a second to import

    n = len(index)
    docids = np.sort(np.random.default_rng(seed).choice(n, min(sample, n), replace=False))
    x = np.array(index.layout.vectors(VECTORS)[docids], np.float32)
    neighbours, _ = rank(x, x, min(_NEIGHBOURS, len(x)))
    left, right = np.repeat(np.arange(len(x)), neighbours.shape[1]), neighbours.ravel()
    pairs = np.unique(np.sort(np.stack([left, right])[:, left != right], axis=0), axis=1)
    codes = _codes(index, docids)
    matrix = sparse.csr_matrix(
        (codes.activations[:, 0], codes.features, codes.offsets), shape=(len(x), index.settings["dict_size"])
    )
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    both = np.asarray(matrix[pairs[0]].multiply(matrix[pairs[1]]).sum(axis=1)).ravel()
    agreement = np.divide(both, length[pairs[0]] * length[pairs[1]], out=np.zeros(pairs.shape[1]), where=both > 0)
    near = np.flatnonzero(agreement >= _NEAR)
    near = near[np.argsort(-agreement[near], kind="stable")]
    first, second = (index.layout.docnos(docids[side[near]]) for side in pairs)
    found = {"docno": list(first), "other": list(second), "agreement": agreement[near]}
    return pd.DataFrame(found), len(x)
